"""Checkpoints: whole or not at all, synced before they appear; which is newest, best and stays."""

import errno
import math
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError

from frenchcat.curate.errors import NoSpace, Unwritable, UserError
from frenchcat.train import checkpoint
from frenchcat.train.checkpoint import State, best, newest, prune, publish, read_state, steps

IDENTITY = {"selection": "5" * 64, "seed": 0, "model": {"channels": [8, 16]}}


def state(step: int, loss: float | None = None) -> State:
    return State(step, 1, 2, 3, 4, dict(IDENTITY), loss, {"run": {"seed": 0}})


def export(folder: Path) -> None:
    (folder / "unet").mkdir()
    (folder / "unet" / "weights").write_bytes(b"many")


def save(run: Path, step: int, loss: float | None = None) -> Path:
    return publish(run, state(step, loss), {"weights.a": torch.ones(2)}, export)


def numbers(run: Path) -> list[int]:
    return [read_state(path).step for path in steps(run)]


def test_what_was_written_reads_back(tmp_path: Path) -> None:
    path = save(tmp_path, 7, 0.25)
    assert read_state(path) == state(7, 0.25)
    assert torch.equal(checkpoint.load_tensors(path)["weights.a"], torch.ones(2))
    assert (path / "unet" / "weights").read_bytes() == b"many"
    assert newest(tmp_path) == path


def test_one_that_fails_while_it_is_written_leaves_nothing(tmp_path: Path) -> None:
    first = save(tmp_path, 1)

    def broken(folder: Path) -> None:
        export(folder)
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        publish(tmp_path, state(2), {}, broken)
    assert steps(tmp_path) == [first]
    assert list((tmp_path / "checkpoints").iterdir()) == [first]


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        SafetensorError("I/O error: No space left on device (os error 28)"),
    ],
)
def test_one_for_which_there_is_no_room_is_one_line_and_those_before_stay(
    tmp_path: Path, error: Exception
) -> None:
    first = save(tmp_path, 1)

    def full(folder: Path) -> None:
        raise error

    with pytest.raises(NoSpace, match=f"{tmp_path}/checkpoints cannot be written"):
        publish(tmp_path, state(2), {}, full)
    assert steps(tmp_path) == [first]
    with pytest.raises(Unwritable, match=r"name another run\.out"):
        save(Path("/sys/run"), 1)


def test_nothing_is_seen_of_it_before_it_is_whole(tmp_path: Path) -> None:
    seen = []

    def look(folder: Path) -> None:
        export(folder)
        seen.append((steps(tmp_path), newest(tmp_path)))

    publish(tmp_path, state(1), {}, look)
    assert seen == [([], None)]
    assert numbers(tmp_path) == [1]


def test_every_file_is_on_the_disk_before_it_appears(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = set()
    real: Callable[[int], None] = os.fsync

    def watched(file: int) -> None:
        if not stat.S_ISDIR(os.fstat(file).st_mode):
            assert newest(tmp_path) is None  # it has not appeared yet
        synced.add(os.fstat(file).st_ino)
        real(file)

    monkeypatch.setattr(os, "fsync", watched)
    path = save(tmp_path, 1)
    files = [one for one in path.rglob("*") if one.is_file()]
    assert {one.name for one in files} == {"weights", "state.json", "state.safetensors"}
    assert {one.stat().st_ino for one in files} <= synced


def test_a_folder_that_lost_its_state_is_no_checkpoint(tmp_path: Path) -> None:
    whole = save(tmp_path, 1)
    (save(tmp_path, 2) / "state.json").unlink()
    (tmp_path / "checkpoints" / "step-last").mkdir()
    (tmp_path / "checkpoints" / "step-last" / "state.json").write_text("{}")
    assert (steps(tmp_path), newest(tmp_path), best(tmp_path)) == ([whole], whole, whole)


def test_the_newest_is_by_step_and_not_by_time(tmp_path: Path) -> None:
    for step in (300_000_000, 20, 100_000_000, 3):
        save(tmp_path, step)
    assert numbers(tmp_path) == [3, 20, 100_000_000, 300_000_000]
    assert read_state(newest(tmp_path) or tmp_path).step == 300_000_000


WHOLE = '{"step": 1, "epoch": 0, "k": 1, "planned": 1, "substituted": 0, "identity": {}}'


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", "null", '{"step": 1}', '{"unknown": 1}', "\xff"),
        *(WHOLE.replace('"step": 1', other) for other in ('"step": "1"', '"step": null')),
        WHOLE.replace("{}", "[]"),
    ],
)
def test_a_broken_state_is_one_line_that_names_the_folder(tmp_path: Path, text: str) -> None:
    path = save(tmp_path, 1)
    (path / "state.json").write_text(text, encoding="latin-1")
    with pytest.raises(UserError, match="step-00000001 is not a complete checkpoint") as raised:
        read_state(path)
    assert "\n" not in str(raised.value)
    (path / "state.json").unlink()
    (path / "state.json").mkdir()
    with pytest.raises(UserError, match="step-00000001 is not a complete checkpoint: its state"):
        read_state(path)


@pytest.mark.parametrize("left", [0, 5, 60])
def test_weights_that_are_cut_short_are_one_line_that_names_the_folder(
    tmp_path: Path, left: int
) -> None:
    path = save(tmp_path, 1)
    file = path / "state.safetensors"
    file.write_bytes(file.read_bytes()[:left])
    with pytest.raises(UserError, match="step-00000001 is not a complete checkpoint") as raised:
        checkpoint.load_tensors(path)
    assert "\n" not in str(raised.value)
    file.unlink()
    with pytest.raises(UserError, match="step-00000001 is not a complete checkpoint"):
        checkpoint.load_tensors(path)


def test_the_best_has_the_lowest_loss_wherever_it_lies(tmp_path: Path) -> None:
    for step, loss in ((1, 0.9), (2, 0.3), (3, None), (4, 0.5)):
        save(tmp_path, step, loss)
    assert read_state(best(tmp_path) or tmp_path).step == 2


def test_without_a_loss_the_newest_is_the_best(tmp_path: Path) -> None:
    assert best(tmp_path) is None
    for step in (1, 2):
        save(tmp_path, step)
    assert best(tmp_path) == newest(tmp_path)


@pytest.mark.parametrize("odd", [math.nan, math.inf])
def test_a_loss_that_is_no_number_is_never_the_best(tmp_path: Path, odd: float) -> None:
    save(tmp_path, 1, odd)
    assert read_state(best(tmp_path) or tmp_path).step == 1
    save(tmp_path, 2, 0.5)
    save(tmp_path, 3, odd)
    assert read_state(best(tmp_path) or tmp_path).step == 2


def test_a_loss_that_an_older_checkpoint_kept_as_nan_is_never_the_best(tmp_path: Path) -> None:
    """JSON has no NaN, and it was written all the same."""
    for step, loss in ((1, 0.25), (2, 0.5)):
        save(tmp_path, step, loss)
    state = steps(tmp_path)[0] / "state.json"
    written = state.read_text()
    assert '"held_out_loss": 0.25' in written
    state.write_text(written.replace('"held_out_loss": 0.25', '"held_out_loss": NaN'))
    assert read_state(best(tmp_path) or tmp_path).step == 2


LOSSES = st.lists(st.sampled_from([None, math.nan, 0.1, 0.2, 0.3, 0.4]), min_size=1, max_size=6)


@settings(max_examples=8)
@given(losses=LOSSES, keep=st.integers(1, 4))
@example(losses=[0.4, 0.1, 0.3, None], keep=1)  # the best is an old one
def test_the_newest_few_and_the_best_stay_and_no_others(
    tmp_path_factory: pytest.TempPathFactory, losses: list[float | None], keep: int
) -> None:
    run = tmp_path_factory.mktemp("run")
    for step, loss in enumerate(losses, 1):
        save(run, step, loss)
    known = [(loss, n) for n, loss in enumerate(losses, 1) if loss and not math.isnan(loss)]
    newest_few = set(range(1, len(losses) + 1)[-keep:])
    prune(run, keep)
    assert set(numbers(run)) == newest_few | ({min(known)[1]} if known else set())
    assert len(list((run / "checkpoints").iterdir())) == len(numbers(run))  # the bytes, too


def test_one_whose_deletion_was_cut_short_is_no_checkpoint_and_goes_the_next_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = [save(tmp_path, step) for step in (1, 2)][-1]

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            prune(tmp_path, 1)
    assert steps(tmp_path) == [last]
    half = tmp_path / "checkpoints" / ".writing-0a1b" / "checkpoint"  # of a run killed at writing
    half.mkdir(parents=True)
    prune(tmp_path, 1)
    assert list((tmp_path / "checkpoints").iterdir()) == [last]


@pytest.mark.parametrize("name", list(IDENTITY))
def test_what_differs_is_named_whether_changed_new_or_lost(tmp_path: Path, name: str) -> None:
    path = tmp_path / "run" / "checkpoints" / "step-00000001"
    checkpoint.check_identity(path, state(1), dict(IDENTITY))
    for now in (IDENTITY | {name: "other"}, IDENTITY | {name: None}):
        with pytest.raises(UserError, match=f"another {name}") as raised:
            checkpoint.check_identity(path, state(1), now)
        assert str(tmp_path / "run") in str(raised.value)
    lost = State(
        **(vars(state(1)) | {"identity": {k: v for k, v in IDENTITY.items() if k != name}})
    )
    with pytest.raises(UserError, match=f"another {name}"):
        checkpoint.check_identity(path, lost, dict(IDENTITY))
