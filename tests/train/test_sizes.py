"""Pictures of any size and aspect: drawn, held out in their buckets, encoded in parts."""

import io
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image

from frenchcat.curate.errors import UserError
from frenchcat.drawing import size_of
from frenchcat.train import draw as drawing
from frenchcat.train.draw import SampleRequest, draw
from frenchcat.train.held_out import held_out_groups, held_out_loss
from frenchcat.train.model import Codec
from frenchcat.train.run import Parts, make_parts, prepare_rows
from tests.sample.tars import write_tar
from tests.train.runs import settings


@pytest.fixture(scope="module")
def parts() -> Parts:
    data = {"size": 16, "aspects": [0.5, 1.0, 2.0]}
    made = make_parts(settings(Path("none"), Path("none"), data=data))
    made.unet.eval()
    return made


def test_pictures_have_the_size_that_is_asked_for(parts: Parts, tmp_path: Path) -> None:
    wishes = [SampleRequest("a cat", 3), SampleRequest("a dog", 4)]
    for size in ((24, 16), (8, 32), (16, 16)):
        pictures = draw(parts, wishes, steps=2, size=size)
        assert {picture.size for picture in pictures} == {size}
    assert draw(parts, wishes, steps=2)[0].size == (16, 16)
    start = Image.new("RGBA", (50, 10), (255, 0, 0, 0))  # clear: white, as everywhere
    (drawn,) = draw(parts, wishes[:1], steps=50, size=(32, 8), start=start, strength=0.02)
    assert drawn.size == (32, 8)
    assert np.asarray(drawn).mean() > 200


def test_what_is_drawn_is_no_square_where_none_was_trained() -> None:
    data = {"size": 16, "aspects": [0.5, 0.25]}
    made = make_parts(settings(Path("none"), Path("none"), data=data))
    made.unet.eval()
    assert draw(made, [SampleRequest("a cat")], steps=1)[0].size == (8, 24)


def test_many_are_drawn_in_parts(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    wishes = [SampleRequest("a cat", n) for n in range(5)]
    whole = draw(parts, wishes, steps=2, size=(24, 8))
    monkeypatch.setattr(drawing, "AT_ONCE", 2)
    heard: list[tuple[int, int]] = []
    told = lambda step, steps: heard.append((step, steps))  # noqa: E731
    in_parts = draw(parts, wishes, steps=2, size=(24, 8), watch=told)
    for one, other in zip(whole, in_parts, strict=True):
        assert np.abs(np.asarray(one, float) - np.asarray(other, float)).max() <= 1
    assert heard == [(n, 6) for n in range(1, 7)]


@pytest.mark.parametrize(
    ("text", "size"), [("96x64", (96, 64)), ("64", (64, 64)), ("8X16", (8, 16))]
)
def test_sizes_as_they_are_written(text: str, size: tuple[int, int]) -> None:
    assert size_of(text) == size


@pytest.mark.parametrize("text", ["", "x", "0x8", "8x8x8", "-8x8", "8.5", "axb"])
def test_texts_that_are_no_sizes(text: str) -> None:
    with pytest.raises(UserError, match="as 96x64"):
        size_of(text)


def test_held_out_pictures_are_measured_in_their_buckets(parts: Parts, tmp_path: Path) -> None:
    members = []
    for n in range(60):
        width, height = ((16, 36), (32, 32), (36, 16))[n % 3]
        out = io.BytesIO()
        Image.new("RGB", (width, height), (n, 9, 9)).save(out, "PNG")
        members += [(f"{n}.png", out.getvalue()), (f"{n}.txt", f"cat {n}".encode())]
    data = {"tars": str(write_tar(tmp_path / "a.tar", members)), "aspects": [0.5, 1.0, 2.0]}
    made = settings(tmp_path, tmp_path / "run", data=data, run={"held_out": 6})
    rows, _ = prepare_rows(made, tmp_path / "rows")
    groups = held_out_groups(made.data, Codec(), rows, torch.device("cpu"))
    for still in groups:
        for caption in still.captions:
            bucket = int(caption.split()[1]) % 3
            assert tuple(still.x_0.shape[2:]) == ((24, 8), (16, 16), (8, 24))[bucket]
    assert sum(len(still.captions) for still in groups) == 6
    loss = held_out_loss(parts, parts.unet, rows, torch.device("cpu"))
    assert loss is not None
    assert 0.1 < loss.mean < 10


def test_latents_are_made_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    vae_class: Any = diffusers.AutoencoderKL
    torch.manual_seed(0)
    codec = Codec(
        vae_class(
            block_out_channels=[4, 4],
            norm_num_groups=2,
            latent_channels=4,
            down_block_types=["DownEncoderBlock2D"] * 2,
            up_block_types=["UpDecoderBlock2D"] * 2,
        ).eval()
    )
    pixels = torch.randint(0, 256, (5, 3, 16, 24), dtype=torch.uint8)
    seen: list[int] = []
    whole = codec.encode(pixels), codec.decode(codec.encode(pixels))
    monkeypatch.setattr("frenchcat.train.model.AT_ONCE", 2)
    for name in ("encode", "decode"):
        inner = getattr(codec.vae, name)
        monkeypatch.setattr(
            codec.vae, name, lambda x, inner=inner: (seen.append(len(x)), inner(x))[1]
        )
    parted = codec.encode(pixels), codec.decode(whole[0])
    torch.testing.assert_close(parted[0], whole[0])
    assert (parted[1].int() - whole[1].int()).abs().max() <= 1
    assert seen == [2, 2, 1] * 2
