"""JSON for every value: read back by a strict reader, harmless on a terminal."""

import base64
import datetime
import decimal
import json
import math
import uuid
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frenchcat.curate.json_text import json_text
from tests.curate.test_safe_text import obeyed

ODD = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(codec=None, categories=None))
    | st.binary()
    | st.datetimes()
    | st.dates()
    | st.times()
    | st.timedeltas()
    | st.decimals()
    | st.uuids()
)
VALUES = st.recursive(
    ODD,
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text() | st.integers() | st.floats() | st.dates(), inner)
    ),
    max_leaves=12,
)


def strict(text: str) -> Any:
    """Read as a reader does that knows no NaN."""

    def refuse(name: str) -> None:
        raise ValueError(name)

    return json.loads(text, parse_constant=refuse)


@given(VALUES)
def test_any_value_is_strict_json_in_utf8_that_a_terminal_does_not_obey(value: Any) -> None:
    text = json_text(value)
    strict(text.encode("utf-8").decode("utf-8"))
    assert obeyed(text) == []
    assert (
        strict(json_text(value, indent=1)) == strict(text) == strict(json_text(value, compact=True))
    )


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists))
def test_what_json_has_comes_back_as_it_was(value: Any) -> None:
    assert strict(json_text(value)) == value


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (math.nan, None),
        (-math.inf, None),
        ([{"a": [math.inf, 0.5]}], [{"a": [None, 0.5]}]),
        (b"caf\xc3\xa9", "café"),
        (b"\xff\xfe", base64.b64encode(b"\xff\xfe").decode()),
        (datetime.datetime(2026, 5, 3, 12, tzinfo=datetime.UTC), "2026-05-03T12:00:00+00:00"),
        (datetime.date(2026, 5, 3), "2026-05-03"),
        (decimal.Decimal("1.10"), "1.10"),
        (uuid.UUID(int=5), "00000000-0000-0000-0000-000000000005"),
        ("half \ud83d", "half \ufffd"),
        ("both \ud83d\ude00", "both 😀"),
        ("\x9b31m\u202e", "\x9b31m\u202e"),
        (np.float32("nan"), None),
        (np.array([1.5, np.nan]), [1.5, None]),
        (np.int64(7), 7),
        ((1, 2), [1, 2]),
        ({datetime.date(2026, 5, 3): 1}, {"2026-05-03": 1}),
    ],
)
def test_what_json_lacks(value: Any, read: Any) -> None:
    assert strict(json_text(value)) == read


def test_keys_are_sorted_where_that_is_asked() -> None:
    assert json_text({"b": 1, "a": math.nan}, sort_keys=True) == '{"a": null, "b": 1}'
