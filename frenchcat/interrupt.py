"""Ctrl-C: answered at once, and the process ends within two seconds, whatever it is doing.

Python raises KeyboardInterrupt in the main thread only when that returns to bytecode. The thread
may be in a long call into torch, faiss or DuckDB, and worker processes in the same terminal get the
signal, too, and print tracebacks. So SIGINT is blocked (worker processes inherit this), and a
thread waits for it. The thread prints one line, ends the workers and interrupts the main thread,
which has `GRACE_SEC` to clean up (locks in object stores are released then). After that, or at a
second Ctrl-C, the process ends. Nothing is lost: files appear by rename, and the same command
resumes.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import NoReturn

# Imported before the command line, so that Ctrl-C works from the start: import nothing heavy.

GRACE_SEC = 1.0
STATUS = 130  # 128 + SIGINT, as shells have it
_GOES_ON = "stopped; what is done is kept, and the same command goes on from there"
_AGAIN = "stopped; run the same command again to start over"
_SERVES = "stopped; the same command serves again"
_RESUMES = frozenset(
    "adopt build compact dedup demo download embed index latents publish".split()
    + "recheck score verdict".split()
)
_LIGHT = frozenset("info select export lineage diff verify remove report".split())
"""Verbs that start no process and load no library that starts one."""
_TEXTS = {
    **dict.fromkeys(_RESUMES, _GOES_ON),
    **dict.fromkeys(("mcp", "serve"), _SERVES),
    "train": "stopped; the same command goes on from the newest checkpoint",
}
_WAKE = signal.SIGUSR2  # to the main thread: SIGINT itself is blocked there
Stop = Callable[[], float]
"""Begins to stop the work and says so; returns the seconds that this may take."""


def stop_on_interrupt(arguments: Sequence[str]) -> None:
    """Handle Ctrl-C from now on; `arguments` are those of the command line.

    Does nothing if the process was started with SIGINT ignored (nohup, a shell's background).
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        return
    signal.signal(_WAKE, _raise)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    verb = next((word for word in arguments if not word.startswith("-")), "")
    said = _TEXTS.get(verb, _AGAIN)
    watch = threading.Thread(target=_watch, args=(said,), name="ctrl-c", daemon=True)
    watch.start()
    signal.signal(signal.SIGINT, lambda *_: signal.pthread_kill(watch.ident or 0, signal.SIGINT))
    if verb and verb not in _LIGHT and not {"-h", "--help"} & set(arguments):
        _start_tracker()


@contextlib.contextmanager
def answered_by(stop: Stop) -> Iterator[None]:
    """Within this block the first Ctrl-C calls `stop`, which lets the work finish."""
    global _stop
    _stop = stop
    try:
        yield
    finally:
        _stop = None


def end_if_interrupted() -> None:
    """End the process if Ctrl-C was pressed, with status `STATUS`, whatever the work returned.

    Ends at once, because the interpreter takes seconds to unload torch.
    """
    if _answered.is_set():
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
        _end()


_stop: Stop | None = None
_answered = threading.Event()


def _raise(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def _watch(said: str) -> None:
    signal.sigwait({signal.SIGINT})
    _answered.set()
    stop = _stop
    grace_sec = _stop_main(said) if stop is None else stop()
    timer = threading.Timer(grace_sec, _end)
    timer.daemon = True
    timer.start()
    signal.sigwait({signal.SIGINT})
    _end()


def _stop_main(said: str) -> float:
    _answer(said)
    with contextlib.suppress(ProcessLookupError):
        signal.pthread_kill(threading.main_thread().ident or 0, _WAKE)
    _end_workers()
    return GRACE_SEC


def _answer(said: str) -> None:
    """Print the line, and nothing of what this process prints while it ends."""
    if os.environ.get("RANK", "0") == "0":  # of the processes of torchrun only one prints
        # A progress bar hides the cursor and leaves the line unfinished.
        before = "\x1b[?25h\n" if sys.stderr.isatty() else ""
        with contextlib.suppress(OSError):
            os.write(2, f"{before}frenchcat: {said}\n".encode())
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def _end_workers() -> None:
    if (multiprocessing := sys.modules.get("multiprocessing")) is not None:
        for child in multiprocessing.active_children():
            child.kill()


def _end() -> NoReturn:
    _end_workers()
    os._exit(STATUS)


def _start_tracker() -> None:
    """Start multiprocessing's resource tracker now, and silently.

    Before Python 3.12 it unblocks SIGINT in the thread that starts it, for instance for one of
    tqdm's locks. It would also report the semaphores that it cleans up after the end.
    """
    from multiprocessing import resource_tracker

    quiet = "ignore:resource_tracker:UserWarning"
    known = os.environ.get("PYTHONWARNINGS")
    os.environ["PYTHONWARNINGS"] = f"{known},{quiet}" if known else quiet
    resource_tracker.ensure_running()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
