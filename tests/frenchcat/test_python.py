"""The public interface: its names, and what each call gives; tests/docs runs docs/python.md."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch.utils.data import DataLoader

import frenchcat
from frenchcat.curate.dataset import Dataset
from frenchcat.errors import Busy, NotFound, UnknownColumn, UserError
from tests.sample.embedded import embedded
from tests.sample.pictures import picture
from tests.sample.vectors import unit_rows

PAGE = (Path(__file__).parents[2] / "docs" / "python.md").read_text(encoding="utf-8")


@pytest.fixture
def cats(tmp_path: Path) -> frenchcat.OpenDataset:
    """Seventeen rows in two shards, with an index."""
    embedded(tmp_path / "cats", unit_rows(12), unit_rows(5, seed=1))
    return frenchcat.open(tmp_path / "cats").index()


def test_every_public_name_is_there_and_in_the_page() -> None:
    for name in frenchcat.__all__:
        assert callable(getattr(frenchcat, name))
        assert name in PAGE
    assert set(frenchcat.__all__) <= set(dir(frenchcat))
    with pytest.raises(AttributeError, match="serch"):
        frenchcat.serch  # noqa: B018


def test_the_package_train_can_be_called_and_imported() -> None:
    code = "import frenchcat, frenchcat.train.plan as plan; frenchcat.train('no-such-preset')"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "no settings file no-such-preset" in ended.stderr


def test_rows_vectors_and_pictures_are_those_that_were_stored(cats: frenchcat.OpenDataset) -> None:
    table = cats.rows(["key", "caption"])
    keys = table["key"].to_pylist()
    assert keys == [
        f"{shard:05d}{row:04d}" for shard, rows in ((0, 12), (1, 5)) for row in range(rows)
    ]
    assert cats.rows(["key"], where="key > '000010002'")["key"].to_pylist() == keys[-2:]
    stored = np.concatenate([unit_rows(12), unit_rows(5, seed=1)]).astype(np.float16)
    named, vectors = cats.vectors()
    assert named == keys
    np.testing.assert_array_equal(vectors, stored)
    chosen = [keys[13], keys[2]]
    named, vectors = cats.vectors(chosen, by="text")
    assert named == chosen
    np.testing.assert_array_equal(vectors, stored[[13, 2]])
    assert cats.picture_bytes(keys[13]) == picture(1)
    assert cats.picture(keys[13]).getpixel((0, 0)) == (1, 0, 99)


def test_what_is_not_there_is_named(cats: frenchcat.OpenDataset, tmp_path: Path) -> None:
    for ask in (
        lambda: cats.picture("000009999"),
        lambda: cats.vectors(["999990000"]),
        lambda: cats.selection("none"),
        lambda: frenchcat.open(tmp_path),
    ):
        with pytest.raises(NotFound):
            ask()
    for columns, where in ((["no_such"], None), (None, "no_such = 1")):
        with pytest.raises(UnknownColumn) as raised:
            cats.rows(columns, where)
        assert raised.value.column == "no_such"
    with pytest.raises(UserError, match="one of url, domain"):
        cats.remove(url="http://a.example", key="000000000")


def test_a_dataset_that_is_being_written_is_busy(cats: frenchcat.OpenDataset) -> None:
    with Dataset.open(cats.root).lock(), pytest.raises(Busy):
        cats.select("some")


def test_a_removal_asks_first_and_is_obeyed_by_an_open_dataset(cats: frenchcat.OpenDataset) -> None:
    vector = unit_rows(12)[3]
    key = "000000003"
    assert cats.search(vector=vector, k=1)[0].key == key
    assert cats.remove(key=key, agree=lambda found: len(found) != 1) is None
    assert cats.search(vector=vector, k=1)[0].key == key
    request = cats.remove(key=key, agree=lambda found: [match.key for match in found] == [key])
    assert request is not None
    assert request.keys == (key,)
    assert cats.search(vector=vector, k=1)[0].key != key
    with pytest.raises(NotFound):
        cats.picture(key)
    with pytest.raises(NotFound):
        cats.vectors([key])
    assert key not in cats.vectors()[0]


def test_an_open_dataset_reads_the_right_bytes_after_a_compaction(
    cats: frenchcat.OpenDataset,
) -> None:
    last = "000000011"
    vector = unit_rows(12)[11]
    before = cats.picture_bytes(last)
    (hit,) = cats.search(vector=vector, k=1)
    assert cats.searcher().picture(hit) == before
    cats.remove(key="000000001")
    assert cats.compact()["rows"] == 1
    (hit,) = cats.search(vector=vector, k=1)
    assert hit.key == last
    assert cats.searcher().picture(hit) == before == cats.picture_bytes(last)


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_the_plans_whatever_the_workers_and_go_on_from_any(
    cats: frenchcat.OpenDataset, workers: int
) -> None:
    chosen = cats.select("some")
    how: dict[str, Any] = {"num_workers": workers}
    if workers:
        how["multiprocessing_context"] = "spawn"

    def keys(start: tuple[int, int], **how: Any) -> list[tuple[int, int, tuple[str, ...]]]:
        stream = chosen.batches(batch=4, size=8, seed=3, epochs=2, start=start)
        return [(o.epoch, o.k, tuple(o.keys)) for o in DataLoader(stream, batch_size=None, **how)]

    everything = keys((0, 0))
    assert [one[:2] for one in everything] == [(e, k) for e in range(2) for k in range(4)]
    for epoch in range(2):
        drawn = [key for e, _, batch in everything if e == epoch for key in batch]
        assert len(set(drawn)) == 16
    assert everything[0][2] != everything[4][2]
    assert keys((1, 1), **how) == everything[5:]


def test_a_streams_state_goes_on_in_the_middle(cats: frenchcat.OpenDataset) -> None:
    chosen = cats.select("some")
    stream = chosen.batches(batch=4, size=8, epochs=2)
    reading = iter(stream)
    for _ in range(3):
        next(reading)
    state = stream.state_dict()
    rest = [tuple(one.keys) for one in reading]
    again = chosen.batches(batch=4, size=8, epochs=2)
    again.load_state_dict(state)
    assert [tuple(one.keys) for one in again] == rest
    with pytest.raises(UserError, match="do not fill a batch"):
        chosen.batches(batch=100, size=8)
    with pytest.raises(TypeError):
        len(chosen.batches(batch=4, size=8))


def test_two_ranks_share_every_batch(cats: frenchcat.OpenDataset) -> None:
    chosen = cats.select("some")
    whole = [one.keys for one in chosen.batches(batch=4, size=8, epochs=1)]
    parts = [
        [one.keys for one in chosen.batches(batch=4, size=8, epochs=1, rank=rank, world=2)]
        for rank in range(2)
    ]
    for batch, first, second in zip(whole, *parts, strict=True):
        assert sorted(batch) == sorted(first + second)


def test_a_webdataset_pipeline_gives_each_row_as_often_as_its_weight(
    cats: frenchcat.OpenDataset,
) -> None:
    chosen = cats.select("some", "key < '000000004'", weight="1 + (key = '000000002')::INT")
    samples = list(chosen.webdataset())
    assert [one["__key__"] for one in samples] == [
        "000000000",
        "000000001",
        "000000002",
        "000000002",
        "000000003",
    ]
    assert samples[1]["png"] == picture(1)
    assert samples[1]["txt"] == b"caption of 000000001"
    shuffled = [one["__key__"] for one in cats.select("all").webdataset(shuffle=1)]
    assert sorted(shuffled) == cats.rows(["key"])["key"].to_pylist()
    assert shuffled != sorted(shuffled)
