"""Which steps trained on a row: every draw of the run's own batches, no more and no less."""

import csv
import shutil
from collections import defaultdict
from pathlib import Path

import pytest

import frenchcat
from frenchcat.curate.clip.model import Clip
from frenchcat.curate.config import changed
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.errors import NotFound, UserError
from frenchcat.curate.select import Choice, select
from frenchcat.train import checkpoint
from frenchcat.train.loop import train
from frenchcat.train.rows import open_rows
from frenchcat.train.stream import stream_of
from frenchcat.train.used import draws_of, runs_of, use_of
from tests.train.embedded_run import ROWS, make_dataset, mini
from tests.train.runs import settings

STEPS = 9


@pytest.fixture(scope="module")
def clip() -> Clip:
    return mini()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, clip: Clip) -> Path:
    """Nine steps, more than an epoch, with weights and a checkpoint every three steps."""
    folder = tmp_path_factory.mktemp("used")
    dataset = make_dataset(folder / "dataset", clip)
    select(
        dataset, "some", Choice(where="key < '000000030'", weight="1 + (key > '000000020')::INT")
    )
    given = settings(
        folder / "none",
        folder / "run",
        data={"tars": None, "dataset": dataset.root, "selection": "some", "batch": 6},
        optimizer={"steps": STEPS, "warmup": 1},
        run={"checkpoint_every": 3, "keep": 9},
    )
    return train(given)


def test_a_row_was_drawn_at_the_steps_at_which_its_batch_was_trained(run: Path) -> None:
    from frenchcat.train.run import find_checkpoint

    _, _, settings = find_checkpoint(run)
    drawn: dict[str, list[int]] = defaultdict(list)
    for step, batch in zip(range(1, STEPS + 1), stream_of(settings, run / "rows"), strict=False):
        for key in batch.keys:
            drawn[key].append(step)
    asked = {f"0000000{number:02d}" for number in range(ROWS)}
    use = use_of(run, asked)
    assert use.steps == dict(drawn)
    assert max(map(len, drawn.values())) > 1, "the run has to be longer than an epoch"
    rows = open_rows(run / "rows")
    assert rows is not None
    assert use.held_out == [rows.row(number).key for number in rows.held_out]
    assert use.held_out
    assert not set(use.held_out) & set(use.steps)
    (key,) = list(drawn)[-1:]
    alone = use_of(run, {key})
    assert (alone.steps, alone.step) == ({key: drawn[key]}, STEPS)


def test_a_checkpoint_has_seen_what_was_drawn_until_it_was_written(run: Path) -> None:
    late = next(key for key, steps in use_of(run, ALL).steps.items() if steps[0] > 3)
    use = use_of(run, {late})
    steps = [checkpoint.read_state(path).step for path in checkpoint.steps(run)]
    assert [one.step for one in use.checkpoints] == steps == [3, 6, 9]
    for one in use.checkpoints:
        assert one.times == sum(step <= one.step for step in use.steps[late])
    assert "step-00000003" not in use.cannot_forget
    assert use.cannot_forget[-1] == "step-00000009"


def test_the_credits_of_a_run_are_of_the_rows_that_it_drew(run: Path, tmp_path: Path) -> None:
    steps = use_of(run, ALL).steps
    drawn = draws_of(run)
    assert drawn.times == {key: len(found) for key, found in steps.items()}
    assert (drawn.selection, drawn.step) == ("some", STEPS)
    found = frenchcat.credits(run, to=tmp_path / "out")
    assert {row.key: row.times for row in found.rows} == drawn.times
    assert found.licences == {"CC BY 4.0": len(steps)}
    assert found.rows[0].author == f"painter {int(found.rows[0].key)}"
    with open(tmp_path / "out/credits.csv", newline="") as file:
        assert [int(row["times"]) for row in csv.DictReader(file)] == list(drawn.times.values())


def test_credits_of_a_run_say_what_they_cannot(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is a training run, which has no selection 'some'"):
        frenchcat.credits(run, "some")
    copied = tmp_path / "copied"
    shutil.copytree(run.parent, copied)
    moved = copied / "run"
    opened = frenchcat.open(copied / "dataset")
    for file in moved.rglob("*.json"):  # the copy's own dataset
        file.write_text(file.read_text().replace(str(run.parent), str(copied)))
    key = min(draws_of(run).times)
    assert opened.remove(key=key) is not None
    found = frenchcat.credits(moved)
    assert found.removed == 1
    assert len(found.rows) == len(draws_of(run).times) - 1
    assert found.as_dict()["steps"] == STEPS


def test_one_checkpoint_is_asked_by_its_name(run: Path) -> None:
    late = next(key for key, steps in use_of(run, ALL).steps.items() if steps[0] > 3)
    assert use_of(run, {late}, "step-00000003").cannot_forget == []
    assert use_of(run, {late}, "step-00000009").cannot_forget == ["step-00000009"]
    with pytest.raises(NotFound, match=r"has no checkpoint 'best'; there are: step-00000003, "):
        use_of(run, {late}, "best")


def test_a_run_on_another_dataset_is_not_asked_by_its_keys(
    run: Path, tmp_path: Path, clip: Clip
) -> None:
    """Its keys are those of other images."""
    other = frenchcat.open(make_dataset(tmp_path / "other", clip).root)
    with pytest.raises(UserError, match=rf"was trained on {run.parent / 'dataset'}, not on"):
        other.used(key="000000001", runs=[run])
    moved = Path(shutil.move(shutil.copytree(run.parent, tmp_path / "here"), tmp_path / "there"))
    for file in (moved / "run").rglob("*.json"):  # trained here, before the folder moved
        file.write_text(file.read_text().replace(str(run.parent), str(tmp_path / "here")))
    found = frenchcat.open(moved / "dataset").used(key="000000001", runs=[moved / "run"])
    assert found.runs[0].steps == use_of(run, {"000000001"}).steps


def test_steps_are_not_told_where_the_rows_say_something_else(run: Path, tmp_path: Path) -> None:
    moved = Path(shutil.copytree(run, tmp_path / "run"))
    before = use_of(moved, ALL)
    dataset = Dataset.open(run.parent / "dataset")
    select(dataset, "fewer", Choice(where="key < '000000020'"))
    given = settings(
        moved / "none",
        moved,
        data={"tars": None, "dataset": dataset.root, "selection": "fewer"},
        optimizer={"steps": STEPS + 1, "warmup": 1},
        run={"checkpoint_every": 1, "keep": 9},
    )
    with pytest.raises(UserError, match="was trained with another selection"):
        train(given)
    assert use_of(moved, ALL) == before  # what a refused training leaves is as it was
    train(given, other_run=True)
    with pytest.raises(UserError, match="step-00000003 was trained on other rows than those"):
        use_of(moved, ALL)
    with pytest.raises(UserError, match="the first 9 steps of step-00000010 were of another"):
        use_of(moved, ALL, "step-00000010")
    with pytest.raises(UserError, match="the first 9 steps"):
        draws_of(moved)
    train(changed(given, optimizer=changed(given.optimizer, steps=STEPS + 2)))  # and from then on
    with pytest.raises(UserError, match="the first 9 steps of step-00000011"):
        use_of(moved, ALL, "step-00000011")
    shutil.rmtree(moved / "rows")
    with pytest.raises(NotFound, match=r"its rows/ are gone.*restore them"):
        use_of(moved, ALL)


def test_a_row_that_is_not_in_the_selection_was_not_trained_on(run: Path) -> None:
    use = use_of(run, {"000000035"})
    assert (use.steps, use.held_out, use.cannot_forget) == ({}, [], [])


def test_the_runs_beside_a_dataset_are_those_that_were_trained_on_it(
    run: Path, tmp_path: Path, clip: Clip
) -> None:
    assert runs_of(run.parent / "dataset") == [run]
    for folder in (tmp_path / "dataset", run.parent / "another"):
        other = make_dataset(folder, clip)
        assert runs_of(Path(other.root)) == []
    with pytest.raises(NotFound, match="is not a run"):
        use_of(Path(Dataset.open(other.root).root), {"000000001"})


ALL = {f"0000000{number:02d}" for number in range(ROWS)}
