"""csv and tsv: quotation marks that lose no row, headers, delimiters, lines that do not fit."""

from pathlib import Path

import pytest

from frenchcat.curate.errors import UserError
from tests.curate.download.listed import pairs_of, rows_of

U = [f"http://a.example/{number}.jpg" for number in range(9)]

TSV = {
    "a quoted word first": (
        f'url\tcaption\n{U[1]}\t"Nice" boat\n{U[2]}\tok\n',
        ['"Nice" boat', "ok"],
    ),
    "a mark without an end": (f'url\tcaption\n{U[1]}\t"a boat\n{U[2]}\tok\n', ['"a boat', "ok"]),
    "two marks, rows apart": (
        f'caption\turl\n"a boat\t{U[1]}\nok\t{U[2]}\nthe end"\t{U[3]}\nlast\t{U[4]}\n',
        ['"a boat', "ok", 'the end"', "last"],
    ),
    "a mark at the end of the file": (f'url\tcaption\n{U[1]}\t"', ['"']),
    "inches": (f'url\tcaption\n{U[1]}\t5" nails\n', ['5" nails']),
    "as csv writers quote": (f'url\tcaption\n{U[1]}\t"say ""hi"" now"\n', ['say "hi" now']),
    "a quoted tab": (f'url\tcaption\n{U[1]}\t"a\tb"\n{U[2]}\tok\n', ["a\tb", "ok"]),
    "a quoted line end": (f'url\tcaption\n{U[1]}\t"a\nb"\n{U[2]}\tok\n', ["a\nb", "ok"]),
    "a quoted line end in front": (f'caption\turl\n"a\nb"\t{U[1]}\nok\t{U[2]}\n', ["a\nb", "ok"]),
}


@pytest.mark.parametrize("what", TSV)
def test_a_quotation_mark_in_a_tsv_loses_no_row(tmp_path: Path, what: str) -> None:
    text, captions = TSV[what]
    found = pairs_of(tmp_path, "list.tsv", text)
    assert found == list(zip(U[1:], captions, strict=False))


CSV = {
    "as the standard has it": (
        f'url,caption\n{U[1]},"say ""hi"", now\nand then"\n',
        ['say "hi", now\nand then'],
    ),
    "a line end in the first field": (
        f'caption,url\n"a\nb",{U[1]}\n"c, d",{U[2]}\n',
        ["a\nb", "c, d"],
    ),
    "a return inside a field": (f'caption,url\n"a\r\nb",{U[1]}\n', ["a\r\nb"]),
    "a quoted word first": (f'url,caption\n{U[1]},"Nice" boat\n', ['"Nice" boat']),
    "a mark without an end": (f'url,caption\n{U[1]},"a boat\n{U[2]},ok\n', ['"a boat', "ok"]),
    "carriage returns": (f"url,caption\r\n{U[1]},a\r\n{U[2]},b\r\n", ["a", "b"]),
    "carriage returns alone": (f"url,caption\r{U[1]},a\r{U[2]},b\r", ["a", "b"]),
    "blank lines": (f"\n\r\nurl,caption\n\n{U[1]},a\n\n{U[2]},b\n\n", ["a", "b"]),
    "semicolons": (f'url;caption\n{U[1]};"a;b"\n{U[2]};c, d\n', ["a;b", "c, d"]),
    "a spreadsheet's first line": (f"sep=;\r\nurl;caption\r\n{U[1]};a\r\n", ["a"]),
    "tabs": (f"url\tcaption\n{U[1]}\ta, b\n", ["a, b"]),
}


@pytest.mark.parametrize("what", CSV)
def test_a_csv_is_read_whatever_its_dialect(tmp_path: Path, what: str) -> None:
    text, captions = CSV[what]
    found = pairs_of(tmp_path, "list.csv", text)
    assert found == list(zip(U[1:], captions, strict=False))


SWALLOWED = f'url,caption\n{U[1]},"a boat\n{U[2]},ok\n{U[3]},the end"\n{U[4]},last\n'


def test_a_csv_that_may_be_read_in_two_ways_is_refused_by_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"Line: 2, .*holds line 3.* --set download.quotes=none"):
        pairs_of(tmp_path, "list.csv", SWALLOWED)
    plain = pairs_of(tmp_path, "list.csv", SWALLOWED, quotes="none")
    assert plain == list(zip(U[1:5], ['"a boat', "ok", 'the end"', "last"], strict=True))
    quoted = pairs_of(tmp_path / "2", "list.csv", SWALLOWED, quotes="csv")
    assert quoted == [(U[1], f"a boat\n{U[2]},ok\n{U[3]},the end"), (U[4], "last")]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (f'a cat, asleep\t{U[1]}\n"a boat\t{U[2]}\n', '["caption","url"]'),
        (f"{U[1]}\ta cat\n{U[2]}\tb\n", '["url","caption"]'),
        (f"7\t{U[1]}\ta cat\n8\t{U[2]}\tb\n", '["column0","url","caption"]'),
    ],
)
def test_without_a_header_the_refusal_names_the_setting_that_reads_every_row(
    tmp_path: Path, text: str, named: str
) -> None:
    with pytest.raises(UserError, match=r"list\.tsv: line 1 is a row, not a header") as caught:
        pairs_of(tmp_path, "list.tsv", text)
    assert f"--set 'download.columns={named}'" in str(caught.value)
    columns = tuple(named.strip('[]"').split('","'))
    found = pairs_of(tmp_path, "list.tsv", text, columns=columns)
    assert [url for url, _ in found] == [U[1], U[2]]
    assert all(caption in text for _, caption in found)


def test_the_lines_of_rows_are_those_of_the_file(tmp_path: Path) -> None:
    text = f'\nurl,caption\n{U[1]},"two\nlines"\n\n{U[2]},x\n'
    found = rows_of(tmp_path, "list.csv", text)
    assert [row["source_row"] for row in found] == [3, 6]


RAGGED = f"url,caption\n{U[1]},a\n{U[2]},b,c\n{U[3]},d\n"


def test_a_line_with_too_many_fields_is_named_or_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UserError, match=r"Line: 3, 3 fields where the header has 2.*bad_rows=keep"):
        pairs_of(tmp_path, "list.csv", RAGGED)
    found = rows_of(tmp_path, "list.csv", RAGGED, bad_rows="keep")
    assert [(row["url"], row["source_row"]) for row in found] == [(U[1], 2), (None, 3), (U[3], 4)]
    said = "list.csv: not readable, kept without a URL: 1 row, the first is 3"
    assert said in capsys.readouterr().err


def test_a_row_is_as_long_as_it_likes(tmp_path: Path) -> None:
    long = "cat " * 100_000
    text = f'url,caption\n{U[1]},{long}\n{U[2]},"{long}, too"\n'
    assert pairs_of(tmp_path, "list.csv", text) == [(U[1], long), (U[2], f"{long}, too")]
