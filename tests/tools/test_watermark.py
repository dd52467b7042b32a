"""The recipe of `pwatermark`: what is held out stays out, a pair differs by its stamp alone, and
the number that it gives is a probability at the share it names."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageChops

from frenchcat.curate.score.watermark.network import Heads
from tools.openclipart import reserved
from tools.watermark import pictures, stamps, textures, train

pytest.importorskip("matplotlib")  # its fonts write the stamps


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Forty drawings where the package puts them."""
    folder = tmp_path / "usr/share/openclipart/png/animals"
    folder.mkdir(parents=True)
    for number in range(40):
        picture = Image.new("RGBA", (260, 200), (0, 0, 0, 0))
        picture.paste((number * 6, 90, 160, 255), (40, 30, 180, 150))
        picture.save(folder / f"{number}.png")
    return tmp_path


def test_neither_side_has_a_reserved_drawing_nor_one_of_the_other(root: Path) -> None:
    sides = [set(pictures.sources(root, held).drawings) for held in (False, True)]
    assert all(sides)
    assert not sides[0] & sides[1]
    clipart = root / "usr/share/openclipart/png"
    names = {path.relative_to(clipart).as_posix() for path in clipart.rglob("*.png")}
    seen = {path.relative_to(clipart).as_posix() for path in sides[0] | sides[1]}
    assert seen == {name for name in names if not reserved(name)}
    assert seen < names


def test_held_out_stamps_share_no_text_and_no_font_with_the_trained_ones() -> None:
    for kit in (stamps.TRAIN, stamps.INVENTED):
        assert not set(kit.texts) & set(stamps.HELD.texts)
        assert not set(kit.fonts) & set(stamps.HELD.fonts)
    assert set(stamps.HELD.styles) - set(stamps.INVENTED.styles) == {"band", "scattered"}
    assert set(pictures.WEIGHTS) == set(stamps.HELD.styles)


def test_a_pair_is_one_picture_without_and_with_a_stamp(root: Path) -> None:
    drawings = pictures.sources(root, False).drawings
    for number in range(len(drawings)):
        plain, marked = pictures.pair(root, number, False)
        assert (plain.marked, marked.marked) == (False, True)
        assert plain.picture.size == marked.picture.size
        changed = np.asarray(ImageChops.difference(plain.picture, marked.picture)).max(2) > 12
        assert 0.001 < changed.mean() < 0.6
        again = pictures.pair(root, number, False)
        assert again[1].picture.tobytes() == marked.picture.tobytes()
    assert pictures.pair(root, len(drawings), False) == []


@pytest.mark.parametrize("seed", range(6))
def test_a_texture_is_the_seeds(seed: int) -> None:
    ground = Image.new("RGB", (240, 180), (120, 140, 90))
    first, again = (textures.textured(ground, random.Random(seed)) for _ in range(2))
    assert first.tobytes() == again.tobytes()
    assert first.size == ground.size
    assert first.tobytes() != ground.tobytes()


def test_the_calibrated_number_is_right_as_often_as_it_says() -> None:
    torch.manual_seed(0)
    heads = Heads().eval()
    rng = np.random.default_rng(0)
    marked = np.arange(400) % 2 == 1
    maps = rng.normal(size=(400, 40, 28, 28)).astype(np.float16) + marked[:, None, None, None] * 0.3
    data = {"maps": maps, "marked": marked}
    before = train.logits(heads, maps)
    if np.corrcoef(before, marked)[0, 1] < 0:
        with torch.no_grad():
            for head in heads.heads:
                head.last.weight.neg_()
                head.last.bias.neg_()
    train.calibrate(heads, data)
    given = 1 / (1 + np.exp(-train.logits(heads, maps)))
    weight = np.where(marked, train.MARKED_SHARE, 1 - train.MARKED_SHARE)
    assert np.average(given, weights=weight) == pytest.approx(train.MARKED_SHARE, abs=0.002)


def test_recall_is_counted_where_three_in_a_hundred_are_wrong() -> None:
    scores = np.concatenate([np.arange(100), [95.5, 98.5, 200, 50]]).astype(float)
    data = {"marked": np.arange(104) >= 100}
    assert train.recall_at(scores, data) == 0.5
