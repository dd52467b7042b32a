"""mutmut's operators over the modules that carry promises: `python -m tools.mutants.generic`.

mutmut writes the mutants, one changed expression or statement each; `run` tries them as it tries
the semantic ones: near tests first, then quick ones, so a survivor here may still be noticed by a
slow test that was not asked, and the rate is a lower bound. All of them take days; ``--sample N``
draws N by a fixed seed and prints the rate with its 95 % interval (Wilson, 1927). A run that was
stopped goes on.

A mutant that only changes the text of an error breaks no promise: those are counted apart.
The outcomes are kept in ``results/generic.json``.
"""

from __future__ import annotations

import argparse
import ast
import fnmatch
import json
import math
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from libcst import Module
from mutmut.mutation.file_mutation import Mutation, create_mutations

from tools.mutants import run
from tools.mutants.mutant import PACKAGES, Applied, Mutant, functions
from tools.mutants.tree import ROOT

MODULES = (
    "curate/dataset.py curate/lock.py curate/stage.py curate/run_stage.py curate/engines.py "
    "curate/config.py curate/embed.py curate/select.py curate/expression.py "
    "curate/download/address.py curate/download/request.py curate/download/body.py "
    "curate/image/header.py curate/download/block.py curate/download/hosts.py "
    "curate/download/fetch.py curate/download/fetch_attempt.py curate/urls.py curate/removals.py "
    "curate/keys.py curate/download/ledger.py curate/download/rights/*.py "
    "curate/dedup/cluster.py curate/dedup/exact.py curate/dedup/survivor.py "
    "curate/verdict/*.py curate/remove/*.py index/visible.py index/part.py "
    "index/service/guard.py train/plan.py train/permutation.py train/randomness.py "
    "train/diffusion.py train/guidance.py train/optimizer.py train/checkpoint.py train/run.py "
    "train/credentials.py train/provenance.py train/settings.py "
).split()
_SEED = 20260101
_RESULTS = run.KEPT.with_name("generic.json")


def main() -> int:
    """Parse, write the mutants, try a sample or all, print the table."""
    parser = argparse.ArgumentParser(prog="python -m tools.mutants.generic", description=__doc__)
    parser.add_argument("modules", nargs="*", help="files, globs; default: all that carry promises")
    parser.add_argument("--changed", metavar="REV", help="only modules that changed since REV")
    parser.add_argument("--sample", type=int, help="so many mutants, drawn by a fixed seed")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--again", action="store_true", help="try those with a result, too")
    parser.add_argument("--least", type=float, default=0.85, help="the rate below which it fails")
    given = parser.parse_args()
    modules = _modules(given.modules or MODULES, given.changed)
    if not modules:
        print("no module that carries promises has changed")
        return 0
    found = [change for module in modules for change in changes_of(module)]
    drawn = found
    if given.sample and given.sample < len(found):
        drawn = random.Random(_SEED).sample(found, given.sample)
    print(f"{len(modules)} modules; trying {len(drawn)} of {len(found)} mutants", flush=True)
    chosen = [change() for change in drawn]
    messages = [mutant.name for mutant, change in chosen if _only_a_message(change)]
    tried = [pair for pair in chosen if pair[0].name not in set(messages)]
    results = run.try_all(tried, given.jobs, given.again, [], _tell, thorough=False)
    whole = not given.modules and not given.changed
    return _report(results, len(found), messages, given.least, whole)


def changes_of(file: str) -> list[Callable[[], tuple[Mutant, Applied]]]:
    """What mutmut's operators make of a module's functions, each written when it is called."""
    module, mutations, *_ = create_mutations(file, (ROOT / file).read_text(encoding="utf-8"))
    inside = [one for one in mutations if one.contained_by_top_level_function is not None]
    return [partial(_written, file, number, module, one) for number, one in enumerate(inside)]


def _written(file: str, number: int, module: Module, one: Mutation) -> tuple[Mutant, Applied]:
    changed = module.deep_replace(one.original_node, one.mutated_node)
    assert isinstance(changed, Module)
    before, after = module.code.splitlines(), changed.code.splitlines()
    line = next((i for i, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), 0)
    spans = functions(module.code, classes=False)
    inside = [(first, name) for name, (first, last) in spans.items() if first <= line + 1 <= last]
    name = max(inside)[1] if inside else ""
    texts = before[line].strip(), after[line].strip() if line < len(after) else ""
    mutant = Mutant(f"{file}:{name}#{number}", f"{file}:{name}", "", *texts, area="generic")
    return mutant, Applied(file, changed.code, spans.get(name, (1, len(before))))


def _modules(patterns: Iterable[str], changed: str | None) -> list[str]:
    files = [str(path.relative_to(ROOT)) for p in PACKAGES for path in (ROOT / p).rglob("*.py")]
    found = {file for file in files for pattern in patterns if fnmatch.fnmatch(file, pattern)}
    if changed:
        command = ["git", "diff", "--name-only", changed]
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        found &= set(listed.stdout.splitlines())
    return sorted(found)


def _tell(mutant: Mutant, result: run.Result) -> None:
    change = (
        "" if result.outcome in ("killed", "timeout") else f"{mutant.find}  ->  {mutant.replace}"
    )
    print(f"{result.outcome:9} {mutant.name:60} {result.seconds:6.1f} s  {change}", flush=True)


def _report(
    results: Sequence[run.Result], made: int, messages: Sequence[str], least: float, keep: bool
) -> int:
    survived = sorted(one.name for one in results if one.outcome in ("survived", "untested"))
    limits = sum(one.outcome == "timeout" for one in results)
    noticed = len(results) - len(survived)
    rate = noticed / len(results) if results else 1.0
    low, high = _wilson(noticed, len(results))
    table = {
        "mutants": made,
        "tried": len(results),
        "noticed": noticed,
        "noticed by a time limit": limits,
        "only change the text of an error": len(messages),
        "rate": round(rate, 3),
        "95 %": [round(low, 3), round(high, 3)],
        "survived": survived,
    }
    if keep:
        _RESULTS.parent.mkdir(exist_ok=True)
        _RESULTS.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    print(
        f"{len(results)} tried, {noticed} noticed ({limits} by a time limit): "
        f"{rate:.3f} (95 %: {low:.3f} to {high:.3f}); "
        f"{len(messages)} more only change the text of an error"
    )
    return 0 if rate >= least else 1


def _wilson(found: int, of: int, z: float = 1.96) -> tuple[float, float]:
    """The score interval of a proportion (Wilson, 1927)."""
    if not of:
        return 0.0, 1.0
    share = found / of
    middle = share + z * z / (2 * of)
    half = z * math.sqrt(share * (1 - share) / of + z * z / (4 * of * of))
    return (middle - half) / (1 + z * z / of), (middle + half) / (1 + z * z / of)


def _only_a_message(change: Applied) -> bool:
    """Whether the changed file equals its original but for texts of what it raises."""
    original = (ROOT / change.file).read_text(encoding="utf-8")
    return _without_messages(change.source) == _without_messages(original)


def _without_messages(source: str) -> str:
    tree = ast.parse(source)
    for raised in ast.walk(tree):
        if isinstance(raised, ast.Raise):
            for part in ast.walk(raised):
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    part.value = ""
    return ast.dump(tree)


if __name__ == "__main__":
    sys.exit(main())
