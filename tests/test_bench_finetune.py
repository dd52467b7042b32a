"""bench.finetune: the prompts, the table, and all of it on a tiny run in the artist's place."""

import json
import sys
from pathlib import Path

import pytest
from PIL import Image

import bench._common
from bench import finetune
from frenchcat.curate.select import Choice, select
from frenchcat.train.loop import train
from tests.train.embedded_run import make_dataset, mini
from tests.train.runs import settings, write_tars


def test_the_table_has_a_row_for_each_model_and_the_image_one_for_each_too() -> None:
    figures = {
        "held_out_loss": 0.25,
        "clip_held_out": 0.3,
        "clip_trained": 0.31,
        "clip_others": 0.2,
    }
    more = {"minutes": 4.04, "megabytes": 45.6}
    lines = finetune.table({"before": figures, "LoRA": figures | more}).splitlines()
    assert lines[2] == "| before | 0.2500 | 0.300 | 0.310 | 0.200 | - | - |"
    assert lines[3].endswith("| 4.0 | 45.6 |")
    assert len({line.count("|") for line in lines}) == 1
    patch = Image.new("RGB", (16, 16), "red")
    sheet = finetune.sheet({"before": [patch] * 3, "LoRA": [patch] * 3}, ["a", "b", "c"])
    assert sheet.width > 3 * 100
    assert sheet.height > 2 * 100


def test_without_weights_to_start_from_nothing_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from frenchcat.curate.errors import NotFound

    monkeypatch.setattr(finetune, "BENCH", tmp_path / "bench")
    monkeypatch.setattr(sys, "argv", ["bench.finetune", "--start", str(tmp_path / "none")])
    with pytest.raises(NotFound, match=r"model\.start .*none is not a folder"):
        finetune.main()
    assert not (tmp_path / "bench").exists()


@pytest.mark.slow
def test_two_trainings_are_compared_with_their_start_and_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("peft")
    for module in (finetune, bench._common):
        monkeypatch.setattr(module, "BENCH", tmp_path / "bench")
    dataset = make_dataset(tmp_path / "dataset", mini())
    select(dataset, "some", Choice(where="key < '000000030'"))
    tars = write_tars(tmp_path / "tars", 1)
    how = {"model": {"patch": 4, "channels": [8, 16], "head_dim": 8}}
    start = train(settings(tars, tmp_path / "start", optimizer={"steps": 1, "warmup": 0}, **how))
    given = ["--start", str(start), "--dataset", dataset.root, "--selection", "some"]
    given += ["--steps", "2", "--batch", "4", "--prompts", "2", "--sampler-steps", "2"]
    monkeypatch.setattr(sys, "argv", ["bench.finetune", *given])
    found = []
    for _ in range(2):  # the second time both are trained already
        finetune.main()
        found.append(json.loads((tmp_path / "bench/results/finetune.json").read_text()))
    assert found[0]["models"] == found[1]["models"]
    models = found[0]["models"]
    assert list(models) == ["LoRA", "all weights", "before"]  # sorted, as results are
    assert models["LoRA"]["megabytes"] < models["all weights"]["megabytes"]
    assert models["all weights"]["steps"] == 2
    assert (tmp_path / "bench" / "finetune.png").exists()
