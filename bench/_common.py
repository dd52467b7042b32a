"""What the measurements share: peers in venvs of their own, timed runs, memory, results kept.

Everything made lies in .bench/ (git-ignored) and is made once; results lie in .bench/results/, and
with `--publish` in bench/results/, where those are that the documentation quotes.
Machines are noisy: two commands are run in turn several times, and medians are compared. Each
result holds all single figures, the load average before and after, the machine and the versions.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import http.server
import importlib.metadata
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from frenchcat.curate.costs import tree_bytes

ROOT = Path(__file__).resolve().parent.parent
BENCH = ROOT / ".bench"
RESULTS = ROOT / "bench" / "results"
PUBLISH = "--publish"
# One version of torch on both sides of every comparison, which is a matching pair.
TORCH = ("torch==2.14.1", "torchvision==0.29.1")
SAMPLE_SEC = 0.05  # between two looks at the memory of a running command
WORDS = (
    "a the of in with french cat dog red old small photo street window garden portrait vintage "
    "wooden table morning light blue car house sea mountain woman man child playing running "
    "asleep on under near market flowers bread coffee train city night rain snow summer poster"
).split()


# -- peers ---------------------------------------------------------------------------------------


def peer(name: str, *steps: Sequence[str]) -> Path:
    """The bin folder of a peer's venv, made where it is missing; each step is one pip install."""
    folder = BENCH / name
    done = folder / ".installed"
    wanted = json.dumps([list(step) for step in steps])
    if not done.exists() or done.read_text(encoding="utf-8") != wanted:
        print(f"installing {name} into a venv of its own (minutes, once)", flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        for step in steps:
            pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "-q", *step]
            run(pip, f"install-{name}")
        done.write_text(wanted, encoding="utf-8")
    return folder / "bin"


def versions_of(python: str | Path, names: Sequence[str]) -> dict[str, str]:
    """The installed versions of packages, as an interpreter sees them."""
    code = "import importlib.metadata as m, json, sys\nfound = {}\nfor n in sys.argv[1:]:\n"
    code += "    try: found[n] = m.version(n)\n    except m.PackageNotFoundError: pass\n"
    done = subprocess.run(
        [str(python), "-c", code + "print(json.dumps(found))", *names],
        check=True,
        stdout=subprocess.PIPE,
    )
    versions: dict[str, str] = json.loads(done.stdout)
    return versions


def our_versions(*names: str) -> dict[str, str]:
    """The versions of what we run on."""
    return {name: importlib.metadata.version(name) for name in names}


# -- running -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """A command that ended well."""

    sec: float  # from start to exit
    cpu_sec: float  # of all cores and descendants, which other programs disturb less
    peak_bytes: int  # resident memory of it and all its descendants together, sampled
    out: str  # stdout and stderr


def run(
    command: Sequence[str | Path], log: str, environment: Mapping[str, str] | None = None
) -> Run:
    """Run a command to its end; ends this program with the log's tail where it fails."""
    path = BENCH / f"{log}.log"
    BENCH.mkdir(exist_ok=True)
    hub = {"HF_HUB_OFFLINE": "1", "NO_ALBUMENTATIONS_UPDATE": "1"}
    whole = {**os.environ, "PYTHONPATH": str(ROOT), **hub, **(environment or {})}
    peak = 0
    with open(path, "wb") as file:
        began, used = time.perf_counter(), os.times()
        process = subprocess.Popen(
            list(map(str, command)), env=whole, cwd=BENCH, stdout=file, stderr=file
        )
        while process.poll() is None:
            peak = max(peak, tree_bytes(process.pid))
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(SAMPLE_SEC)
        sec, now = time.perf_counter() - began, os.times()
    cpu_sec = sum(now[2:4]) - sum(used[2:4])  # children's user and system time
    out = path.read_text(encoding="utf-8", errors="replace")
    if process.returncode:
        words = " ".join(map(str, command))
        sys.exit(f"{words}\nended with {process.returncode}:\n{out[-3000:]}")
    return Run(sec, cpu_sec, peak, out)


def json_of(done: Run) -> dict[str, Any]:
    """The last JSON object that a command printed on a line of its own, among its log's lines."""
    found: dict[str, Any] = json.loads(
        next(line for line in reversed(done.out.splitlines()) if line.startswith("{"))
    )
    return found


def ours(*arguments: str | Path, log: str = "frenchcat") -> Run:
    """Run `frenchcat` with these arguments."""
    return run([sys.executable, "-m", "frenchcat", *arguments], log)


# -- results -------------------------------------------------------------------------------------


def parser(doc: str | None) -> argparse.ArgumentParser:
    """A command line that shows the module's text, with the option `--publish`."""
    made = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument(PUBLISH, action="store_true", help="replace the result in bench/results")
    return made


def result_path(name: str) -> Path:
    """Where a result is written: never over the published one, but with `--publish`."""
    folder = RESULTS if PUBLISH in sys.argv[1:] else BENCH / "results"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{name}.json"


def median(values: Sequence[float]) -> float:
    """The middle one."""
    return float(statistics.median(values))


def psnr(first: NDArray[Any], second: NDArray[Any]) -> float:
    """Peak signal to noise ratio of two arrays of levels of 255, in dB; 100 of equal ones."""
    error = float(((first.astype(np.float64) - second) ** 2).mean())
    return 100.0 if error == 0 else float(10 * np.log10(255**2 / error))


def load() -> list[float]:
    """The load averages of 1, 5 and 15 minutes."""
    return [round(value, 2) for value in os.getloadavg()]


def kept_result(name: str) -> dict[str, Any]:
    """The last result of one's own, else the published one."""
    own = result_path(name)
    path = own if own.exists() else RESULTS / f"{name}.json"
    kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return kept


def keep(name: str, result: Mapping[str, Any], goals: Mapping[str, tuple[str, float]]) -> None:
    """Print each goal's figure beside it and keep the result as `name`.json."""
    met = {}
    for figure, (relation, goal) in goals.items():
        value = result[figure]
        met[figure] = bool(value >= goal if relation == ">=" else value <= goal)
        said = "met" if met[figure] else "MISSED"
        print(f"{figure:28} {value:12.4f}  (goal {relation} {goal}: {said})", flush=True)
    whole = {
        "command": " ".join([f"python -m bench.{name}", *sys.argv[1:]]),
        **result,
        "goals": {figure: f"{relation} {goal}" for figure, (relation, goal) in goals.items()},
        "met": met,
        "load_after": load(),
        "machine": {"cpu": cpu(), "cores": os.cpu_count(), "python": platform.python_version()},
    }
    text = json.dumps(whole, indent=1, sort_keys=True) + "\n"
    path = result_path(name)
    path.write_text(text, encoding="utf-8")
    print(f"written to {path}", flush=True)


def cpu() -> str:
    """The processor's name, and whether it computes with bfloat16."""
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    names = [line for line in text.splitlines() if line.startswith("model name")]
    flags = [flag for flag in ("avx512_bf16", "amx_bf16") if flag in text]
    name = names[0].partition(":")[2].strip() if names else platform.machine()
    return f"{name} ({', '.join(flags) or 'no bfloat16 instructions'})"


# -- pictures ------------------------------------------------------------------------------------


def picture(row: int) -> Any:
    """A picture with large shapes and fine grain, about as hard to decode as a photograph."""
    from PIL import Image

    rng = np.random.default_rng(row)
    shapes = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    smooth = np.asarray(shapes.resize((400, 300), Image.Resampling.BICUBIC), np.int16)
    grain = rng.normal(0, 8, (300, 400, 1)).astype(np.int16)
    return Image.fromarray(np.clip(smooth + grain, 0, 255).astype(np.uint8))


def caption(row: int) -> str:
    """A caption of 4 to 18 words, as alt texts are."""
    rng = random.Random(row)
    return " ".join(rng.choices(WORDS, k=rng.randint(4, 18)))


def picture_folder(count: int) -> Path:
    """A folder of `count` pictures, ``0.jpg`` and so on; made where they are missing."""
    folder = BENCH / "site"
    folder.mkdir(parents=True, exist_ok=True)
    for row in range(count):
        path = folder / f"{row}.jpg"
        if not path.exists():
            partial = path.with_suffix(".partial")
            picture(row).save(partial, "JPEG", quality=90)
            partial.rename(path)
    return folder


@contextlib.contextmanager
def serve(folder: Path) -> Iterator[str]:
    """Serve a folder from this process at a loopback port; gives ``host:port``."""
    handler = functools.partial(_Quiet, directory=str(folder))
    with _Server(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


class _Server(http.server.ThreadingHTTPServer):
    request_queue_size = 512  # of connections; the default 5 would measure the kernel's retries


class _Quiet(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # connections are kept, as a web server's are

    def log_message(self, *_: object) -> None:
        """Say nothing."""
