"""Near-duplicates among a million vectors, beside brute force.

    python -m bench.dedup                    about a quarter of an hour on 2 cores

Vectors: rows of 512 float16 in a file, as `frenchcat dedup` reads them, in two kinds: `topics`
(crowded in a narrow cone, as CLIP's are) and `even` (on the whole sphere, the hardest to part).
1 % of the rows are planted at cosine .9602 from another: just above the threshold, .96, so that
float16 rounds none of them below. Each size runs in a process of its own, whose peak memory counts.
Brute force is a blocked float32 matrix product over all pairs: whole at the smaller size; at the
larger one block of rows against all others, multiplied up, which is said so in its name.

Writes .bench/results/dedup.json.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench import _common as common
from bench._common import BENCH

DIMENSIONS = 512
COSINE = 0.96
PLANTED_AT = 0.9602
PLANTED_PART = 0.01  # of the rows are such a pair's second row
KINDS = ("topics", "even")
BLOCK = 4096  # rows of a block of the brute force
GOALS = {
    "sec": ("<=", 600.0),
    "peak_gb": ("<=", 6.0),
    "recall": (">=", 0.99),
    "growth": ("<=", 12.0),
}


def main() -> None:
    """Both kinds of vectors."""
    parser = common.parser(__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="vectors")
    parser.add_argument("--rounds", type=int, default=3, help="of the smaller size")
    parser.add_argument("--one", nargs=2, metavar=("KIND", "ROWS"), help="one size, as JSON")
    given = parser.parse_args()
    if given.one:
        print(json.dumps(one(given.one[0], int(given.one[1]))))
        return
    load = common.load()
    vectors = {kind: measure(kind, given.rows, given.rounds) for kind in KINDS}
    worst = {
        name: max(vectors[kind][name] for kind in KINDS) for name in ("sec", "peak_gb", "growth")
    }
    result = {
        **worst,
        "recall": min(vectors[kind]["recall"] for kind in KINDS),
        "vectors": vectors,
        "load_before": load,
        "versions": common.our_versions("numpy", "faiss-cpu"),
    }
    common.keep("dedup", result, GOALS)


def measure(kind: str, rows: int, rounds: int) -> dict[str, Any]:
    """The large size once, a tenth of it several times, each in a process of its own."""
    small = [_apart(kind, rows // 10) for _ in range(rounds)]
    large = _apart(kind, rows)
    brute = brute_force(vectors_of(kind, rows // 10)[0])
    block = brute_force(vectors_of(kind, rows)[0], blocks=1)
    sec = common.median([each["sec"] for each in small])
    found = {
        "rows": rows,
        "sec": large["sec"],
        "peak_gb": large["peak_gb"],
        "recall": min(large["recall"], *(each["recall"] for each in small)),
        "small": small,
        "large": large,
        "growth": large["sec"] / sec,
        "brute_force_small_sec": brute,
        "brute_force_large_sec_extrapolated": block,
        "ratio_small": brute / sec,
        "ratio_large_extrapolated": block / large["sec"],
    }
    print(
        f"{kind:7} {rows // 10:9,} rows: {sec:7.1f} s, brute force {brute:8.1f} s\n"
        f"{'':7} {rows:9,} rows: {large['sec']:7.1f} s, brute force {block:8.1f} s (extrapolated),"
        f" {large['peak_gb']:.2f} GB, recall {large['recall']:.4f}",
        flush=True,
    )
    return found


def _apart(kind: str, rows: int) -> dict[str, Any]:
    vectors_of(kind, rows)
    done = common.run([sys.executable, "-m", "bench.dedup", "--one", kind, str(rows)], "dedup")
    return common.json_of(done)


def one(kind: str, rows: int) -> dict[str, Any]:
    """Seconds, peak memory and recall of `near_vectors` in this process."""
    import torch  # noqa: F401  (loading it is not part of the time)

    from frenchcat.curate.dedup.cluster import components
    from frenchcat.curate.dedup.semantic import near_vectors

    vectors, planted = vectors_of(kind, rows)
    rounds: list[int] = []
    began, used = time.perf_counter(), time.process_time()
    edges = near_vectors(vectors, COSINE, lambda number, added: rounds.append(added))
    sec, cpu_sec = time.perf_counter() - began, time.process_time() - used
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    labels = components(rows, edges)
    return {
        "rows": rows,
        "sec": sec,
        "cpu_sec": cpu_sec,
        "peak_gb": peak / 1e9,
        "recall": float((labels[planted[:, 0]] == labels[planted[:, 1]]).mean()),
        "lowest_cosine": _lowest(vectors, edges),
        "ties_added_by_round": rounds,
    }


def _lowest(vectors: Any, edges: NDArray[np.int64]) -> float:
    """The lowest cosine of the pairs named, which must not lie below the threshold."""
    lowest = 1.0
    for start in range(0, len(edges), BLOCK):
        left, right = (vectors[edges[start : start + BLOCK, side]] for side in (0, 1))
        cosines = (left.astype(np.float32) * right.astype(np.float32)).sum(axis=1)
        lowest = min(lowest, float(cosines.min()))
    return lowest


def brute_force(vectors: Any, blocks: int | None = None) -> float:
    """Seconds to compare all pairs once; of `blocks` rows' blocks only, multiplied up."""
    starts = range(0, len(vectors), BLOCK)
    began = time.perf_counter()
    pairs = 0
    for start in starts[:blocks]:
        rows = vectors[start : start + BLOCK].astype(np.float32)
        for other in range(start, len(vectors), BLOCK):
            product = rows @ vectors[other : other + BLOCK].astype(np.float32).T
            np.argwhere(product >= COSINE)
            pairs += product.size
    sec = time.perf_counter() - began
    every = len(vectors) * (len(vectors) + BLOCK) / 2
    return sec * every / pairs


def vectors_of(kind: str, rows: int) -> tuple[Any, NDArray[np.int64]]:
    """Vectors (rows, 512) float16 in a mapped file, and the planted pairs (n, 2)."""
    BENCH.mkdir(exist_ok=True)
    path = BENCH / f"vectors-{kind}-{rows}.npy"
    pairs = BENCH / f"vectors-{kind}-{rows}-planted.npy"
    if not pairs.exists():
        _generate(kind, rows, path, pairs)
    return np.load(path, mmap_mode="r"), np.load(pairs)


def _generate(kind: str, rows: int, path: Path, pairs: Path) -> None:
    chance = np.random.default_rng(rows)
    shape = (rows, DIMENSIONS)
    out = np.lib.format.open_memmap(path, "w+", np.float16, shape)
    centres = chance.standard_normal((max(2, rows // 100), DIMENSIONS), np.float32) + 1.0
    for start in range(0, rows, BLOCK):
        made = chance.standard_normal((min(BLOCK, rows - start), DIMENSIONS), np.float32)
        if kind == "topics":
            made = centres[chance.integers(0, len(centres), len(made))] + 0.6 * made
        out[start : start + BLOCK] = _unit(made)
    planted = chance.permutation(rows)[: 2 * int(PLANTED_PART * rows)].reshape(-1, 2)
    for start in range(0, len(planted), BLOCK):
        ends = planted[start : start + BLOCK]
        first = _unit(out[ends[:, 0]].astype(np.float32))
        noise = chance.standard_normal(first.shape, np.float32)
        away = _unit(noise - (noise * first).sum(axis=1, keepdims=True) * first)
        out[ends[:, 1]] = PLANTED_AT * first + np.sqrt(1 - PLANTED_AT**2) * away
    out.flush()
    np.save(pairs, planted)


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    unit: NDArray[np.float32] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit


if __name__ == "__main__":
    main()
