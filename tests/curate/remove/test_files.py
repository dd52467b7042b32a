"""The table of a dataset's files: what treats every file treats one that was added to it."""

import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from frenchcat.curate import files
from frenchcat.curate.catalog import Catalog
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.files import SHARD_FILES, ShardFile
from frenchcat.curate.lineage import origin
from frenchcat.curate.remove import RemovalQuery, compact, matches, remove
from frenchcat.curate.score.extra import load_extra
from frenchcat.curate.score.settings import ScoreSettings
from frenchcat.curate.select import select
from frenchcat.curate.verdict import verdict
from tests.curate.remove.conftest import Built
from tests.sample.row import Row
from tests.sample.write import publishing, write

DOCS = Path(__file__).parents[3] / "docs" / "on-disk.md"
COLOURS = ShardFile(
    "colours/colours_{shard}.parquet",
    "colour",
    "row",
    key="of",
    counted="coloured",
)
HUES = ShardFile("colours/hues_{shard}.npy", "colour", "aligned", aligned=COLOURS)
MOODS = ShardFile(
    "moods/{shard}.parquet", "mood", "row", joined=True, judged=True, columns=("mood",)
)
STRAY = ShardFile("twins/{shard}.parquet", "twin", "remade")


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    """Two shards of three rows, with the files of three stages that nobody else knows."""
    added = (*SHARD_FILES, COLOURS, HUES, MOODS, STRAY)
    monkeypatch.setattr(files, "SHARD_FILES", added)
    made = Dataset.create(tmp_path / "d", "d")
    with made.lock():
        for shard in ("00000", "00001"):
            urls = [f"http://a.example/{shard}/{number}" for number in range(3)]
            keys = write(made, shard, [Row(url, picture=b"p") for url in urls], ["tar", "sidecar"])
            with publishing(made, "colour", shard) as path:
                table = pa.table({"of": keys[::-1], "colour": ["red", "green", "blue"]})
                pq.write_table(table, path(COLOURS.of(shard)))
                np.save(path(HUES.of(shard)), np.arange(3.0))
            with publishing(made, "mood", shard) as path:
                moods = pa.table({"key": keys, "mood": ["glad", "sad", "glad"]})
                pq.write_table(moods, path(MOODS.of(shard)))
            with publishing(made, "twin", shard) as path:
                pq.write_table(pa.table({"key": keys}), path(STRAY.of(shard)))
    return made


def test_a_removed_row_leaves_every_file_of_the_table(dataset: Dataset) -> None:
    gone, stays = "000000000", ["000000001", "000000002"]
    other = Path(dataset.path(COLOURS.of("00001"))).read_bytes()
    with dataset.lock():
        query = RemovalQuery("url", "http://a.example/00000/0")
        remove(dataset, query, matches(dataset, query))
        compact(dataset)
    colours = pq.read_table(dataset.path(COLOURS.of("00000"))).to_pylist()
    assert [(row["of"], row["colour"]) for row in colours] == [
        *((stays[1], "red"), (stays[0], "green"))
    ]
    assert np.load(dataset.path(HUES.of("00000"))).tolist() == [0, 1]
    assert pq.read_table(dataset.path(MOODS.of("00000")))["key"].to_pylist() == stays
    assert not dataset.exists(STRAY.of("00000"))
    assert not dataset.exists("stages/twin/00001.json")  # made again as a whole
    assert Path(dataset.path(COLOURS.of("00001"))).read_bytes() == other
    for file in Path(dataset.root).rglob("*.parquet"):
        assert gone not in pq.read_table(file).to_pydict().get("key", []), file


def test_the_catalog_and_the_verdicts_read_it_and_scores_may_not_name_its_columns(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Catalog(dataset) as catalog:
        assert catalog.keys("mood = 'sad'") == ["000000001", "000010001"]
    with dataset.lock():
        assert verdict(dataset).done == 2
        assert verdict(dataset).done == 0
        keys = ["000010000", "000010001", "000010002"]
        with publishing(dataset, "mood", "00001") as path:
            pq.write_table(pa.table({"key": keys, "mood": ["sad"] * 3}), path(MOODS.of("00001")))
        assert verdict(dataset).done == 1
        select(dataset, "all")
    read = origin(dataset, "selections/all.parquet").inputs
    assert {MOODS.of("00000"), MOODS.of("00001")} <= read.keys()
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "moody.py").write_text(
        "from frenchcat.curate.score import Column\n"
        "class Mood:\n name = 'own'\n columns = (Column('mood', 'bool'),)\n of_rows = print\n"
    )
    with pytest.raises(
        Exception, match="makes 'mood', which is a column or a score of the stage mo"
    ):
        list(load_extra(ScoreSettings(extra=("moody:Mood",))))


def test_docs_on_disk_md_lists_the_files_of_the_table() -> None:
    first = [line.split("|")[1] for line in DOCS.read_text().splitlines() if line.startswith("|")]
    listed = {path for cell in first for path in re.findall(r"`([^`]*[_/]00000[._][^`]*)`", cell)}
    assert listed - {"stages/<stage>/00000.json"} == {file.of("00000") for file in SHARD_FILES}


def test_every_file_that_a_build_writes_for_a_shard_is_in_the_table(original: Built) -> None:
    root = Path(original.dataset.root)
    shards = original.dataset.shards()
    built = [file for file in SHARD_FILES if not file.on_request]
    known = {file.of(shard) for file in built for shard in shards}
    stages = {f"stages/{f.stage}/{shard}.json" for f in SHARD_FILES for shard in shards}
    found = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
    # Not the five digits at the end of a generation's name in hex.
    per_shard = {path for path in found if re.search(r"(?<![0-9a-f])\d{5}[._]", path)}
    assert per_shard - known - stages == set()
    assert known - per_shard == set()  # and none of the table's is never written
