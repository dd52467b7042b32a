"""mutmut's own operators over the modules that carry promises: `python -m tools.mutants.generic`.

mutmut writes all mutants of a function beside it and switches between them by an environment
variable, so a mutant costs its tests and no imports; it runs the tests that call the function.
It wants real packages where this repository has links, so it works in a copy laid out like the
wheel. Whole modules take hours; ``--sample N`` draws N mutants by a fixed seed and prints the
rate with its 95 % interval (Wilson, 1927). A run that was stopped goes on.

The results are kept in ``.mutants/generic.json``. A mutant that only changes the text of an error
is no promise: those are counted apart.
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
from collections.abc import Iterable
from pathlib import Path

from tools.mutants.mutant import PACKAGES
from tools.mutants.tree import ROOT, WORK, copy_to, environment

MODULES = (
    "curate/dataset.py curate/lock.py curate/stage.py curate/run_stage.py curate/engines.py "
    "curate/config.py curate/embed.py curate/select.py curate/expression.py "
    "curate/download/address.py curate/download/request.py curate/download/body.py "
    "curate/download/header.py curate/download/block.py curate/download/hosts.py "
    "curate/download/fetch.py curate/download/trip.py curate/urls.py curate/removals.py "
    "curate/keys.py curate/download/ledger.py curate/download/rights/*.py "
    "curate/dedup/cluster.py curate/dedup/exact.py curate/dedup/survivor.py "
    "curate/verdict/*.py curate/remove/*.py index/visible.py index/part.py "
    "index/service/guard.py train/plan.py train/permutation.py train/randomness.py "
    "train/diffusion.py train/guidance.py train/optimizer.py train/checkpoint.py train/run.py "
    "train/credentials.py train/provenance.py train/settings.py "
).split()
_SEED = 20260101
_FOLDER = WORK / "generic"
_RESULTS = WORK / "generic.json"
# mutmut's exit codes per mutant: pytest's own, and those of its time limits.
_KILLED, _TIMEOUT = {1, 2, 3, 37}, {36, 24, -24, 152, 255}


def main() -> int:
    """Parse, generate, try a sample or all, print the table."""
    parser = argparse.ArgumentParser(prog="python -m tools.mutants.generic", description=__doc__)
    parser.add_argument("modules", nargs="*", help="files, globs; default: all that carry promises")
    parser.add_argument("--changed", metavar="REV", help="only modules that changed since REV")
    parser.add_argument("--sample", type=int, help="so many mutants, drawn by a fixed seed")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--least", type=float, default=0.85, help="the rate below which it fails")
    given = parser.parse_args()
    modules = _modules(given.modules or MODULES, given.changed)
    if not modules:
        print("no module that carries promises has changed")
        return 0
    _prepare(modules)
    _mutmut("run", "--max-children", str(given.jobs), "nothing-yet*")  # makes them, tries none
    names = sorted(_outcomes())
    if given.sample and given.sample < len(names):
        names = sorted(random.Random(_SEED).sample(names, given.sample))
    print(f"{len(modules)} modules; trying {len(names)} of {len(_outcomes())} mutants", flush=True)
    _mutmut("run", "--max-children", str(given.jobs), *names)
    return _report({name: code for name, code in _outcomes().items() if name in set(names)}, given)


def _modules(patterns: Iterable[str], changed: str | None) -> list[str]:
    files = [str(path.relative_to(ROOT)) for p in PACKAGES for path in (ROOT / p).rglob("*.py")]
    found = {file for file in files for pattern in patterns if fnmatch.fnmatch(file, pattern)}
    if changed:
        command = ["git", "diff", "--name-only", changed]
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        found &= set(listed.stdout.splitlines())
    return sorted(found)


def _prepare(modules: list[str]) -> None:
    copy_to(_FOLDER, place=_as_in_wheel)
    settings = {
        "source_paths": ["frenchcat"],
        "only_mutate": [_as_in_wheel(module) for module in modules],
        "also_copy": sorted(
            path.name for path in _FOLDER.iterdir() if path.name not in ("frenchcat", "mutants")
        ),
        "pytest_add_cli_args": ["-m", "not slow and not ray", "-p", "no:cacheprovider"],
        "process_isolation": "forkserver",
        "timeout_constant": 30.0,
    }
    project = _FOLDER / "pyproject.toml"
    lines = [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    project.write_text(text + "\n[tool.mutmut]\n" + "\n".join(lines) + "\n", encoding="utf-8")


def _as_in_wheel(name: str) -> str | None:
    """Where a file of the checkout lies in the copy; None for the links of packages."""
    top, _, rest = name.partition("/")
    if top == "frenchcat" and rest in PACKAGES:
        return None
    return f"frenchcat/{name}" if top in PACKAGES and top != "frenchcat" else name


def _mutmut(*arguments: str) -> None:
    command = [str(Path(sys.executable).with_name("mutmut")), *arguments]
    env = environment(_FOLDER / "mutants")
    subprocess.run(command, cwd=_FOLDER, env=env, check=False)


def _outcomes() -> dict[str, int | None]:
    """Mutant -> mutmut's exit code; None where it was not tried."""
    found: dict[str, int | None] = {}
    for path in sorted((_FOLDER / "mutants").rglob("*.py.meta")):
        found |= json.loads(path.read_text(encoding="utf-8"))["exit_code_by_key"]
    return found


def _report(outcomes: dict[str, int | None], given: argparse.Namespace) -> int:
    words: dict[str, list[str]] = {"killed": [], "timeout": [], "message": [], "survived": []}
    untried = [name for name, code in outcomes.items() if code is None]
    for name, code in outcomes.items():
        if code is not None:
            killed = "killed" if code in _KILLED else "timeout" if code in _TIMEOUT else ""
            words[killed or ("message" if _only_a_message(name) else "survived")].append(name)
    noticed = len(words["killed"]) + len(words["timeout"])
    tried = noticed + len(words["survived"])
    rate = noticed / tried if tried else 0.0
    low, high = _wilson(noticed, tried)
    _RESULTS.write_text(json.dumps(words | {"rate": [rate, low, high]}, indent=1) + "\n")
    for name in words["survived"]:
        print(f"not noticed: {name}")
    print(
        f"{tried} tried, {noticed} noticed ({len(words['timeout'])} by a time limit): "
        f"{rate:.3f} (95 %: {low:.3f} to {high:.3f}); "
        f"{len(words['message'])} only change the text of an error; {len(untried)} not tried"
    )
    return 0 if rate >= given.least and not untried else 1


def _wilson(found: int, of: int, z: float = 1.96) -> tuple[float, float]:
    """The score interval of a proportion (Wilson, 1927)."""
    if not of:
        return 0.0, 1.0
    share = found / of
    middle = share + z * z / (2 * of)
    half = z * math.sqrt(share * (1 - share) / of + z * z / (4 * of * of))
    return (middle - half) / (1 + z * z / of), (middle + half) / (1 + z * z / of)


def _only_a_message(mutant: str) -> bool:
    """Whether a mutant equals its original but for texts of what it raises."""
    module, _, function = mutant.rpartition(".")
    file = _FOLDER / "mutants" / (module.replace(".", "/") + ".py")
    if not file.exists():
        file = file.with_suffix("") / "__init__.py"
    original = function.rpartition("__mutmut_")[0] + "__mutmut_orig"
    found: dict[str, str] = {}
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if (name := node.name) in (function, original):
            found[name] = _without_messages(node)
    return len(found) == 2 and found[function] == found[original]


def _without_messages(node: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    node.name = ""
    for raised in ast.walk(node):
        if isinstance(raised, ast.Raise):
            for part in ast.walk(raised):
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    part.value = ""
    return ast.dump(node)


if __name__ == "__main__":
    sys.exit(main())
