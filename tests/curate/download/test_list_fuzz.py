"""Lists of every format, dialect and encoding: each row is frozen once, or the list is refused."""

import bz2
import csv
import gzip
import io
import json
import lzma
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from frenchcat.curate.dataset import Dataset
from frenchcat.curate.download.lists import Shape, freeze, relative
from frenchcat.curate.errors import UserError

Row = tuple[str, str]
BY_LINE = re.compile(r"\b(Line|Row|line|row):? \d+")
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252")


def zstd(data: bytes) -> bytes:
    return bytes(pa.compress(data, codec="zstd", asbytes=True))


COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": zstd,
}


@dataclass
class Written:
    """A list as it lies on disk, and what it says."""

    name: str
    data: bytes
    rows: list[Row]
    shape: dict[str, Any] = field(default_factory=dict)
    by_the_book: bool = True
    """Whether it has to be read; else it may be refused by a line."""


PARTS = st.sampled_from(
    (
        *('"', '""', "'", "\\", "\t", "\n", "\r\n", ",", ";", "|", " ", "\x00", "\x0b", "\x85"),
        *("\u2028", "a", "cat", "é", "猫", "😀", "[", "{", "]", "NULL", "5", "http://x.example/1"),
    )
)
CAPTIONS = st.lists(PARTS, max_size=6).map("".join) | st.text(
    st.characters(exclude_categories=["Cs"]), max_size=12
)
TAILS = st.lists(st.sampled_from([",", ";", "?q=", "'", "%22", "é", "a"]), max_size=3).map("".join)


@st.composite
def rows_of_a_list(draw: st.DrawFn) -> list[Row]:
    captions = draw(st.lists(CAPTIONS, min_size=1, max_size=7))
    tails = [draw(TAILS) for _ in captions]
    return [
        (f"http://h.example/{number}{tail}", caption)
        for number, (tail, caption) in enumerate(zip(tails, captions, strict=True))
    ]


def fields_of(rows: list[Row], url_first: bool, more: bool) -> list[list[str]]:
    pairs = [[u, c] if url_first else [c, u] for u, c in rows]
    return [[*pair, str(number)] for number, pair in enumerate(pairs)] if more else pairs


@st.composite
def delimited(draw: st.DrawFn) -> Written:
    rows = draw(rows_of_a_list())
    kind = draw(st.sampled_from(["csv", "tsv"]))
    delimiter = "\t" if kind == "tsv" else draw(st.sampled_from([",", ";", "|"]))
    end = draw(st.sampled_from(["\n", "\r\n"]))
    url_first, more, has_header = draw(st.booleans()), draw(st.booleans()), draw(st.booleans())
    has_header = has_header or delimiter in ";|"
    names = ["url", "caption"] if url_first else ["caption", "url"]
    names += ["n"] if more else []
    raw = draw(st.booleans())
    by_the_book = True
    if raw:  # without any quoting, as Conceptual Captions are
        odd = re.compile(f"[\n\r{re.escape(delimiter)}]")
        rows = [(odd.sub("", u), odd.sub("", c)) for u, c in rows]
        rows = [(u, c.strip('"') if re.fullmatch('".*"', c, re.S) else c) for u, c in rows]
        by_the_book = kind == "tsv"
        lines = [delimiter.join(fields) for fields in fields_of(rows, url_first, more)]
        header = [delimiter.join(names)] if has_header else []
        text = end.join([*header, *lines]) + end
    else:
        out = io.StringIO()
        quoting = draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
        writer = csv.writer(out, delimiter=delimiter, lineterminator=end, quoting=quoting)
        writer.writerows([names] if has_header else [])
        writer.writerows(fields_of(rows, url_first, more))
        text = out.getvalue()
        by_the_book = not any("\n" in c or "\r" in c for _, c in rows)
        # A quoted caption of a tsv may hold what is a row of its own: nobody can tell.
        assume(kind == "csv" or not any("\n" in c and "\t" in c for _, c in rows))
    text = draw(st.sampled_from(["", "\n", end])) + text
    shape = {} if has_header else {"columns": tuple(names)}
    return Written(f"list.{kind}", text.encode("utf-8"), rows, shape, by_the_book)


@st.composite
def json_list(draw: st.DrawFn) -> Written:
    rows = draw(rows_of_a_list())
    if draw(st.booleans()):
        halves = st.sampled_from(["", "\ud83d", "\udc00 x", "\ud83d\ude00"])
        rows = [(u, c + draw(halves)) for u, c in rows]
    form = draw(st.sampled_from(["lines", "array", "pretty", "columns", "numbered", "values"]))
    ascii_ = draw(st.booleans()) or any(re.search("[\ud800-\udfff]", c) for _, c in rows)
    objects = [{"caption": c, "url": u, "n": n} for n, (u, c) in enumerate(rows)]

    def dump(value: Any, **how: Any) -> str:
        return json.dumps(value, ensure_ascii=ascii_, **how)

    columns: dict[str, list[Any]] = {name: [o[name] for o in objects] for name in objects[0]}
    numbered = {name: {str(i): v for i, v in enumerate(c)} for name, c in columns.items()}
    text = {
        "lines": "".join(dump(one) + "\n" for one in objects),
        "values": " ".join(dump(one, indent=1) for one in objects),
        "array": dump(objects),
        "pretty": dump(objects, indent=2),
        "columns": dump(columns),
        "numbered": dump(numbered),
    }[form]
    kind = draw(st.sampled_from(["json", "jsonl"])) if form in ("lines", "array") else "json"
    mended = [(u, c.encode("utf-16", "surrogatepass").decode("utf-16", "replace")) for u, c in rows]
    return Written(f"list.{kind}", text.encode("utf-8"), mended)


@st.composite
def text_list(draw: st.DrawFn) -> Written:
    rows = [(u, "") for u, _ in draw(rows_of_a_list())]
    end = draw(st.sampled_from(["\n", "\r\n", "\n\n"]))
    return Written("list.txt", (end.join(u for u, _ in rows) + end).encode(), rows)


@st.composite
def encoded(draw: st.DrawFn) -> Written:
    """A text list in some encoding, perhaps compressed."""
    made = draw(delimited() | json_list() | text_list())
    text = made.data.decode("utf-8")
    encoding = draw(st.sampled_from(ENCODINGS))
    if encoding == "cp1252" and not re.fullmatch("[\\x00-\\x7fé]*", text):
        encoding = "utf-8"
    if text.startswith("\ufeff"):
        encoding = "utf-8-sig"
    made.data = text.encode(encoding)
    ending = draw(st.sampled_from(list(COMPRESS)))
    made.data = COMPRESS[ending](made.data)
    made.name += ending
    return made


@st.composite
def parquet(draw: st.DrawFn) -> Written:
    rows = draw(rows_of_a_list())
    rule = draw(st.sampled_from(["first", "longest", "all"]))
    form = draw(st.sampled_from(["text", "large", "bytes", "list", "list of bytes", "dictionary"]))
    urls: Any = [u for u, _ in rows]
    captions: Any = [c or None for _, c in rows]
    if form == "bytes":
        urls, captions = [u.encode() for u in urls], [c and c.encode() for c in captions]
    elif form == "large":
        captions = pa.array(captions, pa.large_string())
    elif form == "dictionary":
        captions = pa.array(captions, pa.string()).dictionary_encode()
    elif form.startswith("list"):
        several = [[c for c in (a, " ", None, draw(CAPTIONS)) if c != ""] for a in captions]
        kind = pa.list_(pa.binary() if form == "list of bytes" else pa.string())
        encode = (lambda t: t and t.encode()) if form == "list of bytes" else (lambda t: t)
        captions = pa.array([[encode(t) for t in some] for some in several], kind)
        rows = [row for u, some in zip(urls, several, strict=True) for row in chosen(u, some, rule)]
    out = io.BytesIO()
    size = draw(st.integers(1, 5))
    codec = draw(st.sampled_from(["snappy", "zstd", "gzip", "none"]))
    table = pa.table({"caption": captions, "url": urls, "n": range(len(urls))})
    pq.write_table(table, out, compression=codec, row_group_size=size)
    return Written("list.parquet", out.getvalue(), rows, {"captions": rule})


def chosen(url: str, captions: list[str | None], rule: str) -> list[Row]:
    """The rows of one with several captions, by the rule."""
    filled = [c for c in captions if c is not None and c.strip(" ")] or [""]
    if rule == "first":
        return [(url, filled[0])]
    if rule == "longest":
        return [(url, max(filled, key=len))]
    return [(url, caption) for caption in filled]


def freeze_it(made: Written) -> list[Row] | UserError:
    """URL and caption of every row, or why the list is refused."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / made.name
        path.write_bytes(made.data)
        dataset = Dataset.create(Path(folder) / "dataset", "fuzz")
        try:
            with dataset.lock():
                shards = freeze(dataset, path, Shape(samples_per_shard=3, **made.shape))
        except UserError as error:
            return error
        tables = [pq.read_table(dataset.path(relative(shard))) for shard in shards]
        rows = [row for table in tables for row in table.to_pylist()]
        assert all(row["source_row"] >= 1 for row in rows)
        return [(row["url"], row["caption"] or "") for row in rows]


def check(made: Written) -> None:
    found = freeze_it(made)
    if isinstance(found, UserError):
        assert not made.by_the_book, found
        assert BY_LINE.search(str(found)), found
        assert "\n" not in str(found)
    else:
        assert found == made.rows


def check_damaged(made: Written, place: float, damage: bytes) -> None:
    """A list with some bytes replaced is read or refused in one line."""
    at = int(place * len(made.data))
    made.data = made.data[:at] + damage + made.data[at + len(damage) :]
    found = freeze_it(made)
    assert not isinstance(found, UserError) or "\n" not in str(found)


LISTS = encoded() | parquet()
DAMAGE = st.binary(min_size=1, max_size=3)
HOW = {"deadline": None, "suppress_health_check": list(HealthCheck)}


@settings(max_examples=50, **HOW)
@given(LISTS)
def test_every_row_is_frozen_once_with_its_caption_or_the_list_is_refused_by_line(
    made: Written,
) -> None:
    check(made)


@settings(max_examples=25, **HOW)
@given(LISTS, st.floats(0, 1), DAMAGE)
def test_a_damaged_list_is_read_or_refused_in_one_line(
    made: Written, place: float, damage: bytes
) -> None:
    check_damaged(made, place, damage)


@pytest.mark.slow
@settings(max_examples=2_000, **HOW)
@given(LISTS)
def test_every_row_of_many_lists(made: Written) -> None:
    check(made)


@pytest.mark.slow
@settings(max_examples=2_000, **HOW)
@given(LISTS, st.floats(0, 1), DAMAGE)
def test_many_damaged_lists(made: Written, place: float, damage: bytes) -> None:
    check_damaged(made, place, damage)
