"""One run of pytest in a process that was forked with the heavy libraries already imported.

`multiprocessing`'s fork server imports `LIBRARIES` once; every mutant's tests then start in a fresh
fork of it, which imports the project's own modules anew, from the copy. That saves some seconds of
imports per mutant. The project itself must not be imported before the fork.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

LIBRARIES = [
    "_pytest.assertion",
    "_pytest.fixtures",
    "hypothesis",
    "numpy",
    "pandas",
    "pyarrow.parquet",
    "pyarrow.compute",
    "duckdb",
    "faiss",
    "PIL.Image",
    "cv2",
    "torch",
    "torchvision",
    "diffusers",
    "open_clip",
    "fastapi.testclient",
    "aiohttp",
    "pydantic",
    "typer",
    "scipy.stats",
    "cryptography.x509",
    "protego",
    "publicsuffixlist",
    # Plugins that pytest loads by itself, seconds of imports together.
    "schemathesis.pytest.plugin",
    "xdist.plugin",
    "xdist.looponfail",
    "anyio.pytest_plugin",
]


def context() -> ForkServerContext:
    """The fork server's context, which imports what can be imported of `LIBRARIES`."""
    found = multiprocessing.get_context("forkserver")
    found.set_forkserver_preload([f"{__name__}_libraries"])
    return found


class _First:
    """Writes the first test that fails into a file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._note(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self._note(report)

    def _note(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        if report.failed and not self.file.exists():
            self.file.write_text(report.nodeid, encoding="utf-8")


def pytest_in(
    folder: Path, arguments: list[str], env: dict[str, str], output: Path, first: Path
) -> None:
    """Run pytest in the copy `folder` and end this process with its status.

    What it prints goes to `output`, the name of the first test that fails to `first`.
    """
    os.setsid()  # so that a time limit ends its children, too
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(folder)
    root = str(Path(__file__).resolve().parents[2])
    sys.path[:] = [str(folder), *(one for one in sys.path if one not in ("", root, str(folder)))]
    for name in [name for name in sys.modules if name.split(".")[0] in ("tools", "tests")]:
        del sys.modules[name]
    import pytest

    first.unlink(missing_ok=True)
    status = int(pytest.main(arguments, plugins=[_First(first)]))
    sys.stdout.flush()
    os._exit(status)
