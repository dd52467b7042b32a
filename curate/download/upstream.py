"""img2dataset's modules, imported without what they do not use.

Importing img2dataset imports its downloader, and with it ray, wandb, pandas and webdataset, which
imports torch if it is installed: 2.6 s of processor time and half a gigabyte in every worker
process, for nothing that is used here. So a module is imported without the rest of its package.
webdataset works without torch: it is told that there is none, only for the import and only in
worker processes, as other processes may need webdataset's loader.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import multiprocessing
import sys
import warnings
from collections.abc import Iterator
from functools import cache
from typing import Any

_PACKAGE = "img2dataset"


@cache
def img2dataset_module(name: str) -> Any:
    """A module of img2dataset by its name: ``resizer``, ``writer``."""
    with _without_torch(), _package_alone(), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # it imports imghdr
        return importlib.import_module(f"{_PACKAGE}.{name}")


@contextlib.contextmanager
def _package_alone() -> Iterator[None]:
    """Have the package in place without running it; whoever imports it later runs it."""
    spec = importlib.util.find_spec(_PACKAGE)
    if _PACKAGE in sys.modules or spec is None:
        yield
        return
    sys.modules[_PACKAGE] = importlib.util.module_from_spec(spec)
    try:
        yield
    finally:
        for name in [one for one in sys.modules if one.split(".")[0] == _PACKAGE]:
            del sys.modules[name]


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
