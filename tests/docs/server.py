"""Commands without the seconds of a start: one process imports everything, each command is a fork.

`Commands(folder)` puts two programs, `frenchcat` and `python`, into `folder`/bin. Each hands its
arguments, environment, folder and streams to the process that has imported torch, faiss and the
rest; there a forked child runs `frenchcat.cli.main` or the script, and its status comes back. A
block in a shell is thus run by a real shell, at a tenth of the time.

`frenchcat serve` gives the shell back as soon as it answers, as in a second terminal; the address
is in `folder`/served. It ends with the next `serve`, or with `end_page`.
"""

import contextlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import ModuleType, TracebackType

CLIENT = """#!{python} -ISs
import json, os, socket, sys
asked = socket.socket(socket.AF_UNIX)
asked.connect({address!r})
what = [{program!r}, sys.argv[1:], os.getcwd(), dict(os.environ)]
text = json.dumps(what).encode("utf-8", "surrogateescape")
socket.send_fds(asked, [len(text).to_bytes(4, "big")], [0, 1, 2])
asked.sendall(text)
said = asked.recv(1)
sys.exit(said[0] if said else 70)
"""
PRELOADED = (
    "frenchcat.cli",
    "frenchcat.api",
    "frenchcat.demo",
    "frenchcat.pipeline",
    "frenchcat.draw_backend",
    "frenchcat.drawing_files",
    "frenchcat.contact_sheet",
    "frenchcat.tables",
    "frenchcat.curate.clip.model",
    "frenchcat.curate.embed",
    "frenchcat.curate.download",
    "frenchcat.curate.score.stage",
    "frenchcat.curate.dedup",
    "frenchcat.curate.verdict.stage",
    "frenchcat.curate.report.page",
    "frenchcat.curate.remove",
    "frenchcat.curate.export",
    "frenchcat.curate.adopt",
    "frenchcat.index.build",
    "frenchcat.index.search",
    "frenchcat.index.service.app",
    "frenchcat.train.loop",
    "frenchcat.train.draw",
    "frenchcat.train.evaluate",
    "frenchcat.train.classifier_loop",
    "diffusers",
    "open_clip",
    "webdataset",
    "transformers",
)


class Commands:
    """The programs in `bin` while the `with` block runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bin = folder / "bin"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Commands":
        self.bin.mkdir(parents=True)
        (self.folder / "running").mkdir()
        address = str(self.folder / "asked")
        for program in ("frenchcat", "python"):
            self._write(
                program, CLIENT.format(python=sys.executable, address=address, program=program)
            )
        served = self.folder / "served"
        # Whoever asks port 1234 is led to the port that was free.
        self._write(
            "curl",
            f"#!/bin/sh\nexec /usr/bin/curl -sS --fail-with-body --connect-to "
            f'"localhost:1234:$(cat {served})" "$@"\n',
        )
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.docs.server", str(self.folder)],
            cwd=Path(__file__).parents[2],
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n"
        return self

    def _write(self, name: str, text: str) -> None:
        program = self.bin / name
        program.write_text(text)
        program.chmod(0o755)

    def used_sec(self) -> float:
        """Processor time of all commands until now, without the start of the process itself."""
        used = self.folder / "used"
        return sum(map(float, used.read_text().split())) if used.exists() else 0.0

    def end_page(self) -> None:
        """End what the page's blocks left running."""
        for left in (self.folder / "running").iterdir():
            _end(left)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end_page()
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


def _end(left: Path) -> None:
    """End the process that a file is named after, and wait until it is gone."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(int(left.name), signal.SIGTERM)
        for _ in range(100):
            os.kill(int(left.name), 0)
            time.sleep(0.05)
        os.kill(int(left.name), signal.SIGKILL)
    left.unlink(missing_ok=True)


def main(folder: Path) -> None:
    """Import everything once, then answer the programs until killed."""
    from importlib import import_module

    from tests.docs import stand_ins

    stand_ins.install()
    for name in PRELOADED:
        import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the children here
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(folder / "asked"))
    listening.listen(16)
    print("ready", flush=True)
    while True:
        asked, _ = listening.accept()
        if os.fork() == 0:
            listening.close()
            _answer(asked, folder)
        asked.close()


def _answer(asked: socket.socket, folder: Path) -> None:
    """In a child: run the command in a child of its own, tell its status, end."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    head, streams, _, _ = socket.recv_fds(asked, 4, 3)
    body = b""
    while len(body) < int.from_bytes(head, "big"):
        body += asked.recv(1 << 16)
    program, arguments, cwd, environment = json.loads(body.decode("utf-8", "surrogateescape"))
    serves = arguments[:1] == ["serve"]
    if serves:
        for left in (folder / "running").glob("*"):
            if left.read_text() == "serve":
                _end(left)
        (folder / "served").unlink(missing_ok=True)
    child = os.fork()
    if child == 0:
        asked.close()
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
        os.chdir(cwd)
        os.environ.clear()
        os.environ.update(environment)
        _run(program, arguments)
    running = folder / "running" / str(child)
    running.write_text("serve" if serves else program)
    for stream in streams:
        os.close(stream)
    while serves and not (folder / "served").exists():
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            running.unlink(missing_ok=True)
            asked.sendall(bytes([os.waitstatus_to_exitcode(status) & 255]))
            os._exit(0)
        time.sleep(0.02)
    if serves:
        _await_answer((folder / "served").read_text())
        asked.sendall(b"\0")
    _, status, used = os.wait4(child, 0)
    running.unlink(missing_ok=True)
    with open(folder / "used", "a") as lines:
        lines.write(f"{used.ru_utime + used.ru_stime:.3f}\n")
    with contextlib.suppress(OSError):
        asked.sendall(bytes([os.waitstatus_to_exitcode(status) & 255]))
    os._exit(0)


def _await_answer(address: str) -> None:
    """Wait until a server that has told its address takes connections."""
    host, port = address.split(":")
    for _ in range(600):
        with contextlib.suppress(OSError):
            socket.create_connection((host, int(port))).close()
            return
        time.sleep(0.05)


def _run(program: str, arguments: list[str]) -> None:
    """In the command's process: run it as a new interpreter would, and end."""
    status = 1
    try:
        sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w", buffering=1)  # noqa: SIM115
        sys.path.insert(0, os.getcwd())
        _call(program, arguments)
        status = 0
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        if isinstance(ended.code, str):
            print(ended.code, file=sys.stderr)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        threading._shutdown()  # type: ignore[attr-defined]  # what the interpreter does at its end
        import multiprocessing.util

        multiprocessing.util._exit_function()
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status & 255)


def _call(program: str, arguments: list[str]) -> None:
    sys.modules["__main__"] = ModuleType("__main__")  # not this one, which spawned workers import
    if program == "frenchcat":
        from frenchcat.cli import main as frenchcat

        sys.argv = ["frenchcat", *arguments]
        return frenchcat()
    first, *rest = arguments
    if first == "-m":
        sys.argv = [rest[0], *rest[1:]]
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif first in ("-c", "-"):
        sys.argv = [first, *rest]
        code = rest[0] if first == "-c" else sys.stdin.read()
        exec(compile(code, "<given>", "exec"), {"__name__": "__main__"})
    else:
        sys.argv = arguments
        # Whole, since a spawned worker looks for it where the forking process was started.
        runpy.run_path(os.path.abspath(first), run_name="__main__")
    return None


if __name__ == "__main__":
    main(Path(sys.argv[1]))
