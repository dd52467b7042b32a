"""Stamps in drawings: a model that draws stamped images is reported, and a clean one is not."""

import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from frenchcat import sample_data
from frenchcat.audit_page import page
from frenchcat.curate.image import open_image
from frenchcat.curate.safe_text import for_html
from frenchcat.curate.select import Choice, select
from frenchcat.curate.statistics import binomial_tail
from frenchcat.train.audit import audit
from frenchcat.train.draw import SampleRequest
from frenchcat.train.loop import train
from frenchcat.train.rows import open_rows
from frenchcat.train.run import open_run
from frenchcat.train.stamps import Stamps, stamps_of
from tests.sample.pictures import file_of
from tests.train.embedded_run import CHOSEN, make_dataset, mini
from tests.train.runs import settings
from tests.train.test_copies import Remembers

SIZE = 128
STAMPED = 10  # of the run's rows


def square(data: bytes) -> Image.Image:
    image = open_image(data)
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side)).resize((SIZE, SIZE))


@pytest.fixture(scope="module")
def images() -> tuple[list[Image.Image], list[Image.Image]]:
    """The bundled sample's images with a stamp, and some without."""
    listed = sample_data.read_list().to_pylist()
    paths: dict[str, list[str]] = {"watermark": [], "": []}
    for row in listed:
        paths.get(row["planted"], []).append(row["url"].split("/", 3)[3])
    with tarfile.open(sample_data.PICTURES) as tar:

        def read(path: str) -> Image.Image:
            file = tar.extractfile(path)
            assert file is not None
            return square(file.read())

        return [read(one) for one in paths["watermark"]], [read(one) for one in paths[""][:200:5]]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, images: Any) -> Path:
    """A run on a selection of which a third is stamped."""
    folder = tmp_path_factory.mktemp("stamps")
    stamped, clean = images
    some = [*stamped[:STAMPED], *clean]
    dataset = make_dataset(folder / "dataset", mini(), lambda n: file_of(some[n], "PNG"))
    select(dataset, "some", Choice(where=f"key < '00000{CHOSEN:04d}'"))
    data = {"tars": None, "dataset": dataset.root, "selection": "some", "size": SIZE, "batch": 2}
    few = {"steps": 1, "warmup": 1}
    return train(settings(folder / "none", folder / "run", data=data, optimizer=few))


def drawing(run: Path, shown: list[Image.Image]) -> Any:
    """The run with a network that answers its captions with these images, one after the other."""
    parts, state, folder = open_run(run)
    rows = open_rows(run / "rows")
    assert rows is not None
    captions = [row.caption or "" for row in rows.take(range(len(rows)))]
    pixels = torch.from_numpy(np.stack([np.asarray(one) for one in shown])).permute(0, 3, 1, 2)
    latents = parts.codec.encode(pixels)
    known = {text: latents[n % len(shown)] for n, text in enumerate(captions)}
    return replace(parts, unet=Remembers(parts, known, latents.mean(0))), state, folder


def test_a_model_that_draws_stamps_is_reported_and_a_clean_one_is_not(
    run: Path, images: Any
) -> None:
    stamped, clean = images
    how: dict[str, Any] = {"prompts": 20, "number": 1, "steps": 1, "guidance": 1.0}
    found = audit(run, **how, opened=drawing(run, stamped)).stamps
    assert found.stand_out
    assert found.drawings == found.prompts == 20
    assert 0.4 <= found.share <= 0.9  # the classifier knows 9 of the 15 at this size
    assert 4 <= found.stamped_trained <= STAMPED + 2  # ten of the rows are
    assert found.trained == CHOSEN - 3  # without what was held out
    made = audit(run, **how, opened=drawing(run, clean))
    assert not made.stamps.stand_out
    assert made.stamps.share <= 0.1
    assert made.stamps.stamped_trained == found.stamped_trained
    told = made.as_json()["stamps"]
    assert (told["stand_out"], told["share"]) == (False, made.stamps.share)
    assert for_html(made.stamps.line()) in page(made, "run", lambda key: clean[0])


def test_what_the_classifier_cannot_see_is_said(run: Path, images: Any) -> None:
    """At 32 pixels it recognises none of the stamps (the shares above are of 128)."""
    parts, _, _ = open_run(run)
    rows = open_rows(run / "rows")
    assert rows is not None
    small = replace(parts.settings.data, size=32)
    found = stamps_of(small, rows, [SampleRequest("a")], [images[1][0]])
    assert found.still_seen < found.stamped_trained
    assert "at the model's 32 pixels only" in (found.note or "")


def test_prompts_count_and_not_their_drawings() -> None:
    """Four drawings of one prompt are alike: stamped together or not."""
    found = Stamps(80, 12, 20, 3, 100, 0, 0, 0.052, binomial_tail(3, 20, 0.052))
    assert not found.stand_out
    assert "not more than the classifier's errors explain" in found.line()
