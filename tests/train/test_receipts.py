"""Receipts: the nearest training pictures by brute force, of the selection alone."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter, ImageOps

from frenchcat.curate import remove as removal
from frenchcat.curate.clip.model import Clip
from frenchcat.curate.dataset import Dataset
from frenchcat.index.search import Searcher
from frenchcat.train.reader import Reader
from frenchcat.train.receipts import nearest, receipts_of
from frenchcat.train.rows import TrainingRows, open_rows
from frenchcat.train.run import open_run
from frenchcat.train.seen import seen_of
from frenchcat.train.settings import DataSettings
from tests.sample.embedded import embedded
from tests.sample.pictures import file_of, noise
from tests.sample.vectors import unit_rows
from tests.train.embedded_run import CHOSEN, make_dataset, mini, train_on_selection
from tests.train.runs import settings, write_tars


@pytest.fixture(scope="module")
def clip() -> Clip:
    return mini()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, clip: Clip) -> Path:
    return train_on_selection(tmp_path_factory.mktemp("receipts"), clip, between_bars)


def between_bars(number: int) -> bytes:
    """The number's colour in a square, which is what the model sees, and bars beside it."""
    wide = Image.new("RGB", (48, 24))
    wide.paste((number, 0, 99), (12, 0, 36, 24))
    return file_of(wide)


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
    seen = as_the_model_saw(rows, trained)
    stored = searcher.clip.encode_images(seen)
    encoded = searcher.clip.encode_images(pictures)
    for drawn, neighbours in zip(encoded, found.neighbours, strict=True):
        cosines = stored @ drawn
        best = np.argsort(-cosines, kind="stable")[:4]
        assert [one.key for one in neighbours] == [rows.row(trained[n]).key for n in best]
        assert [one.similarity for one in neighbours] == pytest.approx(
            sorted(cosines, reverse=True)[:4], abs=1e-3
        )
    for picture, neighbours in zip(pictures, found.by_pixels, strict=True):
        apart = [difference(picture, one) for one in seen]
        best = np.argsort(apart, kind="stable")[:4]
        assert [one.key for one in neighbours] == [rows.row(trained[n]).key for n in best]
        expected = pytest.approx(sorted(apart)[:4], abs=1)  # means are rounded to whole levels
        assert [one.difference for one in neighbours] == expected
    near = found.neighbours[0][0]
    number = int(near.key[-4:])
    assert near.url == f"http://example.org/{near.key}.png"
    assert (near.creator, near.licence) == (f"painter {number}", "CC BY 4.0")
    assert "not copied" in found.said


def as_the_model_saw(rows: TrainingRows, numbers: list[int]) -> list[Image.Image]:
    """Of 16 pixels, by Pillow alone."""
    samples = Reader(rows.folder).sound(np.array(numbers))
    return [ImageOps.fit(one.picture, (16, 16), Image.Resampling.BOX) for one in samples]


def difference(one: Image.Image, other: Image.Image) -> float:
    """Of 8 x 8 means, root mean square."""
    blocks = []
    for picture in (one, other):
        pixels = np.asarray(picture.convert("RGB"), np.float64)
        side = pixels.shape[0] // 8
        blocks.append(pixels.reshape(8, side, 8, side, 3).mean((1, 3)).round())
    return float(np.sqrt(((blocks[0] - blocks[1]) ** 2).mean()))


def test_a_memorised_picture_is_found_first(run: Path) -> None:
    """Drawn to the bit, and with the noise of a drawing: first by both measures."""
    parts, _, _ = open_run(run)
    rows = open_rows(run / "rows")
    assert rows is not None
    trained = [n for n in range(len(rows)) if n not in rows.held_out]
    planted = trained[3 : len(trained) : 5]
    copies = as_the_model_saw(rows, planted)
    blurred = [copy.filter(ImageFilter.GaussianBlur(0.6)) for copy in copies]
    found = receipts_of(parts.settings.data, run / "rows", copies + blurred, 2)
    keys = [rows.row(n).key for n in planted]
    assert [first.key for first, _ in found.neighbours] == keys * 2
    assert [first.key for first, _ in found.by_pixels] == keys * 2
    for first, _ in found.neighbours[: len(keys)]:
        assert first.similarity == pytest.approx(1, abs=2e-3)
        assert first.difference == pytest.approx(0, abs=0.01)
    assert all(first.difference < second.difference for first, second in found.by_pixels)


def test_what_was_seen_is_kept_and_made_anew_for_other_rows(
    run: Path, clip: Clip, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts, _, _ = open_run(run)
    rows = open_rows(run / "rows")
    assert rows is not None
    first = seen_of(rows, parts.settings.data, clip)
    with monkeypatch.context() as patch:
        patch.setattr(Reader, "sound", lambda *_: pytest.fail("read again"))
        again = seen_of(rows, parts.settings.data, clip)
        assert again.keys == first.keys
        assert (again.vectors == first.vectors).all()
        with pytest.raises(pytest.fail.Exception, match="read again"):
            seen_of(replace(rows, digest="another"), parts.settings.data, clip)


def test_of_more_than_can_be_embedded_the_stored_vectors_do(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("frenchcat.train.receipts.LIMIT", 5)
    parts, _, _ = open_run(run)
    found = receipts_of(parts.settings.data, run / "rows", [noise(1)], 2)
    assert "there are more than 5 training images" in str(found.note)
    assert found.by_pixels == [[]]
    searcher = Searcher(Dataset.open(str(parts.settings.data.dataset)))
    (drawn,) = searcher.clip.encode_images([noise(1)])
    rows = open_rows(run / "rows")
    assert rows is not None
    trained = [n for n in range(len(rows)) if n not in rows.held_out]
    assert found.compared == len(trained)
    cosines = searcher.vectors(searcher.positions(trained)) @ drawn
    best = np.argsort(-cosines, kind="stable")[:2]
    assert [one.key for one in found.neighbours[0]] == [rows.row(trained[n]).key for n in best]
    similar = [one.similarity for one in found.neighbours[0]]
    assert similar == pytest.approx(cosines[best].tolist(), abs=1e-3)


def test_pictures_that_are_gone_are_said(run: Path, tmp_path: Path) -> None:
    moved = Path(shutil.copytree(run / "rows", tmp_path / "rows"))
    for kept in moved.glob("seen-*"):
        kept.unlink()
    about = json.loads((moved / "rows.json").read_text())
    about["tars"] = [[str(tmp_path / "gone.tar"), size] for _, size in about["tars"]]
    (moved / "rows.json").write_text(json.dumps(about))
    parts, _, _ = open_run(run)
    found = receipts_of(parts.settings.data, moved, [noise(1)], 2)
    assert f"compared by stored vectors: {tmp_path / 'gone.tar'} is missing" in str(found.note)
    assert len(found.neighbours[0]) == 2
    assert list(moved.glob("seen-*")) == []


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
    assert (before.note, "1 of the training images" in str(after.note)) == (None, True)
