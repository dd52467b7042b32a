"""A real Milvus Lite, in a file."""

import contextlib
import tempfile
from collections.abc import Iterator

import pytest


@contextlib.contextmanager
def running() -> Iterator[str]:
    """The address of an empty file. Skips without the packages."""
    for package in ("pymilvus", "milvus_lite"):
        pytest.importorskip(package, reason=f"the package {package} is not installed")
    with tempfile.TemporaryDirectory(prefix="frenchcat-milvus-") as folder:
        yield f"milvus://{folder}/rows.db"
