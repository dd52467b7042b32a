"""A selection of three shapes: buckets, weights, held-out rows, substitutes, decoding."""

import io
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from frenchcat.curate.config import resolve
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.errors import UserError
from frenchcat.curate.select import Choice, select
from frenchcat.curate.tars import members
from frenchcat.train.layout import held_out_of, lay_out, rows_of_selection, rows_of_tars
from frenchcat.train.loader import Batches
from frenchcat.train.pictures import edges_of, enough_of, fitted
from frenchcat.train.plan import Batch, Plan
from frenchcat.train.population import Population
from frenchcat.train.randomness import SampleRandomness
from frenchcat.train.reader import Reader
from frenchcat.train.rows import open_rows
from frenchcat.train.settings import DataSettings, TrainSettings
from tests.sample import tars
from tests.sample.embedded import add_shard
from tests.sample.tars import overwrite, read_tar
from tests.sample.vectors import unit_rows
from tests.train.runs import settings
from tests.train.tars import write_tar

ROWS = 48
ASPECTS = (0.5, 1.0, 2.0)
SHAPES = ((48, 96), (64, 64), (96, 48))  # width, height of row n: SHAPES[n % 3]
FITTED = ((8, 24), (16, 16), (24, 8))  # what they become at 16 pixels, to multiples of 8


def tiles(number: int, width: int, height: int) -> bytes:
    """A JPEG of even tiles, as many as it has pixels at 16 pixels a side, each a grey by chance."""
    grey = np.random.default_rng(number).integers(0, 255, (height // 4, width // 4), np.uint8)
    picture = Image.fromarray(grey).resize((width, height), Image.Resampling.NEAREST)
    out = io.BytesIO()
    picture.convert("RGB").save(out, "JPEG", quality=95)
    return out.getvalue()


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    made = Dataset.create(tmp_path_factory.mktemp("buckets") / "dataset", "shapes")
    for shard in range(2):
        first = shard * ROWS // 2
        shapes = [SHAPES[n % 3] for n in range(first, first + ROWS // 2)]
        files = [tiles(first + n, *shape) for n, shape in enumerate(shapes)]
        wide, high = ([shape[n] for shape in shapes] for n in (0, 1))
        vectors = unit_rows(ROWS // 2)
        add_shard(made, f"{shard:05d}", vectors, files=files, width=wide, height=high)
    select(made, "all")
    return made


def number_of(key: str) -> int:
    return int(key[:5]) * ROWS // 2 + int(key[5:])


def chosen(**data: object) -> TrainSettings:
    nowhere = Path("nowhere")
    values = {"batch": 4, "size": 16, "aspects": list(ASPECTS), "flip": False} | data
    return settings(nowhere, nowhere, data=values, text={"dropout": 0.0})


def test_each_batch_has_its_buckets_shape_and_pictures(dataset: Dataset, tmp_path: Path) -> None:
    rows = rows_of_selection(dataset, "all", tmp_path / "rows", edges_of(ASPECTS))
    batches = Batches(rows.folder, chosen())
    seen: Counter[int] = Counter()
    for k in range(batches.plan.batches(0)):
        bucket = batches.plan.at(0, k).bucket
        loaded = batches[0, k]
        seen[bucket] += 1
        assert {number_of(key) % 3 for key in loaded.keys} == {bucket}
        assert loaded.pixels.shape[:2] == (4, 3)
        assert tuple(loaded.pixels.shape[:1:-1]) == FITTED[bucket]
    assert seen == {0: 4, 1: 4, 2: 4}


def test_buckets_have_orders_of_their_own() -> None:
    """Two buckets of the same rows, side by side."""
    shards, buckets = np.arange(80) // 10 % 4, np.arange(80) // 40
    plan = Plan(Population.of(shards, None, buckets), "d", 0, 40)
    orders = [plan.at(0, k).rows % 40 for k in range(2)]
    assert not np.array_equal(orders[0], orders[1])


def test_a_picture_that_is_decoded_smaller_loses_nothing(dataset: Dataset, tmp_path: Path) -> None:
    rows = rows_of_selection(dataset, "all", tmp_path / "rows")
    data = resolve(DataSettings, {"size": 16, "flip": False})
    wanted = Batch(np.arange(1, ROWS, 3), np.zeros(ROWS // 3, np.int64), 0)
    whole, quick = (Reader(rows.folder, least).read(wanted) for least in (None, enough_of(data)))
    chance = SampleRandomness(0, 0, "a")
    for full, small in zip(whole.samples, quick.samples, strict=True):
        assert full.picture.size == (64, 64)
        assert small.picture.size == (32, 32)
        one, other = (fitted(s.picture, (16, 16), data, chance) for s in (full, small))
        assert np.abs(one.astype(float) - other).mean() < 4


# -- which rows are drawn --------------------------------------------------------------------------


def drawn(population: Population, epochs: int = 12) -> Counter[int]:
    plan = Plan(population, "d", 1, 1)
    return Counter(
        int(row)
        for epoch in range(epochs)
        for k in range(plan.batches(epoch))
        for row in plan.at(epoch, k).rows
    )


def test_held_out_rows_are_never_drawn(dataset: Dataset, tmp_path: Path) -> None:
    chosen_rows = rows_of_selection(dataset, "all", tmp_path / "chosen", held_out=100)
    tar = write_tar(tmp_path / "a.tar", range(40))
    foreign, _ = rows_of_tars([str(tar)], tmp_path / "foreign", held_out=3)
    for rows, kept in ((chosen_rows, ROWS // 10), (foreign, 3)):
        assert len(set(rows.held_out)) == kept
        assert set(drawn(rows.population)) == set(range(len(rows))) - set(rows.held_out)


def test_held_out_rows_are_a_sample_that_the_set_decides() -> None:
    ones = [held_out_of(1000, 50, digest) for digest in ("a", "a", "b")]
    assert ones[0] == ones[1] != ones[2]
    for one in ones:
        assert one == sorted(set(one))
        assert len(one) == 50
        assert np.mean(one) == pytest.approx(500, abs=150)
    assert len(held_out_of(1000, 500, "a")) == 100
    assert held_out_of(9, 5, "a") == []


def test_a_selections_weights_are_how_often_rows_are_drawn(
    dataset: Dataset, tmp_path: Path
) -> None:
    weight = "CASE WHEN key < '000000008' THEN 3 WHEN key < '000000016' THEN .5 ELSE 1 END"
    select(dataset, "weighted", Choice(weight=weight))
    rows = rows_of_selection(dataset, "weighted", tmp_path / "rows", edges_of(ASPECTS))
    found = drawn(rows.population)
    for number, key in enumerate(rows.keys()):
        place = number_of(key)
        expected = 12 * (3 if place < 8 else 0.5 if place < 16 else 1)
        assert found[number] == pytest.approx(expected, abs=6 if place in range(8, 16) else 0)
    halves = sum(found[n] for n, key in enumerate(rows.keys()) if number_of(key) in range(8, 16))
    assert halves == pytest.approx(12 * 8 / 2, abs=12)


# -- laid out once, and anew after a change --------------------------------------------------------


def test_rows_are_laid_out_anew_for_other_settings(dataset: Dataset, tmp_path: Path) -> None:
    label = "CASE WHEN key < '000000020' THEN 'a' ELSE 'b' END"
    select(dataset, "labelled", Choice(label=label))
    folder = tmp_path / "rows"
    whole = rows_of_selection(dataset, "labelled", folder)
    assert set(whole.population.segments[:, 0].tolist()) == {0}
    buckets = rows_of_selection(dataset, "labelled", folder, edges_of(ASPECTS))
    assert set(buckets.population.segments[:, 0].tolist()) == {0, 1, 2}
    labels = rows_of_selection(dataset, "labelled", folder, edges_of(ASPECTS), words="label")
    assert labels.captions() == ["a", "b"]
    assert len(rows_of_selection(dataset, "labelled", folder).captions()) == ROWS


def test_rows_are_laid_out_anew_where_the_selection_or_a_tar_changed(
    dataset: Dataset, tmp_path: Path
) -> None:
    folder = tmp_path / "rows"
    select(dataset, "moving", Choice(where="key < '000000020'"))
    first = rows_of_selection(dataset, "moving", folder)
    select(dataset, "moving", Choice(where="key < '000000021'"))
    second = rows_of_selection(dataset, "moving", folder)
    assert (len(first), len(second)) == (20, 21)
    written = os.stat(folder / "rows.json").st_ino, second.stamp
    assert rows_of_selection(dataset, "moving", folder).stamp == second.stamp
    assert os.stat(folder / "rows.json").st_ino == written[0]
    marker = Path(dataset.path("stages/download/00000.json"))
    os.utime(marker, (1, 1))
    assert rows_of_selection(dataset, "moving", folder).stamp != second.stamp


def test_a_selections_tar_of_another_size_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    rows_of_selection(dataset, "all", tmp_path / "rows")
    tar = Path(dataset.path("shards/00001.tar"))
    before = tar.read_bytes()
    try:
        tar.write_bytes(before + b"\0" * 512)
        with pytest.raises(UserError, match="when its samples were indexed"):
            rows_of_selection(dataset, "all", tmp_path / "rows")
    finally:
        tar.write_bytes(before)


def test_rows_laid_out_anew_forget_the_weights_and_order_of_the_old(tmp_path: Path) -> None:
    shards = np.arange(30) // 10
    Population.of(shards, np.arange(30) % 3 + 0.5, np.arange(30) % 2).save(tmp_path)
    Population.of(shards[:20]).save(tmp_path)
    found = Population.open(tmp_path)
    assert drawn(found, 2) == dict.fromkeys(range(20), 2)
    assert (found.weights, found.order) == (None, None)


def test_rows_that_were_half_laid_out_are_not_opened(tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "a.tar", range(10))
    rows, _ = rows_of_tars([str(tar)], tmp_path / "rows")

    def cut() -> object:
        raise OSError("no space left")
        yield

    with pytest.raises(OSError, match="no space"):
        lay_out(rows.folder, "new", rows.paths, cut(), rows.population)  # type: ignore[arg-type]
    assert open_rows(rows.folder) is None


def test_the_digest_of_tars_is_of_all_that_a_plan_follows_from(tmp_path: Path) -> None:
    def digest(name: str, *tars: tuple[range, str]) -> str:
        folder = tmp_path / name
        folder.mkdir()
        paths = []
        for n, (numbers, prefix) in enumerate(tars):
            paths.append(str(write_tar(folder / f"{n}.tar", numbers, prefix=prefix)))
        return rows_of_tars(paths, folder / "rows")[0].digest

    whole = digest("whole", (range(20), ""))
    assert digest("again", (range(20), "")) == whole
    others = {
        digest("fewer", (range(19), "")),
        digest("renamed", (range(20), "a/")),
        digest("in two", (range(10), ""), (range(10, 20), "")),
        digest("cut elsewhere", (range(9), ""), (range(9, 20), "")),
    }
    assert len(others | {whole}) == 5


@pytest.mark.parametrize("extension", ["png", "txt"])
def test_the_digest_of_tars_is_of_the_files_sizes(tmp_path: Path, extension: str) -> None:
    """A member that grew within its block: other sizes and nothing else."""
    digests = []
    for name, more in (("plain", b""), ("grown", b" ")):
        source = write_tar(tmp_path / f"{name}.source", range(12))
        path = tmp_path / f"{name}.tar"
        members = read_tar(source)
        members[f"000000003.{extension}"] += more
        tars.write_tar(path, members.items())
        digests.append(rows_of_tars([str(path)], tmp_path / name)[0].digest)
    assert digests[0] != digests[1]


# -- substitutes -----------------------------------------------------------------------------------


def damage(tar: Path, keys: set[str]) -> None:
    for member in members(tar):
        if member.key in keys and member.extension == "png":
            overwrite(tar, member.offset, b"<html>".ljust(member.size))


def read(folder: Path, numbers: list[int], bucket: int = 0) -> list[tuple[str, str]]:
    """(damaged key, its substitute) of some rows."""
    wanted = Batch(np.array(numbers), np.zeros(len(numbers), np.int64), bucket)
    return [(loss.key, loss.substitute) for loss in Reader(folder).read(wanted).losses]


def test_rows_that_are_never_drawn_are_no_substitutes_either(tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "a.tar", range(60))
    rows, _ = rows_of_tars([str(tar)], tmp_path / "rows")
    weights = (np.arange(60) < 30).astype(np.float64)
    Population.of(np.zeros(60, np.int64), weights).save(rows.folder)
    damage(tar, {f"{n:09d}" for n in range(20)})
    found = dict(read(rows.folder, list(range(30))))
    assert set(found) == {f"{n:09d}" for n in range(20)}
    assert set(found.values()) <= {f"{n:09d}" for n in range(20, 30)}
    assert len(set(found.values())) > 4


def test_a_substitute_is_of_its_bucket_and_follows_from_the_key_alone(
    dataset: Dataset, tmp_path: Path
) -> None:
    rows = rows_of_selection(dataset, "all", tmp_path / "rows", edges_of(ASPECTS))
    tar = Path(dataset.path("shards/00000.tar"))
    before = tar.read_bytes()
    keys = rows.keys()
    try:
        damage(tar, {key for key in keys if number_of(key) < 18})
        for bucket in range(3):
            mine = [n for n, key in enumerate(keys) if number_of(key) % 3 == bucket]
            found = read(rows.folder, mine, bucket)
            assert len(found) == 6
            assert all(number_of(one) % 3 == bucket for _, one in found)
            assert read(rows.folder, mine[::-1], bucket) == found[::-1]
            assert [pair for n in mine for pair in read(rows.folder, [n], bucket)] == found
    finally:
        tar.write_bytes(before)


def test_a_damaged_held_out_picture_is_left_out_not_replaced(tmp_path: Path) -> None:
    import torch

    from frenchcat.train.held_out import held_out
    from frenchcat.train.model import Codec

    tar = write_tar(tmp_path / "a.tar", range(40))
    rows, _ = rows_of_tars([str(tar)], tmp_path / "rows", held_out=4)
    keys = [rows.row(n).key for n in rows.held_out]
    data, cpu = resolve(DataSettings, {"size": 16}), torch.device("cpu")
    damage(tar, {keys[1]})
    found = held_out(data, Codec(), rows, cpu)
    assert found is not None
    assert found.captions == [f"cat {int(key)}" for key in (keys[0], *keys[2:])]
    assert len(found.x_0) == len(found.noise) == 3
    damage(tar, set(keys))
    assert held_out(data, Codec(), rows, cpu) is None
