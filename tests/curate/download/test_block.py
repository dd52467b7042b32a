"""Hash lists at download: what they name is not stored, and is counted by its name."""

import hashlib
import io
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from PIL import Image

from frenchcat.curate.config import changed
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.download import download, retry_failed
from frenchcat.curate.errors import UserError
from frenchcat.curate.hashes import pdq
from frenchcat.curate.removals import Request, log
from frenchcat.curate.stage import Engine
from tests.curate.download.loopback import Site, healthy, jpeg, serve
from tests.trees import tree_digest

ONE = Engine(workers=1)


def crawl(site: Site, root: Path, block: tuple[str, ...] = (), rows: int = 6) -> Dataset:
    dataset = Dataset.create(root, "test")
    urls = site.write_list(root.parent / f"{root.name}.parquet", range(rows))
    with dataset.lock():
        download(dataset, str(urls), changed(site.settings(), block=block), ONE)
    return dataset


def outcomes(dataset: Dataset) -> list[str | None]:
    rows: list[dict[str, Any]] = pq.read_table(dataset.path("shards/00000.parquet")).to_pylist()
    return [row["error_message"] for row in rows]


@pytest.fixture
def lists(tmp_path: Path) -> tuple[str, ...]:
    """Row 1 by its md5, 2 by its SHA-256, 3 by the PDQ hash of a smaller copy."""
    near = Image.open(io.BytesIO(jpeg(3))).resize((80, 52), Image.Resampling.BICUBIC)
    one = (
        f"# synthetic\n{hashlib.md5(jpeg(1)).hexdigest()}\n{hashlib.sha256(jpeg(2)).hexdigest()}\n"
    )
    (tmp_path / "known.txt").write_text(one)
    (tmp_path / "near.pdq").write_text(pdq(near).hex() + "\n")
    return str(tmp_path / "known.txt"), str(tmp_path / "near.pdq")


def test_listed_pictures_are_not_stored_and_each_says_why(
    tmp_path: Path, lists: tuple[str, ...]
) -> None:
    with serve(healthy) as site:
        dataset = crawl(site, tmp_path / "d", lists)
        blocked = ["blocked_md5", "blocked_sha256", "blocked_pdq"]
        assert outcomes(dataset) == [None, *blocked, None, None]
        counts = dataset.manifest().entry("download").counts
        assert counts["failed.blocked_pdq"] == 1
        asked = site.asked.total()
        with dataset.lock():
            retry_failed(dataset, changed(site.settings(), block=lists), ONE)
        assert site.asked.total() == asked  # asking again brings the same
        with pytest.raises(UserError, match=r"other hash lists.*download\.block"), dataset.lock():
            retry_failed(dataset, site.settings(), ONE)


def test_no_path_and_no_hash_gets_into_the_dataset(tmp_path: Path, lists: tuple[str, ...]) -> None:
    with serve(healthy) as site:
        one = crawl(site, tmp_path / "one", lists)
        moved = tmp_path / "elsewhere.pdq"
        moved.write_bytes(Path(lists[1]).read_bytes())
        two = crawl(site, tmp_path / "two", (str(moved), lists[0]))
    assert "known.txt" not in one.read_json("dataset.json").__repr__()
    digests = [tree_digest(Path(dataset.root)) for dataset in (one, two)]
    names = [name for name in digests[0] if name.startswith(("shards/", "lists/"))]
    assert [digests[0][name] for name in names] == [digests[1][name] for name in names]
    settings = [d.manifest().entry("download").settings for d in (one, two)]
    assert settings[0] == settings[1]


def test_a_changed_list_is_applied_to_what_is_stored(
    tmp_path: Path, lists: tuple[str, ...]
) -> None:
    with serve(healthy) as site:
        assert outcomes(crawl(site, tmp_path / "d")) == [None] * 6
        assert outcomes(crawl(site, tmp_path / "d", lists[1:]))[3] == "blocked_pdq"


def test_what_was_removed_does_not_come_back_from_another_url(tmp_path: Path) -> None:
    with serve(healthy) as site:
        dataset = Dataset.create(tmp_path / "d", "test")
        gone = Request(1, "sha256", "2026-01-01T00:00:00Z", sha256=(_sha256(jpeg(4)),))
        with dataset.lock():
            log(dataset, gone)
        assert outcomes(crawl(site, tmp_path / "d"))[4] == "blocked_sha256"


def test_a_missing_list_is_told_before_anything_is_asked_for(tmp_path: Path) -> None:
    with serve(healthy) as site:
        with pytest.raises(UserError, match=r"hash list nowhere\.txt: no such file"):
            crawl(site, tmp_path / "d", ("nowhere.txt",))
        assert not site.asked


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
