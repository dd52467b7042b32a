"""What a changed setting would have done again: which shards, and by which changes."""

from dataclasses import replace
from pathlib import Path

import pytest

from frenchcat.curate.dataset import Dataset
from frenchcat.curate.errors import ConfirmationNeeded
from frenchcat.curate.redo import Redo, confirm, redo_of
from frenchcat.curate.run_stage import run_stage
from tests.sample.stages import Times

SHARDS = ["00000", "00001", "00002"]
NAMES = {"factor": "times.factor"}


def made(root: Path, stage: Times, shards: list[str] = SHARDS) -> Dataset:
    dataset = Dataset.create(root, "d")
    with dataset.lock():
        run_stage(dataset, replace(stage, in_process=True), shards)
    return dataset


def test_shards_of_other_settings_are_counted_with_old_and_new(tmp_path: Path) -> None:
    dataset = made(tmp_path, Times(factor=2))
    assert redo_of(dataset, Times(factor=2), SHARDS, NAMES, {}) is None
    assert redo_of(dataset, Times(factor=3), [*SHARDS, "00003"], NAMES, {}) == Redo(
        "times", 3, {"times.factor": (2, 3)}
    )
    known = {"times.why": ("a", "b")}
    assert redo_of(dataset, Times(factor=3), SHARDS, NAMES, known) == Redo("times", 3, known)
    newer = redo_of(dataset, Times(factor=2, version=2), SHARDS, NAMES, {})
    assert newer == Redo("times", 3, {"version of the stage": (1, 2)})


def test_what_was_begun_and_is_remembered_is_not_asked_again(tmp_path: Path) -> None:
    dataset = made(tmp_path, Times(factor=2))
    made(tmp_path, Times(factor=3), SHARDS[:1])
    assert redo_of(dataset, Times(factor=3), SHARDS, NAMES, {}) is None
    back = redo_of(dataset, Times(factor=2), SHARDS, NAMES, {"times.factor": (3, 2)})
    assert back == Redo("times", 1, {"times.factor": (3, 2)})


def test_the_line_says_what_why_and_how_to_keep(tmp_path: Path) -> None:
    one = Redo("download", 1, {"download.block": (["a.txt"], [])})
    two = Redo("embed", 12, {"clip.model": ("mini", "ViT-B-32"), "clip.pretrained": (None, "x")})
    with pytest.raises(ConfirmationNeeded) as raised:
        confirm([one, two], yes=False)
    assert str(raised.value) == (
        '1 shard will be downloaded again: download.block ["a.txt"] -> []; '
        "12 shards will be embedded again: clip.model mini -> ViT-B-32, clip.pretrained none -> x, "
        "and so will be all that is made from them; nothing was changed; --yes agrees (yes=True in "
        "Python), and --set 'download.block=[\"a.txt\"]' --set clip.model=mini --set "
        "clip.pretrained=none keeps them"
    )
    confirm([one, two], yes=True)
    confirm([], yes=False)
    assert Redo("embed", 2).words == (
        "2 shards will be embedded again: they were made with other settings"
    )
    assert Redo("embed", 2, {"weights": ("a" * 64, "b" * 64)}).words.endswith(
        "weights aaaaaaaaaaaa -> bbbbbbbbbbbb"
    )
