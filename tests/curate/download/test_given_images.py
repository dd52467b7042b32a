"""A list that brings its images: shards without a fetch, by the same steps as fetched ones."""

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from frenchcat.curate.dataset import Dataset
from frenchcat.curate.download import DownloadSettings, download
from frenchcat.curate.download.pictures import ImageProcessor, ResizeSettings
from frenchcat.curate.remove import RemovalQuery, compact, matches, remove
from tests.curate.download.listed import put


def made(tmp_path: Path, images: list[bytes | None], settings: DownloadSettings) -> Dataset:
    column = [{"bytes": data, "path": f"cats/{n}.png"} for n, data in enumerate(images)]
    captions = [f"cat {n}" for n in range(len(images))]
    table = pa.table({"image": column, "caption": captions, "label": range(len(images))})
    dataset = Dataset.create(tmp_path / "d", "test")
    with dataset.lock():
        download(dataset, put(tmp_path / "list.parquet", table), settings)
    return dataset


def sidecar(dataset: Dataset) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(dataset.path("shards/00000.parquet")).to_pylist()
    return rows


def photo(width: int, colour: str = "red", kind: str = "PNG") -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (width, 50), colour).save(out, kind)
    return out.getvalue()


def test_images_of_a_list_become_shards_and_every_other_row_has_its_reason(tmp_path: Path) -> None:
    images = [photo(80), photo(900, kind="JPEG"), b"<html>", b"", None, photo(80)[:20]]
    settings = DownloadSettings(resize=ResizeSettings(image_size=64))
    dataset = made(tmp_path, images, settings)
    rows = sidecar(dataset)
    reasons = [row["failure_reason"] for row in rows]
    assert reasons == [None, None, "not_an_image", "empty_body", "no_url", "bad_image"]
    assert [row["source_path"] for row in rows] == [f"cats/{n}.png" for n in range(6)]
    assert [row["source_row"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert {row["source_file"] for row in rows} == {None}
    assert [row["label"] for row in rows] == list(range(6))
    assert "source_bytes" not in rows[0]
    processor = ImageProcessor(settings.resize)
    with tarfile.open(dataset.path("shards/00000.tar")) as tar:
        for number, kind in enumerate(["png", "jpeg"]):
            stored = tar.extractfile(f"00000000{number}.jpg")
            assert stored is not None
            wanted = processor(images[number] or b"", kind)
            assert stored.read() == wanted.data
            assert rows[number]["sha256"] == wanted.sha256
        said = tar.extractfile("000000000.json")
        assert said is not None
        about = json.load(said)
    assert about["source_path"] == "cats/0.png"
    assert about["caption"] == "cat 0"


def test_a_removed_row_is_not_stored_again_and_compaction_takes_its_bytes(tmp_path: Path) -> None:
    settings = DownloadSettings()
    dataset = made(tmp_path, [photo(80), photo(90)], settings)
    uid = sidecar(dataset)[0]["uid"]
    with dataset.lock():
        asked_for = RemovalQuery("uid", uid)
        remove(dataset, asked_for, matches(dataset, asked_for))
    Path(dataset.path("shards/00000.tar")).unlink()
    with dataset.lock():
        download(dataset, tmp_path / "list.parquet", settings)
    assert [row["status"] for row in sidecar(dataset)] == ["failed_to_download", "success"]
    with dataset.lock():
        compact(dataset)
    listed = pq.read_table(dataset.path("lists/00000.parquet")).to_pylist()
    assert [row["source_bytes"] for row in listed] == [None, photo(90)]
