"""Ctrl-C: answered at once, over within two seconds, whatever is at work.

Python raises KeyboardInterrupt in the main thread when it gets back to bytecode. It may be in a
long call into torch, faiss or DuckDB by then, and worker processes of the same terminal get the
signal, too, and print tracebacks. So SIGINT is blocked, which worker processes inherit, and a
thread waits for it. The thread prints one line, ends the workers and interrupts the main thread,
which has `GRACE_SEC` to leave cleanly (locks of object stores are released on that way). Then, or
at a second Ctrl-C, the process ends. Nothing is lost by that: files appear by rename, and the same
command goes on from what is there.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import NoReturn

# Imported before the command line is, so that Ctrl-C is answered from the start: nothing heavy.

GRACE_SEC = 1.5
STATUS = 130  # 128 + SIGINT, as shells have it
_GOES_ON = "stopped; what is done is kept, and the same command goes on from there"
_AGAIN = "stopped; run the same command again to start over"
_RESUMES = frozenset("adopt build compact dedup demo download embed index score verdict".split())
_LIGHT = frozenset("info select export lineage diff verify remove report".split())
"""Verbs that start no process and load no library that does."""
_TEXTS = {
    **dict.fromkeys(_RESUMES, _GOES_ON),
    "train": "stopped; the same command goes on from the newest checkpoint",
}
_WAKE = signal.SIGUSR2  # to the main thread: SIGINT itself is blocked there
Stop = Callable[[], float]
"""Begins to end the work and says so; gives the seconds that this may take."""


def stop_on_interrupt(arguments: Sequence[str]) -> None:
    """Answer Ctrl-C from here on; `arguments` are those of the command line.

    Does nothing where the process was started with SIGINT ignored (nohup, a shell's background).
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
    """While this lasts, the first Ctrl-C calls `stop`, which ends the work in its own time."""
    global _stop
    _stop = stop
    try:
        yield
    finally:
        _stop = None


def end_if_interrupted() -> None:
    """End the process where Ctrl-C was answered: whatever the work ended with, by `STATUS`.

    At once, since the interpreter takes seconds to take down torch.
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
    """Print the line; what this process says on its way out is not shown any more."""
    if os.environ.get("RANK", "0") == "0":  # one of several that torchrun started answers
        # A progress bar hides the cursor and stands in the middle of a line.
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

    Before Python 3.12 it unblocks SIGINT in the thread that starts it, be it for a lock of tqdm's;
    and it would report the semaphores that it cleans up after an end.
    """
    from multiprocessing import resource_tracker

    quiet = "ignore:resource_tracker:UserWarning"
    known = os.environ.get("PYTHONWARNINGS")
    os.environ["PYTHONWARNINGS"] = f"{known},{quiet}" if known else quiet
    resource_tracker.ensure_running()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
