"""The text of lists: encodings, byte order marks, compression."""

import bz2
import gzip
import lzma
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from frenchcat.curate.errors import UserError
from tests.curate.download.listed import pairs_of

PAIRS = [("http://a.example/1.jpg", "café"), ("http://a.example/2.jpg", "naïve")]
TEXTS = {
    "csv": "url,caption\n" + "".join(f"{u},{c}\n" for u, c in PAIRS),
    "tsv": "url\tcaption\n" + "".join(f"{u}\t{c}\n" for u, c in PAIRS),
    "jsonl": "".join(f'{{"url": "{u}", "caption": "{c}"}}\n' for u, c in PAIRS),
    "json": "[" + ",\n".join(f'{{"url": "{u}", "caption": "{c}"}}' for u, c in PAIRS) + "]",
}


@pytest.mark.parametrize("kind", TEXTS)
@pytest.mark.parametrize(
    "encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1"]
)
def test_every_kind_is_read_in_every_encoding(tmp_path: Path, kind: str, encoding: str) -> None:
    assert pairs_of(tmp_path, f"list.{kind}", TEXTS[kind].encode(encoding)) == PAIRS


def test_a_wrong_byte_costs_its_own_row_a_character_and_is_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [b"url,caption", b"http://a/1,\xe7\x8c\xab", b"http://a/2,caf\xe9", b"http://a/3,\xff"]
    lines += [b"http://a/4,\xed\xa0\xbd", b"http://a/5,\x81"]
    found = pairs_of(tmp_path, "list.csv", b"\n".join(lines))
    assert [caption for _, caption in found] == ["猫", "café", "ÿ", "\ufffd", "\x81"]
    said = capsys.readouterr().err
    assert "list.csv: not UTF-8, other bytes read as Windows-1252" in said
    assert "4 rows, the first is 3" in said


@pytest.mark.parametrize("kind", TEXTS)
def test_an_odd_row_is_counted_once(
    tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs_of(tmp_path, f"list.{kind}", TEXTS[kind].encode("latin-1"))
    assert ": 2 rows, the first is " in capsys.readouterr().err
    pairs_of(tmp_path / "wide", f"list.{kind}", TEXTS[kind].encode("utf-16-be"))
    assert "not UTF-8: read as UTF-16-BE, by its first bytes" in capsys.readouterr().err


def test_an_encoding_can_be_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = "url,caption\nhttp://a/1,猫です\n".encode("cp932")
    assert pairs_of(tmp_path, "list.csv", data, encoding="cp932") == [("http://a/1", "猫です")]
    assert capsys.readouterr().err == ""
    with pytest.raises(UserError, match=r"download.encoding = 'klingon': there is no such"):
        pairs_of(tmp_path, "list.csv", data, encoding="klingon")


def zstd(data: bytes) -> bytes:
    return bytes(pa.compress(data, codec="zstd", asbytes=True))


PACKED: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": zstd,
}


@pytest.mark.parametrize("ending", PACKED)
def test_every_kind_may_be_compressed_and_in_parts(tmp_path: Path, ending: str) -> None:
    pack = PACKED[ending]
    for kind, text in TEXTS.items():
        data = text.encode()
        packed = pack(data[:40]) + pack(data[40:])
        assert pairs_of(tmp_path / kind, f"list.{kind}.{ending}", packed) == PAIRS
    assert pairs_of(tmp_path / "unsaid", "list.csv", pack(TEXTS["csv"].encode())) == PAIRS


@pytest.mark.parametrize("ending", PACKED)
def test_a_compressed_list_that_is_cut_or_none_is_refused_in_one_line(
    tmp_path: Path, ending: str
) -> None:
    packed = PACKED[ending](TEXTS["csv"].encode())
    with pytest.raises(UserError, match="broken") as caught:
        pairs_of(tmp_path, f"cut.csv.{ending}", packed[:-5])
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match=r"if it is text, rename it to no\.csv\)"):
        pairs_of(tmp_path, f"no.csv.{ending}", TEXTS["csv"])
