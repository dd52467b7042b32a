"""Try mutants: each in a copy of the tree, with the tests that run its function.

Reads ``promises/*.toml``, writes ``.mutants/semantic.json`` after each mutant, so a run that was
stopped goes on, and at the end ``results/semantic.json``, which is kept with the code: the test
that noticed a mutant is asked first the next time. Only where that test is not known, or notices
nothing, are the tests asked that ``.mutants/reach.json`` lists (see `reach`; recording it takes
longer than the suite). A result is kept while the mutant, the function it is in and the files of
its tests are unchanged; a change elsewhere that makes a test blind is found by ``--again``.
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
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
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
Parts = Iterable[list[str]]


@dataclass(frozen=True)
class Result:
    """What became of a mutant."""

    name: str
    outcome: str  # killed | timeout | survived | untested
    by: str  # the test that noticed it, or did not end; or ""
    tests: int  # that were chosen
    seconds: float
    key: str = ""  # of what the result depends on

    def asked(self, nodes: Sequence[str]) -> Sequence[str]:
        """The tests that the result depends on: of all `nodes` the one that noticed."""
        return [self.by] if self.by else nodes


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
    kept = {} if again or tests else _kept()
    folders = [WORK / f"copy-{number}" for number in range(jobs)]
    for folder in folders:
        compile_in(copy_to(folder))
    free, lock = list(folders), threading.Lock()
    results: dict[str, Result] = {}

    def tried(pair: tuple[Mutant, Applied], nodes: Sequence[str], parts: Parts, last: bool) -> None:
        """Ask tests; where others are left, only what these noticed is a result."""
        mutant, change = pair
        found = kept.get(mutant.name)
        if found is None or found.key != _key(mutant, change, found.asked(nodes)):
            with lock:
                folder = free.pop()
            try:
                found = _try(mutant, change, nodes, parts, folder)
            finally:
                with lock:
                    free.append(folder)
            if not last and found.outcome == "survived":
                return
            with lock:
                if not tests:
                    _keep(found)
                tell(mutant, found)
        results[mutant.name] = found

    def first(pair: tuple[Mutant, Applied]) -> None:
        if nodes := list(tests) or _expected(pair[0].name):
            tried(pair, nodes, [nodes], last=bool(tests))

    def second(pair: tuple[Mutant, Applied]) -> None:
        nodes = _candidates(*pair)
        tried(pair, nodes, _in_turn(nodes, *pair, thorough), last=True)

    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(first, mutants))
        left = [pair for pair in mutants if pair[0].name not in results]
        if left:
            _recorded()  # before threads ask for it
        list(pool.map(second, left))
    return [results[mutant.name] for mutant, _ in mutants]


def _expected(name: str) -> list[str]:
    """The test that noticed a mutant the last time, if it is still there."""
    before = _noticed_before().get(name, "")
    return [before] if before and _still_there(ROOT, [before]) else []


@cache
def _recorded() -> reach.Reach:
    if not reach.recorded():
        reach.record([])
    return reach.load()


def _candidates(mutant: Mutant, change: Applied) -> list[str]:
    """The tests that the mutant names, who is known to run the place, and the module's own tests.

    What a process ran that was killed is not recorded, nor what runs at import: a default of a
    class has the tests of its folder.
    """
    recorded = _recorded()
    found = [node for node in recorded.seconds if mutant.tests and node.startswith(mutant.tests)]
    found = found or ([mutant.tests] if mutant.tests else [])  # a file that was not recorded yet
    source = (ROOT / change.file).read_text(encoding="utf-8")
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
    mutant: Mutant, change: Applied, nodes: Sequence[str], parts: Parts, folder: Path
) -> Result:
    if not nodes:
        return Result(mutant.name, "untested", "", 0, 0.0, _key(mutant, change, nodes))
    begin, outcome, by = time.monotonic(), "survived", ""
    with mutated(folder, change):
        for part in parts:
            outcome, by = _asked(folder, part)
            if outcome != "survived":
                break
    seconds = round(time.monotonic() - begin, 1)
    found = Result(mutant.name, outcome, by, len(nodes), seconds)
    return replace(found, key=_key(mutant, change, found.asked(nodes)))


def _asked(folder: Path, nodes: Sequence[str]) -> tuple[str, str]:
    """What tests say of a mutant; one that fails only beside others says nothing."""
    left = list(nodes)
    while left:
        expected = sum(map(_seconds, left))
        outcome, by = _run(folder, left, min(_LEAST_SEC + _TIMES * expected, _LIMIT_SEC))
        if outcome == "timeout" and len(left) == 1:
            return outcome, left[0]
        alone = len(left) == 1 or by not in left
        if outcome != "killed" or alone or _run(folder, [by], _LIMIT_SEC)[0] != "survived":
            return outcome, by
        left.remove(by)
    return "survived", ""


def _seconds(node: str) -> float:
    """How long a test, or all tests of a file, took when they were recorded."""
    seconds = _recorded().seconds if reach.recorded() else {}
    if "::" in node:
        return seconds.get(node, 60.0)
    return 60.0 + sum(sec for name, sec in seconds.items() if name.startswith(node))


def _in_turn(nodes: Sequence[str], mutant: Mutant, change: Applied, thorough: bool) -> Parts:
    """The tests in parts: who noticed it last time, the named, the module's own, near by, others.

    Of the others first the quickest, as many as take `_QUICK_SEC` together. The rest is asked only
    where `thorough`: a function that half of the suite runs costs half of the suite for a mutant
    that nobody notices.
    """
    left = list(nodes)
    if (before := _noticed_before().get(mutant.name, "")) in left:
        left.remove(before)
        yield [before]
    for first in dict.fromkeys(filter(None, (mutant.tests, _own_file(change.file)))):
        own = [node for node in left if node.startswith(first)]
        left = [node for node in left if not node.startswith(first)]
        if "::" not in first and (ROOT / first).is_file():
            yield [first]  # as a whole: with the tests that were written since it was recorded
        elif own:
            yield sorted(own)
    files = sorted({node.split("::")[0] for node in left}, key=lambda one: -_near(one, change.file))
    near = set(files[:_NEAR_FILES])
    if part := [node for node in left if node.split("::")[0] in near]:
        yield _by_file(part)
    others = [node for node in left if node.split("::")[0] not in near]
    spent = itertools.accumulate(_recorded().seconds.get(node, 1.0) for node in others)
    quick = sum(sec < _QUICK_SEC for sec in spent)
    for part in (others[:quick], others[quick:] if thorough else []):
        if part:
            yield _by_file(part)


def _by_file(nodes: Sequence[str]) -> list[str]:
    """The quickest file first, each in one piece and in its own order, as fixtures are shared."""
    recorded = _recorded().seconds
    order = {node: number for number, node in enumerate(recorded)}
    seconds: dict[str, float] = defaultdict(float)
    for node in nodes:
        seconds[node.split("::")[0]] += recorded.get(node, 1.0)
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


def _key(mutant: Mutant, change: Applied, nodes: Sequence[str]) -> str:
    source = (ROOT / change.file).read_text(encoding="utf-8")
    lines = source.splitlines()[change.lines[0] - 1 : change.lines[1]]
    fields = {name: value for name, value in asdict(mutant).items() if name != "tests"}
    changed = [fields, change.source if mutant.area == "generic" else "", lines]
    digest = hashlib.sha256(json.dumps([*changed, list(nodes)]).encode())
    for file in sorted({node.split("::")[0] for node in nodes}):
        digest.update((ROOT / file).read_bytes() if (ROOT / file).is_file() else b"")
    return digest.hexdigest()


@cache
def _noticed_before() -> dict[str, str]:
    """Mutant -> the test that noticed it, in this checkout or in the results kept with the code."""
    rows = json.loads(KEPT.read_text(encoding="utf-8"))["mutants"] if KEPT.exists() else {}
    before = {name: row["by"] for name, row in rows.items() if row["by"]}
    return before | {name: one.by for name, one in _kept().items() if one.by}


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
