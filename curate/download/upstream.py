"""img2dataset's modules, imported without torch in processes that only download.

img2dataset imports webdataset, which imports torch if it is installed: 1.5 s of processor time and
480 MB in every worker process, for a loader that is not used here. webdataset works without torch,
so it is told that there is none, only for the import and only in worker processes: other processes
may need webdataset's loader.
"""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import sys
import warnings
from collections.abc import Iterator
from typing import Any


def img2dataset_module(name: str) -> Any:
    """A module of img2dataset by its name: ``resizer``, ``writer``."""
    with _without_torch(), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # it imports imghdr
        return importlib.import_module(f"img2dataset.{name}")


@contextlib.contextmanager
def _without_torch() -> Iterator[None]:
    """Make `import torch` fail, in a worker process that has not imported it."""
    if multiprocessing.parent_process() is None or "torch" in sys.modules:
        yield
        return
    sys.modules["torch"] = None  # type: ignore[assignment]  # ImportError, says the import system
    try:
        yield
    finally:
        del sys.modules["torch"]
