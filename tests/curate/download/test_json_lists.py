"""json and jsonl: forms, odd values, and faults by their line."""

from pathlib import Path
from typing import Any

import pytest

from frenchcat.curate.errors import UserError
from tests.curate.download.listed import pairs_of, rows_of

FORMS = {
    "an array": ("json", '[{"url": "a", "caption": "x"},\n {"url": "b"}]'),
    "an array in a jsonl": ("jsonl", '[{"url": "a", "caption": "x"},\n {"url": "b"}]'),
    "lines in a json": ("json", '{"url": "a", "caption": "x"}\n{"url": "b"}\n'),
    "one after another": ("json", '{"url": "a",\n "caption": "x"}\n{\n"url": "b"}\n'),
    "one": ("json", '{"url": "a", "caption": "x"}'),
    "columns": ("json", '{"url": ["a", "b"], "caption": ["x", null]}'),
}


@pytest.mark.parametrize("form", FORMS)
def test_objects_are_found_in_every_form(tmp_path: Path, form: str) -> None:
    kind, text = FORMS[form]
    wanted = [("a", "x"), ("b", None)]
    assert pairs_of(tmp_path, f"list.{kind}", text) == wanted[: 1 if form == "one" else 2]


def test_an_array_of_urls_is_a_list(tmp_path: Path) -> None:
    assert pairs_of(tmp_path, "list.json", '["http://a", "http://b"]') == [
        ("http://a", None),
        ("http://b", None),
    ]


def test_half_a_surrogate_pair_costs_one_character_and_is_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = '{"url": "a", "caption": "x"}\n{"url": "b", "caption": "hi \\ud83d"}\n'
    text += '{"url": "c", "caption": "\\ud83d\\ude00"}\n'
    found = pairs_of(tmp_path, "list.jsonl", text)
    assert found == [("a", "x"), ("b", "hi \ufffd"), ("c", "😀")]
    assert "half a surrogate pair, replaced by U+FFFD: 1 row, the first is 2" in (
        capsys.readouterr().err
    )
    pandas = '{"url": {"0": "a"}, "caption": {"0": "x \\ud83d"}}'
    assert pairs_of(tmp_path / "2", "list.json", pandas) == [("a", "x \ufffd")]


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("NaN", None),
        ("1e999", None),
        ("123456789012345678901234567890", "123456789012345678901234567890"),
        ('"550e8400-e29b-41d4-a716-446655440000"', "550e8400-e29b-41d4-a716-446655440000"),
        ('{"A": 1, "a": 2}', '{"A":1,"a":2}'),
        ('"x\\u0000y"', "x\0y"),
    ],
)
def test_values_that_not_every_reader_takes(tmp_path: Path, value: str, kept: Any) -> None:
    (row,) = rows_of(tmp_path, "list.jsonl", f'{{"url": "a", "v": {value}}}\n')
    assert (row["url"], row["v"]) == ("a", kept)


def test_names_that_differ_in_case_alone(tmp_path: Path) -> None:
    first, second = rows_of(tmp_path, "list.jsonl", '{"URL": "a", "url": "b"}\n{"URL": "c"}\n')
    assert [first["url"], first["url_1"], second["url"]] == ["a", "b", "c"]
    found = pairs_of(tmp_path / "2", "list.jsonl", '{"url": "a"}\n{"URL": "b"}\n')
    assert [url for url, _ in found] == ["a", "b"]


DEEP = '{"url": "a", "v": ' + "[" * 200 + "]" * 200 + "}"
FAULTS = {
    "not JSON": ("jsonl", '{"url": "a"}\n\n{"url": \n', "Line: 3, "),
    "a number": ("jsonl", '{"url": "a"}\n7\n', "Line: 2, a number where an object is meant"),
    "in an array": ("json", '[{"url": "a"},\n{"url" 1}]', "Line: 2, "),
    "no end": ("json", '[{"url": "a"},\n', "the array does not end"),
    "text behind it": ("json", '[{"url": "a"}]\n[]', "Line: 2, text after the end"),
    "too deep": ("jsonl", f'{{"url": "a"}}\n{DEEP}\n', "Line: 2, nested more than 100 deep"),
    "far too deep": ("jsonl", '{"url": ' + "[" * 9000, "Line: 1, nested too deeply"),
    "an object": ("jsonl", '{"url": "a"}\n{"url": "b", "caption": {"en": "x"}}', "line 2: the cap"),
    "lists in a list": ("json", '[{"url": "a", "caption": [["x"]]}]', "row 1: the caption column"),
}


@pytest.mark.parametrize("what", FAULTS)
def test_a_fault_is_named_by_its_line(tmp_path: Path, what: str) -> None:
    kind, text, message = FAULTS[what]
    with pytest.raises(UserError) as caught:
        rows_of(tmp_path, f"list.{kind}", text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_bad_line_can_be_kept_without_a_url(tmp_path: Path) -> None:
    text = '{"url": "a"}\n{"url": \n{"url": "c"}\n'
    found = rows_of(tmp_path, "list.jsonl", text, bad_rows="keep")
    assert [(row["url"], row["source_row"]) for row in found] == [("a", 1), (None, 2), ("c", 3)]


def test_an_array_longer_than_a_block(tmp_path: Path) -> None:
    objects = [f'{{"url": "u{n}", "caption": "{"cat " * 40}"}}' for n in range(9_000)]
    found = pairs_of(tmp_path, "list.json", "[" + ",\n".join(objects) + "]")
    assert [url for url, _ in found] == [f"u{n}" for n in range(9_000)]
