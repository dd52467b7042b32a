"""Rows that share a value are tied; spellings of one URL are one."""

import pytest

from frenchcat.curate.dedup.exact import equal_values
from frenchcat.curate.urls import canonical_url


def test_equal_values_are_tied_and_none_is_equal_to_nothing() -> None:
    assert equal_values(["a", None, "b", "a", None]).tolist() == [[0, 3]]
    assert equal_values([]).shape == (0, 2)
    assert equal_values([None, None]).shape == (0, 2)


@pytest.mark.parametrize(
    "spelling",
    [
        "HTTP://Example.com:80/a.jpg",
        " http://example.com/a.jpg#part",
        "http://example.com/b/../a.jpg",
        "http://ｅxample.com./a.jpg",
    ],
)
def test_spellings_of_a_url_are_one(spelling: str) -> None:
    assert canonical_url(spelling) == canonical_url("http://example.com/a.jpg")


@pytest.mark.parametrize("other", ["https://example.com/a.jpg", "http://example.com/a.jpg?b=1"])
def test_what_another_answer_may_come_from_stays_another(other: str) -> None:
    assert canonical_url(other) != canonical_url("http://example.com/a.jpg")


@pytest.mark.parametrize("wrong", [None, "", "cat.jpg", "file:///etc/passwd"])
def test_what_is_no_url_has_no_canonical_form(wrong: str | None) -> None:
    assert canonical_url(wrong) is None
