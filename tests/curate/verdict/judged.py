"""What the verdicts of a dataset say."""

import pyarrow.parquet as pq

from frenchcat.curate.dataset import Dataset


def verdicts(dataset: Dataset) -> dict[str, tuple[bool, str | None]]:
    """Key -> keep, reason, of every shard."""
    found = {}
    for name in dataset.files("verdicts"):
        for row in pq.read_table(dataset.path(f"verdicts/{name}")).to_pylist():
            found[row["key"]] = (row["keep"], row["reason"])
    return found
