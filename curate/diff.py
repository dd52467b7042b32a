"""Two builds compared: which rows came, which went, which changed, and in what.

Reads the catalogs of two datasets, writes nothing. Rows are told by `uid`, which survives another
crawl; the same pair listed twice has one uid, and its rows are compared in key order. What only
says where a row lies (key, shard, the keys in duplicates/) is not compared, nor are the columns of
a failure, since `error_message` says the same. Removed rows are not there. Images whose bytes
differ are graded (image_changes.py): by PDQ where both have that score, by vectors where both were
embedded with the same weights. Cost: both catalogs in memory without their images, one join; the
vectors of the shards that hold changed images.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from frenchcat.curate import embeddings, files
from frenchcat.curate.catalog import Catalog
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.errors import UserError
from frenchcat.curate.failures import COLUMNS, NAME_SQL
from frenchcat.curate.hashes import PDQ_QUALITY
from frenchcat.curate.image_changes import (
    FAR_COSINE,
    GRADES,
    REPLACED,
    DomainChange,
    ImageChange,
    far_cosine,
    flagged,
    graded,
    pdq_bits,
)
from frenchcat.curate.keys import by_shard
from frenchcat.curate.sql_text import quoted
from frenchcat.curate.urls import domain_of

if TYPE_CHECKING:
    import pyarrow as pa

PLACES = ("key", "shard", "cluster", "duplicate_of", "also_seen_as", "image_cluster")
"""Columns that hold places in one dataset."""
_SOME = 2_000
"""Vectors from which it is learnt how far apart different images are."""
_TURN, _FATE = "frenchcat_turn", "frenchcat_fate"


@dataclass(frozen=True)
class Change:
    """One row that differs."""

    change: str  # added, removed, changed
    uid: str
    url: str | None
    caption: str | None
    columns: dict[str, tuple[Any, Any]] = field(default_factory=dict)  # before and after
    fate: tuple[str | None, str | None] = (None, None)  # kept, dropped:<reason>, failed:<reason>
    image: ImageChange | None = None  # where both have the image, and its bytes differ

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        columns = {name: list(pair) for name, pair in self.columns.items()}
        first = {"change": self.change, "uid": self.uid, "url": self.url, "caption": self.caption}
        told = {**first, "fate": list(self.fate), "columns": columns}
        return told if self.image is None else {**told, "image": asdict(self.image)}


@dataclass(frozen=True)
class Diff:
    """How two datasets differ."""

    same: int  # rows
    changes: list[Change]  # added, removed, changed; by uid
    new_columns: list[str]
    lost_columns: list[str]
    domains: list[DomainChange] = field(default_factory=list)  # flagged, the smallest p first

    def counts(self) -> dict[str, int]:
        """Rows by change: added, removed, changed, same."""
        found = Counter(change.change for change in self.changes)
        return {**{n: found[n] for n in ("added", "removed", "changed")}, "same": self.same}

    def by_column(self) -> dict[str, int]:
        """Column -> changed rows that differ in it."""
        return dict(Counter(name for change in self.changes for name in change.columns))

    def by_grade(self) -> dict[str, int]:
        """Grade -> images whose bytes differ; every grade, none of all where no image differs."""
        found = Counter(change.image.grade for change in self.changes if change.image is not None)
        return {grade: found[grade] for grade in GRADES} if found else {}

    def by_fate(self) -> dict[tuple[str, str], int]:
        """(before, after) -> rows of both whose fate changed."""
        both = [change for change in self.changes if change.change == "changed"]
        return dict(
            Counter((str(c.fate[0]), str(c.fate[1])) for c in both if c.fate[0] != c.fate[1])
        )


def diff(before: Dataset, after: Dataset) -> Diff:
    """Compare two datasets. Raises `UserError` where one has no shards or no uids."""
    import duckdb

    old, new = _rows(before), _rows(after)
    names = [name for name in old.column_names if name in set(new.column_names)]
    compared = [name for name in names if name not in (*PLACES, *COLUMNS, "uid", _TURN, _FATE)]
    duck = duckdb.connect()
    duck.register("old", old)
    duck.register("new", new)
    found = duck.sql(_sql(old, new, compared)).to_arrow_table()
    rows = found.to_pylist()
    images = _images(before, after, rows, compared)
    told = (_change(row, compared, images.get(n)) for n, row in enumerate(rows))
    changes = [change for change in told if change is not None]
    same = len(rows) - len(changes)
    return Diff(
        same,
        changes,
        [name for name in new.column_names if name not in old.column_names],
        [name for name in old.column_names if name not in new.column_names],
        _flagged(rows, images),
    )


def _images(
    before: Dataset, after: Dataset, rows: list[dict[str, Any]], compared: list[str]
) -> dict[int, ImageChange]:
    """Row number -> grade, of the images that both have with other bytes."""
    at = {name: n for n, name in enumerate(compared)}
    original = next((name for name in ("sha256", "stored_sha256") if name in at), None)
    if original is None:
        return {}
    changed_rows = [
        n
        for n, row in enumerate(rows)
        if _in_both(row) and row[f"differs_{at[original]}"] and _both(row, at[original])
    ]
    vectors = _Vectors(before, after, [rows[n] for n in changed_rows])
    stored = at.get("stored_sha256")
    found = {}
    for n in changed_rows:
        row = rows[n]
        same_stored = stored is not None and not row[f"differs_{stored}"]
        bits = pdq_bits(row["old_pdq"], row["new_pdq"])
        found[n] = graded(bits, vectors.cosine(row), vectors.far, same_stored)
    return found


def _in_both(row: dict[str, Any]) -> bool:
    """Whether both crawls stored the image."""
    fates = (row["old_fate"], row["new_fate"])
    return all(fate is not None and not fate.startswith("failed:") for fate in fates)


def _both(row: dict[str, Any], at: int) -> bool:
    """Whether both have a value in a column in which they differ."""
    return row[f"a_{at}"] is not None and row[f"b_{at}"] is not None


def _flagged(rows: list[dict[str, Any]], images: dict[int, ImageChange]) -> list[DomainChange]:
    counts: dict[str, tuple[int, int]] = {}
    for n, row in enumerate(rows):
        if _in_both(row) and (domain := domain_of(row["url"])):
            stored, replaced = counts.get(domain, (0, 0))
            is_replaced = n in images and images[n].grade == REPLACED
            counts[domain] = (stored + 1, replaced + is_replaced)
    return flagged(counts)


class _Vectors:
    """The vectors of some rows in both datasets; none where they were not embedded alike."""

    def __init__(self, before: Dataset, after: Dataset, rows: list[dict[str, Any]]) -> None:
        alike = _weights(before) is not None and _weights(before) == _weights(after)
        alike = alike and bool(rows)
        self.old = _vectors(before, {row["old_key"] for row in rows}) if alike else {}
        self.new = _vectors(after, {row["new_key"] for row in rows}) if alike else {}
        self.far = far_cosine(_some_vectors(before)) if alike else FAR_COSINE

    def cosine(self, row: dict[str, Any]) -> float | None:
        """Of the two vectors of a row; None where one is missing."""
        one, other = self.old.get(row["old_key"]), self.new.get(row["new_key"])
        return None if one is None or other is None else float(one @ other)


def _weights(dataset: Dataset) -> Any:
    """What tells whether vectors of two datasets may be compared; None without vectors."""
    entry = dataset.manifest().stages.get(embeddings.STAGE)
    return None if entry is None else entry.setting("weights")


def _vectors(dataset: Dataset, keys: set[str]) -> dict[str, NDArray[np.float32]]:
    found = {}
    for shard, wanted in by_shard(dataset, keys).items():
        if not dataset.exists(files.METADATA.of(shard)):
            continue
        names, vectors = embeddings.vectors_of_shard(dataset, shard)
        for name, vector in zip(names, vectors, strict=True):
            if name in wanted:
                found[name] = vector.astype(np.float32)
    return found


def _some_vectors(dataset: Dataset) -> NDArray[np.float16]:
    """The vectors of a dataset's first shards, _SOME or more where there are so many."""
    parts: list[NDArray[np.float16]] = []
    for shard in dataset.shards(embeddings.STAGE):
        parts.append(embeddings.vectors_of_shard(dataset, shard)[1])
        if sum(map(len, parts)) >= _SOME:
            break
    return np.concatenate(parts) if parts else np.zeros((0, 1), np.float16)


def _rows(dataset: Dataset) -> pa.Table:
    """Every row that is there with all that the catalog has of it, its fate, and its turn."""
    with Catalog(dataset) as catalog:
        there = catalog.columns()
        if "uid" not in there:
            raise UserError(f"{dataset.root} has no column uid, which identifies rows")
        keep, reason = ("keep", "reason") if catalog.judged else ("NULL::BOOLEAN", "NULL")
        return catalog.run(
            f"SELECT *, row_number() OVER (PARTITION BY uid ORDER BY key) AS {_TURN}, "
            f"CASE WHEN status <> 'success' THEN 'failed:' || {NAME_SQL} "
            f"WHEN {keep} IS FALSE THEN 'dropped:' || {reason} ELSE 'kept' END AS {_FATE} "
            "FROM (SELECT * FROM samples UNION ALL BY NAME "
            "SELECT * FROM rows WHERE status <> 'success') WHERE uid IS NOT NULL"
        )


def _sql(old: pa.Table, new: pa.Table, compared: list[str]) -> str:
    """SQL: one row per uid and turn, with both values of each compared column that differs."""
    parts = [
        "coalesce(old.uid, new.uid) AS uid",
        "old.uid IS NULL AS came",
        "new.uid IS NULL AS went",
    ]
    parts += [f"coalesce(new.{name}, old.{name}) AS {name}" for name in ("url", "caption")]
    parts += [f"old.{_FATE} AS old_fate", f"new.{_FATE} AS new_fate"]
    parts += ["old.key AS old_key", "new.key AS new_key"]
    parts += [f"{_pdq_sql('old', old)} AS old_pdq", f"{_pdq_sql('new', new)} AS new_pdq"]
    for n, name in enumerate(compared):
        one, other = f"old.{quoted(name)}", f"new.{quoted(name)}"
        if old.schema.field(name).type != new.schema.field(name).type:
            one, other = f"{one}::VARCHAR", f"{other}::VARCHAR"
        differs = f"{one} IS DISTINCT FROM {other}"
        parts += [f"{differs} AS differs_{n}"]
        parts += [
            f"CASE WHEN {differs} THEN {v} END AS {k}_{n}" for k, v in (("a", one), ("b", other))
        ]
    return (
        f"SELECT {', '.join(parts)} FROM old FULL JOIN new "
        f"ON old.uid = new.uid AND old.{_TURN} = new.{_TURN} "
        f"ORDER BY uid, coalesce(old.{_TURN}, new.{_TURN})"
    )


def _pdq_sql(side: str, table: pa.Table) -> str:
    """SQL of a row's PDQ hash; null where there is none, or one of too little detail to compare."""
    if "pdq" not in table.column_names:
        return "NULL::VARCHAR"
    if "pdq_quality" not in table.column_names:
        return f"{side}.pdq"
    return f"CASE WHEN {side}.pdq_quality >= {PDQ_QUALITY} THEN {side}.pdq END"


def _change(row: dict[str, Any], compared: list[str], image: ImageChange | None) -> Change | None:
    fate = (row["old_fate"], row["new_fate"])
    about = (row["uid"], row["url"], row["caption"])
    if row["came"] or row["went"]:
        return Change("added" if row["came"] else "removed", *about, {}, fate)
    columns = {
        name: (row[f"a_{n}"], row[f"b_{n}"])
        for n, name in enumerate(compared)
        if row[f"differs_{n}"]
    }
    if not columns and fate[0] == fate[1]:
        return None
    return Change("changed", *about, columns, fate, image)
