"""Recall@10 of an index against exact search, with a confidence interval.

Queries are rows that are held out: neither the index nor the exact search may return them. Each row
gives two queries, its image's vector and its caption's, because texts lie elsewhere in CLIP's space
than images and are harder to search (Jaiswal et al.: "OOD-DiskANN", 2022). The interval is Wilson's
at 95 %, with the sample size divided by the design effect (Kish, 1965), since the ten neighbours of
one query tend to be found or missed together. Cost: one pass over the vectors and as many products
as queries; some seconds per million rows.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from frenchcat.curate.command_text import shell_command
from frenchcat.curate.errors import UserError
from frenchcat.index import kinds
from frenchcat.index.vectors import StoredVectors, Vectors

Positions = NDArray[np.int64]
K = 10
QUERIES = 200
AIM = 0.99
TIMED = 50  # queries
NEAR, FAR = (32, 64, 128, 256), (512, 1024, 2048, 4096)  # reranks
PROBES = (8, 16, 32, 64, 128, 256, 512, 1024)
Z = 1.959964  # of 95 %


@dataclass(frozen=True)
class Asked:
    """What the user fixed; None for what is to be tuned."""

    rerank: int | None = None
    probes: int | None = None
    target: float | None = None


@dataclass(frozen=True)
class Tuned:
    """The widths of a search, and the recall measured with them."""

    rerank: int | None
    probes: int | None
    measured: dict[str, Any] = field(default_factory=dict)


EXACT = Tuned(None, None, {"exact": True})
"""Every stored number is compared: recall is 1 by construction."""


@dataclass(frozen=True)
class Recall:
    """The share of the true neighbours found, over all queries."""

    recall: float
    low: float
    high: float
    queries: int


@dataclass(frozen=True)
class Trial:
    """One modality's index, the queries of one kind, and their true neighbours."""

    index: Any
    stored: StoredVectors
    queries: Vectors  # (Q, D)
    bits: NDArray[np.uint8]  # rows that may be found
    truth: Vectors  # (Q,) the similarity of the tenth true neighbour


def tune(
    indexes: Mapping[str, Any],
    stored: Mapping[str, StoredVectors],
    asked: Asked,
    root: str = "DATASET",
) -> Tuned:
    """The narrowest search that reaches the target for images and captions alike.

    Raises `UserError` if the target is not met, with the settings that would meet it.
    """
    trials = trials_of(indexes, stored)
    goal = asked.target or AIM
    lists = getattr(next(iter(indexes.values())), "nlist", None)
    rerank, probes, recalls = _narrowest(trials, asked, lists, goal)
    worst = min((found.recall for found in recalls.values()), default=1.0)
    if asked.target is not None and worst < asked.target:
        raise UserError(_unmet(trials, asked, lists, worst, root))
    latency = {name: _latency(trial, rerank, probes) for name, trial in trials.items()}
    measured = {
        "recall_at_10": {name: _rounded(found) for name, found in recalls.items()},
        "latency_ms": latency,
    }
    return Tuned(rerank, probes, measured)


def trials_of(indexes: Mapping[str, Any], stored: Mapping[str, StoredVectors]) -> dict[str, Trial]:
    """What is measured: ``image_by_text`` (images found by captions) and the like."""
    count = len(next(iter(stored.values())))
    held = np.unique(np.linspace(0, count - 1, min(QUERIES, max(1, count // 10))).astype(np.int64))
    may = np.ones(count, bool)
    may[held] = False
    bits = np.packbits(may, bitorder="little")
    found = {}
    for modality, index in indexes.items():
        queries = {name: there.gather(held) for name, there in stored.items()}
        best = _tenth(stored[modality], np.concatenate(list(queries.values())), may)
        for number, (name, vectors) in enumerate(queries.items()):
            truth = best[number * len(held) : (number + 1) * len(held)]
            found[f"{modality}_by_{name}"] = Trial(index, stored[modality], vectors, bits, truth)
    return found


def _tenth(stored: StoredVectors, queries: Vectors, may: NDArray[np.bool_]) -> Vectors:
    """(Q,) similarity of each query's tenth nearest row among those that may be found."""
    best = np.full((len(queries), K), -np.inf, np.float32)
    for start, block in stored.blocks():
        here = may[start : start + len(block)]
        similarities = queries @ block.T  # (Q, n)
        similarities[:, ~here] = -np.inf
        merged = np.concatenate([best, similarities], axis=1)
        best = np.partition(merged, merged.shape[1] - K, axis=1)[:, -K:]
    return np.asarray(best.min(axis=1))


def recall_of(trial: Trial, rerank: int, probes: int | None) -> Recall:
    """The recall@10 of a search of these widths. Rows as near as the tenth count as true
    neighbours.
    """
    return recalls_of(trial, (rerank,), probes)[rerank]


def recalls_of(trial: Trial, reranks: Sequence[int], probes: int | None) -> dict[int, Recall]:
    """Recall@10 for each rerank from one search: a narrower one's candidates are its first ones."""
    shares = np.empty((len(reranks), len(trial.queries)))
    for number, query in enumerate(trial.queries):
        wanted = min(K + max(reranks), len(trial.stored))
        _, positions = kinds.search(trial.index, query, wanted, trial.bits, probes)
        true = trial.stored.gather(positions) @ query >= trial.truth[number] - 1e-6
        for row, rerank in enumerate(reranks):
            shares[row, number] = min(K, int(true[: K + rerank].sum())) / K
    return {rerank: interval(row) for rerank, row in zip(reranks, shares, strict=True)}


def _searched(trial: Trial, query: Vectors, rerank: int, probes: int | None) -> Vectors:
    """The similarities of the ten hits of a search, descending."""
    wanted = min(K + rerank, len(trial.stored))
    _, positions = kinds.search(trial.index, query, wanted, trial.bits, probes)
    similarities = trial.stored.gather(np.sort(positions)) @ query
    return np.sort(similarities)[::-1][:K]


def interval(shares: NDArray[np.float64]) -> Recall:
    """The mean of (Q,) shares of ten with its 95 % interval."""
    count, mean = len(shares), float(shares.mean())
    spread = mean * (1 - mean) / K
    effect = float(np.clip(shares.var() / spread, 1, K)) if spread > 1e-12 else float(K)
    size = count * K / effect
    middle = (mean + Z**2 / (2 * size)) / (1 + Z**2 / size)
    half = Z / (1 + Z**2 / size) * np.sqrt(mean * (1 - mean) / size + Z**2 / (4 * size**2))
    low, high = float(middle - half), float(middle + half)
    return Recall(mean, max(0.0, min(low, mean)), min(1.0, max(high, mean)), count)


def _narrowest(
    trials: Mapping[str, Trial], asked: Asked, lists: int | None, goal: float
) -> tuple[int, int | None, dict[str, Recall]]:
    """The first widths that reach the goal, or the widest."""
    found: tuple[int, int | None, dict[str, Recall]] | None = None
    for reranks, probes in _widths(asked, lists):
        tried = {name: recalls_of(trial, reranks, probes) for name, trial in trials.items()}
        for rerank in reranks:
            recalls = {name: by_rerank[rerank] for name, by_rerank in tried.items()}
            found = rerank, probes, recalls
            if min(recall.recall for recall in recalls.values()) >= goal:
                return found
    assert found is not None
    return found


def _widths(asked: Asked, lists: int | None) -> list[tuple[Sequence[int], int | None]]:
    """Reranks and probes to try, from narrow to wide."""
    near: Sequence[int] = NEAR if asked.rerank is None else (asked.rerank,)
    far: Sequence[int] = FAR if asked.rerank is None else ()
    probes: list[int | None] = [None]
    if lists is not None:
        probes = [*(number for number in PROBES if number < lists), lists]
        if asked.probes is not None:
            probes = [min(asked.probes, lists)]
    # Lists first: reranking cannot find what was not searched.
    widths: list[tuple[Sequence[int], int | None]] = [(near, number) for number in probes]
    return widths + [((rerank,), probes[-1]) for rerank in far]


def _unmet(
    trials: Mapping[str, Trial], asked: Asked, lists: int | None, worst: float, root: str
) -> str:
    """The error, with settings that would meet the target if there are any."""
    target = asked.target or AIM
    free = Asked(None, None, target)
    rerank, probes, recalls = _narrowest(trials, free, lists, target)
    said = f"recall@10 is {worst:.4f}, below --target-recall {target}"
    if min(found.recall for found in recalls.values()) >= target:
        options = ["--set", f"index.rerank={rerank}"]
        options += [] if probes is None else ["--set", f"index.probes={probes}"]
        return f"{said}; to meet it: {shell_command('index', root, *options)}"
    exact = shell_command("index", root, "--set", f"index.factory={kinds.EXACT}")
    return f"{said}; use exact search: {exact}"


def _latency(trial: Trial, rerank: int, probes: int | None) -> dict[str, float]:
    """p50 and p95 in milliseconds of single queries, one after another on one thread."""
    spent = []
    for query in trial.queries[:TIMED]:
        began = time.perf_counter()
        _searched(trial, query, rerank, probes)
        spent.append((time.perf_counter() - began) * 1e3)
    return {f"p{part}": round(float(np.percentile(spent, part)), 2) for part in (50, 95)}


def _rounded(found: Recall) -> dict[str, Any]:
    numbers = {name: round(getattr(found, name), 4) for name in ("recall", "low", "high")}
    return {**numbers, "queries": found.queries}
