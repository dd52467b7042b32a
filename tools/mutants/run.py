"""Try mutants: each in a copy of the tree, with the tests that run its function.

Reads ``promises/*.toml`` and ``.mutants/reach.json``, writes ``.mutants/semantic.json`` after each
mutant, so a run that was stopped goes on. A result is kept while the mutant, the function it is in
and the files of its tests are unchanged; a change elsewhere that makes a test blind is found by
``--again``.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from tools.mutants import reach
from tools.mutants.mutant import Applied, Mutant, apply
from tools.mutants.tree import ROOT, WORK, copy_to, environment, mutated

RESULTS = WORK / "semantic.json"
_LEAST_SEC = 90.0  # imports and collection, on a busy machine
_TIMES = 6.0  # a mutant's tests may take so many times their own time: the machine is shared


@dataclass(frozen=True)
class Result:
    """What became of a mutant."""

    name: str
    outcome: str  # killed | timeout | survived | untested
    by: str  # the test that noticed it, or ""
    tests: int  # that were chosen
    seconds: float
    key: str  # of what the result depends on


def chosen(mutants: Sequence[Mutant], patterns: Sequence[str]) -> list[Mutant]:
    """The mutants whose name or area matches any of the patterns; all of them without patterns."""
    return [
        one
        for one in mutants
        if not patterns
        or any(fnmatch.fnmatch(one.name, p) or fnmatch.fnmatch(one.area, p) for p in patterns)
    ]


def try_all(
    mutants: Sequence[Mutant],
    jobs: int,
    again: bool,
    tests: Sequence[str],
    tell: Callable[[Mutant, Result], None],
) -> list[Result]:
    """Try mutants side by side; gives a result for each, in order.

    `tests` takes the place of those that were recorded. Raises `DoesNotApply`, before anything is
    tried, for a mutant whose place or text is gone.
    """
    applied = {mutant.name: apply(mutant, ROOT) for mutant in mutants}
    recorded = reach.Reach() if tests else reach.load()
    kept = {} if again or tests else _kept()
    folders = [WORK / f"copy-{number}" for number in range(jobs)]
    for folder in folders:
        copy_to(folder)
    free, lock = list(folders), threading.Lock()

    def one(mutant: Mutant) -> Result:
        change = applied[mutant.name]
        source = (ROOT / change.file).read_text(encoding="utf-8")
        nodes = list(tests) or recorded.tests(change.file, change.lines, source)
        key = _key(mutant, change, source, nodes)
        if (found := kept.get(mutant.name)) and found.key == key:
            return found
        with lock:
            folder = free.pop()
        try:
            expected = sum(recorded.seconds.get(node, 60.0) for node in nodes)
            result = _try(mutant, change, nodes, folder, expected, key)
        finally:
            with lock:
                free.append(folder)
        with lock:
            if not tests:
                _keep(result)
            tell(mutant, result)
        return result

    with ThreadPoolExecutor(jobs) as pool:
        return list(pool.map(one, mutants))


def _try(
    mutant: Mutant, change: Applied, nodes: Sequence[str], folder: Path, expected: float, key: str
) -> Result:
    if not nodes:
        return Result(mutant.name, "untested", "", 0, 0.0, key)
    begin = time.monotonic()
    listed = folder / ".mutants-tests"
    listed.write_text("\n".join(nodes), encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-x", "-m", "not slow", "--no-header", "--tb=line"]
    with mutated(folder, change):
        try:
            done = subprocess.run(
                [*command, f"@{listed}"],
                cwd=folder,
                env=environment(folder),
                capture_output=True,
                text=True,
                timeout=_LEAST_SEC + _TIMES * expected,
                check=False,
            )
        except subprocess.TimeoutExpired:
            seconds = time.monotonic() - begin
            return Result(mutant.name, "timeout", "", len(nodes), round(seconds, 1), key)
    seconds = round(time.monotonic() - begin, 1)
    outcome = {0: "survived", 1: "killed", 2: "killed", 3: "killed"}.get(done.returncode)
    if outcome is None:
        raise RuntimeError(f"pytest ended with {done.returncode} for {mutant.name}:\n{done.stdout}")
    return Result(mutant.name, outcome, _noticed(done.stdout), len(nodes), seconds, key)


def _noticed(output: str) -> str:
    for line in output.splitlines():
        if line.startswith(("FAILED ", "ERROR ")):
            return line.split(" ", 1)[1].split(" - ")[0]
    return ""


def _key(mutant: Mutant, change: Applied, source: str, nodes: Sequence[str]) -> str:
    lines = source.splitlines()[change.lines[0] - 1 : change.lines[1]]
    digest = hashlib.sha256(json.dumps([asdict(mutant), lines, list(nodes)]).encode())
    for file in sorted({node.split("::")[0] for node in nodes}):
        digest.update((ROOT / file).read_bytes() if (ROOT / file).is_file() else b"")
    return digest.hexdigest()


def _kept() -> dict[str, Result]:
    if not RESULTS.exists():
        return {}
    rows = json.loads(RESULTS.read_text(encoding="utf-8"))
    return {name: Result(**row) for name, row in rows.items()}


def _keep(result: Result) -> None:
    rows = {name: asdict(one) for name, one in (_kept() | {result.name: result}).items()}
    scratch = RESULTS.with_suffix(".tmp")
    scratch.write_text(json.dumps(rows, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    scratch.replace(RESULTS)
