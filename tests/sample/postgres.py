"""A real PostgreSQL with pgvector, from the wheel `pgserver`, on a socket in a folder."""

import contextlib
import tempfile
import warnings
from collections.abc import Iterator

import pytest


@contextlib.contextmanager
def running() -> Iterator[str]:
    """Start a server; gives its address. Skips without the packages."""
    for package in ("pgserver", "psycopg"):
        pytest.importorskip(package, reason=f"the package {package} is not installed")
    import pgserver

    # Not in pytest's folder: it is for its owner alone, and of root's files the server reads none.
    with tempfile.TemporaryDirectory(prefix="frenchcat-pg-") as folder:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # platformdirs, where there is no XDG_RUNTIME_DIR
            server = pgserver.get_server(folder, cleanup_mode="stop")
        try:
            yield server.get_uri()
        finally:
            server.cleanup()
