"""The dataset of a run is known by its images, not by its place."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import frenchcat
from frenchcat.curate.errors import UserError
from frenchcat.train.evaluate import evaluate
from frenchcat.train.receipts import check_comparable
from frenchcat.train.run import find_checkpoint
from frenchcat.train.used import draws_of
from tests.sample.pictures import picture
from tests.train.embedded_run import make_dataset, mini, train_on_selection


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return train_on_selection(tmp_path, mini())


def compared(run: Path) -> None:
    check_comparable(find_checkpoint(run)[2].data, run)


@pytest.mark.parametrize(
    "ask",
    [frenchcat.credits, compared, lambda run: evaluate(run, number=5)],
    ids=["credits", "receipts", "figures"],
)
def test_other_images_in_the_datasets_place_are_refused(
    run: Path, ask: Callable[[Path], object]
) -> None:
    place = run.parent / "dataset"
    shutil.rmtree(place)
    make_dataset(place, mini(), lambda n: picture(n + 100))
    with pytest.raises(UserError, match=f"on other images than those of {place}: none of the 30 "):
        ask(run)


def test_a_dataset_of_which_rows_were_removed_is_the_same(run: Path) -> None:
    opened = frenchcat.open(run.parent / "dataset")
    opened.remove(key=min(draws_of(run).times))
    opened.compact()
    assert frenchcat.credits(run).removed == 1
