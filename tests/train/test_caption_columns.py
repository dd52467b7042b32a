"""Captions in several columns: each image's variants, drawn by their weights."""

import io
import json
import tarfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from frenchcat.curate.dataset import Dataset
from frenchcat.curate.errors import UnknownColumn, UserError
from frenchcat.curate.select import Choice, select
from frenchcat.train.caption_columns import CaptionColumns, caption_columns_of
from frenchcat.train.loader import Batches
from frenchcat.train.rows import TrainingRows
from frenchcat.train.run import prepare_rows
from frenchcat.train.settings import TrainSettings
from tests.sample.pictures import picture
from tests.sample.row import Row
from tests.sample.write import write
from tests.train.runs import settings

COLUMNS = ["caption", "alt", "machine"]
TEXTS = [  # of each row
    ("a cat", "cat.jpg", "an animal on a chair"),
    ("a dog", None, "an animal | outdoors"),
    ("", "red car", None),
    ("a tree", "tree", "a plant"),
]
JOINED = [
    "a cat|cat.jpg|an animal on a chair",
    "a dog|a dog|an animal outdoors",
    "red car|red car|red car",
    "a tree|tree|a plant",
]


def chosen(folder: Path, data: dict[str, Any], **text: Any) -> TrainSettings:
    how = {"tars": None, "captions": COLUMNS, "batch": 4} | data
    text = {"separator": "|", "dropout": 0.0} | text
    return settings(folder / "none", folder / "run", data=how, text=text, run={"held_out": 0})


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    made = Dataset.create(tmp_path / "d", "d")
    rows = [
        Row(
            caption=caption,
            picture=picture(n, 16, 12),
            columns={"alt": alt, "machine": machine, "number": n, "width": 16, "height": 12},
        )
        for n, (caption, alt, machine) in enumerate(TEXTS)
    ]
    write(made, "00000", rows)
    select(made, "all", Choice())
    return made


@pytest.fixture
def tars(tmp_path: Path) -> str:
    path = tmp_path / "tars" / "0.tar"
    path.parent.mkdir()
    with tarfile.open(path, "w") as tar:
        for n, texts in enumerate([*TEXTS, (None, None, None)]):
            about = dict(zip(COLUMNS, texts, strict=True))
            for ending, data in (("png", picture(n)), ("json", json.dumps(about).encode())):
                member = tarfile.TarInfo(f"{n:04d}.{ending}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    return str(path)


def captions(rows: TrainingRows) -> list[str]:
    return [row.caption or "" for row in rows.take(range(len(rows)))]


def test_each_column_is_a_variant_in_its_place(dataset: Dataset, tmp_path: Path) -> None:
    given = chosen(tmp_path, {"dataset": dataset.root, "selection": "all"})
    rows, _ = prepare_rows(given, tmp_path / "rows")
    assert captions(rows) == JOINED
    again, _ = prepare_rows(given, tmp_path / "rows")
    assert again.digest == rows.digest
    fewer = chosen(
        tmp_path, {"dataset": dataset.root, "selection": "all", "captions": COLUMNS[::2]}
    )
    other, _ = prepare_rows(fewer, tmp_path / "rows")
    assert captions(other)[0] == "a cat|an animal on a chair"
    assert other.digest != rows.digest


def test_of_tars_they_are_keys_of_the_json(tars: str, tmp_path: Path) -> None:
    rows, left = prepare_rows(chosen(tmp_path, {"tars": tars}), tmp_path / "rows")
    assert captions(rows) == JOINED
    assert [line for line in left or () if "has no text under caption, alt, machine" in line]


def test_they_are_drawn_by_their_weights(tars: str, tmp_path: Path) -> None:
    given = chosen(tmp_path, {"tars": tars}, weights=[0.5, 0.0, 0.5])
    prepare_rows(given, tmp_path / "rows")
    batches = Batches(tmp_path / "rows", given)
    drawn = Counter(caption for epoch in range(60) for caption in batches[epoch, 0].captions)
    assert drawn["cat.jpg"] == drawn["tree"] == 0
    share = drawn["a cat"] / (drawn["a cat"] + drawn["an animal on a chair"])
    assert abs(share - 0.5) < 4 * np.sqrt(0.25 / 60)
    assert drawn["red car"] == 60  # it has no other


@pytest.mark.parametrize(
    ("data", "text", "said"),
    [
        ({"captions": ["caption", "none"]}, {}, r"data\.captions names 'none'.*known: .*alt"),
        ({"captions": ["number"]}, {}, "which has BIGINT and not texts"),
        ({}, {"separator": None}, r"text\.separator, which separates them, is none"),
        ({}, {"weights": [1, 1, 1, 1]}, "has 4 numbers for 3 data.captions"),
        ({"caption": "x"}, {}, "leave one of them out"),
    ],
)
def test_what_does_not_fit_is_one_line(
    dataset: Dataset, tmp_path: Path, data: dict[str, Any], text: dict[str, Any], said: str
) -> None:
    given = chosen(tmp_path, {"dataset": dataset.root, "selection": "all"} | data, **text)
    with pytest.raises(UserError, match=said) as caught:
        prepare_rows(given, tmp_path / "rows")
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, UnknownColumn) == ("none" in str(data))


def test_an_image_without_any_has_none() -> None:
    columns = CaptionColumns(("a", "b"), "|")
    assert columns.joined([None, " "]) is None
    assert columns.joined([None, "x | y"]) == "x y|x y"
    assert caption_columns_of(TrainSettings()) is None
