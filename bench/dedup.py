"""Near-duplicates among a million vectors and a million hashes, beside brute force.

    python -m bench.dedup                    about a quarter of an hour on 2 cores
    python -m bench.dedup --rows 100000 --rounds 1       a small run, minutes

Vectors: rows of 512 float16 in a file, as `frenchcat dedup` reads them, in two kinds: `topics`
(crowded in a narrow cone, as CLIP's are) and `even` (on the whole sphere, the hardest to part).
1 % of the rows are planted at cosine .9602 from another: just above the threshold, .96, so that
float16 rounds none of them below. `hashes` are 256 random bits; 1 % are planted at 31 bits from
another, the very edge. Brute force is a blocked float32 matrix product over all pairs: whole at the
smaller size; at the larger one block of rows against all others, multiplied up, which is said so in
its name.

Each kind is measured at `--rows`, a tenth and a hundredth of them, and between, each size in a
process of its own, whose peak memory counts. `growth` is the time at `--rows` over the median time
at a tenth. `added` is the time to find the near pairs of 1 % new rows among all others, over the
time of comparing all rows.

Figures are kept one by one in .bench/dedup/, so that a run that was stopped goes on where it was;
changed code is measured again. Writes .bench/results/dedup.json and dedup.svg beside it.
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
from bench._growth import draw, slope
from bench._kept import kept

CODE = ("curate/dedup/*.py", "bench/dedup.py")
DIMENSIONS = 512
COSINE = 0.96
PLANTED_AT = 0.9602
BITS_AT = 31
PLANTED_PART = 0.01  # of the rows are such a pair's second row
ADDED_PART = 0.01
VECTORS = ("topics", "even")
KINDS = (*VECTORS, "hashes")
BLOCK = 4096  # rows of a block of the brute force
GOALS = {
    "sec": ("<=", 600.0),
    "peak_gb": ("<=", 6.0),
    "recall": (">=", 0.99),
    "growth": ("<=", 12.0),
    "hash_growth": ("<=", 12.0),
    "hash_recall": (">=", 0.99),
}
Planted = NDArray[np.int64]


def main() -> None:
    """All kinds at all sizes."""
    parser = common.parser(__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="of the largest size")
    parser.add_argument("--rounds", type=int, default=3, help="of a tenth of them")
    parser.add_argument("--one", nargs=2, metavar=("KIND", "ROWS"), help="one size, as JSON")
    given = parser.parse_args()
    if given.one:
        kind, rows = given.one[0], int(given.one[1])
        print(json.dumps(one_hashes(rows) if kind == "hashes" else one(kind, rows)))
        return
    load = common.load()
    found = {kind: measure(kind, given.rows, given.rounds) for kind in KINDS}
    vectors, hashes = [found[kind] for kind in VECTORS], found["hashes"]
    series = {
        kind: [(size["rows"], size["cpu_sec"]) for size in f["sizes"]] for kind, f in found.items()
    }
    draw(
        common.result_path("dedup").with_suffix(".svg"),
        "Near-duplicates among rows",
        "processor seconds",
        series,
    )
    result = {
        **{name: max(f[name] for f in vectors) for name in ("sec", "peak_gb", "growth")},
        "recall": min(f["recall"] for f in vectors),
        "hash_growth": hashes["growth"],
        "hash_recall": hashes["recall"],
        "added": {kind: f["added"] for kind, f in found.items()},
        "slopes": {kind: slope(points) for kind, points in series.items()},
        "kinds": found,
        "load_before": load,
        "versions": common.our_versions("numpy", "faiss-cpu", "torch"),
    }
    common.keep("dedup", result, GOALS)


def measure(kind: str, rows: int, rounds: int) -> dict[str, Any]:
    """The largest size once, a tenth several times, others once; each in a process of its own."""
    sizes = [_apart(kind, rows // 100), _apart(kind, rows // 30)]
    small = [_apart(kind, rows // 10, number) for number in range(rounds)]
    large = _apart(kind, rows)
    middle = sorted(small, key=lambda each: float(each["sec"]))[len(small) // 2]
    sizes += [middle, _apart(kind, rows // 3), large]
    found = {
        "rows": rows,
        "sec": large["sec"],
        "peak_gb": large["peak_gb"],
        "recall": min(large["recall"], *(each["recall"] for each in small)),
        "sizes": sizes,
        "small": small,
        "growth": large["sec"] / common.median([each["sec"] for each in small]),
        "growth_of_processor_time": large["cpu_sec"]
        / common.median([each["cpu_sec"] for each in small]),
        "added": large["added_sec"] / large["sec"],
        "added_recall": large["added_recall"],
    }
    print(
        f"{kind:7} {rows // 10:9,} rows: {middle['sec']:7.1f} s\n"
        f"{'':7} {rows:9,} rows: {large['sec']:7.1f} s, {large['peak_gb']:.2f} GB, "
        f"recall {large['recall']:.4f}; 1 % added: {large['added_sec']:.1f} s",
        flush=True,
    )
    return found | (_beside_brute_force(kind, rows, found) if kind in VECTORS else {})


def _beside_brute_force(kind: str, rows: int, found: dict[str, Any]) -> dict[str, float]:
    small, _ = vectors_of(kind, rows // 10)
    large, _ = vectors_of(kind, rows)
    name = f"brute-{kind}-{rows}"
    both = kept(
        "dedup", name, CODE, lambda: {"small": brute_force(small), "large": brute_force(large, 1)}
    )
    sec = common.median([each["sec"] for each in found["small"]])
    return {
        "brute_force_small_sec": both["small"],
        "brute_force_large_sec_extrapolated": both["large"],
        "ratio_small": both["small"] / sec,
        "ratio_large_extrapolated": both["large"] / found["sec"],
    }


def _apart(kind: str, rows: int, number: int = 0) -> dict[str, Any]:
    if kind in VECTORS:
        vectors_of(kind, rows)  # made before the time counts
    command = [sys.executable, "-m", "bench.dedup", "--one", kind, str(rows)]
    return kept(
        "dedup",
        f"{kind}-{rows}-{number}",
        CODE,
        lambda: common.json_of(common.run(command, "dedup")),
    )


# -- one size ------------------------------------------------------------------------------------


def one(kind: str, rows: int) -> dict[str, Any]:
    """Seconds, peak memory and recall of `near_vectors` in this process, and of an addition."""
    import torch  # noqa: F401  (loading it is not part of the time)

    from frenchcat.curate.dedup.semantic import near_vectors

    vectors, planted = vectors_of(kind, rows)
    rounds: list[int] = []
    began, used = time.perf_counter(), time.process_time()
    edges = near_vectors(vectors, COSINE, lambda number, added: rounds.append(added))
    whole = _spent(began, used)
    added = _added(rows)
    began, used = time.perf_counter(), time.process_time()
    new = near_vectors(vectors, COSINE, added=added)
    spent = _spent(began, used)
    return {
        "rows": rows,
        **whole,
        "recall": _recall(rows, edges, planted),
        "lowest_cosine": _lowest(vectors, edges),
        "ties_added_by_round": rounds,
        **{f"added_{name}": value for name, value in spent.items()},
        "added_recall": _recall(rows, new, planted[added[planted].any(axis=1)]),
    }


def one_hashes(rows: int) -> dict[str, Any]:
    """The same of `near_hashes`."""
    import faiss  # noqa: F401

    from frenchcat.curate.dedup.perceptual import near_hashes

    hashes, planted = hashes_of(rows)
    began, used = time.perf_counter(), time.process_time()
    edges = near_hashes(hashes, BITS_AT)
    whole = _spent(began, used)
    added = _added(rows)
    began, used = time.perf_counter(), time.process_time()
    new = near_hashes(hashes, BITS_AT, added)
    spent = _spent(began, used)
    return {
        "rows": rows,
        **whole,
        "recall": _recall(rows, edges, planted),
        **{f"added_{name}": value for name, value in spent.items()},
        "added_recall": _recall(rows, new, planted[added[planted].any(axis=1)]),
    }


def _spent(began: float, used: float) -> dict[str, float]:
    return {
        "sec": time.perf_counter() - began,
        "cpu_sec": time.process_time() - used,
        "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9,
    }


def _added(rows: int) -> NDArray[np.bool_]:
    added = np.zeros(rows, bool)
    added[-max(1, int(ADDED_PART * rows)) :] = True
    return added


def _recall(rows: int, edges: NDArray[np.int64], planted: Planted) -> float:
    from frenchcat.curate.dedup.cluster import components

    if not len(planted):
        return 1.0
    labels = components(rows, edges)
    return float((labels[planted[:, 0]] == labels[planted[:, 1]]).mean())


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


# -- rows ----------------------------------------------------------------------------------------


def vectors_of(kind: str, rows: int) -> tuple[Any, Planted]:
    """Vectors (rows, 512) float16 in a mapped file, and the planted pairs (n, 2)."""
    BENCH.mkdir(exist_ok=True)
    path = BENCH / f"vectors-{kind}-{rows}.npy"
    pairs = BENCH / f"vectors-{kind}-{rows}-planted.npy"
    if not pairs.exists():
        _generate(kind, rows, path, pairs)
    return np.load(path, mmap_mode="r"), np.load(pairs)


def hashes_of(rows: int) -> tuple[NDArray[np.uint8], Planted]:
    """Hashes (rows, 32) uint8, and the planted pairs (n, 2)."""
    chance = np.random.default_rng(rows)
    hashes = chance.integers(0, 256, (rows, 32), dtype=np.uint8)
    planted = _planted(chance, rows)
    bits = np.unpackbits(hashes[planted[:, 0]], axis=1)
    turned = chance.permuted(np.tile(np.arange(256), (len(bits), 1)), axis=1)[:, :BITS_AT]
    bits[np.arange(len(bits))[:, None], turned] ^= 1
    hashes[planted[:, 1]] = np.packbits(bits, axis=1)
    return hashes, planted


def _planted(chance: np.random.Generator, rows: int) -> Planted:
    return chance.permutation(rows)[: 2 * int(PLANTED_PART * rows)].reshape(-1, 2)


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
    planted = _planted(chance, rows)
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
