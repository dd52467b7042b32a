"""Try mutants: each in a copy of the tree, with the tests that run its function.

Reads ``promises/*.toml`` and ``.mutants/reach.json``, writes ``.mutants/semantic.json`` after each
mutant, so a run that was stopped goes on, and at the end ``results/semantic.json``, which is kept
with the code: the test that noticed a mutant is tried first the next time. A result is kept while
the mutant, the function it is in and the files of its tests are unchanged; a change elsewhere that
makes a test blind is found by ``--again``.
"""

from __future__ import annotations

import contextlib
import fnmatch
import hashlib
import itertools
import json
import os
import re
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cache
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from tools.mutants import child, reach
from tools.mutants.mutant import Applied, Mutant, apply
from tools.mutants.tree import ROOT, WORK, compile_in, copy_to, environment, mutated

RESULTS = WORK / "semantic.json"
KEPT = Path(__file__).parent / "results" / "semantic.json"
_LEAST_SEC = 60.0  # imports and collection, on a busy machine
_TIMES = 3.0  # a mutant's tests may take so many times their own time: the machine is shared
_LIMIT_SEC = 600.0
_NEAR_FILES = 3
_QUICK_SEC = 40.0


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


def applied(mutants: Sequence[Mutant]) -> list[tuple[Mutant, Applied]]:
    """Each mutant with what it changes. Raises `DoesNotApply` where a place or a text is gone."""
    return [(mutant, apply(mutant, ROOT)) for mutant in mutants]


def try_all(
    mutants: Sequence[tuple[Mutant, Applied]],
    jobs: int,
    again: bool,
    tests: Sequence[str],
    tell: Callable[[Mutant, Result], None],
    thorough: bool = True,
) -> list[Result]:
    """Try mutants side by side; gives a result for each, in order.

    `tests` takes the place of those that were recorded. Where not `thorough`, slow tests that are
    not near are not asked.
    """
    recorded = reach.Reach() if tests else reach.load()
    kept = {} if again or tests else _kept()
    folders = [WORK / f"copy-{number}" for number in range(jobs)]
    for folder in folders:
        compile_in(copy_to(folder))
    free, lock = list(folders), threading.Lock()

    def one(pair: tuple[Mutant, Applied]) -> Result:
        mutant, change = pair
        source = (ROOT / change.file).read_text(encoding="utf-8")
        nodes = list(tests) or _candidates(mutant, change, source, recorded)
        key = _key(mutant, change, source, nodes)
        if (found := kept.get(mutant.name)) and found.key == key:
            return found
        with lock:
            folder = free.pop()
        try:
            result = _try(mutant, change, nodes, folder, recorded, key, thorough)
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


def _candidates(mutant: Mutant, change: Applied, source: str, recorded: reach.Reach) -> list[str]:
    """The tests that the mutant names, who is known to run the place, and the module's own tests.

    What a process ran that was killed is not recorded, nor what runs at import: a default of a
    class has the tests of its folder.
    """
    found = [node for node in recorded.seconds if mutant.tests and node.startswith(mutant.tests)]
    found = found or ([mutant.tests] if mutant.tests else [])  # a file that was not recorded yet
    found += [n for n in recorded.tests(change.file, change.lines, source) if n not in set(found)]
    own = _own_file(change.file)
    near = f"{own}::" if found else f"{Path(own).parent}/"
    return [
        *found,
        *sorted({node for node in recorded.seconds if node.startswith(near)} - {*found}),
    ]


def _own_file(module: str) -> str:
    """``curate/lock.py`` -> ``tests/curate/test_lock.py``."""
    path = Path(module)
    return str(Path("tests") / path.with_name(f"test_{path.name}"))


def _try(
    mutant: Mutant,
    change: Applied,
    nodes: Sequence[str],
    folder: Path,
    recorded: reach.Reach,
    key: str,
    thorough: bool,
) -> Result:
    if not nodes:
        return Result(mutant.name, "untested", "", 0, 0.0, key)
    begin, outcome, by = time.monotonic(), "survived", ""
    with mutated(folder, change):
        before = _noticed_before().get(mutant.name, "")
        for part in _in_turn(nodes, mutant.tests, change.file, before, recorded, thorough):
            outcome, by = _asked(folder, part, recorded)
            if outcome != "survived":
                break
    seconds = round(time.monotonic() - begin, 1)
    return Result(mutant.name, outcome, by, len(nodes), seconds, key)


def _asked(folder: Path, nodes: Sequence[str], recorded: reach.Reach) -> tuple[str, str]:
    """What tests say of a mutant; one that fails only beside others says nothing."""
    left = list(nodes)
    while left:
        expected = sum(_seconds(recorded, node) for node in left)
        outcome, by = _run(folder, left, min(_LEAST_SEC + _TIMES * expected, _LIMIT_SEC))
        alone = len(left) == 1 or by not in left
        if outcome != "killed" or alone or _run(folder, [by], _LIMIT_SEC)[0] != "survived":
            return outcome, by
        left.remove(by)
    return "survived", ""


def _seconds(recorded: reach.Reach, node: str) -> float:
    """How long a test, or all tests of a file, took when they were recorded."""
    if "::" in node:
        return recorded.seconds.get(node, 60.0)
    return 60.0 + sum(sec for name, sec in recorded.seconds.items() if name.startswith(node))


def _in_turn(
    nodes: Sequence[str],
    named: str,
    file: str,
    before: str,
    recorded: reach.Reach,
    thorough: bool,
) -> Iterator[list[str]]:
    """The tests in parts: who noticed it last time, the named, the module's own, near by, others.

    Of the others first the quickest, as many as take `_QUICK_SEC` together. The rest is asked only
    where `thorough`: a function that half of the suite runs costs half of the suite for a mutant
    that nobody notices.
    """
    left = list(nodes)
    if before and before in left:
        left.remove(before)
        yield [before]
    for first in dict.fromkeys(filter(None, (named, _own_file(file)))):
        part = {node for node in left if node.startswith(first)}
        left = [node for node in left if node not in part]
        if "::" not in first and (ROOT / first).is_file():
            yield [first]  # as a whole: with the tests that were written since it was recorded
        elif part:
            yield sorted(part)
    files = sorted({node.split("::")[0] for node in left}, key=lambda one: -_near(one, file))
    near = set(files[:_NEAR_FILES])
    if part := [node for node in left if node.split("::")[0] in near]:
        yield _by_file(part, recorded)
    others = [node for node in left if node.split("::")[0] not in near]
    spent = itertools.accumulate(recorded.seconds.get(node, 1.0) for node in others)
    quick = sum(sec < _QUICK_SEC for sec in spent)
    for part in (others[:quick], others[quick:] if thorough else []):
        if part:
            yield _by_file(part, recorded)


def _by_file(nodes: Sequence[str], recorded: reach.Reach) -> list[str]:
    """The quickest file first, each in one piece and in its own order, as fixtures are shared."""
    order = {node: number for number, node in enumerate(recorded.seconds)}
    seconds: dict[str, float] = defaultdict(float)
    for node in nodes:
        seconds[node.split("::")[0]] += recorded.seconds.get(node, 1.0)
    return sorted(
        nodes,
        key=lambda node: (seconds[node.split("::")[0]], node.split("::")[0], order.get(node, 0)),
    )


def _near(test: str, file: str) -> int:
    """How much a test's path has in common with a module's."""
    folders, parts = Path(test).parts[1:-1], Path(file).parts[:-1]
    same = sum(1 for one, other in zip(folders, parts, strict=False) if one == other)
    named, stem = Path(test).stem.removeprefix("test_"), Path(file).stem
    return 2 * same + 3 * (stem in named or named in stem)


def _run(folder: Path, nodes: Sequence[str], limit_sec: float) -> tuple[str, str]:
    """Run tests in a copy; gives the outcome and the test that failed first."""
    listed, output = folder / ".mutants-tests", folder / ".mutants-output"
    first = folder / ".mutants-first"
    listed.write_text("\n".join(nodes), encoding="utf-8")
    # Libraries that the fork server imported cannot be rewritten for plainer assertions any more.
    arguments = ["-W", "ignore::pytest.PytestAssertRewriteWarning", "-x", "-m", "not slow"]
    arguments += ["--no-header", "--tb=line", "--rootdir", str(folder)]
    arguments = [*arguments, "-c", str(folder / "pyproject.toml"), f"@{listed}"]
    process = child.context().Process(
        target=child.pytest_in, args=(folder, arguments, environment(folder), output, first)
    )
    process.start()
    process.join(limit_sec)
    if process.exitcode is None:
        _end(process)
        return "timeout", ""
    if process.exitcode == 0:
        return "survived", ""
    there = _still_there(folder, nodes)
    if process.exitcode == 4 and there != list(nodes):
        return _run(folder, there, limit_sec) if there else ("survived", "")
    if first.exists():
        return "killed", first.read_text(encoding="utf-8")
    said = output.read_text(encoding="utf-8", errors="replace")
    raise RuntimeError(f"pytest ended with {process.exitcode} and no test failed:\n{said[-2000:]}")


def _still_there(folder: Path, nodes: Sequence[str]) -> list[str]:
    """The tests that have not got another name since they were recorded, with all parameters."""
    sources: dict[str, str] = {}
    found = []
    for node in dict.fromkeys(node.split("[")[0] for node in nodes):
        file, *names = node.split("::")
        if file not in sources:
            path = folder / file
            sources[file] = path.read_text(encoding="utf-8") if path.is_file() else ""
        defined = re.search(rf"\b(def|class) {names[-1]}\b", sources[file]) if names else True
        if sources[file] and defined:
            found.append(node)
    return found


def _end(process: ForkServerProcess) -> None:
    """Kill a process and its children."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid or 0, signal.SIGKILL)
    process.join()


def _key(mutant: Mutant, change: Applied, source: str, nodes: Sequence[str]) -> str:
    lines = source.splitlines()[change.lines[0] - 1 : change.lines[1]]
    fields = {name: value for name, value in asdict(mutant).items() if name != "tests"}
    changed = [fields, change.source if mutant.area == "generic" else "", lines]
    digest = hashlib.sha256(json.dumps([*changed, list(nodes)]).encode())
    for file in sorted({node.split("::")[0] for node in nodes}):
        digest.update((ROOT / file).read_bytes() if (ROOT / file).is_file() else b"")
    return digest.hexdigest()


@cache
def _noticed_before() -> dict[str, str]:
    """Mutant -> the test that noticed it in the results that are kept with the code."""
    if not KEPT.exists():
        return {}
    rows = json.loads(KEPT.read_text(encoding="utf-8"))["mutants"]
    return {name: row["by"] for name, row in rows.items() if row["by"]}


def keep(results: Sequence[Result]) -> None:
    """Write what became of every mutant beside the promises, for the next time and for readers."""
    counts = dict.fromkeys(("killed", "timeout", "survived", "untested"), 0)
    for one in results:
        counts[one.outcome] += 1
    rows = {one.name: {"outcome": one.outcome, "by": one.by} for one in results}
    text = json.dumps({"counts": counts, "mutants": rows}, indent=1, sort_keys=True) + "\n"
    KEPT.parent.mkdir(exist_ok=True)
    KEPT.write_text(text, encoding="utf-8")


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
