"""Semantic duplicates of added rows: the near pairs of which at least one row is new.

Reads vectors (an array or a memory-mapped file), writes nothing. All rows are sent to their nearest
pivot once, and each new row is compared with those of its `PROBES` nearest pivots (an inverted
file, Jegou et al. 2011). Few new rows, or new rows among few, are compared with all.

Cost: rows x sqrt(pivots) x 64 for the old rows, an eighth of a round of semantic.py; for each new
row the rows of its pivots. Memory: that of one round of semantic.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from frenchcat.curate.dedup.cluster import Edges, no_edges
from frenchcat.curate.dedup.partition import split_by, to_pivots
from frenchcat.curate.dedup.semantic import LEAF, PIVOTS, tied
from frenchcat.curate.dedup.sketches import Sketches, Vectors

if TYPE_CHECKING:
    import torch

PROBES = 32
"""Pivots whose rows a new row is compared with."""
EXHAUSTIVE = 200_000_000
"""Pairs of new rows and rows that are compared one and all."""
_BLOCK = 4096
_SEED = 20_191_114


def near_added(vectors: Vectors, added: NDArray[np.bool_], cosine: float) -> Edges:
    """Edges that tie the rows `added` (N,) to any of the unit vectors (N, D) of that cosine.

    Not every near pair is named: of a crowd only what ties it together. Pairs of rows that are not
    new are not compared.
    """
    sketches = Sketches(vectors)
    return np.concatenate(
        [
            no_edges(),
            *(
                _between(sketches, new, rows, cosine)
                for new, rows in _met(sketches, np.flatnonzero(added))
            ),
        ]
    )


def _met(
    sketches: Sketches, new: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """New rows, and rows that they are to be compared with."""
    every = np.arange(len(sketches), dtype=np.int64)
    if len(new) * len(every) <= EXHAUSTIVE:
        yield new, every
        return
    chance = np.random.default_rng(_SEED)
    count = min(PIVOTS, -(-2 * len(every) // LEAF))
    pivots = np.sort(chance.choice(every, count, replace=False))
    # Of pivots that are equal one alone has rows: it must not be missed among the nearest.
    taken, place = np.unique(to_pivots(sketches, every, pivots)[0], return_inverse=True)
    pivots, members = pivots[taken], split_by(place, every, len(taken))
    probed = [_probes(sketches, new[s : s + _BLOCK], pivots) for s in range(0, len(new), _BLOCK)]
    places = np.concatenate(probed)
    visitors = split_by(places.ravel(), np.repeat(new, places.shape[1]), len(taken))
    yield from zip(visitors, members, strict=True)


def _probes(
    sketches: Sketches, rows: NDArray[np.int64], pivots: NDArray[np.int64]
) -> NDArray[np.int64]:
    """(n, PROBES): the places of each row's nearest pivots."""
    near = _closeness(sketches.of(rows), sketches.of(pivots))
    places: NDArray[np.int64] = near.topk(min(PROBES, len(pivots)), dim=1).indices.numpy()
    return places


def _between(
    sketches: Sketches, new: NDArray[np.int64], rows: NDArray[np.int64], cosine: float
) -> Edges:
    """Near pairs of a new row and a row."""
    found = [no_edges()]
    for at in range(0, len(new), _BLOCK):
        for start in range(0, len(rows), _BLOCK):
            here, there = new[at : at + _BLOCK], rows[start : start + _BLOCK]
            near = _closeness(sketches.of(here), sketches.of(there)) >= sketches.limit(cosine) / -2
            near &= _other(here, there)
            here, there = here[near.any(dim=1).numpy()], there[near.any(dim=0).numpy()]
            if len(here):
                exact = sketches.full(here) @ sketches.full(there).T >= cosine
                pairs = (exact & _other(here, there)).nonzero().numpy()
                pairs[:, 1] += len(here)
                found.append(tied(np.concatenate([here, there]), pairs))
    return np.concatenate(found)


def _closeness(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """(n, m): minus half of the squared distances."""
    near = left @ right.T
    near -= left.square().sum(dim=1, keepdim=True) / 2
    near -= right.square().sum(dim=1) / 2
    return near


def _other(left: NDArray[np.int64], right: NDArray[np.int64]) -> torch.Tensor:
    """(n, m): whether two rows are not the same one."""
    import torch

    return torch.from_numpy(left)[:, None] != torch.from_numpy(right)
