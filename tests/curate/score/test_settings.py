"""Settings of the scores: names that clash or are no columns are refused."""

import re
from pathlib import Path
from typing import Any

import pytest

from frenchcat.curate.config import resolve
from frenchcat.curate.errors import UserError
from frenchcat.curate.list_names import OURS
from frenchcat.curate.score.builtin import COLUMNS, SCORES
from frenchcat.curate.score.settings import IDENTITY, ScoreSettings

DOCS = (Path(__file__).parents[3] / "docs" / "scores.md").read_text(encoding="utf-8")


def test_the_table_of_docs_scores_md_lists_every_column_of_every_score() -> None:
    cells = [re.findall(r"`(\w+)`", " ".join(line.split("|")[1:3])) for line in DOCS.splitlines()]
    named = [found for found in cells if found and found[0] not in IDENTITY]
    listed: dict[str, list[str]] = {}
    for column, *score in named:
        listed.setdefault(score[0] if score else list(listed)[-1], []).append(column)
    assert listed == {
        score.name: [column.name for column in score.columns] for score in SCORES.values()
    }


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ({"scores": ["similarty"]}, "similarity"),
        ({"concepts": {"punsafe": ["a", "b"]}}, "two scores are named 'punsafe'"),
        ({"concepts": {"Key": ["a", "b"]}}, "two scores are named 'key'"),
        ({"concepts": {"caption": ["a", "b"]}}, "two scores are named 'caption'"),
        ({"heads": [{"name": "Compression", "file": "a"}]}, "two scores are named 'compression'"),
        ({"scores": ["pdq", "pdq"]}, "two scores are named 'pdq'"),
        ({"concepts": {"a b": ["a", "b"]}}, "'a b' is not a column name"),
        ({"concepts": {"violence": ["only one"]}}, "concepts"),
        ({"heads": [{"name": "cat", "file": "a"}, {"name": "CAT", "file": "b"}]}, "named 'cat'"),
        ({"heads": [{"name": "x", "file": "a", "activation": "gelu"}]}, "relu"),
    ],
)
def test_what_is_refused(named: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        resolve(ScoreSettings, named)


def test_the_table_of_scores_has_the_names_and_the_columns_of_their_classes() -> None:
    made = {score.name: tuple(column.name for column in score.columns) for score in SCORES.values()}
    assert list(made.items()) == list(COLUMNS.items())
    assert {column for columns in made.values() for column in columns} <= OURS


def test_a_name_is_free_when_its_score_is_left_out() -> None:
    head = {"name": "punsafe", "file": "mine.safetensors"}
    made = resolve(ScoreSettings, {"scores": ["similarity"], "heads": [head]})
    assert made.heads[0].name == "punsafe"
    concepts = {"caption": ["a", "b"]}
    assert resolve(ScoreSettings, {"scores": ["pdq"], "concepts": concepts}).concepts
