"""What words add to CLIP: the bundled sample searched by its pictures' titles.

    python -m bench.hybrid                about a minute; `frenchcat demo` runs once, into .bench/

A picture's title (a column that is never indexed) is the query; found is right when it is the
picture of that title. Only titles that one picture alone has, and that are not its caption, are
asked. CLIP alone, BM25 over captions alone, and both joined by reciprocal rank. A title shares
words with its caption more often than a stranger's query would, so the gain is at its upper end,
and with the small bundled model the pictures' part is at its lower.

Prints, and writes to .bench/results/hybrid.json: the share of titles whose picture is among the
first 1 and 10, and the mean reciprocal rank within 100, with 95 % intervals of the differences.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench import _common as common

ROOT = Path(__file__).resolve().parent.parent
DEMO = ROOT / ".bench" / "demo"
DEPTH = 100


def main() -> None:
    """Make the sample's dataset where it is missing, measure, print, keep."""
    from frenchcat.curate.dataset import Dataset
    from frenchcat.index.search import Searcher

    common.parser(__doc__).parse_args()
    if not (DEMO / "dataset" / "index" / "index.json").exists():
        command = [sys.executable, "-m", "frenchcat", "demo", "--out", str(DEMO)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    found = measure(Searcher(Dataset.open(DEMO / "dataset")))
    text = json.dumps(found, indent=1, sort_keys=True) + "\n"
    common.result_path("hybrid").write_text(text, encoding="utf-8")
    print(text)


def measure(searcher: Any) -> dict[str, Any]:
    """Each way's ranks of the right pictures, summed up."""
    queries = titles(searcher)
    vectors = searcher.clip.encode_texts([title for title, _ in queries])
    ranks: dict[str, list[int]] = {"clip": [], "words": [], "joined": []}
    mask = searcher.visible.mask(_everything())
    for (title, position), vector in zip(queries, vectors, strict=True):
        rankings = {
            "clip": searcher.ranked(vector, DEPTH, view=_everything()).positions,
            "words": searcher.words.ranked(title, DEPTH, mask),
            "joined": searcher.hybrid(title, vector, DEPTH, view=_everything()).positions,
        }
        for name, positions in rankings.items():
            at = np.flatnonzero(positions == position)
            ranks[name].append(int(at[0]) + 1 if at.size else 0)
    return {
        "command": "python -m bench.hybrid",
        "queries": len(queries),
        "rows": len(searcher),
        "ways": {name: _summed(np.array(found)) for name, found in ranks.items()},
        "gain_in_mrr": {
            f"joined_over_{name}": _gain(np.array(ranks["joined"]), np.array(ranks[name]))
            for name in ("clip", "words")
        },
    }


def titles(searcher: Any) -> list[tuple[str, int]]:
    """Titles with the position of their picture."""
    from frenchcat.index.words import words_of

    rows = searcher.rows.take(np.arange(len(searcher)), ["title", "caption"])
    said = [tuple(words_of(row["title"] or "")) for row in rows]
    chosen = []
    for position, row in enumerate(rows):
        same = set(said[position]) == set(words_of(row["caption"] or ""))
        if said[position] and not same and said.count(said[position]) == 1:
            chosen.append((row["title"], position))
    return chosen


def _everything() -> Any:
    from frenchcat.index.search import View

    return View(safe=False, duplicates=True, dropped=True)


def _reciprocal(ranks: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.where(ranks > 0, 1 / np.maximum(ranks, 1), 0.0)


def _summed(ranks: NDArray[np.int64]) -> dict[str, float]:
    within = {f"recall_at_{k}": float(((ranks > 0) & (ranks <= k)).mean()) for k in (1, 10)}
    found = {**within, "mrr": float(_reciprocal(ranks).mean())}
    return {name: round(value, 3) for name, value in found.items()}


def _gain(ours: NDArray[np.int64], theirs: NDArray[np.int64]) -> list[float]:
    """The mean difference of paired reciprocal ranks, and its 95 % interval by bootstrap."""
    differences = _reciprocal(ours) - _reciprocal(theirs)
    rng = np.random.default_rng(0)
    means = rng.choice(differences, (2000, len(differences))).mean(axis=1)
    low, high = np.percentile(means, (2.5, 97.5))
    return [round(float(value), 3) for value in (differences.mean(), low, high)]


if __name__ == "__main__":
    main()
