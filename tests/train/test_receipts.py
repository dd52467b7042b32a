"""Receipts: the nearest training pictures by brute force, of the selection alone."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from frenchcat.curate import remove as removal
from frenchcat.curate.clip.model import Clip
from frenchcat.curate.dataset import Dataset
from frenchcat.index.search import Searcher
from frenchcat.train.receipts import nearest, receipts_of
from frenchcat.train.rows import open_rows
from frenchcat.train.run import open_run
from frenchcat.train.settings import DataSettings
from tests.sample.embedded import embedded
from tests.sample.pictures import noise
from tests.sample.vectors import unit_rows
from tests.train.embedded_run import CHOSEN, make_dataset, mini, train_on_selection
from tests.train.runs import settings, write_tars


@pytest.fixture(scope="module")
def clip() -> Clip:
    return mini()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, clip: Clip) -> Path:
    return train_on_selection(tmp_path_factory.mktemp("receipts"), clip)


def test_neighbours_are_brute_force_within_the_selection(run: Path) -> None:
    parts, _, _ = open_run(run)
    pictures = [noise(1), noise(2)]
    found = receipts_of(parts.settings.data, run / "rows", pictures, 4)
    rows = open_rows(run / "rows")
    assert rows is not None
    trained = [n for n in range(len(rows)) if n not in rows.held_out]
    assert len(rows) == CHOSEN
    assert found.compared == len(trained) < CHOSEN
    searcher = Searcher(Dataset.open(str(parts.settings.data.dataset)))
    stored = searcher.vectors(searcher.positions(trained))
    encoded = searcher.clip.encode_pictures(pictures)
    for drawn, neighbours in zip(encoded, found.neighbours, strict=True):
        cosines = stored @ drawn
        best = np.argsort(-cosines, kind="stable")[:4]
        assert [one.key for one in neighbours] == [rows.row(trained[n]).key for n in best]
        assert [one.similarity for one in neighbours] == pytest.approx(
            sorted(cosines, reverse=True)[:4], abs=1e-3
        )
    near = found.neighbours[0][0]
    number = int(near.key[-4:])
    assert near.url == f"http://example.org/{near.key}.png"
    assert (near.creator, near.licence) == (f"painter {number}", "CC BY 4.0")
    assert "not copied" in found.said


def test_blocks_do_not_change_what_is_near(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from frenchcat.index.build import build_index

    dataset = embedded(tmp_path / "d", unit_rows(60))
    build_index(dataset)
    searcher = Searcher(dataset)
    positions, drawn = np.arange(0, 60, 2), unit_rows(3, seed=9)
    whole = nearest(searcher, positions, drawn, 5)
    monkeypatch.setattr("frenchcat.train.receipts._BLOCK", 7)
    assert nearest(searcher, positions, drawn, 5) == whole
    assert all(int(hit.key) % 2 == 0 for hits in whole for hit in hits)


def test_a_dataset_that_is_gone_is_said(run: Path, tmp_path: Path, clip: Clip) -> None:
    moved = DataSettings(dataset=str(tmp_path / "gone"), selection="some")
    found = receipts_of(moved, run / "rows", [noise(1)], 2)
    assert found.neighbours == [[]]
    assert "is not a dataset" in str(found.note)
    dataset = make_dataset(tmp_path / "bare", clip)
    shutil.rmtree(dataset.path("index"))
    bare = DataSettings(dataset=dataset.root, selection="some")
    found = receipts_of(bare, run / "rows", [noise(1)], 2)
    assert "has no index" in str(found.note)


def test_foreign_tars_have_no_index(tmp_path: Path) -> None:
    tars = write_tars(tmp_path / "tars", 1, 3)
    data = settings(tars, tmp_path / "run").data
    found = receipts_of(data, tmp_path / "run" / "rows", [noise(1)], 2)
    assert found.neighbours == [[]]
    assert "foreign tars" in str(found.note)


def test_removed_pictures_are_counted_and_not_named(tmp_path: Path, clip: Clip) -> None:
    run = train_on_selection(tmp_path, clip)
    data = open_run(run)[0].settings.data
    before = receipts_of(data, run / "rows", [noise(1)], 3)
    gone = before.neighbours[0][0].key
    dataset = Dataset.open(str(data.dataset))
    wanted = removal.RemovalQuery("key", gone, False)
    with dataset.lock():
        removal.remove(dataset, wanted, removal.matches(dataset, wanted))
    after = receipts_of(data, run / "rows", [noise(1)], 3)
    assert after.compared == before.compared - 1
    assert gone not in [one.key for one in after.neighbours[0]]
    assert after.neighbours[0][:2] == before.neighbours[0][1:]
    assert (before.note, "1 of the pictures trained on" in str(after.note)) == (None, True)
