"""A real PostgreSQL with pgvector, from the wheel `pgserver`, on a socket in a folder."""

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest


@contextlib.contextmanager
def running(folder: Path) -> Iterator[str]:
    """Start a server with its files in a folder; gives its address. Skips without the packages."""
    for package in ("pgserver", "psycopg"):
        pytest.importorskip(package, reason=f"the package {package} is not installed")
    import pgserver

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # platformdirs, where there is no XDG_RUNTIME_DIR
        server = pgserver.get_server(folder, cleanup_mode="stop")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()
