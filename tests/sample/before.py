"""A dataset as it was made before sidecars had columns for failures and for bytes fetched."""

from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq

from frenchcat.curate import files
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.failures import COLUMNS
from frenchcat.curate.markers import OutputFile, marker, put_marker
from frenchcat.curate.sidecar import LATER


def as_before(dataset: Dataset) -> Dataset:
    """Take the columns out of every sidecar; its marker names what is left, and is up to date."""
    for shard in dataset.shards():
        relative = files.SIDECAR.of(shard)
        path = Path(dataset.path(relative))
        table = pq.read_table(path)
        assert {*COLUMNS, *LATER} < set(table.column_names)
        pq.write_table(table.drop_columns([*COLUMNS, *LATER]), path)
        made = marker(dataset, "download", shard)
        assert made is not None
        outputs = {**made.outputs, relative: OutputFile.of(path)}
        with dataset.publish("before") as publication:
            put_marker(publication, "download", shard, replace(made, outputs=outputs))
    return dataset
