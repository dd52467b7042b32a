"""Rows of foreign tars: buckets, samples of one key, tars that were rewritten, one way to open."""

import io
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from frenchcat.curate.errors import UserError
from frenchcat.curate.image import open_image, upright_size
from frenchcat.train.layout import rows_of_tars
from frenchcat.train.loader import Batches
from frenchcat.train.plan import Batch
from frenchcat.train.randomness import SampleRandomness
from frenchcat.train.reader import Reader
from frenchcat.train.rows import open_rows
from frenchcat.train.run import prepare_rows
from tests.sample.pictures import picture
from tests.sample.tars import write_tar as write_members
from tests.train.runs import settings
from tests.train.tars import write_tar


def encoded(image: Image.Image, kind: str, **how: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **how)
    return out.getvalue()


# -- aspects -----------------------------------------------------------------------------------

ASPECTS = (0.5, 1.0, 2.0)
SIZES = {0: [(16, 40), (20, 39)], 1: [(32, 32), (30, 33)], 2: [(40, 16), (64, 33)]}


def test_pictures_of_tars_go_to_the_nearest_bucket(tmp_path: Path) -> None:
    members, expected = [], {}
    for bucket, sizes in SIZES.items():
        for n, (width, height) in enumerate(sizes):
            turned = encoded(Image.new("RGB", (height, width)), "JPEG", exif=_turned())
            plain = encoded(Image.new("RGB", (width, height)), ("PNG", "WEBP")[n])
            for name, data, kind in (("plain", plain, "png"), ("turned", turned, "jpg")):
                key = f"{bucket}-{n}-{name}"
                members += [(f"{key}.{kind}", data), (f"{key}.txt", b"a")]
                expected[key] = bucket
    members += [("broken.png", b"<html>"), ("broken.txt", b"a")]
    tar = write_members(tmp_path / "a.tar", members)
    data = {"aspects": ASPECTS, "batch": 2}
    made = settings(tar, tmp_path / "run", data=data, run={"held_out": 0})
    rows, troubles = prepare_rows(made, tmp_path / "rows")
    assert troubles is not None
    assert [line.split(": ")[1][:19] for line in troubles] == ["broken.png has no r"]
    found = {}
    for bucket, start, stop in rows.population.segments.tolist():
        for row in rows.take(rows.population.row_numbers(np.arange(start, stop))):
            found[row.key] = bucket
    assert found == expected | {"broken": 1}
    shapes = {tuple(loaded.pixels.shape[2:]) for loaded in _epoch(Batches(rows.folder, made))}
    assert shapes == {(24, 8), (16, 16), (8, 24)}
    again, said = prepare_rows(made, tmp_path / "rows")
    assert (again.digest, said) == (rows.digest, None)


def _epoch(batches: Batches) -> list:
    return [batches[0, k] for k in range(batches.plan.batches(0))]


def _turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "GIF", "AVIF"])
def test_the_size_that_a_header_tells_is_that_of_the_opened_picture(kind: str) -> None:
    image = Image.new("RGB", (30, 20), "red")
    for how in ({}, {} if kind == "GIF" else {"exif": _turned()}):
        data = encoded(image, kind, **how)
        assert upright_size(data) == open_image(data).size


# -- samples of one key ------------------------------------------------------------------------


def chances(folder: Path, tars: list[Path]) -> list[tuple[object, ...]]:
    """What chance gives to each sample of an epoch."""
    made = settings(
        folder, folder / "run", data={"batch": 4, "crop": "random"}, run={"held_out": 0}
    )
    rows, _ = rows_of_tars(list(map(str, tars)), folder / "rows")
    batches = Batches(rows.folder, made)
    return [
        (key, seed, time)
        for one in _epoch(batches)
        for key, seed, time in zip(one.keys, one.noise_seeds, one.times.tolist(), strict=True)
    ]


def test_samples_of_one_key_share_no_chance(tmp_path: Path) -> None:
    tars = [write_tar(tmp_path / f"{n}.tar", range(8)) for n in range(3)]
    doubled = [(f"{n}.{kind}", data) for n in range(8) for kind, data in _pair(n)]
    tars.append(write_members(tmp_path / "3.tar", doubled[:4] + doubled[4:8] + doubled[:4]))
    found = chances(tmp_path, tars)
    assert len(found) == 28
    assert len({seed for _, seed, _ in found}) == 28
    assert len({(time, key) for key, _, time in found}) > 24
    rows = open_rows(tmp_path / "rows")
    assert rows is not None
    assert rows.take([0])[0].label == f"000000000 of {tars[0]}"
    assert rows.take([24])[0].label.startswith("0 of ")


def _pair(number: int) -> list[tuple[str, bytes]]:
    return [("png", picture(number)), ("txt", b"a cat")]


def test_samples_of_keys_of_their_own_have_the_chances_that_they_had(tmp_path: Path) -> None:
    tars = [write_tar(tmp_path / f"{n}.tar", range(n * 8, n * 8 + 8)) for n in range(2)]
    for key, seed, _ in chances(tmp_path, tars):
        assert seed == SampleRandomness(0, 0, str(key)).number("noise")


def test_rows_that_were_laid_out_before_go_on_as_they_were(tmp_path: Path) -> None:
    """Their file has no names, and the run's record no stamps."""
    import pyarrow as pa

    tars = [str(write_tar(tmp_path / f"{n}.tar", range(8))) for n in range(2)]
    made = settings(tmp_path, tmp_path / "run")
    before, _ = prepare_rows(made, tmp_path / "rows")
    path = tmp_path / "rows" / "rows.arrow"
    with pa.memory_map(str(path)) as source:
        table = pa.ipc.open_file(source).read_all().drop_columns(["name"])
    with pa.OSFile(str(tmp_path / "new"), "wb") as sink, pa.ipc.new_file(sink, table.schema) as out:
        out.write_table(table)
    (tmp_path / "new").replace(path)
    about = json.loads((tmp_path / "rows" / "rows.json").read_text())
    about.pop("stamps"), about.pop("left_out")
    (tmp_path / "rows" / "rows.json").write_text(json.dumps(about))
    again, troubles = prepare_rows(made, tmp_path / "rows")
    assert (again.digest, troubles) == (before.digest, None)
    assert {row.name for row in again.take(range(16))} == {f"{n:09d}" for n in range(8)}
    _rewrite(Path(tars[0]), shift=True)
    with pytest.raises(UserError, match="was rewritten since"):
        prepare_rows(made, tmp_path / "rows")


# -- tars that were rewritten ------------------------------------------------------------------


def _rewrite(
    tar: Path, shift: bool = False, caption: bytes = b"dog", red: int | None = None
) -> None:
    """As many bytes, other captions (longer ones move nothing: tars are padded) or pictures."""
    size = tar.stat().st_size
    members = []
    for n in range(8):
        text = caption * (9 if shift else 1) + b" %d" % n
        members += [(f"{n:09d}.png", picture(n if red is None else red, 16, 12))]
        members += [(f"{n:09d}.txt", text)]
    tar.unlink()
    write_members(tar, members)
    assert tar.stat().st_size == size


@pytest.mark.parametrize("how", [{"shift": True}, {}, {"caption": b"cat", "red": 99}])
def test_a_tar_rewritten_at_equal_size_is_refused(tmp_path: Path, how: dict) -> None:
    tar = write_tar(tmp_path / "a.tar", range(8))
    made = settings(tar, tmp_path / "run")
    prepare_rows(made, tmp_path / "rows")
    times = (tar.stat().st_atime_ns, tar.stat().st_mtime_ns)
    _rewrite(tar, **how)
    os.utime(tar, ns=times)  # even under its old date
    with pytest.raises(UserError, match=rf"{tar} was rewritten since its samples were indexed"):
        prepare_rows(made, tmp_path / "rows")


def test_a_tar_that_was_copied_or_touched_goes_on(tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "a.tar", range(8))
    made = settings(tar, tmp_path / "run")
    before, _ = prepare_rows(made, tmp_path / "rows")
    shutil.copyfile(tar, tmp_path / "b.tar")
    (tmp_path / "b.tar").replace(tar)
    again, _ = prepare_rows(made, tmp_path / "rows")
    assert again.digest == before.digest
    noted = (tmp_path / "rows" / "rows.json").stat().st_mtime_ns
    prepare_rows(made, tmp_path / "rows")  # noted the first time
    assert (tmp_path / "rows" / "rows.json").stat().st_mtime_ns == noted


# -- one way to open a picture -----------------------------------------------------------------


def odd_pictures() -> dict[str, bytes]:
    red = Image.new("RGB", (16, 16), (200, 30, 40))
    clear = red.convert("RGBA")
    clear.putalpha(Image.linear_gradient("L").resize((16, 16)))
    deep = Image.fromarray(np.full((16, 16), 40_000, np.uint16))
    half = Image.new("RGB", (24, 16), "white")
    half.paste((0, 0, 0), (0, 0, 12, 16))
    return {
        "alpha.png": encoded(clear, "PNG"),
        "alpha.webp": encoded(clear, "WEBP", lossless=True),
        "deep.png": encoded(deep, "PNG"),
        "turned.jpg": encoded(half, "JPEG", exif=_turned()),
        "palette.gif": encoded(red.quantize(4), "GIF"),
        "cmyk.jpg": encoded(red.convert("CMYK"), "JPEG"),
    }


def test_pictures_of_tars_are_opened_as_everywhere(tmp_path: Path) -> None:
    found = odd_pictures()
    members = []
    for number, (name, data) in enumerate(found.items()):
        members += [(f"{number}.{name.partition('.')[2]}", data), (f"{number}.txt", b"a")]
    tar = write_members(tmp_path / "a.tar", members)
    rows, _ = rows_of_tars([str(tar)], tmp_path / "rows")
    numbers = np.arange(len(found))
    read = Reader(rows.folder).read(Batch(numbers, np.zeros_like(numbers), 0))
    for sample, data in zip(read.samples, found.values(), strict=True):
        assert sample.picture.tobytes() == open_image(data).tobytes()
