"""Datasets for the report: every part of them is there unless a test leaves it out."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from frenchcat.curate.dataset import Dataset
from frenchcat.curate.manifest import StageEntry
from frenchcat.curate.markers import record_entry
from tests.sample.pictures import picture
from tests.sample.row import Row
from tests.sample.write import write as write_shard

SIDES = {"original_width": 640, "original_height": 480}


def write(
    root: Path,
    *shards: Sequence[Row],
    rules: Sequence[str] | None = None,
    pictures: bool = True,
    only: Sequence[str] = ("scores", "duplicates", "rights"),
) -> Dataset:
    """A dataset; verdicts where `rules`, in their order, are given, and the folders of `only`."""
    dataset = Dataset.create(root, "chosen <b>rows</b>")
    parts = ["sidecar", *only, *["tar"] * pictures, *["verdicts"] * (rules is not None)]
    for number, rows in enumerate(shards):
        whole = [_whole(row, n, pictures) for n, row in enumerate(rows)]
        write_shard(dataset, f"{number:05d}", whole, parts)
    if rules is not None:
        settings = {"rules": [[name, f"{name} is bad"] for name in rules]}
        record_entry(dataset, "verdict", StageEntry(settings=settings))
    return dataset


def _whole(row: Row, number: int, pictures: bool) -> Row:
    """The row with what the download and the score say of any that is stored."""
    if not row.stored:
        return row
    stored = picture(number * 7) if pictures else None
    return replace(row, picture=stored, columns=SIDES, scores=row.scores or {})
