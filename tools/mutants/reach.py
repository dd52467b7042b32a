"""Which tests run which function: found once by coverage, used to choose the tests of a mutant.

`record` runs the suite in a copy of the tree with this file as a pytest plugin. Coverage's context
is the test at work, so each line tells who ran it; the files that child processes leave behind are
read after each test and counted as that test's. The result is ``.mutants/reach.json``.

A function that was run in the setup of a test belongs to all tests of that file, since fixtures
are shared. Cost: the suite once, about 1.4 times as long as without coverage.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tools.mutants.mutant import PACKAGES, functions, remembered
from tools.mutants.tree import WORK, copy_to, environment

_FOLDER = "FRENCHCAT_REACH"  # where the plugin works; set in the suite's process and its children
_FILE = WORK / "reach.json"


@dataclass
class Reach:
    """What was recorded: file -> function -> tests, and seconds per test."""

    ran: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def tests(self, file: str, lines: tuple[int, int], source: str) -> list[str]:
        """The tests that run any function that overlaps the lines, the quickest first."""
        spans = functions(source)
        inside = [
            name for name, (first, last) in spans.items() if first <= lines[1] and lines[0] <= last
        ]
        if not remembered(source).isdisjoint(inside):
            inside = list(spans)  # of those that use it, only the first in a process ran it
        found = {test for name in inside for test in self._of(file, name)}
        found = {test for test in found if "::" in test}  # what ran outside of any test is not one
        for test in [one for one in found if one.endswith("::*")]:
            found.remove(test)
            found |= {one for one in self.seconds if one.startswith(test[:-1])}
        return sorted(found, key=lambda test: (self.seconds.get(test, 0.0), test))

    def _of(self, file: str, name: str) -> list[str]:
        """Who ran a function; where it was moved since, who ran those of its name."""
        here = self.ran.get(file, {}).get(name)
        if here is not None:
            return here
        return [test for names in self.ran.values() for test in names.get(name, [])]


def recorded() -> bool:
    """Whether anything was recorded."""
    return _FILE.exists()


def load() -> Reach:
    """What was recorded last. Raises FileNotFoundError."""
    return Reach(**json.loads(_FILE.read_text(encoding="utf-8")))


def record(paths: list[str]) -> None:
    """Run the suite under coverage and save who ran what; of `paths` alone, the rest is kept."""
    folder = copy_to(WORK / "reach")
    data = WORK / "coverage"
    data.mkdir(parents=True, exist_ok=True)
    for old in data.iterdir():
        old.unlink()
    settings = data / "coveragerc"
    settings.write_text(
        "[run]\nparallel = true\nsigterm = true\nconcurrency = multiprocessing, thread\n"
        f"data_file = {data}/child\nsource = {folder}\nomit = {folder}/tests/*\n",
        encoding="utf-8",
    )
    command = [sys.executable, "-m", "pytest", "-m", "not slow", "-p", "tools.mutants.reach"]
    # The second variable is coverage's own: it starts itself in every child process.
    env = environment(folder) | {_FOLDER: str(data), "COVERAGE_PROCESS_START": str(settings)}
    subprocess.run([*command, "--timeout", "900", *paths], cwd=folder, env=env, check=False)
    lines = json.loads((data / "lines.json").read_text(encoding="utf-8"))
    reach = _without(load(), set(lines["seconds"])) if paths and _FILE.exists() else Reach()
    reach.seconds |= lines["seconds"]
    for file, tests in lines["ran"].items():
        spans = functions((folder / file).read_text(encoding="utf-8"), classes=False)
        by_function: dict[str, set[str]] = defaultdict(set)
        for test, numbers in tests.items():
            for name, (first, last) in spans.items():
                # The line of `def` runs at import, the lines behind it when it is called.
                if any(first < number <= last for number in numbers):
                    by_function[name].add(test)
        kept = reach.ran.setdefault(file, {})
        for name, found in by_function.items():
            kept[name] = sorted({*kept.get(name, []), *found})
    _FILE.write_text(json.dumps({"ran": reach.ran, "seconds": reach.seconds}), encoding="utf-8")


def _without(reach: Reach, tests: set[str]) -> Reach:
    """What was recorded of all other tests, and of the setups of all other files."""
    gone = tests | {test.split("::")[0] + "::*" for test in tests}
    ran = {
        file: {name: [one for one in found if one not in gone] for name, found in names.items()}
        for file, names in reach.ran.items()
    }
    seconds = {test: spent for test, spent in reach.seconds.items() if test not in tests}
    return Reach(ran, seconds)


# -- the plugin, in the process of the suite ------------------------------------------------------


class _Recorder:
    def __init__(self, folder: Path) -> None:
        import coverage

        self.folder = folder
        self.ran: dict[str, dict[str, set[int]]] = defaultdict(lambda: defaultdict(set))
        self.seconds: dict[str, float] = defaultdict(float)
        # Started here, for the contexts; the one that the variable started in this process ends.
        if (running := coverage.Coverage.current()) is not None:
            running.stop()
        self.coverage = coverage.Coverage(
            data_file=str(folder / "parent"),
            data_suffix=False,
            config_file=os.environ["COVERAGE_PROCESS_START"],
        )
        self.coverage.start()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Iterator[None]:
        with self._as(item.nodeid.split("::")[0] + "::*"):
            return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Iterator[None]:
        with self._as(item.nodeid):
            return (yield)

    @contextlib.contextmanager
    def _as(self, name: str) -> Iterator[None]:
        self.coverage.switch_context(name)
        try:
            yield
        finally:
            self.coverage.switch_context("outside")
            self._children(name)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[report.nodeid] += report.duration

    def pytest_sessionfinish(self) -> None:
        self.coverage.stop()
        self._take(self.coverage.get_data(), None)
        ran = {
            file: {test: sorted(lines) for test, lines in tests.items()}
            for file, tests in self.ran.items()
        }
        text = json.dumps({"ran": ran, "seconds": self.seconds})
        (self.folder / "lines.json").write_text(text, encoding="utf-8")

    def _children(self, name: str) -> None:
        import coverage

        for path in self.folder.glob("child.*"):
            # A file that is being written is read after another test; one cut by a kill never.
            with contextlib.suppress(coverage.CoverageException, OSError):
                data = coverage.CoverageData(str(path))
                data.read()
                self._take(data, name)
                path.unlink()

    def _take(self, data: Any, name: str | None) -> None:
        for file in data.measured_files():
            relative = _relative(file)
            if relative is None:
                continue
            if name is not None:
                self.ran[relative][name] |= set(data.lines(file) or ())
                continue
            for line, tests in data.contexts_by_lineno(file).items():
                for test in tests:
                    self.ran[relative][test].add(line)


def _relative(file: str) -> str | None:
    """A measured file's path in the repository; None where it is not the package's code."""
    for package in PACKAGES:
        head, found, tail = file.rpartition(f"/{package}/")
        if found and head.startswith(str(WORK)):
            return f"{package}/{tail}"
    return None


def pytest_configure(config: pytest.Config) -> None:
    """Called by pytest where this file is named as a plugin."""
    if folder := os.environ.get(_FOLDER):
        config.pluginmanager.register(_Recorder(Path(folder)))


__all__ = ["Reach", "load", "record", "recorded"]
