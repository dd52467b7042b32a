"""What may stand after WHERE, and what may not."""

import pytest

from curate.errors import UserError
from curate.expression import checked, columns_of

FINE = [
    "width >= 256",
    "similarity > .25 and punsafe < .1",
    "caption ilike '%cat%' or caption is null",
    "least(original_width, original_height) < 200",
    "list_contains([1, 2], width)",
    "width between 2 and 3 and not (height in (1, 2))",
    "case when width > 2 then true else false end",
    "regexp_matches(url, '^https://') -- a comment",
    "width::double / height < 3",
    "caption = 'it''s; DROP TABLE rows'",
]
NOT_FINE = [
    ("", "empty"),
    ("width >", "no condition"),
    ("width > 1; DROP TABLE rows", "is no condition|more than one"),
    ("TRUE) UNION SELECT (1", "more than one"),
    ("TRUE) GROUP BY (1", "more than one"),
    ("TRUE) LIMIT (1", "more than one"),
    ("TRUE) OR (EXISTS (SELECT 1)", "subquery"),
    ("width > (SELECT 1)", "subquery"),
    ("width in (SELECT 1)", "subquery"),
    ("read_text('/etc/passwd') is null", "read_text is not allowed"),
    ("getenv('HOME') = ''", "getenv is not allowed"),
    ("lowr(caption) = 'x'", "did you mean lower"),
    ("row_number() over () > 1", "window"),
    ("/* width > 1", "no condition"),
    ("width > $1", "parameter"),
    ("list_filter([1], lambda x: x > 0) = [1]", "lambda|not allowed"),
    ("main.lower('x') = 'x'", "not allowed"),
    ("current_setting('threads') = 1", "not allowed"),
]


@pytest.mark.parametrize("expression", FINE)
def test_conditions_pass_as_they_are(expression: str) -> None:
    assert expression in checked(expression)


@pytest.mark.parametrize(("expression", "said"), NOT_FINE)
def test_everything_else_is_refused_in_words(expression: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        checked(expression)


def test_the_columns_of_an_expression() -> None:
    assert columns_of("width > 2 and lower(caption) = 'height'") == {"width", "caption"}
