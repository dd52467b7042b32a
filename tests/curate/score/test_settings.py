"""Settings of the scores: names that clash or are no columns are refused."""

from typing import Any

import pytest

from frenchcat.curate.config import resolve
from frenchcat.curate.errors import UserError
from frenchcat.curate.score.settings import COLUMNS, ScoreSettings
from frenchcat.curate.score.stage import builtin


@pytest.mark.parametrize("name", COLUMNS)
def test_each_score_has_the_columns_that_settings_say(name: Any) -> None:
    assert tuple(builtin(name).columns()) == COLUMNS[name]
    assert builtin(name).name == name


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ({"scores": ["similarty"]}, "similarity"),
        ({"concepts": {"punsafe": ["a", "b"]}}, "two scores are named 'punsafe'"),
        ({"concepts": {"Key": ["a", "b"]}}, "two scores are named 'key'"),
        ({"concepts": {"caption": ["a", "b"]}}, "two scores are named 'caption'"),
        ({"heads": [{"name": "Compression", "file": "a"}]}, "two scores are named 'compression'"),
        ({"scores": ["pdq", "pdq"]}, "two scores are named 'pdq'"),
        ({"concepts": {"a b": ["a", "b"]}}, "'a b' is no column name"),
        ({"concepts": {"violence": ["only one"]}}, "concepts"),
        ({"heads": [{"name": "cat", "file": "a"}, {"name": "CAT", "file": "b"}]}, "named 'cat'"),
        ({"heads": [{"name": "x", "file": "a", "activation": "gelu"}]}, "relu"),
    ],
)
def test_what_is_refused(named: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        resolve(ScoreSettings, named)


def test_a_name_is_free_when_its_score_is_left_out() -> None:
    head = {"name": "punsafe", "file": "mine.safetensors"}
    made = resolve(ScoreSettings, {"scores": ["similarity"], "heads": [head]})
    assert made.heads[0].name == "punsafe"
    concepts = {"caption": ["a", "b"]}
    assert resolve(ScoreSettings, {"scores": ["pdq"], "concepts": concepts}).concepts
