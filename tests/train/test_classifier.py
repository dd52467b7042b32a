"""Noise-aware classifiers: they learn, they resume, they steer, and mistakes are one line."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from frenchcat.cli import app
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.errors import UserError
from frenchcat.curate.select import Choice, select
from frenchcat.train.checkpoint import best, load_tensors, newest
from frenchcat.train.classifier import Classifier, open_classifier
from frenchcat.train.loop import train
from frenchcat.train.rows import open_rows
from frenchcat.train.settings import TrainSettings
from frenchcat.verify_file import verify_file
from tests.sample.embedded import add_shard
from tests.sample.vectors import unit_rows
from tests.train.runs import settings, steps_of

ROWS, UNLABELLED = 120, 10  # the last rows have no label
SORT = "CASE WHEN key < '000000055' THEN 'warm' WHEN key < '000000110' THEN ' cold ' END"


def coloured(number: int) -> bytes:
    """Red with other colours by chance for the warm, blue for the cold."""
    chance = np.random.default_rng(number)
    pixels = chance.integers(0, 90, (16, 16, 3), np.uint8)
    pixels[..., 0 if number < 55 else 2] += np.uint8(chance.integers(120, 160))
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    made = Dataset.create(tmp_path_factory.mktemp("classifier") / "dataset", "colours")
    files = [coloured(number) for number in range(ROWS)]
    captions = [f"a patch of colour {n}" for n in range(ROWS)]
    sides = dict.fromkeys(("width", "height"), [16] * ROWS)
    add_shard(made, "00000", unit_rows(ROWS), captions=captions, files=files, **sides)
    asked = CliRunner().invoke(app, ["select", made.root, "sorted", "--label", SORT])
    assert asked.exit_code == 0, asked.output
    select(made, "plain")
    select(made, "one", Choice(label="'patch'"))
    return made


def classifier(dataset: Dataset, out: Path, **more: dict[str, Any]) -> TrainSettings:
    base: dict[str, dict[str, Any]] = {
        "data": {"tars": None, "dataset": dataset.root, "selection": "sorted", "batch": 24},
        "classifier": {"channels": [8, 16]},
        "optimizer": {"steps": 48, "warmup": 4, "rate": 5e-3, "ema": 0.9},
        "run": {"task": "classifier", "held_out": 11, "checkpoint_every": 24},
    }
    sections = {n: base.get(n, {}) | more.get(n, {}) for n in (*base, *more)}
    return settings(Path("nowhere"), out, **sections)


@pytest.fixture(scope="module")
def whole(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(classifier(dataset, tmp_path_factory.mktemp("runs") / "sorter"))


@pytest.fixture(scope="module")
def run(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A diffusion model of the same pictures."""
    data = {"tars": None, "dataset": dataset.root, "selection": "plain", "batch": 24}
    few = {"steps": 30, "warmup": 4, "rate": 5e-3, "ema": 0.9}
    out = tmp_path_factory.mktemp("runs") / "model"
    return train(settings(Path("nowhere"), out, data=data, optimizer=few))


def test_it_learns_at_low_noise_and_guesses_in_pure_noise(whole: Path) -> None:
    found = open_classifier(whole)
    assert found.classes == ("cold", "warm")
    newest_one = newest(whole)
    assert newest_one is not None
    told = json.loads((newest_one / "classifier" / "accuracy.json").read_text())
    assert (told["images"], told["draws"]) == (11, 4)
    by_time = {int(time): value for time, value in told["by_time"].items()}
    assert min(by_time[50], by_time[150]) == 1.0
    assert by_time[850] > 0.95  # .91 for one that saw no noise in training
    assert by_time[950] < 0.9


def test_it_is_trained_on_noised_pictures(dataset: Dataset, tmp_path: Path) -> None:
    """Late in the process a picture is nearly noise of deviation 1, whatever it was."""
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []

    def note(module: torch.nn.Module, inputs: Any) -> None:
        if isinstance(module, Classifier) and module.training:
            seen.append((inputs[0].detach().clone(), inputs[1].clone()))

    hook = torch.nn.modules.module.register_module_forward_pre_hook(note)
    try:
        train(classifier(dataset, tmp_path / "run", optimizer={"steps": 6}))
    finally:
        hook.remove()
    x_t, t = (torch.cat(parts) for parts in zip(*seen, strict=True))
    late = x_t[t > 900].float().flatten(1).std(1)
    assert len(late) > 5
    assert (late - 1).abs().max() < 0.15  # a stored picture's is .5 to .7


def test_its_weights_are_the_averaged_ones(whole: Path) -> None:
    path = best(whole)
    assert path is not None
    tensors, network = load_tensors(path), open_classifier(whole).network
    assert isinstance(network, torch.nn.Module)
    for name, weight in network.named_parameters():
        assert torch.equal(weight, tensors[f"averaged.{name}"])
        assert not torch.equal(weight, tensors[f"weights.{name}"])


def test_rows_without_a_label_are_left_out(whole: Path) -> None:
    rows = open_rows(whole / "rows")
    assert rows is not None
    assert len(rows) == ROWS - UNLABELLED
    assert rows.captions() == ["cold", "warm"]


def test_stopped_and_started_again_is_the_same_run(
    whole: Path, dataset: Dataset, tmp_path: Path
) -> None:
    chosen = classifier(dataset, tmp_path / "run")

    def stop(report: Any) -> None:
        if report.step == 30:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(chosen, stop)
    train(chosen)
    assert steps_of(tmp_path / "run") == steps_of(whole)
    ends = [newest(one) for one in (whole, tmp_path / "run")]
    ours, theirs = (load_tensors(end) for end in ends if end is not None)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def sample(run: Path, out: Path, *options: str) -> Any:
    command = ["sample", str(run), "a patch", "-n", "2", "--steps", "10", "--out", str(out)]
    return CliRunner().invoke(app, [*command, *options])


def redness(folder: Path) -> float:
    """Mean red less mean blue of the pictures, 0 … 255."""
    pictures = [np.asarray(Image.open(path), float) for path in folder.glob("a-patch-*.png")]
    assert len(pictures) == 2
    return float(np.mean([one[..., 0].mean() - one[..., 2].mean() for one in pictures]))


def test_its_gradient_steers_and_the_manifest_tells(
    run: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    for label in ("warm", "cold"):
        steer = ["--classifier", str(whole), "--label", label, "--classifier-scale", "20"]
        result = sample(run, tmp_path / label, *steer, "--guidance", "1")
        assert result.exit_code == 0, result.output
    assert redness(tmp_path / "warm") > redness(tmp_path / "cold") + 20
    facts = verify_file(tmp_path / "warm" / "a-patch-0.png")["facts"]
    assert (facts["classifier"], facts["label"]) == ("sorter", "warm")
    assert facts["classifier_scale"] == 20
    assert facts["classifier_checkpoint"] == open_classifier(whole).digest
    receipt = json.loads((tmp_path / "warm" / "a-patch-0.json").read_text())
    assert receipt["made"]["label"] == "warm"


def test_all_guidances_go_together(
    run: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    steer = ["--classifier", str(whole), "--label", "warm", "--guidance", "3"]
    assert sample(run, tmp_path / "a", *steer).exit_code == 0
    assert sample(run, tmp_path / "b", *steer, "--clip-guidance", "300").exit_code == 0
    one, other = (np.asarray(Image.open(tmp_path / name / "a-patch-0.png"), float) for name in "ab")
    assert np.abs(one - other).max() > 0
    facts = verify_file(tmp_path / "b" / "a-patch-0.png")["facts"]
    assert (facts["clip_guidance"], facts["clip"]) == (300.0, "mini")
    assert (facts["guidance"], facts["label"]) == (3.0, "warm")


def test_mistakes_in_steering_are_one_line(run: Path, whole: Path, tmp_path: Path) -> None:
    given = ["--classifier", str(whole)]
    for options, said in (
        ([*given, "--label", "hot"], "does not know the label 'hot'; known: cold, warm"),
        (given, "needs a label to steer to: cold, warm"),
        (["--label", "warm"], "needs the classifier that knows it; add --classifier RUN"),
        (["--classifier", str(run), "--label", "warm"], "is the run of a diffusion model"),
        (["--classifier", str(tmp_path), "--label", "warm"], "has no classifier checkpoint"),
        ([*given, "--label", "warm", "--classifier-scale", "nan"], "guidance scale is nan"),
        (["--clip-guidance", "inf"], "CLIP's weight is inf"),
    ):
        _refused(sample(run, tmp_path / "out", *options), said)
    _refused(sample(whole, tmp_path / "out"), "is the run of a classifier, which draws nothing")
    assert not (tmp_path / "out").exists()


def _refused(result: Any, said: str) -> None:
    assert isinstance(result.exception, UserError), result.output
    assert said in str(result.exception)
    assert "\n" not in str(result.exception)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"data": {"size": 24}}, "data.size = 24, and the model that it should steer with 16"),
        ({"diffusion": {"schedule": "linear"}}, "diffusion.schedule = linear"),
    ],
)
def test_a_classifier_of_other_noise_or_size_is_refused(
    run: Path, dataset: Dataset, tmp_path: Path, changed: dict[str, Any], said: str
) -> None:
    few = {"optimizer": {"steps": 1}, "data": {"batch": 4}}
    merged = {name: few.get(name, {}) | changed.get(name, {}) for name in (*few, *changed)}
    other = train(classifier(dataset, tmp_path / "other", **merged))
    steer = ["--classifier", str(other), "--label", "warm"]
    _refused(sample(run, tmp_path / "out", *steer), said)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"data": {"selection": "plain"}}, r"'plain' has no labels; make it again with: frenchcat"),
        ({"data": {"selection": "one"}}, r"has 1 label\(s\) \(patch\), and a classifier tells two"),
        ({"data": {"dataset": None, "tars": "x.tar"}}, "data.tars have no labels"),
        ({"run": {"shard_model": True}}, "shard_model is for diffusion models"),
    ],
)
def test_what_a_classifier_cannot_learn_from_is_one_line(
    dataset: Dataset, tmp_path: Path, changed: dict[str, Any], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        train(classifier(dataset, tmp_path / "run", **changed))


def test_a_checkpoint_of_other_labels_is_refused(
    whole: Path, dataset: Dataset, tmp_path: Path
) -> None:
    assert best(whole) is not None
    select(dataset, "swapped", Choice(label=SORT.replace("warm", "hot")))
    with pytest.raises(UserError, match="another selection"):
        train(classifier(dataset, whole, data={"selection": "swapped"}))
