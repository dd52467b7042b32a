"""A run: what it is a run of, which checkpoint is opened, what it tells and what it trains on."""

import json
import shutil
import tarfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from frenchcat.curate.config import as_dict, resolve
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.errors import UserError
from frenchcat.train.checkpoint import (
    State,
    best,
    check_identity,
    load_tensors,
    newest,
    publish,
    read_state,
)
from frenchcat.train.loop import train
from frenchcat.train.rows import TrainingRows
from frenchcat.train.run import (
    anchored,
    find_checkpoint,
    identity_of,
    make_parts,
    open_run,
    prepare_rows,
    save_about,
)
from frenchcat.train.settings import TrainSettings
from frenchcat.train.start import start_of
from frenchcat.train.text import TextEncoder
from tests.train.runs import settings, write_tars

# Another value of each setting, by whether a run with it is another run.
DECIDES: dict[str, Any] = {
    "text.weights": [1.0, 2.0],
    "text.template_weights": [1.0],
    "model.image_vector": True,
    "model.image_dropout": 0.1,
    "text.separator": "|",
    "model.patch": 2,
    "model.pooled": True,
    "diffusion.loss": "velocity",
    "diffusion.times": "logit_normal",
    "diffusion.times_mean": 0.8,
    "diffusion.times_spread": 0.8,
    "data.batch": 6,
    "data.size": 24,
    "data.aspects": [1.0, 1.5],
    "data.flip": False,
    "data.crop": "pad",
    "data.captions": ["words"],
    "data.shards_per_block": 3,
    "text.dropout": 0.2,
    "model.channels": [8, 8],
    "model.layers_per_block": 2,
    "model.attention_from": 0,
    "model.head_dim": 16,
    "model.vae": "elsewhere",
    "diffusion.schedule": "linear",
    "diffusion.steps": 500,
    "diffusion.zero_terminal": True,
    "diffusion.target": "x0",
    "diffusion.min_snr": 1.0,
    "diffusion.shift": 3.0,
    "model.lora": 4,
    "model.lora_alpha": 2.0,
    "model.lora_text": True,
    "diffusion.noise_offset": 0.1,
    "text.templates": ["a photo of {caption}"],
    "data.caption": "alt",
    "data.multiple": 16,
    "run.held_out_keys": ["000000001"],
    "run.seed": 1,
}
DOES_NOT: dict[str, Any] = {
    "data.workers": 2,
    "model.checkpointing": True,
    "optimizer.rate": 1e-3,
    "optimizer.steps": 9,
    "optimizer.warmup": 0,
    "optimizer.decay": 0.1,
    "optimizer.betas": [0.8, 0.9],
    "optimizer.clip": 2.0,
    "optimizer.accumulate": 2,
    "optimizer.ema": 0.5,
    "optimizer.kind": "prodigy",
    "optimizer.shape": "constant",
    "run.wandb": "cats",
    "run.out": "elsewhere",
    "run.device": "cuda",
    "run.precision": "bf16",
    "run.compile": True,
    "run.shard_model": True,
    "run.log_every": 3,
    "run.checkpoint_every": 9,
    "run.checkpoint_minutes": 20.0,
    "data.latents": "off",
    "run.keep": 5,
    "run.sample_every": 9,
    "run.sample_steps": 3,
    "run.guidance": 1.0,
    "run.prompts": ["a dog"],
}
# By what is read (its digest), or of another task.
BY_DIGEST = {"data.dataset", "data.selection", "data.tars", "text.model", "text.pretrained"}
BY_DIGEST |= {
    "model.start",
    "run.held_out",
    "run.task",
    "classifier.channels",
    "classifier.layers_per_block",
}


@pytest.fixture(scope="module")
def tars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tars(tmp_path_factory.mktemp("tars"), 2, 8)


@pytest.fixture(scope="module")
def rows(tars: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainingRows:
    return prepare_rows(settings(tars, Path("run")), tmp_path_factory.mktemp("rows"))[0]


@pytest.fixture(scope="module")
def text() -> TextEncoder:
    return TextEncoder(TrainSettings().text)


@dataclass
class Tower:
    """What an identity reads of a text tower."""

    digest: str


def changed(name: str, value: Any) -> TrainSettings:
    section, setting = name.split(".")
    return settings(Path("tars"), Path("run"), **{section: {setting: value}})


def test_every_setting_is_decided_on() -> None:
    told = {f"{s}.{name}" for s, entries in as_dict(TrainSettings()).items() for name in entries}
    assert told == {*DECIDES, *DOES_NOT, *BY_DIGEST}


@pytest.mark.parametrize("name", DECIDES)
def test_with_another_value_it_is_another_run(
    name: str, rows: TrainingRows, text: TextEncoder
) -> None:
    before = identity_of(settings(Path("tars"), Path("run")), rows, text)
    assert identity_of(changed(name, DECIDES[name]), rows, text) != before


@pytest.mark.parametrize("name", DOES_NOT)
def test_with_another_value_it_is_the_same_run(
    name: str, rows: TrainingRows, text: TextEncoder
) -> None:
    before = identity_of(settings(Path("tars"), Path("run")), rows, text)
    assert identity_of(changed(name, DOES_NOT[name]), rows, text) == before


def test_other_rows_or_another_text_tower_are_another_run(
    rows: TrainingRows, text: TextEncoder, tmp_path: Path
) -> None:
    chosen = settings(Path("tars"), Path("run"))
    before = identity_of(chosen, rows, text)
    assert before == json.loads(json.dumps(before))  # as a checkpoint holds it
    other, _ = prepare_rows(settings(write_tars(tmp_path / "t", 1, 8), tmp_path), tmp_path / "rows")
    assert identity_of(chosen, other, text) != before
    tower: Any = Tower("another")
    assert identity_of(chosen, rows, tower) != before


def test_a_run_that_started_from_other_weights_is_another_run(
    rows: TrainingRows, text: TextEncoder, tmp_path: Path
) -> None:
    chosen = settings(Path("tars"), Path("run"))
    found = [identity_of(chosen, rows, text)]
    for name, value in (("one", 1.0), ("other", 2.0), ("copy", 1.0)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text('{"_class_name": "UNet2DConditionModel"}')
        weights = tmp_path / name / "diffusion_pytorch_model.safetensors"
        save_file({"conv_in.weight": torch.tensor([value])}, weights)
        found.append(identity_of(chosen, rows, text, start_of(str(tmp_path / name))))
    scratch, one, other, copy = found
    assert scratch != one != other
    assert one == copy


def test_a_checkpoint_from_before_patches_goes_on(rows: TrainingRows, text: TextEncoder) -> None:
    now = identity_of(settings(Path("tars"), Path("run")), rows, text)
    names = {"channels", "layers_per_block", "attention_from", "head_dim", "vae"}
    assert set(now["model"]) == names
    assert set(now["diffusion"]) == {"schedule", "steps", "zero_terminal", "target", "min_snr"}
    before = {name: value for name, value in now.items() if name != "caption separator"}
    check_identity(Path("a/b/c"), State(1, 0, 1, 0, 0, before), now)


def state(step: int, loss: float | None, chosen: TrainSettings) -> State:
    return State(step, 0, step, 0, 0, {"selection": "5" * 64}, loss, as_dict(chosen))


def test_the_best_checkpoint_is_opened_or_the_one_that_was_named(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}")
    chosen = settings(Path("tars"), tmp_path)
    paths = [
        publish(tmp_path, state(step, loss, chosen), {}, lambda _: None)
        for step, loss in ((1, 0.7), (2, 0.2), (3, 0.4))
    ]
    found, opened, read = find_checkpoint(tmp_path)
    assert (found, opened.step, read) == (paths[1], 2, chosen)
    for path, step in zip(paths, (1, 2, 3), strict=True):
        found, opened, _ = find_checkpoint(tmp_path, path)
        assert (found, opened.step) == (path, step)


def test_what_is_no_run_or_no_checkpoint_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is not a run: it has no run\.json"):
        find_checkpoint(tmp_path)
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(UserError, match="has no checkpoint yet"):
        find_checkpoint(tmp_path)
    with pytest.raises(UserError, match="nowhere is not a checkpoint; those of this run are in"):
        find_checkpoint(tmp_path, tmp_path / "nowhere")
    broken = settings(Path("tars"), tmp_path)
    path = publish(tmp_path, state(1, None, broken), {}, lambda _: None)
    elsewhere = shutil.copytree(tmp_path, tmp_path / "other") / "checkpoints" / path.name
    with pytest.raises(UserError, match=r"is a checkpoint of another run than .*: step-00000001"):
        find_checkpoint(tmp_path, elsewhere)
    assert find_checkpoint(tmp_path, Path(path.name))[0] == path  # its name alone
    told = json.loads((path / "state.json").read_text())
    told["settings"]["data"]["size"] = "large"
    (path / "state.json").write_text(json.dumps(told))
    with pytest.raises(UserError, match=r"state\.json.*size"):
        find_checkpoint(tmp_path)


@pytest.fixture(scope="module")
def run(tars: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three steps, so that averages and weights are apart."""
    few = {"steps": 3, "warmup": 0, "rate": 1e-2, "ema": 0.9}
    return train(settings(tars, tmp_path_factory.mktemp("runs") / "run", optimizer=few))


def test_what_draws_are_the_averaged_weights(run: Path) -> None:
    path = best(run)
    assert path is not None
    kept, unet = load_tensors(path), open_run(run)[0].unet
    saved = load_file(path / "unet" / "diffusion_pytorch_model.safetensors")
    apart = 0
    for name, weight in unet.named_parameters():
        assert torch.equal(weight, kept[f"averaged.{name}"])
        assert torch.equal(weight, saved[name])
        apart += not torch.equal(weight, kept[f"weights.{name}"])
    assert apart > 10
    assert not unet.training


def test_a_run_whose_weights_were_cut_short_is_refused_in_one_line(
    run: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(run, tmp_path / "run"))
    for path in copy.rglob("diffusion_pytorch_model.safetensors"):
        path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match=r"unet does not load: ") as refused:
        open_run(copy)
    assert "\n" not in str(refused.value)


def test_the_same_seed_gives_the_same_new_weights(tars: Path) -> None:
    def weights(seed: int) -> torch.Tensor:
        unet = make_parts(settings(tars, Path("run"), run={"seed": seed})).unet
        return torch.cat([weight.flatten() for weight in unet.parameters()])

    first = weights(3)
    torch.rand(1)
    assert torch.equal(weights(3), first)
    assert not torch.equal(weights(4), first)


def test_run_json_tells_what_was_trained_on_what(run: Path, tars: Path, text: TextEncoder) -> None:
    told = json.loads((run / "run.json").read_text())
    state = read_state(newest(run) or run)
    assert told["selection"] == state.identity["selection"]
    assert told["rows"] == 16
    assert told["text"] == {"model": "mini", "digest": text.digest}
    assert told["settings"] == json.loads(json.dumps(state.settings))
    assert resolve(TrainSettings, told["settings"]).data.tars == str(tars)
    assert told["versions"]["torch"] == version("torch")
    assert {"torch", "diffusers", "open_clip_torch"} <= told["versions"].keys()


def test_run_json_of_a_classifier_names_no_text_tower(rows: TrainingRows, tmp_path: Path) -> None:
    save_about(tmp_path, TrainSettings(), rows, None)
    assert json.loads((tmp_path / "run.json").read_text())["text"] is None
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


def test_a_folder_a_glob_and_a_file_name_the_same_rows(tars: Path, tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    for name in ("00001.tar", "00000.tar"):
        (tmp_path / "t" / name).symlink_to(tars / name)
    (tmp_path / "t" / "notes.txt").write_text("no tar")
    named = [str(tmp_path / "t"), str(tmp_path / "t" / "*.tar"), str(tmp_path / "t" / "0000?.tar")]
    found = [
        prepare_rows(settings(Path(name), tmp_path), tmp_path / f"rows-{n}")[0]
        for n, name in enumerate(named)
    ]
    assert len({one.digest for one in found}) == 1
    assert [row.key for row in map(found[0].row, range(3))] == [f"{n:09d}" for n in range(3)]
    (alone,) = [prepare_rows(settings(tars / "00000.tar", tmp_path), tmp_path / "alone")[0]]
    assert len(alone) == 8


def test_a_tar_that_was_written_anew_is_not_read_as_it_was(tmp_path: Path) -> None:
    tars = write_tars(tmp_path / "tars", 1, 8)
    prepare_rows(settings(tars, tmp_path), tmp_path / "rows")
    with tarfile.open(tars / "00000.tar", "a") as tar:
        tar.add(__file__, "more.py")
    with pytest.raises(UserError, match=r"00000\.tar"):
        prepare_rows(settings(tars, tmp_path), tmp_path / "rows")


def test_a_run_finds_its_dataset_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By an absolute path; one of before, that kept a relative path, from around its folder."""
    dataset = Dataset.create(tmp_path / "work" / "data" / "mine", "mine")
    run = tmp_path / "work" / "runs" / "run"
    asked = resolve(TrainSettings, {"data": {"dataset": "data/mine", "selection": "some"}})
    monkeypatch.chdir(tmp_path / "work")
    assert anchored(asked).data.dataset == dataset.root
    address = resolve(TrainSettings, {"data": {"dataset": "s3://bucket/mine"}})
    assert anchored(address) == address
    publish(run, State(1, 0, 1, 1, 0, {}, None, as_dict(asked)), {}, lambda folder: None)
    (run / "run.json").write_text("{}")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert find_checkpoint(run)[2].data.dataset == dataset.root
