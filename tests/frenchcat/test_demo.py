"""What the demo says of a row, and its training; the demo as a whole is tried by `make demo`."""

import json
from pathlib import Path
from typing import Any

import pytest

from frenchcat import demo
from frenchcat.curate.config import load_settings
from frenchcat.curate.errors import UserError
from frenchcat.curate.select import Choice, select
from frenchcat.demo import _outcome
from frenchcat.train.checkpoint import newest
from frenchcat.train.settings import TrainSettings
from frenchcat.verify_file import verify_file
from tests.train.embedded_run import make_dataset, mini

STORED = {"status": "success", "failed": None, "keep": True, "reason": None}


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"planted": "", "multiplicity": 1}, "kept"),
        ({"planted": "", "multiplicity": 2}, "kept"),
        ({"planted": "exact_duplicate", "multiplicity": 2}, "kept, its duplicate dropped"),
        ({"planted": "exact_duplicate", "multiplicity": 1}, "kept"),
        (
            {"planted": "tiny", "multiplicity": 1, "keep": False, "reason": "too_small"},
            "dropped (too_small)",
        ),
        (
            {"planted": "noai", "status": "failed_to_download", "keep": None, "multiplicity": None}
            | {"failed": "opted_out:x_robots_tag"},
            "opted_out:x_robots_tag",
        ),
        (
            {"planted": "", "status": "failed_to_download", "keep": None, "multiplicity": None}
            | {"failed": "http_404"},
            "http_404",
        ),
    ],
)
def test_the_end_of_a_row_in_words(row: dict[str, Any], said: str) -> None:
    assert _outcome(STORED | row) == said


TINY = (
    *demo.BRIEFLY,
    "data.batch=4",
    "data.size=16",
    "optimizer.steps=2",
    "run.sample_steps=1",
    "run.device=cpu",
)


def test_it_trains_draws_and_has_nothing_to_do_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = make_dataset(tmp_path / "dataset", mini())
    select(dataset, demo.SELECTION, Choice(where="true"))
    monkeypatch.setattr(demo.console, "width", 200)
    run = demo.train_briefly(dataset, tmp_path / "run", TINY)
    checkpoint = newest(run)
    assert checkpoint is not None
    assert checkpoint.name == "step-00000002"
    assert [path.name for path in (run / "samples").iterdir()] == ["step-00000002.png"]
    assert "2 steps of 4 images of 16 px" in capsys.readouterr().out
    made = checkpoint.stat().st_mtime_ns
    assert demo.train_briefly(dataset, tmp_path / "run", TINY) == run
    assert newest(run) == checkpoint
    assert checkpoint.stat().st_mtime_ns == made
    sheet = demo.draw_signed(tmp_path / "drawn", steps=1)
    assert verify_file(sheet)["intact"]
    receipts = sorted((tmp_path / "drawn").glob("*.json"))
    assert len(receipts) == 2 * len(demo.DRAWN)
    told = [json.loads(path.read_text()) for path in receipts]
    assert all(one["made"]["model"] == "frenchcat artist" for one in told)
    assert all(one["nearest"][0]["creator"] for one in told)
    assert "unchanged since it was signed" in capsys.readouterr().out
    page = demo.audit_briefly(run, tmp_path / "audit.html")
    assert "<html" in page.read_text()
    with pytest.raises(UserError, match="was trained with another seed"):
        demo.train_briefly(dataset, tmp_path / "run", [*TINY, "run.seed=1"])


def test_its_training_starts_from_the_artist_and_is_short() -> None:
    brief = load_settings(TrainSettings, "train-demo", demo.BRIEFLY)
    assert brief.model.start == "artist"
    assert brief.data.size == load_settings(TrainSettings, "train-artist").data.size
    assert brief.optimizer.steps * brief.data.batch < 500


@pytest.mark.parametrize("trained", [True, False])
def test_what_comes_next_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], trained: bool
) -> None:
    dataset = make_dataset(tmp_path / "dataset", mini())
    run = tmp_path / "run" if trained else None
    demo._next_steps(dataset, tmp_path / "page", tmp_path / "report", run, 1.0)
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert 'frenchcat sample "a french cat" -n 4 --guidance 3' in lines
    assert (f'frenchcat sample {run} "a red apple" -n 4 --guidance 3' in lines) == trained
    assert (f"frenchcat serve {dataset.root} --draw {run}" in lines) == trained
    train = f"--set data.dataset={dataset.root} --set data.selection={demo.SELECTION}"
    assert f"frenchcat train train-demo {train}" in lines
