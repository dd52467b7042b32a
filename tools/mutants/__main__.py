"""`python -m tools.mutants [NAME OR AREA …]`: try semantic mutants, print the table.

Exit status 0 only where each of them was noticed. Example::

    python -m tools.mutants remove 'lock-*' --tests tests/curate/remove
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence

from tools.mutants import reach, run
from tools.mutants.mutant import Mutant, load


def main() -> int:
    """Parse, try, print."""
    parser = argparse.ArgumentParser(prog="python -m tools.mutants", description=__doc__)
    parser.add_argument("which", nargs="*", help="names or areas (files of promises/), globs")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--again", action="store_true", help="try those with a result, too")
    parser.add_argument("--tests", nargs="+", default=[], help="these tests, not the recorded ones")
    parser.add_argument("--list", action="store_true", help="print the promises and stop")
    parser.add_argument(
        "--record",
        nargs="*",
        metavar="TESTS",
        help="record again who runs what, or of TESTS alone",
    )
    given = parser.parse_args()
    mutants = run.chosen(load(), given.which)
    if given.list:
        for mutant in mutants:
            print(f"{mutant.area:12} {mutant.name:40} {mutant.promise}")
        return 0
    if given.record is not None:
        reach.record(given.record)
    results = run.try_all(run.applied(mutants), given.jobs, given.again, given.tests, _tell)
    if not given.which and not given.tests:
        run.keep(results)
    survivors = [one for one in results if one.outcome in ("survived", "untested")]
    print(_table(mutants, results))
    for one in survivors:
        print(f"not noticed: {one.name}")
    return 1 if survivors else 0


def _table(mutants: Sequence[Mutant], results: Sequence[run.Result]) -> str:
    """What became of the breaks of each area, as Markdown (docs/reliability.md has it)."""
    outcomes = ("killed", "timeout", "survived", "untested")
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for mutant, result in zip(mutants, results, strict=True):
        counts[mutant.area][result.outcome] += 1
        counts["all"][result.outcome] += 1
    rows = [("area", "breaks", "noticed by a test", "by a time limit", "survived", "untested")]
    rows += [("---",) * len(rows[0])]
    for area in (*sorted(counts.keys() - {"all"}), "all"):
        found = [counts[area][outcome] for outcome in outcomes]
        rows.append((area, *map(str, (sum(found), *found))))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _tell(mutant: Mutant, result: run.Result) -> None:
    seconds = f"{result.seconds:6.1f} s"
    head = f"{result.outcome:9} {mutant.area:12} {mutant.name:44}"
    print(f"{head} {seconds}  {result.by}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
