"""The stage `download` over a real server: every row comes out, resume, growth, retries."""

import tarfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import webdataset

from frenchcat.curate.dataset import Dataset
from frenchcat.curate.download import download, retry_failed
from frenchcat.curate.errors import UserError
from frenchcat.curate.stage import Engine
from tests.curate.download.loopback import Site, healthy, jpeg, serve
from tests.trees import tree_digest

ROWS = range(40)
ONE = Engine(workers=1)  # others load libraries for seconds


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with serve() as running:
        yield running


def run(site: Site, root: Path, numbers: Any = ROWS, workers: int = 1) -> Dataset:
    dataset = Dataset.create(root, "test")
    urls = site.write_list(root.parent / f"{root.name}.parquet", numbers)
    with dataset.lock():
        download(dataset, str(urls), site.settings(), Engine(workers=workers))
    return dataset


def sidecar(dataset: Dataset) -> list[dict[str, Any]]:
    return [
        row
        for shard in dataset.shards("download")
        for row in pq.read_table(dataset.path(f"shards/{shard}.parquet")).to_pylist()
    ]


def test_every_row_comes_out_stored_or_with_its_reason(site: Site, tmp_path: Path) -> None:
    rows = sidecar(run(site, tmp_path / "d"))
    assert [row["number"] for row in rows] == list(ROWS)
    found = Counter((row["error_message"] or row["status"]).split(":")[0] for row in rows)
    assert found.pop("http_404") == 4
    assert found.pop("http_423") == 4
    assert found.pop("not_an_image") == 2
    assert found.pop("success") == 28
    assert sum(found.values()) == 2, found  # cut pictures, by whichever check met them first
    assert set(found) <= {"cut_short", "undecodable", "truncated"}
    assert [row["key"] for row in rows[:2]] == ["000000000", "000000001"]


# webdataset leaves its tar to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_tar_is_webdatasets_in_key_order_without_times(site: Site, tmp_path: Path) -> None:
    dataset = run(site, tmp_path / "d")
    path = dataset.path("shards/00000.tar")
    with tarfile.open(path) as tar:
        infos = tar.getmembers()
    assert [info.name for info in infos] == sorted(info.name for info in infos)
    assert {(info.mtime, info.uid, info.uname) for info in infos} == {(0, 0, infos[0].uname)}
    samples = list(webdataset.WebDataset([path], shardshuffle=False, empty_check=False))
    stored = [row for row in sidecar(dataset)[:10] if row["status"] == "success"]
    assert [sample["__key__"] for sample in samples] == [row["key"] for row in stored]
    assert [sample["txt"].decode() for sample in samples] == [row["caption"] for row in stored]


def test_the_same_bytes_whatever_the_workers(site: Site, tmp_path: Path) -> None:
    one = run(site, tmp_path / "one", workers=1)
    two = run(site, tmp_path / "two", workers=2)
    ours = {name: d for name, d in tree_digest(Path(one.root)).items() if _same(name)}
    assert ours == {name: d for name, d in tree_digest(Path(two.root)).items() if _same(name)}
    assert "shards/00003.tar" in ours


def _same(name: str) -> bool:
    # The name of the list's file is in dataset.json; rights hold the server's dates.
    return name.startswith(("shards/", "lists/"))


def test_again_asks_for_nothing(site: Site, tmp_path: Path) -> None:
    dataset = run(site, tmp_path / "d")
    before, asked = tree_digest(Path(dataset.root)), site.asked.total()
    run(site, tmp_path / "d")
    assert site.asked.total() == asked
    assert tree_digest(Path(dataset.root)) == before


def test_a_lost_shard_is_fetched_again_alone(site: Site, tmp_path: Path) -> None:
    dataset = run(site, tmp_path / "d")
    path = Path(dataset.path("shards/00002.tar"))
    data, asked = path.read_bytes(), Counter(site.asked)
    path.unlink()
    run(site, tmp_path / "d")
    assert path.read_bytes() == data
    assert set(site.asked - asked) == set(range(20, 30))


def test_a_grown_list_becomes_new_shards(site: Site, tmp_path: Path) -> None:
    dataset = run(site, tmp_path / "d", range(25))
    before, asked = tree_digest(Path(dataset.root)), Counter(site.asked)
    run(site, tmp_path / "d", range(31))
    after = tree_digest(Path(dataset.root))
    shards = [name for name in before if name.startswith(("shards/", "lists/", "stages/"))]
    assert {name: after[name] for name in shards} == {name: before[name] for name in shards}
    assert set(site.asked - asked) == set(range(25, 31))
    assert [row["number"] for row in sidecar(dataset)] == list(range(31))


def test_failed_rows_alone_are_asked_again_and_take_their_places(tmp_path: Path) -> None:
    with serve() as site:
        dataset = run(site, tmp_path / "d")
        failed = {row["number"] for row in sidecar(dataset) if row["status"] != "success"}
        lasting = {n for n in failed if n % 10 == 3 or n % 20 == 8}
        site.answer, asked = healthy, Counter(site.asked)
        with dataset.lock():
            retry_failed(dataset, site.settings(), ONE)
        again = set(site.asked - asked)
        assert again <= failed - lasting
        assert {n for n in failed if n % 10 == 7} <= again
        with dataset.lock():
            retry_failed(dataset, site.settings(), ONE, permanent=True)
        whole = run(site, tmp_path / "whole")
    healed, fresh = tree_digest(Path(dataset.root)), tree_digest(Path(whole.root))
    for shard in ("00000", "00003"):
        for ending in (".tar", ".parquet", "_stats.json"):
            assert healed[f"shards/{shard}{ending}"] == fresh[f"shards/{shard}{ending}"]


def test_a_slow_host_does_not_hold_the_others(tmp_path: Path) -> None:
    def slow(number: int) -> tuple[int, bytes]:
        time.sleep(0.4)
        return 200, jpeg(number)

    with serve(slow) as sluggish, serve(healthy) as quick:
        path = tmp_path / "urls.csv"
        lines = [f"{sluggish.url(n)},slow" for n in range(20)]
        lines += [f"{quick.url(n)},quick" for n in range(100)]
        path.write_text("url,caption\n" + "\n".join(lines) + "\n")
        settings = sluggish.settings(per_shard=120)
        hosts = (f"127.0.0.1:{sluggish.port}", f"127.0.0.1:{quick.port}")
        from frenchcat.curate.config import changed

        settings = changed(settings, fetch=changed(settings.fetch, allow_hosts=hosts))
        dataset = Dataset.create(tmp_path / "d", "d")
        began = time.monotonic()
        with dataset.lock():
            download(dataset, str(path), settings, Engine(workers=1))
        spent = time.monotonic() - began
    assert all(row["status"] == "success" for row in sidecar(dataset))
    # Hosts are names without ports, so both share 8 connections: 20 x .4 s / 8 and some.
    assert spent < 8, spent


def test_a_broken_tar_is_named_when_failed_rows_are_asked_again(site: Site, tmp_path: Path) -> None:
    dataset = run(site, tmp_path / "d")
    path = Path(dataset.path("shards/00001.tar"))
    data = path.read_bytes()
    path.write_bytes(bytes(1000) + data[1000:])
    with pytest.raises(UserError, match=r"broken tar: .*00001\.tar"), dataset.lock():
        retry_failed(dataset, site.settings(), ONE)


def test_retry_without_a_download_says_what_to_run(site: Site, tmp_path: Path) -> None:
    dataset = Dataset.create(tmp_path / "d", "d")
    with pytest.raises(UserError, match="first: frenchcat download URLS"), dataset.lock():
        retry_failed(dataset, site.settings())
