"""Copies among drawings: a model that remembers its images is found out, and one that does not.

The network is the best denoiser in closed form (2206.00364, appendix B.3): for a caption that it
knows it answers with that caption's image, else with the mean of all images.
"""

import json
import shutil
import sys
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import frenchcat
from frenchcat.cli import main
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.errors import NotFound, UserError
from frenchcat.curate.removals import Request, log
from frenchcat.train.audit import audit, chosen_of
from frenchcat.train.copies import limits_of, read_limits, without_copies
from frenchcat.train.draw import SampleRequest, draw
from frenchcat.train.loop import train
from frenchcat.train.reader import Reader
from frenchcat.train.receipts import receipts_of
from frenchcat.train.rows import open_rows
from frenchcat.train.run import Parts, open_run
from frenchcat.train.seen import view_of
from tests.sample.pictures import file_of, noise
from tests.train import runs
from tests.train.certificates import EMAIL, PEM, certificate, private
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
    how: dict[str, Any] = {"device": "cpu", "watch": lambda step, steps: drawn.append(step)}
    limits_for(copied)
    calls = (
        lambda: frenchcat.audit(copied, **how),
        lambda: frenchcat.credits(copied),
        lambda: frenchcat.sample(copied, "a", tmp_path / "out", refuse_copies=True, **how),
    )
    for call in calls:
        with pytest.raises(NotFound, match=rf"was trained on the dataset {gone}, which is gone"):
            call()
    shutil.copytree(run.parent / "dataset", gone, ignore=shutil.ignore_patterns("index"))
    for call in (calls[0], calls[2]):
        with pytest.raises(NotFound, match=rf"{gone} has no index; run: frenchcat index"):
            call()
    shutil.copytree(run.parent / "dataset" / "index", gone / "index", dirs_exist_ok=True)
    shutil.rmtree(copied / "rows")
    for call in (calls[0], calls[2]):
        with pytest.raises(UserError, match=r"has no rows/ any more; train again"):
            call()
    assert drawn == []
    assert not (tmp_path / "out").exists()


def limits_for(run: Path, **more: object) -> None:
    """An audit.json whose limits nothing exceeds."""
    limits = {"cosine": 9.0, "pixels": 9.0, "prompt": 9.0, "controls": 300, "false_alarms": 0.01}
    (newest,) = (run / "checkpoints").iterdir()
    told = {"limits": limits, "checkpoint": newest.name} | more
    (run / "audit.json").write_text(json.dumps(told))


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"checkpoint": "step-00000009"}, "is about checkpoint step-00000009, and step-00000002"),
        ({"weights": "0" * 64}, "is about other weights than those of step-00000002"),
        ({"limits": {"cosine": 1.0}}, "is damaged: it has no limits.pixels"),
        ({"limits": None}, "is damaged: limits is None"),
        ({"limits": {"cosine": "high"}}, "is damaged: limits.cosine is 'high'"),
    ],
)
def test_limits_of_something_else_are_refused(
    run: Path, tmp_path: Path, more: dict[str, object], said: str
) -> None:
    copied = Path(shutil.copytree(run, tmp_path / "run"))
    limits_for(copied, **more)
    how: dict[str, Any] = {"steps": 1, "refuse_copies": True, "device": "cpu"}
    with pytest.raises(UserError, match=f"{said}.*run: frenchcat audit") as caught:
        frenchcat.sample(copied, "a", tmp_path / "out", **how)
    assert "\n" not in str(caught.value)
    (copied / "audit.json").write_bytes(b"\xff{")
    with pytest.raises(UserError, match=r"audit\.json is not JSON .*run: frenchcat audit"):
        frenchcat.sample(copied, "a", tmp_path / "out", **how)


def test_a_clock_outside_the_key_s_validity_is_said_before_anything_is_drawn(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a machine whose clock ran in the year 2000 when the key was made."""
    home = tmp_path / "home"
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home))
    key = ec.generate_private_key(ec.SECP256R1())
    root = ec.generate_private_key(ec.SECP256R1())
    chain = (
        certificate(key, root, "Someone", "A root", [EMAIL], -3),
        certificate(root, root, "A root", "A root", [], 9),
    )
    (home / "frenchcat").mkdir(parents=True)
    (home / "frenchcat" / "signing-key.pem").write_bytes(private(key))
    (home / "frenchcat" / "signing-certificates.pem").write_bytes(
        b"".join(one.public_bytes(PEM) for one in chain)
    )
    drawn: list[int] = []
    said = rf"clock says .* valid from .*set the clock, or if it is right, delete {home}"
    with pytest.raises(UserError, match=said):
        frenchcat.sample(run, "a", tmp_path / "out", watch=lambda step, steps: drawn.append(step))
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


def test_a_run_that_held_out_no_image_cannot_be_audited(run: Path, tmp_path: Path) -> None:
    data = {"tars": None, "dataset": str(run.parent / "dataset"), "selection": "some"}
    few, none = {"steps": 1, "warmup": 0}, {"held_out": 0}
    bare = train(runs.settings(tmp_path, tmp_path / "run", data=data, optimizer=few, run=none))
    with pytest.raises(UserError, match=r"held out no image.*train with run\.held_out of 100"):
        audit(bare, prompts=4, **HOW)
    assert not (bare / "audit.json").exists()


def test_a_share_of_false_alarms_that_too_few_controls_promise_is_said(
    run: Path, opened: Any
) -> None:
    found = audit(run, prompts=8, **HOW, opened=opened)
    limits = found.limits
    assert limits.false_alarms > 0.01
    said = (
        f"{limits.controls} drawings of untrained captions promise {limits.false_alarms:.1%} "
        "false alarms at best, not 1.0%; hold out more images"
    )
    assert [note for note in found.notes if said in note]
    enough = audit(run, prompts=8, false_alarms=0.99, **HOW, opened=opened)
    assert not [note for note in enough.notes if "false alarms" in note]


@pytest.fixture(scope="module")
def mistakes(run: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What commands are given by mistake: a run whose dataset is gone, a list that is not TOML."""
    folder = tmp_path_factory.mktemp("mistakes")
    lost, gone = Path(shutil.copytree(run, folder / "lost")), folder / "gone"
    for file in lost.rglob("*.json"):
        file.write_text(file.read_text().replace(str(run.parent / "dataset"), str(gone)))
    limits_for(lost)
    (folder / "bad.toml").write_text("terms = [")
    dataset = Path(shutil.copytree(run.parent / "dataset", folder / "dataset"))
    log(Dataset.open(dataset), Request(1, "key", "2999-01-01T00:00:00+00:00"))
    named = {
        "run": run,
        "lost": lost,
        "gone": gone,
        "bad": folder / "bad.toml",
        "out": folder / "o",
    }
    return named | {"dataset": run.parent / "dataset", "ahead": dataset}


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("audit {lost}", "which is gone"),
        ("credits {lost}", "which is gone"),
        ("sample {lost} a-cat --refuse-copies", "which is gone"),
        ("credits {gone} some", "is not a dataset"),
        ("export {gone} some --to {out}", "is not a dataset"),
        ("used {gone} --key 000000001", "is not a dataset"),
        ("skews {gone}", "is not a dataset"),
        ("recheck {gone}", "is not a dataset"),
        ("recheck {dataset} --older-than 1e12", "--older-than is 1e+12"),
        ("verify {gone}", "cannot be read"),
        ("audit {gone}", "is not a run"),
        ("sample {gone} a-cat --refuse-copies", "is not a run"),
        ("used {dataset} --key 000000001 --run {gone}", "is not a run"),
        ("skews {dataset} --run {gone} -k 5", "is not a run"),
        ("audit {run} --checkpoint step-9", "step-9 is not a checkpoint"),
        ("sample {run} a-cat --refuse-copies --checkpoint step-9", "step-9 is not a checkpoint"),
        ("audit {run} --checkpoint {lost}/checkpoints/step-00000002", "of another run than"),
        (
            "used {dataset} --key 000000001 --run {run} --checkpoint step-9",
            "no checkpoint 'step-9'",
        ),
        (
            "used {dataset} --key 000000001 --run {lost} --checkpoint step-9",
            "no checkpoint 'step-9'",
        ),
        ("credits {dataset} none", "none"),
        ("export {dataset} none --to {out}", "none"),
        ("skews {dataset} --terms {bad} -k 5", "is not TOML"),
        ("skews {dataset} --attributes {bad} -k 5", "is not TOML"),
        ("skews {dataset} --concepts {bad} -k 5", "is not TOML"),
        ("report {dataset} --terms {bad} --out {out}.html", "is not TOML"),
        ("used {ahead} --key 000000001 --remove --yes", "clock says"),
        ("used {ahead} --key 000000001 --statement {out}", "clock says"),
    ],
)
def test_each_mistake_is_one_line_and_status_2(
    mistakes: dict[str, Path],
    command: str,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(mistakes["out"].parent / "home"))
    argv = [part.format(**mistakes) for part in command.split()]
    monkeypatch.setattr(sys, "argv", ["frenchcat", *argv])
    with pytest.raises(SystemExit) as ended:
        main()
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert ended.value.code == 2
    assert line.startswith("frenchcat: ")
    assert said in line
    assert not mistakes["out"].exists()
