"""Decoders without their warnings: of files from strangers, they say nothing that helps.

Python's filters are the process's, not a thread's, so `warnings.catch_warnings` in several threads
may leave another's filters behind. Here the first thread that enters sets them aside, and the last
one that leaves puts them back.
"""

import contextlib
import warnings
from collections.abc import Iterator
from threading import Lock
from typing import Any

_lock = Lock()
_entered: list[contextlib.AbstractContextManager[Any]] = []
_depth = 0


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Ignore warnings inside; may be nested and entered by any number of threads."""
    global _depth
    with _lock:
        _depth += 1
        if _depth == 1:
            _entered.append(warnings.catch_warnings())
            _entered[-1].__enter__()
            warnings.simplefilter("ignore")
    try:
        yield
    finally:
        with _lock:
            _depth -= 1
            if _depth == 0:
                _entered.pop().__exit__(None, None, None)
