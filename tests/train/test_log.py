"""What a run tells while it trains: each step once, by the rank whose task it is."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from frenchcat.train.distributed import Ranks
from frenchcat.train.held_out import HeldOutLoss
from frenchcat.train.loader import Loaded
from frenchcat.train.log import Log
from frenchcat.train.reader import Loss
from frenchcat.train.step_report import StepReport

FILES = ("log.jsonl", "held_out.jsonl", "losses-0.jsonl")


def loaded(**more: Any) -> Loaded:
    base = Loaded(
        epoch=1,
        k=2,
        keys=["a", "b"],
        captions=["cat", ""],
        pixels=torch.zeros(2, 3, 4, 4, dtype=torch.uint8),
        times=torch.tensor([5, 900]),
        noise_seeds=[11, 12],
        sizes=torch.zeros(2, 6),
        losses=[],
        read_sec=0.1,
        decode_sec=0.1,
    )
    return replace(base, **more)


def report(step: int) -> StepReport:
    return StepReport(step, 0.5, 1e-4, 1.0, 0.0, 0.1, 0.1, 0.0, 0.2, 0)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("name", FILES)
def test_going_on_from_a_step_each_is_held_once(tmp_path: Path, name: str) -> None:
    """Steps after the checkpoint are trained again; the last line was cut by a crash."""
    before = "".join(f'{{"step": {n}, "loss": {n}}}\n' for n in (1, 2, 3, 3, 4, 5))
    (tmp_path / name).write_text(before + '{"step": 2, "lo')
    Log(tmp_path, Ranks(), 3).close()
    assert [line["step"] for line in lines(tmp_path / name)] == [1, 2, 3, 3]
    Log(tmp_path, Ranks(), 0).close()
    assert (tmp_path / name).read_text() == ""


def test_other_ranks_write_their_losses_alone(tmp_path: Path) -> None:
    log = Log(tmp_path, Ranks(1, 2, 1), 0)
    lost = Loss("key 7", "undecodable: broken", "key 9")
    log.step(report(1), loaded(losses=[lost]))
    log.held_out(1, HeldOutLoss({50: 1.0}))
    log.close()
    assert [path.name for path in tmp_path.iterdir()] == ["losses-1.jsonl"]
    (line,) = lines(tmp_path / "losses-1.jsonl")
    assert line == {
        **{"step": 1, "epoch": 1, "k": 2},
        **{"key": "key 7", "reason": "undecodable: broken", "substitute": "key 9"},
    }


def test_a_step_is_a_line_with_its_place_and_where_the_time_went(tmp_path: Path) -> None:
    log = Log(tmp_path, Ranks(), 0)
    log.step(report(1), loaded())
    log.held_out(1, HeldOutLoss({50: 1.0, 150: 2.0}))
    log.held_out(2, None)
    log.close()
    (line,) = lines(tmp_path / "log.jsonl")
    assert (line["step"], line["epoch"], line["k"], line["loss"]) == (1, 1, 2, 0.5)
    seconds = {"wait_sec", "read_sec", "decode_sec", "transfer_sec", "compute_sec"}
    assert seconds <= line.keys()
    (held,) = lines(tmp_path / "held_out.jsonl")
    assert held == {"step": 1, "loss": 1.5, "by_time": {"50": 1.0, "150": 2.0}}


@pytest.mark.parametrize(
    "other",
    [
        {"keys": ["a", "c"]},
        {"captions": ["", ""]},
        {"times": torch.tensor([5, 901])},
        {"noise_seeds": [11, 13]},
    ],
)
def test_equal_digests_mean_equal_training(tmp_path: Path, other: dict[str, Any]) -> None:
    log = Log(tmp_path, Ranks(), 0)
    for step, one in enumerate((loaded(), loaded(read_sec=9.0), loaded(**other)), 1):
        log.step(report(step), one)
    log.close()
    first, same, changed = (line["samples"] for line in lines(tmp_path / "log.jsonl"))
    assert first == same != changed


def test_the_board_has_a_point_every_so_many_steps_and_the_log_all(tmp_path: Path) -> None:
    from tensorboardX.proto.event_pb2 import Event

    log = Log(tmp_path, Ranks(), 0, every=3)
    for step in range(1, 8):
        log.step(report(step), loaded())
    log.close()
    assert len(lines(tmp_path / "log.jsonl")) == 7
    (file,) = (tmp_path / "tensorboard").iterdir()
    data, found, at = file.read_bytes(), [], 0
    while at < len(data):  # length, its CRC, the record, its CRC
        length = int.from_bytes(data[at : at + 8], "little")
        event = Event.FromString(data[at + 12 : at + 12 + length])
        found += [event.step for value in event.summary.value if value.tag == "train/loss"]
        at += 16 + length
    assert found == [3, 6]
