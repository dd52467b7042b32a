"""Copies among drawings: a model that remembers its images is found out, and one that does not.

The network is the best denoiser in closed form (2206.00364, appendix B.3): for a caption that it
knows it answers with that caption's image, else with the mean of all images.
"""

import json
import shutil
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import frenchcat
from frenchcat.curate.errors import NotFound, UserError
from frenchcat.train.audit import audit, chosen_of
from frenchcat.train.copies import limits_of, read_limits, without_copies
from frenchcat.train.draw import SampleRequest, draw
from frenchcat.train.reader import Reader
from frenchcat.train.receipts import receipts_of
from frenchcat.train.rows import open_rows
from frenchcat.train.run import Parts, open_run
from frenchcat.train.seen import view_of
from tests.sample.pictures import file_of, noise
from tests.train.embedded_run import mini, train_on_selection

HOW: dict[str, Any] = {"number": 1, "steps": 2, "guidance": 1.0}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    drawn = tmp_path_factory.mktemp("copies")
    return train_on_selection(drawn, mini(), lambda number: file_of(noise(number, 4, 4), "PNG"))


class Remembers(nn.Module):
    """Answers with the images of the captions that it knows, by the states of their text."""

    dtype = torch.float32

    def __init__(self, parts: Parts, images: dict[str, torch.Tensor], mean: torch.Tensor) -> None:
        super().__init__()
        self.none = nn.Parameter(torch.zeros(1))
        self.diffusion, self.target = parts.diffusion, parts.settings.diffusion.target
        self.mean = mean
        texts = {text: parts.text([text]) for text in images}
        self.known = [(told.states[told.mask], images[text]) for text, told in texts.items()]

    def forward(
        self,
        x: torch.Tensor,
        t: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        encoder_attention_mask: torch.Tensor,
        **_: Any,
    ) -> tuple[torch.Tensor]:
        found = []
        for states, mask in zip(encoder_hidden_states, encoder_attention_mask, strict=True):
            told = states[mask]
            same = (i for s, i in self.known if len(s) == len(told) and torch.allclose(s, told))
            found.append(next(same, self.mean))
        x_0 = torch.stack(found)
        a, s = (part[:, None, None, None] for part in self.diffusion.coefficients(t))
        return (self.diffusion.target(self.target, x_0, (x - a * x_0) / s, t),)


@pytest.fixture(scope="module")
def opened(run: Path) -> Any:
    return open_run(run)


def remembering(run: Path, opened: Any, number: int) -> tuple[Any, dict[str, str]]:
    """The run with a network that knows its first images; their captions and keys."""
    parts, state, folder = opened
    rows = open_rows(run / "rows")
    assert rows is not None
    trained = [n for n in range(len(rows)) if n not in rows.held_out]
    samples = Reader(rows.folder).sound(np.array(trained, np.int64))
    view = view_of(parts.settings.data)
    pixels = [np.asarray(view(one.picture), np.uint8) for one in samples]
    images = parts.codec.encode(torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2))
    known = {one.caption: images[n] for n, one in enumerate(samples[:number])}
    network = Remembers(parts, known, images.mean(0))
    keys = {one.caption: one.key for one in samples[:number]}
    return (replace(parts, unet=network), state, folder), keys


def test_each_image_that_a_model_remembers_is_found_and_no_other(run: Path, opened: Any) -> None:
    made, keys = remembering(run, opened, 12)
    found = audit(run, prompts=40, **HOW, opened=made)
    assert {(copy.prompt, copy.key) for copy in found.copies} == set(keys.items())
    assert len(found.copies) == 12
    assert (found.prompts, found.drawings) == (27, 27)
    assert {name for copy in found.copies for name in copy.exceeded} == {
        "cosine",
        "pixels",
        "prompt",
    }
    assert found.copies[0].creator.startswith("painter")
    none, _ = remembering(run, opened, 0)
    assert audit(run, prompts=40, **HOW, opened=none).copies == ()


def test_copies_are_drawn_again_and_left_out_where_they_stay(run: Path, opened: Any) -> None:
    made, keys = remembering(run, opened, 12)
    parts, _, folder = made
    limits = audit(run, prompts=40, **HOW, opened=made).limits
    assert read_limits(run, folder) == limits
    asked = [SampleRequest(text, 3) for text in [*list(keys)[:2], "a sailing boat"]]
    turns = []

    def drawn(some: Any) -> Any:
        turns.append([(one.prompt, one.seed) for one in some])
        pictures = draw(parts, some, steps=2, guidance=1.0)
        return pictures, receipts_of(parts.settings.data, run / "rows", pictures, 2)

    requests, pictures, receipts = without_copies(parts, asked, limits, drawn)
    assert requests == asked[2:]
    assert (len(pictures), len(receipts.neighbours), len(receipts.by_pixels)) == (1, 1, 1)
    assert [len(turn) for turn in turns] == [3, 2, 2, 2]
    assert len({seed for turn in turns for _, seed in turn}) == 4
    with pytest.raises(UserError, match="all 2 drawings are near copies"):
        without_copies(parts, asked[:2], limits, drawn)


def test_the_command_refuses_what_was_not_audited_and_writes_a_page(
    run: Path, tmp_path: Path
) -> None:
    copied = tmp_path / "run"
    shutil.copytree(run, copied)
    (copied / "audit.json").unlink(missing_ok=True)
    with pytest.raises(UserError, match=r"was not audited.*frenchcat audit"):
        frenchcat.sample(copied, "a cat", tmp_path / "out", steps=2, refuse_copies=True)
    assert not (tmp_path / "out").exists()
    found = frenchcat.audit(copied, prompts=4, number=1, steps=2, device="cpu")
    told = json.loads((copied / "audit.json").read_text())
    assert told["drawings"] == found.drawings == 4
    shown = (copied / "audit.html").read_text()
    assert f"{len(found.copies)} of 4 drawings are near copies" in shown
    assert "<script" not in shown
    how: dict[str, Any] = {"steps": 2, "number": 1, "device": "cpu", "refuse_copies": True}
    with suppress(UserError):  # after two steps of training, whatever is drawn is allowed
        frenchcat.sample(copied, "a cat", tmp_path / "out", **how)


def test_a_dataset_that_is_gone_is_said_before_anything_is_drawn(run: Path, tmp_path: Path) -> None:
    copied, gone = tmp_path / "run", tmp_path / "gone"
    shutil.copytree(run, copied)
    for file in copied.rglob("*.json"):
        file.write_text(file.read_text().replace(str(run.parent / "dataset"), str(gone)))
    drawn: list[int] = []
    for call in (
        lambda: frenchcat.audit(copied, device="cpu", watch=lambda step, steps: drawn.append(step)),
        lambda: frenchcat.credits(copied),
    ):
        with pytest.raises(NotFound, match=rf"was trained on the dataset {gone}, which is gone"):
            call()
    assert drawn == []


@given(
    seed=st.integers(0, 1000),
    count=st.integers(1, 2000),
    share=st.sampled_from([0.01, 0.03, 0.2]),
)
@settings(max_examples=40)
def test_limits_keep_their_promise(seed: int, count: int, share: float) -> None:
    """Against the definition: exchangeable signals, so a rank's probability is known."""
    rng = np.random.default_rng(seed)
    controls = rng.standard_normal((count, 3))
    limits = limits_of(controls, share)
    above = limits.exceeded(controls).sum(0)
    assert (above <= share / 3 * (count + 1)).all()
    assert limits.false_alarms == pytest.approx(min(1.0, (above + 1).sum() / (count + 1)))
    if count + 1 >= 3 / share:
        assert limits.false_alarms <= share + 1e-9
    assert not limits.exceeded(controls.max(0)[None] - 10).any()


def test_the_most_frequent_captions_are_asked_first() -> None:
    trained = Counter({"often": 9, "twice": 2, **{f"once {n}": 1 for n in range(20)}})
    chosen = chosen_of(trained, 8, seed=1)
    assert chosen[:2] == ["often", "twice"]
    assert len(set(chosen)) == 8
    assert chosen_of(trained, 8, seed=1) == chosen != chosen_of(trained, 8, seed=2)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"prompts": 0}, "0 prompts"),
        ({"false_alarms": 1.0}, "false alarms of 1"),
        ({"steps": 0}, "0"),
    ],
)
def test_numbers_out_of_range_are_one_line(
    run: Path, opened: Any, how: dict[str, Any], said: str
) -> None:
    with pytest.raises(UserError, match=said) as caught:
        audit(run, opened=opened, **how)
    assert "\n" not in str(caught.value)
