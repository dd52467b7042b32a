"""What is in a dataset, counted: rows by stage, failures and drops by reason.

Reads the sidecars, the verdicts and dataset.json through DuckDB; writes nothing.
Cost: one scan of two columns of the sidecars.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from curate.dataset import Dataset


@dataclass(frozen=True)
class Info:
    """Counts of a dataset's rows; `failed_reasons` and `dropped` sum to the failed and dropped."""

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

    def as_dict(self) -> dict[str, Any]:
        """The counts as a JSON-able mapping."""
        return asdict(self)


def info(dataset: Dataset) -> Info:
    """Count a dataset's rows."""
    from collections import Counter

    import pyarrow.parquet as pq

    failed: Counter[str] = Counter()
    downloaded = 0
    for shard in dataset.shards("download"):
        with dataset.as_local(f"shards/{shard}.parquet") as path:
            table = pq.read_table(path, columns=["status", "error_message"])
        for row in table.to_pylist():
            if row["status"] == "success":
                downloaded += 1
            else:
                failed[str(row["error_message"]).split(":")[0]] += 1
    dropped, kept = _verdicts(dataset)
    stages = dataset.manifest()["stages"]
    embedded = int(stages.get("embed", {}).get("counts", {}).get("embedded", 0))
    indexed = stages.get("index", {})
    return Info(
        name=dataset.manifest()["name"],
        rows=downloaded + sum(failed.values()),
        downloaded=downloaded,
        failed=sum(failed.values()),
        failed_reasons=dict(failed.most_common()),
        embedded=embedded,
        kept=embedded if kept is None else kept,
        dropped=dropped,
        indexed=int(indexed.get("counts", {}).get("image", 0)),
        model=stages.get("embed", {}).get("settings", {}).get("model"),
    )


def _verdicts(dataset: Dataset) -> tuple[dict[str, int], int | None]:
    from collections import Counter

    import pyarrow.parquet as pq

    names = [name for name in dataset.files("verdicts") if name.endswith(".parquet")]
    if not names:
        return {}, None
    dropped: Counter[str] = Counter()
    kept = 0
    for name in names:
        with dataset.as_local(f"verdicts/{name}") as path:
            for row in pq.read_table(path, columns=["keep", "reason"]).to_pylist():
                if row["keep"]:
                    kept += 1
                else:
                    dropped[str(row["reason"])] += 1
    return dict(dropped.most_common()), kept
