"""What is in a dataset, counted: rows by stage, failures and drops by reason.

Reads the sidecars, the verdicts, the removal log and dataset.json; writes nothing. Every row is
counted once: failed, dropped or kept. A row without a verdict is kept, unless it has no vector.
Cost: one scan of a few columns, a shard at a time.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from frenchcat.curate import sidecar
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.failures import REASON, SIGNAL, Failure
from frenchcat.curate.known_columns import KnownColumn, known_columns
from frenchcat.curate.manifest import StageEntry

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Rule:
    """What a rule of the verdicts did; numbers are rows, of the last run of the verdicts."""

    dropped: int  # as the first rule that dropped them
    alone: int  # that it would drop if it were the only rule
    unknown: int  # for which it is null, so that it did not drop them


@dataclass(frozen=True)
class Info:
    """Counts of a dataset's rows: `rows` is `failed`, `kept` and the sum of `dropped`."""

    name: str
    rows: int = 0
    downloaded: int = 0
    failed: int = 0
    failed_reasons: dict[str, int] = field(default_factory=dict)
    embedded: int = 0
    kept: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    indexed: int = 0
    model: str | None = None
    rules: dict[str, Rule] = field(default_factory=dict)  # in the order in which they are tried
    columns: dict[str, KnownColumn] = field(default_factory=dict)  # that a condition may name

    def as_dict(self) -> dict[str, Any]:
        """The counts as a JSON-able mapping."""
        return asdict(self)


def info(dataset: Dataset) -> Info:
    """Count a dataset's rows."""
    failed: Counter[str] = Counter()
    dropped: Counter[str] = Counter()
    rows = downloaded = 0
    for shard in dataset.shards("download"):
        table = sidecar.read(dataset, shard, ["key"])
        rows += table.num_rows
        downloaded += _count_failed(table, failed)
        _count_dropped(dataset, shard, table, dropped)
    manifest = dataset.manifest()
    embedded = manifest.entry("embed")
    return Info(
        name=manifest.name,
        rows=rows,
        downloaded=downloaded,
        failed=sum(failed.values()),
        failed_reasons=_most_common(failed),
        embedded=embedded.counts.get("embedded", 0),
        kept=downloaded - sum(dropped.values()),
        dropped=_most_common(dropped),
        indexed=manifest.entry("index").counts.get("image", 0),
        model=embedded.setting("model"),
        rules=rules_of(manifest.entry("verdict")),
        columns=known_columns(dataset),
    )


def rules_of(entry: StageEntry) -> dict[str, Rule]:
    """What each rule did, from the entry of the verdicts in dataset.json."""
    counts = entry.counts
    names = [name for name, _ in entry.setting("rules", [])]
    parts = ("dropped", "alone", "unknown")
    return {name: Rule(*(counts.get(f"{part}.{name}", 0) for part in parts)) for name in names}


def _count_failed(table: pa.Table, failed: Counter[str]) -> int:
    """Count the failures of a shard by name; gives the number of stored rows."""
    import pyarrow.compute as pc

    bad = table.filter(pc.invert(_is_stored(table)))
    # Not group_by: that imports pandas, most of a second.
    reasons, of_reason = _encoded(bad[REASON])
    signals, of_signal = _encoded(bad[SIGNAL])
    pairs = of_reason * len(signals) + of_signal
    for pair, count in zip(*np.unique(pairs, return_counts=True), strict=True):
        reason, signal = divmod(int(pair), len(signals))
        failed[Failure(reasons[reason], signals[signal]).name] += int(count)
    return int(table.num_rows - bad.num_rows)


def _encoded(column: pa.ChunkedArray) -> tuple[list[Any], NDArray[np.int64]]:
    """The different values of a column, and of each row the number of its own."""
    encoded = column.combine_chunks().dictionary_encode(null_encoding="encode")
    numbers = encoded.indices
    whole = np.frombuffer(numbers.buffers()[1], np.int32)  # to_numpy imports pandas
    found = whole[numbers.offset : numbers.offset + len(numbers)]
    return encoded.dictionary.to_pylist(), found.astype(np.int64)


def _count_dropped(dataset: Dataset, shard: str, table: pa.Table, dropped: Counter[str]) -> None:
    """Count the stored rows of a shard that are not kept, by reason."""
    import pyarrow.compute as pc

    from frenchcat.curate.verdict.dropped import reasons

    said = reasons(dataset, shard)
    stored = table.filter(_is_stored(table))["key"]
    there = said.filter(pc.is_in(said["key"], stored.combine_chunks()))
    for found in pc.value_counts(there["reason"]).to_pylist():
        dropped[found["values"]] += found["counts"]


def _is_stored(table: pa.Table) -> pa.ChunkedArray:
    """Of each row whether its status is success."""
    import pyarrow.compute as pc

    # Not pc.equal: a Python value becomes Arrow's with pandas imported, most of a second.
    return pc.match_like(table["status"], "success")


def _most_common(counter: Counter[str]) -> dict[str, int]:
    return dict(sorted(counter.items(), key=lambda item: (-item[1], item[0])))
