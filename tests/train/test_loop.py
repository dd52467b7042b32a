"""The loop: the same run whatever interrupts it and however many share it; losses are counted."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from frenchcat.curate.errors import UserError
from frenchcat.curate.tars import members
from frenchcat.train.checkpoint import load_tensors, newest, read_state, steps
from frenchcat.train.loop import train
from tests.sample.tars import overwrite
from tests.train.runs import settings, steps_of, values, write_tars

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def tars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tars(tmp_path_factory.mktemp("tars"))


@pytest.fixture(scope="module")
def whole(tars: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of six steps without interruption."""
    return train(settings(tars, tmp_path_factory.mktemp("runs") / "whole"))


def tensors(run: Path) -> dict[str, torch.Tensor]:
    path = newest(run)
    assert path is not None
    return load_tensors(path)


def same(one: Path, other: Path) -> bool:
    ours, theirs = tensors(one), tensors(other)
    return set(ours) == set(theirs) and all(torch.equal(ours[n], theirs[n]) for n in ours)


def test_a_run_leaves_what_it_says(whole: Path) -> None:
    log = steps_of(whole)
    assert [line["step"] for line in log] == [1, 2, 3, 4, 5, 6]
    assert [(line["epoch"], line["k"]) for line in log][:4] == [(0, 0), (0, 1), (0, 2), (1, 0)]
    state = read_state(newest(whole) or whole)
    assert (state.step, state.planned, state.substituted) == (6, 72, 0)
    assert state.held_out_loss is not None
    assert 0 < state.held_out_loss < 5
    assert log[-1]["rate"] < log[1]["rate"] == pytest.approx(4e-4)


def test_stopped_and_started_again_is_the_same_run(whole: Path, tars: Path, tmp_path: Path) -> None:
    first = settings(tars, tmp_path / "run")
    for number, kept in ((1, []), (4, [3]), (1, [3])):
        _stop_after(first, number)
        assert [read_state(path).step for path in steps(tmp_path / "run")] == kept
    train(first)
    assert steps_of(tmp_path / "run") == steps_of(whole)
    assert same(tmp_path / "run", whole)


@pytest.mark.slow
def test_in_bfloat16_it_is_the_same_run_too(tars: Path, tmp_path: Path) -> None:
    lower = {"precision": "bf16"}
    whole = train(settings(tars, tmp_path / "whole", run=lower))
    first = settings(tars, tmp_path / "run", run=lower)
    _stop_after(first, 4)
    train(first)
    assert steps_of(tmp_path / "run") == steps_of(whole)
    assert same(tmp_path / "run", whole)


class Stop(Exception):
    pass


def _stop_after(chosen: object, number: int) -> None:
    count = [0]

    def watch(_: object) -> None:
        count[0] += 1
        if count[0] > number:
            raise Stop

    with pytest.raises(Stop):
        train(chosen, watch)  # type: ignore[arg-type]


@pytest.mark.slow
def test_killed_at_any_step_it_ends_the_same(whole: Path, tars: Path, tmp_path: Path) -> None:
    chance = random.Random(3)
    out = tmp_path / "run"
    command = _command(values(tars, out), tmp_path)
    for _ in range(20):
        process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
        wanted = chance.randint(1, 6)
        while process.poll() is None:
            log = out / "log.jsonl"
            if log.exists() and log.read_text().count("\n") >= wanted:
                break
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
    subprocess.run(command, cwd=ROOT, check=True)
    assert steps_of(out) == steps_of(whole)
    assert same(out, whole)


def test_workers_change_nothing(whole: Path, tars: Path, tmp_path: Path) -> None:
    out = train(settings(tars, tmp_path / "run", data={"workers": 2}))
    assert steps_of(out) == steps_of(whole)
    assert same(out, whole)


@pytest.mark.parametrize("world", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_ranks_train_the_same_to_rounding(
    whole: Path, tars: Path, tmp_path: Path, world: int
) -> None:
    out = tmp_path / "run"
    _torchrun(values(tars, out), tmp_path, world)
    ours, alone = steps_of(out), steps_of(whole)
    assert [line["loss"] for line in ours] == pytest.approx(
        [line["loss"] for line in alone], rel=1e-5
    )
    # Adam divides by a gradient's size, so rounding of a tiny one moves a weight by a whole step:
    # single weights may differ, all of them together hardly do.
    found, wanted = tensors(out), tensors(whole)
    names = [name for name in wanted if name.startswith("weights.")]
    apart = sum(float((found[n] - wanted[n]).square().sum()) for n in names)
    assert apart < 1e-6 * sum(float(wanted[n].square().sum()) for n in names)


@pytest.mark.slow
def test_a_model_in_parts_trains_the_same(whole: Path, tars: Path, tmp_path: Path) -> None:
    """FSDP2 on two ranks."""
    out = tmp_path / "run"
    _torchrun(values(tars, out, run={"shard_model": True}), tmp_path, 2)
    for name in ("loss", "grad_norm"):
        wanted = [line[name] for line in steps_of(whole)]
        assert [line[name] for line in steps_of(out)] == pytest.approx(wanted, rel=1e-3), name
    assert {n: t.shape for n, t in tensors(out).items()} == {
        n: t.shape for n, t in tensors(whole).items()
    }


def _command(chosen: dict[str, object], folder: Path) -> list[str]:
    return [sys.executable, "-m", "frenchcat", "train", str(_config(chosen, folder))]


def _torchrun(chosen: dict[str, object], folder: Path, world: int) -> None:
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command = [*launch, f"--nproc-per-node={world}", "-m", "frenchcat", "train"]
    ended = subprocess.run(
        [*command, str(_config(chosen, folder))],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert ended.returncode == 0, ended.stderr[-3000:]


def _config(chosen: dict[str, object], folder: Path) -> Path:
    """The settings as a TOML file."""
    path = folder / "config.toml"
    lines = []
    for section, entries in chosen.items():
        lines.append(f"[{section}]")
        lines += [f"{name} = {json.dumps(value)}" for name, value in entries.items()]  # type: ignore[attr-defined]
    path.write_text("\n".join(lines))
    return path


def test_accumulation_is_the_same_step(whole: Path, tars: Path, tmp_path: Path) -> None:
    out = train(settings(tars, tmp_path / "run", optimizer={"accumulate": 3, "steps": 3}))
    assert [line["loss"] for line in steps_of(out)][:2] == pytest.approx(
        [line["loss"] for line in steps_of(whole)][:2], rel=1e-4
    )


def test_damaged_samples_are_replaced_named_and_counted(tmp_path: Path) -> None:
    tars = write_tars(tmp_path / "tars")
    chosen = settings(tars, tmp_path / "run", run={"held_out": 0})
    _stop_after(chosen, 0)  # the rows are laid out
    for member in members(tars / "00001.tar")[4:12:2]:
        overwrite(tars / "00001.tar", member.offset, b"<html>".ljust(member.size))
    out = train(chosen)
    lost = [json.loads(line) for line in (out / "losses-0.jsonl").read_text().splitlines()]
    assert {line["key"] for line in lost} == {f"{n:09d}" for n in range(22, 26)}
    assert {line["reason"].split(":")[0] for line in lost} == {"undecodable"}
    state = read_state(newest(out) or out)
    assert state.planned == 72
    assert state.substituted == len(lost) == sum(line["substituted"] for line in steps_of(out))


@pytest.mark.parametrize(
    ("changed", "named"),
    [({"run": {"seed": 1}}, "seed"), ({"model": {"channels": [16, 16]}}, "model")],
)
def test_a_checkpoint_of_another_run_is_refused(
    whole: Path, tars: Path, changed: dict[str, dict[str, object]], named: str
) -> None:
    with pytest.raises(UserError, match=f"another {named}"):
        train(settings(tars, whole, **changed))


def test_a_checkpoint_of_other_tars_is_refused(tars: Path, tmp_path: Path) -> None:
    train(settings(tars, tmp_path / "run", optimizer={"steps": 1}))
    with pytest.raises(UserError, match="another selection"):
        train(settings(write_tars(tmp_path / "other", 1), tmp_path / "run"))


def test_too_little_memory_says_what_to_lower(tars: Path, tmp_path: Path) -> None:
    def watch(_: object) -> None:
        raise MemoryError

    with pytest.raises(UserError, match=r"raise optimizer\.accumulate .* or lower data\.batch"):
        train(settings(tars, tmp_path / "run"), watch)


def test_min_snr_0_is_the_plain_error(whole: Path, tars: Path, tmp_path: Path) -> None:
    few = {"optimizer": {"steps": 1}}
    losses = [
        steps_of(train(settings(tars, tmp_path / str(n), diffusion={"min_snr": n}, **few)))[0]
        for n in (0, 5)
    ]
    assert losses[1]["loss"] == steps_of(whole)[0]["loss"] != losses[0]["loss"]


def test_it_goes_on_with_another_seed_when_told(tars: Path, tmp_path: Path) -> None:
    train(settings(tars, tmp_path / "run", optimizer={"steps": 3}))
    train(settings(tars, tmp_path / "run", run={"seed": 1}), other_run=True)
    assert [line["step"] for line in steps_of(tmp_path / "run")] == [1, 2, 3, 4, 5, 6]


def test_old_checkpoints_go_the_newest_and_the_best_stay(tars: Path, tmp_path: Path) -> None:
    out = train(settings(tars, tmp_path / "run", run={"checkpoint_every": 1, "keep": 1}))
    kept = [read_state(path).step for path in steps(out)]
    assert kept[-1] == 6
    assert len(kept) <= 2


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"data": {"batch": 100}}, "lower data.batch"),
        ({"data": {"size": 18}, "model": {"channels": [8, 16, 16]}}, "multiple of 4"),
        ({"optimizer": {"accumulate": 5}}, "multiple of 5"),
        ({"data": {"tars": "nowhere/*.tar"}}, "matches no file"),
        ({"data": {"tars": None}}, "nothing to train on"),
        ({"model": {"vae": "nowhere"}}, "AutoencoderKL"),
        (
            {"diffusion": {"target": "eps", "zero_terminal": True}},
            "take v, x0 or flow",
        ),
    ],
)
def test_what_does_not_fit_is_one_line(
    tars: Path, tmp_path: Path, changed: dict[str, dict[str, object]], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        train(settings(tars, tmp_path / "run", **changed))
