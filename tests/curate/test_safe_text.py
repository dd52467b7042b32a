"""Texts of strangers: nothing that a terminal, a page or a spreadsheet obeys is left in them."""

import html
import unicodedata
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frenchcat.curate.safe_text import for_csv, for_html, for_terminal, lines_for_terminal

ANY = st.text(st.characters(codec=None, categories=None))  # halves of surrogate pairs, too
BIDI = {chr(n) for n in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))}


def obeyed(text: str) -> list[str]:
    """What a terminal acts on: control characters by Unicode's own category, and overrides."""
    return [c for c in text if unicodedata.category(c) in ("Cc", "Cs") or c in BIDI]


@given(ANY)
def test_a_line_holds_nothing_that_a_terminal_obeys(text: str) -> None:
    line = for_terminal(text)
    assert obeyed(line) == []
    assert len(line.splitlines()) <= 1
    line.encode("utf-8")
    assert for_terminal(line) == line


@given(ANY)
def test_lines_keep_their_breaks_alone(text: str) -> None:
    assert set(obeyed(lines_for_terminal(text))) <= {"\n"}
    assert lines_for_terminal(text).count("\n") == text.count("\n")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("\x1b]0;owned\x07\x1b[31mred \x9b31m", "\ufffd]0;owned\ufffd\ufffd[31mred \ufffd31m"),
        ("two\r\n\tlines\u2028more", "two lines more"),
        ("abc\u202egpj.exe", "abc\ufffdgpj.exe"),
        ("half \ud83d", "half \ufffd"),
        (
            "chat français, 猫, עברית\u200f, 👩\u200d💻",
            "chat français, 猫, עברית\u200f, 👩\u200d💻",
        ),
    ],
)
def test_what_is_replaced_and_what_stays(text: str, line: str) -> None:
    assert for_terminal(text) == line


def test_a_long_text_is_cut_to_the_length_and_says_so() -> None:
    assert for_terminal("x" * 1_000_000, 300) == "x" * 299 + "…"
    assert for_terminal("x" * 300, 300) == "x" * 300


class Tags(HTMLParser):
    """Collects the tags and the text of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.text += "".join(value or "" for _, value in attrs)

    def handle_data(self, data: str) -> None:
        self.text += data


@given(st.text())
def test_html_opens_no_element_and_reads_as_the_text(text: str) -> None:
    for page in (f"<b>{for_html(text)}</b>", f'<b title="{for_html(text)}"></b>'):
        parser = Tags()
        parser.feed(page)
        parser.close()
        assert parser.tags == ["b"]
        assert parser.text == html.unescape(for_html(text)) == for_terminal(text)


@pytest.mark.parametrize("first", ["=", "+", "-", "@", "\t", "\r"])
def test_a_cell_is_no_formula(first: str) -> None:
    assert for_csv(f"{first}1+1") == f"'{first}1+1"


@pytest.mark.parametrize("text", [" =1", "\u00a0\u3000=1", "\n=1", "\uff1d1", " \uff20SUM(A1)"])
def test_spaces_and_full_width_signs_hide_no_formula(text: str) -> None:
    assert for_csv(text) == f"'{text}"


@pytest.mark.parametrize("value", ["a cat", "", "1-1", None, -1, -0.5])
def test_other_cells_stay(value: object) -> None:
    assert for_csv(value) is value
