"""A list's own hashes: other bytes are not stored, unless the image is the same."""

import hashlib
import io
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageOps

from frenchcat.curate.config import changed
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.download import DownloadSettings, download, retry_failed
from frenchcat.curate.download.expected import HASH_MISMATCH, Expected
from frenchcat.curate.hashes import pdq
from frenchcat.curate.stage import Engine
from tests.curate.download.loopback import Site, healthy, jpeg, serve
from tests.sample.pictures import photographs

ONE = Engine(workers=1)


def sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def md5(body: bytes) -> str:
    return hashlib.md5(body).hexdigest()


def crawl(
    site: Site, root: Path, columns: dict[str, list[Any]], **given: Any
) -> list[dict[str, Any]]:
    """The sidecar's rows of a list with these columns."""
    rows = len(next(iter(columns.values())))
    path = root.parent / f"{root.name}.parquet"
    table = pq.read_table(site.write_list(path, range(rows)))
    for name, values in columns.items():
        table = table.append_column(name, pa.array(values))
    pq.write_table(table, path)
    dataset = Dataset.create(root, "test")
    with dataset.lock():
        download(dataset, str(path), changed(site.settings(), **given), ONE)
    found: list[dict[str, Any]] = pq.read_table(dataset.path("shards/00000.parquet")).to_pylist()
    return found


@pytest.mark.parametrize(("name", "hashed"), [("sha256", sha256), ("SHA256", sha256), ("md5", md5)])
def test_other_bytes_than_the_list_names_are_refused(
    tmp_path: Path, name: str, hashed: Any
) -> None:
    listed = [hashed(jpeg(0)), hashed(jpeg(9)), hashed(jpeg(2)).upper(), None, "unknown", "ab" * 7]
    with serve(healthy) as site:
        rows = crawl(site, tmp_path / "d", {name: listed})
        again = crawl(site, tmp_path / "off", {name: listed}, verify_hashes=False)
    assert [row["failure_reason"] for row in rows] == [None, HASH_MISMATCH, *[None] * 4]
    assert listed[1][:12] in rows[1]["failure_detail"]
    assert rows[1]["status"] == "failed_to_download"
    assert [row["failure_reason"] for row in again] == [None] * 6


def test_a_refused_image_leaves_no_signals_and_is_not_asked_for_again(tmp_path: Path) -> None:
    with serve(healthy) as site:
        crawl(
            site,
            tmp_path / "d",
            {"sha256": [sha256(jpeg(5)), sha256(jpeg(1))], "license": ["a", "b"]},
        )
        dataset, asked = Dataset.open(tmp_path / "d"), site.asked.total()
        with dataset.lock():
            retry_failed(dataset, site.settings(), ONE)
        assert site.asked.total() == asked
    signals = pq.read_table(dataset.path("rights/00000.parquet")).to_pylist()
    assert {row["key"] for row in signals} == {"000000001"}
    assert dataset.manifest().entry("download").counts["failed.hash_mismatch"] == 1


def test_the_same_image_coded_or_sized_anew_is_the_listed_one() -> None:
    image = Image.open(io.BytesIO(photographs(1, seed=3)[0])).convert("RGB")
    bodies = []
    for other in (image, image.resize((200, 150)), ImageOps.mirror(image)):
        out = io.BytesIO()
        other.save(out, "jpeg", quality=70)
        bodies.append(out.getvalue())
    rows = pa.table({"list_sha256": [sha256(b"gone")] * 3, "pdq": [pdq(image).hex()] * 3})
    found = [Expected(rows).judge(row, body) for row, body in enumerate(bodies)]
    assert found[:2] == [None, None]
    assert found[2] is not None
    assert "bits from the list's" in str(found[2].detail)
    assert Expected(rows.select(["list_sha256"])).judge(0, bodies[0]) is not None
    assert Expected(rows.select(["pdq"])).judge(2, bodies[2]) is not None


def test_hashes_are_read_with_their_kind_before_them_and_others_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    body = jpeg(0)
    listed = [
        f"sha256:{sha256(body)}",
        f" SHA256-{sha256(b'x')} ",
        f"md5:{md5(body)}",
        "",
        "q",
        None,
    ]
    found = Expected(pa.table({"list_sha256": listed}))
    judged = [found.judge(row, body) for row in range(len(listed))]
    assert [one is not None for one in judged] == [False, True, False, False, False, False]
    assert found.unread == {"sha256": [f"md5:{md5(body)}", "q"]}
    with serve(healthy) as site:
        crawl(site, tmp_path / "d", {"md5": ["\x1b[31mred", None]})
    said = capsys.readouterr().err
    assert "shard 00000: 1 values of the list's md5 are not MD5 in hex" in said
    assert "\x1b" not in said


def test_an_image_of_one_colour_has_no_hash_to_go_by() -> None:
    out = io.BytesIO()
    Image.new("RGB", (64, 64), "navy").save(out, "png")
    assert Expected(pa.table({"pdq": ["00" * 32]})).judge(0, out.getvalue()) is None


def test_whether_hashes_are_compared_is_part_of_what_a_shard_depends_on() -> None:
    from frenchcat.curate.download.stage import DownloadStage

    signed = [
        DownloadStage(DownloadSettings(verify_hashes=on)).signature.settings for on in (True, False)
    ]
    assert "verify_hashes" not in signed[0]
    assert signed[1]["verify_hashes"] is False
