"""Datasets indexed in parts whose rows are judged, scored, clustered and removed by chance."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from frenchcat.curate.dataset import Dataset
from frenchcat.curate.removals import Request, log, next_number
from frenchcat.index.build import IndexSettings, build_index
from tests.sample.embedded import add_shard
from tests.sample.vectors import unit_rows

SHARDS = {"00000": 70, "00002": 1, "00003": 50, "00007": 60}
REASONS = {
    "unsafe_picture": 0.04,
    "punsafe": 0.04,
    "nsfw": 0.04,
    "violence>0.5": 0.04,
    "tiny": 0.05,
    "not_nsfw": 0.04,
    "duplicate": 0.05,
    "": 0.7,
}


@dataclass
class Row:
    """What is known of a row, in plain words."""

    key: str
    vector: NDArray[np.float32]
    reason: str | None
    punsafe: float | None
    cluster: str
    stays: bool
    removed: bool = False
    judged: bool = True  # False: there is no verdict on it

    @property
    def unsafe(self) -> bool:
        """By its score, or by a rule whose name begins so."""
        by_rule = (self.reason or "").startswith(("unsafe", "punsafe", "nsfw", "violence"))
        return by_rule or (self.punsafe or 0) >= 0.5

    @property
    def dropped(self) -> bool:
        """By a rule that is about neither safety nor duplicates."""
        return self.reason in ("tiny", "not_nsfw")


@dataclass
class Judged:
    """A dataset, and its rows as brute force sees them."""

    dataset: Dataset
    rows: list[Row] = field(default_factory=list, repr=False)

    def visible(self, modulo: int | None, safe: bool, duplicates: bool, dropped: bool) -> list[Row]:
        """The rows that may be found; the condition is: key's number % modulo = 0."""
        found = []
        for row in self.rows:
            if row.removed or (modulo is not None and int(row.key) % modulo):
                continue
            if (safe and row.unsafe) or (row.dropped and not dropped):
                continue
            found.append(row)
        if duplicates:
            return found
        stands: dict[str, Row] = {}
        for row in sorted(found, key=lambda row: (not row.stays, row.key)):
            stands.setdefault(row.cluster, row)
        return list(stands.values())


def judged(root: Path, factory: str, seed: int) -> Judged:
    """A dataset of three parts; every kind of mark on about a tenth of its rows."""
    rng = np.random.default_rng(seed)
    made = Judged(Dataset.create(root, "judged"))
    for number, (shard, count) in enumerate(SHARDS.items()):
        vectors = unit_rows(count, seed=seed + number)
        for key, vector in zip(add_shard(made.dataset, shard, vectors), vectors, strict=True):
            reason = str(rng.choice(list(REASONS), p=list(REASONS.values())))
            score = float(rng.choice([0.1, 0.5, 0.9], p=[0.8, 0.1, 0.1]))
            punsafe = None if rng.random() < 0.2 else score
            stored = vector.astype(np.float16).astype(np.float32)
            judged = bool(reason) or rng.random() < 0.8
            made.rows.append(Row(key, stored, reason or None, punsafe, key, True, judged=judged))
        if number != 2:  # the third shard comes with the fourth
            build_index(made.dataset, IndexSettings(factory=factory))
    _cluster(made.rows, rng)
    write(made)
    return made


def remove(made: Judged, keys: list[str]) -> None:
    """Log a removal of these rows."""
    request = Request(next_number(made.dataset), "key", "2026-01-01T00:00:00Z", keys=tuple(keys))
    log(made.dataset, request)
    for row in made.rows:
        row.removed |= row.key in keys


def _cluster(rows: list[Row], rng: np.random.Generator) -> None:
    order = rng.permutation(len(rows))
    start = 0
    for size in (2, 3, 5, 8, 2, 2):
        members = sorted((rows[at] for at in order[start : start + size]), key=lambda row: row.key)
        stays = members[int(rng.integers(size))]
        for row in members:
            row.cluster, row.stays = members[0].key, row is stays
        start += size


def write(made: Judged, folders: Sequence[str] = ("verdicts", "scores", "duplicates")) -> None:
    """Publish what is known of the rows, as the stages do."""
    for shard in sorted({row.key[:5] for row in made.rows}):
        here = [row for row in made.rows if row.key.startswith(shard)]
        tables = {
            "verdicts": {
                "keep": pa.array(
                    [row.reason is None if row.judged else None for row in here], pa.bool_()
                ),
                "reason": pa.array([row.reason for row in here], pa.string()),
            },
            "scores": {"punsafe": pa.array([row.punsafe for row in here], pa.float32())},
            "duplicates": {
                "cluster": [row.cluster for row in here],
                "duplicate_of": pa.array(
                    [None if row.stays else row.cluster for row in here], pa.string()
                ),
                "multiplicity": [
                    sum(other.cluster == row.cluster for other in made.rows) for row in here
                ],
            },
        }
        with made.dataset.publish("judge") as publication:
            for folder in folders:
                columns = tables[folder]
                keys = {"key": [row.key for row in here]}
                path = publication.path(f"{folder}/{shard}.parquet")
                pq.write_table(pa.table(keys | columns), path)
