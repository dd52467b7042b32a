"""The rows of test_condition.py as a dataset, for the databases that are asked about them."""

from pathlib import Path

import numpy as np

from frenchcat.curate.dataset import Dataset
from tests.curate.vector_stores.test_condition import TABLE
from tests.sample.embedded import add_shard, embedded
from tests.sample.vectors import unit_rows


def table_dataset(folder: Path) -> Dataset:
    """One shard with a row per row of the table; its column `f` is of 32 bit."""
    made = embedded(folder)
    values = {name: TABLE[name].to_pylist() for name in TABLE.column_names}
    values["f"] = [None if one is None else np.float32(one) for one in values["f"]]
    add_shard(made, "00000", unit_rows(len(TABLE)), **values)
    return made
