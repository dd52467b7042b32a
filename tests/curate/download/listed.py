"""Lists frozen into a dataset of their own, for tests of their formats."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from frenchcat.curate.dataset import Dataset
from frenchcat.curate.download.lists import Shape, check, freeze, relative

Content = str | bytes | pa.Table


def put(path: Path, content: Content) -> Path:
    """Write a file: text as UTF-8, bytes as they are, a table as parquet."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, pa.Table):
        pq.write_table(content, path)
    else:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def frozen_rows(lists: Any, dataset_folder: Path, **shape: Any) -> list[dict[str, Any]]:
    """The rows of a list as a new dataset has them; the list is checked first, as `build` does."""
    check(lists, Shape(**shape))
    dataset = Dataset.create(dataset_folder, "test")
    with dataset.lock():
        shards = freeze(dataset, lists, Shape(**shape))
    return [row for s in shards for row in pq.read_table(dataset.path(relative(s))).to_pylist()]


def rows_of(folder: Path, name: str, content: Content, **shape: Any) -> list[dict[str, Any]]:
    """The rows of one file."""
    return frozen_rows(put(folder / "given" / name, content), folder / "dataset", **shape)


def pairs_of(folder: Path, name: str, content: Content, **shape: Any) -> list[tuple[str, str]]:
    """URL and caption of each row of one file."""
    return [(row["url"], row["caption"]) for row in rows_of(folder, name, content, **shape)]
