"""The bundled sample: what is in the list and in the tar, without a server."""

import io
import re
import tarfile
from collections import Counter
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from PIL import Image

from frenchcat import sample_data
from tools.openclipart import reserved
from tools.sample.plant import HOUSECATS

COLUMNS = ["url", "caption", "title", "creator", "license", "source", "planted"]
# Kinds whose answers are made while they are sent, or never come.
NO_BODY = {"dead_link", "gone", "server_error", "dead_host", "oversize", "drip"}
NO_PICTURE = {"html_as_jpg", "not_image", "svg", "bomb", "truncated"}

Row = dict[str, Any]


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    listed: list[Row] = sample_data.read_list().to_pylist()
    return listed


@pytest.fixture(scope="module")
def bodies() -> dict[str, bytes]:
    found = {}
    with tarfile.open(sample_data.PICTURES) as tar:
        for member in tar:
            file = tar.extractfile(member)
            assert file is not None
            found[member.name] = file.read()
    return found


def path_of(row: Row) -> str:
    return str(row["url"]).split("/", 3)[3]


def body_of(row: Row, bodies: dict[str, bytes]) -> bytes:
    path = path_of(row)
    return bodies[path.replace("redirect_ok/", "moved/", 1)]


def test_list_has_the_promised_columns_and_size(rows: list[Row]) -> None:
    table = pq.read_table(sample_data.URLS)
    assert table.column_names == COLUMNS
    assert {str(kind) for kind in table.schema.types} == {"string"}
    assert all(value is not None for row in rows for value in row.values())
    assert 600 <= len(rows) <= 800
    assert len({row["url"] for row in rows}) == len(rows)


def test_sample_is_small() -> None:
    assert sample_data.URLS.stat().st_size + sample_data.PICTURES.stat().st_size <= 10_000_000


def test_every_row_names_creator_and_licence(rows: list[Row]) -> None:
    assert all(row["title"] and row["creator"] for row in rows)
    assert {row["license"] for row in rows} == {"http://web.resource.org/cc/PublicDomain"}


def test_only_reserved_pictures(rows: list[Row]) -> None:
    sources = {row["source"] for row in rows} - {""}
    assert len(sources) >= 500
    assert [source for source in sources if not reserved(source)] == []
    made_up = {row["planted"] for row in rows if not row["source"]}
    assert made_up == {"bomb", "oversize", "drip", "redirect_private", "redirect_loop"}


def test_housecats_and_what_is_nearly_one_and_what_is_french(rows: list[Row]) -> None:
    ordinary = {row["source"] for row in rows if not row["planted"]}

    def found(*patterns: str) -> int:
        return sum(any(fnmatch(source, p) for p in patterns) for source in ordinary)

    assert found(*HOUSECATS) >= 5  # all that the reserved quarter holds
    assert found("*/big_cats/*") >= 3
    assert found("*dog*", "*black_lab*", "*puppy*") >= 4
    assert found("animals/birds/*") >= 8
    assert found("*/horses/*") >= 1
    assert found("*/france.png") == 1
    assert found("*croissant*", "*carte_de_france*", "*french_horn*") >= 2


def test_varied(rows: list[Row]) -> None:
    folders = Counter(row["source"].split("/")[0] for row in rows if not row["planted"])
    for folder in ("animals", "food", "transportation", "people", "tools", "plants", "recreation"):
        assert folders[folder] >= 20, folder
    assert folders["buildings"] >= 10
    assert max(folders.values()) < 0.25 * folders.total()


def test_captions_read_like_alt_text(rows: list[Row]) -> None:
    bad = re.compile(r"HASH|&\w+;|Ã|\s\s|_|@|https?:|architetto", re.IGNORECASE)
    for row in rows:
        if row["planted"] not in ("empty_caption", "short_caption"):
            assert 2 <= len(row["caption"]) <= 160, row
            assert not bad.search(row["caption"]), row["caption"]


def test_planted_kinds_are_described_and_counted_in_the_readme(rows: list[Row]) -> None:
    counts = Counter(row["planted"] for row in rows if row["planted"])
    assert counts.keys() == sample_data.PLANTED.keys()
    for kind in ("watermark", "exact_duplicate", "reencoded_duplicate"):
        assert counts[kind] == 15
    readme = (sample_data.HERE / "README.md").read_text()
    told = {kind: int(n) for kind, n in re.findall(r"^\| `(\w+)` \| (\d+) \|", readme, re.M)}
    assert told == counts


def test_every_body_has_a_row_and_every_row_a_body(
    rows: list[Row], bodies: dict[str, bytes]
) -> None:
    served = {path_of(row) for row in rows if row["planted"] not in NO_BODY}
    served = {path for path in served if not path.startswith(("redirect_private", "redirect_loop"))}
    assert {path.replace("redirect_ok/", "moved/", 1) for path in served} == bodies.keys()


def test_pictures_decode_and_are_at_most_256_px(rows: list[Row], bodies: dict[str, bytes]) -> None:
    unmade = NO_BODY | NO_PICTURE | {"redirect_private", "redirect_loop"}
    for row in rows:
        if row["planted"] in unmade and not path_of(row).startswith("cut_off/"):
            continue
        with Image.open(io.BytesIO(body_of(row, bodies))) as image:
            image.load()
            assert max(image.size) <= 256, row["url"]
            suffix = {"JPEG": ".jpg", "PNG": ".png"}[image.format or ""]
            assert row["url"].endswith(suffix)
            if row["planted"] == "tiny":
                assert image.size == (16, 16)


def test_bodies_that_are_no_pictures(rows: list[Row], bodies: dict[str, bytes]) -> None:
    starts = {"html_as_jpg": b"<!doctype html", "not_image": b"The picture", "bomb": b"\x89PNG"}
    for row in rows:
        if row["planted"] in starts:
            assert body_of(row, bodies).startswith(starts[row["planted"]])
        if row["planted"] == "svg":
            assert b"<svg" in body_of(row, bodies)
        if row["planted"] == "truncated" and path_of(row).startswith("truncated/"):
            with pytest.raises(OSError, match=r"truncated|broken"):
                Image.open(io.BytesIO(body_of(row, bodies))).load()


def test_bomb_is_small_and_says_what_it_unpacks_to(bodies: dict[str, bytes]) -> None:
    body = bodies["bomb/large.png"]
    assert len(body) < 200_000
    width, height = (int.from_bytes(body[at : at + 4]) for at in (16, 20))
    assert width * height == 900_000_000
    with pytest.raises(Image.DecompressionBombError):
        Image.open(io.BytesIO(body))


def test_duplicates_lead_back_to_their_originals(rows: list[Row], bodies: dict[str, bytes]) -> None:
    originals = {row["source"]: body_of(row, bodies) for row in rows if not row["planted"]}
    for row in rows:
        if row["planted"] == "exact_duplicate":
            assert body_of(row, bodies) == originals[row["source"]]
        if row["planted"] == "reencoded_duplicate":
            assert body_of(row, bodies) != originals[row["source"]]


def test_ordinary_pictures_are_all_different(rows: list[Row], bodies: dict[str, bytes]) -> None:
    ordinary = [body_of(row, bodies) for row in rows if not row["planted"]]
    assert len(set(ordinary)) == len(ordinary)


def test_reservation_in_the_files_own_metadata(rows: list[Row], bodies: dict[str, bytes]) -> None:
    carrying = {path for path, body in bodies.items() if b"DMI-PROHIBITED" in body}
    assert carrying == {path_of(row) for row in rows if row["planted"] == "xmp_noai"}
    assert {Path(path).suffix for path in carrying} == {".jpg", ".png"}


def test_captions_planted_wrong(rows: list[Row]) -> None:
    kinds = {kind: [r for r in rows if r["planted"] == kind] for kind in sample_data.PLANTED}
    assert all(row["caption"] == "" for row in kinds["empty_caption"])
    assert all(len(row["caption"].split()) == 1 for row in kinds["short_caption"])
    assert "IMG_0042.jpg" in {row["caption"] for row in kinds["short_caption"]}
    swapped = kinds["wrong_caption"]
    assert all(row["title"].split()[0] not in row["caption"] for row in swapped)


def test_written_list_points_at_the_site(tmp_path: Path, rows: list[Row]) -> None:
    out = tmp_path / "urls.parquet"
    assert sample_data.write_urls(out, "http://127.0.0.1:9000") == len(rows)
    written = pq.read_table(out).to_pylist()
    for row, bundled in zip(written, rows, strict=True):
        port = 9001 if row["planted"] == "dead_host" else 9000
        assert row["url"].startswith(f"http://127.0.0.1:{port}/")
        assert path_of(row) == path_of(bundled)
    assert [file.name for file in tmp_path.iterdir()] == ["urls.parquet"]


def test_same_address_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        sample_data.write_urls(tmp_path / name, sample_data.BUNDLED_BASE_URL)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
