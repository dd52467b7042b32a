"""The stage `download` over a real server: every row comes out, resume, growth, retries."""

import datetime
import hashlib
import json
import shutil
import tarfile
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import webdataset

from frenchcat.curate.config import changed
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.download import DownloadSettings, FetchSettings, download, retry_failed
from frenchcat.curate.download.rights import RightsSettings
from frenchcat.curate.download.stage import shared
from frenchcat.curate.errors import UserError
from frenchcat.curate.stage import Engine
from tests.curate.download.loopback import Site, healthy, jpeg, serve
from tests.sample.before import as_before
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
        rows = sidecar(dataset)
        failed = {row["number"] for row in rows if row["status"] != "success"}
        lasting = {n for n in failed if n % 10 == 3 or n % 20 == 8}
        reasons = {row["number"]: str(row["error_message"]).split(":")[0] for row in rows}
        passing = {n for n in failed if reasons[n] in ("http_423", "cut_short", "truncated")}
        site.answer, asked = healthy, Counter(site.asked)
        other = site.settings(image_size=24)  # resized as the dataset's others were, all the same
        with dataset.lock():
            retry_failed(dataset, other, ONE)
        again = set(site.asked - asked)
        assert again <= failed - lasting
        assert {n for n in failed if n % 10 == 7} < passing <= again
        with dataset.lock():
            retry_failed(dataset, other, ONE, permanent=True)
        whole = run(site, tmp_path / "whole")
    healed, fresh = tree_digest(Path(dataset.root)), tree_digest(Path(whole.root))
    for shard in ("00000", "00003"):
        for ending in (".tar", ".parquet", "_stats.json"):
            assert healed[f"shards/{shard}{ending}"] == fresh[f"shards/{shard}{ending}"]


def test_failed_rows_of_a_dataset_without_their_columns_are_asked_again(tmp_path: Path) -> None:
    """What is not asked again keeps its sentence, and is told as a new dataset tells it."""
    with serve() as site:
        dataset = run(site, tmp_path / "d")
        new = sidecar(dataset)
        as_before(dataset)
        site.answer, asked = healthy, Counter(site.asked)
        with dataset.lock():
            report = retry_failed(dataset, site.settings(), ONE)
        assert report.done > 0
        again = set(site.asked - asked)
        run(site, tmp_path / "d")
        assert set(site.asked - asked) == again, "the shards that were not touched are up to date"
    rows = sidecar(dataset)
    assert again == {row["number"] for row in new if row["status"] != "success"} - {
        row["number"] for row in rows if row["status"] != "success"
    }
    left = [
        (row, before) for row, before in zip(rows, new, strict=True) if row["status"] != "success"
    ]
    assert left
    for row, before in left:
        assert row == {name: before[name] for name in row}


def test_a_slow_host_does_not_hold_the_others(tmp_path: Path) -> None:
    """It answers when all rows of the other one have been asked for, or after the deadline."""
    left, over = list(range(100)), threading.Event()

    def slow(number: int) -> tuple[int, bytes]:
        over.wait(90)
        return 200, jpeg(number)

    def quick(number: int) -> tuple[int, bytes]:
        left.remove(number)
        if not left:
            over.set()
        return 200, jpeg(number)

    with serve(slow) as sluggish, serve(quick) as other:
        # Hosts are names without ports, so this one has two.
        path = tmp_path / "urls.csv"
        lines = [f"{sluggish.url(n)},slow" for n in range(20)]
        lines += [f"http://localhost:{other.port}/{n}.jpg,quick" for n in range(100)]
        path.write_text("url,caption\n" + "\n".join(lines) + "\n")
        settings = sluggish.settings(per_shard=120)
        hosts = (f"127.0.0.1:{sluggish.port}", f"localhost:{other.port}")
        fetch = changed(settings.fetch, allow_hosts=hosts, deadline_sec=60)
        settings = changed(settings, fetch=fetch)
        dataset = Dataset.create(tmp_path / "d", "d")
        with dataset.lock():
            download(dataset, str(path), settings, Engine(workers=1))
        over.set()
    assert all(row["status"] == "success" for row in sidecar(dataset))


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


def test_what_decides_over_a_stored_picture_makes_shards_anew_and_how_it_is_fetched_does_not(
    tmp_path: Path,
) -> None:
    with serve(healthy) as site:
        settings, urls = site.settings(), str(site.write_list(tmp_path / "list.parquet", range(12)))
        dataset = Dataset.create(tmp_path / "d", "d")

        def asked(settings: DownloadSettings, urls: str = urls) -> int:
            before = site.asked.total()
            with dataset.lock():
                download(dataset, urls, settings, ONE)
            return site.asked.total() - before

        assert asked(settings) == 12
        patient = changed(settings, fetch=changed(settings.fetch, deadline_sec=20, retries=1))
        assert asked(changed(patient, threads=1)) == 0
        smaller = changed(settings, resize=changed(settings.resize, image_size=40))
        assert asked(smaller) == 12
        recorded = changed(smaller, rights=RightsSettings(policy="record"))
        assert asked(recorded) == 12
        # Other rows under the same keys.
        for folder in ("lists", "stages/lists"):
            shutil.rmtree(dataset.path(folder))
        other = str(site.write_list(tmp_path / "other.parquet", range(20, 32)))
        assert asked(recorded, other) == 12
        assert [row["number"] for row in sidecar(dataset)] == list(range(20, 32))


def test_several_processes_share_the_limits_that_a_site_bears() -> None:
    whole = FetchSettings(connections=64, connections_per_host=6, requests_per_sec_per_host=30)
    for sharers in (1, 2, 3, 6, 7, 100):
        part = shared(whole, sharers)
        assert part.connections == max(1, 64 // sharers)
        assert part.connections_per_host == max(1, 6 // sharers)
        assert part.requests_per_sec_per_host == pytest.approx(30 / sharers)
        limits = {"connections": 64, "connections_per_host": 6, "requests_per_sec_per_host": 30}
        assert changed(part, **limits) == whole, "nothing else is shared out"
    assert (
        shared(FetchSettings(requests_per_sec_per_host=None), 4).requests_per_sec_per_host is None
    )


def test_odd_values_of_the_list_come_through_and_a_row_without_a_url_says_so(
    tmp_path: Path,
) -> None:
    with serve(healthy) as site:
        table = pa.table(
            {
                "url": [site.url(0), None, " \t", site.url(3)],
                "caption": ["one\ntwo", "a", "b", None],
                "x": pa.array([float("nan"), 1.0, 2.0, float("inf")]),
                "day": pa.array([datetime.date(2020, 1, 2)] * 4),
                "raw": pa.array([b"\x00\xff"] * 4),
                "tags": pa.array([[{"a": float("nan")}]] * 4),
            }
        )
        pq.write_table(table, tmp_path / "list.parquet")
        dataset = Dataset.create(tmp_path / "d", "d")
        with dataset.lock():
            download(dataset, str(tmp_path / "list.parquet"), site.settings(), ONE)
    reasons = [row["error_message"] for row in sidecar(dataset)]
    assert reasons == [None, "no_url", "no_url", None]
    stats = json.loads(Path(dataset.path("shards/00000_stats.json")).read_text())
    assert (stats["count"], stats["successes"], stats["failed_to_download"]) == (4, 2, 2)
    assert stats["status_dict"] == {"no_url": 2, "success": 2}
    assert {stats[name] for name in ("duration", "start_time", "end_time")} == {0}

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    with tarfile.open(dataset.path("shards/00000.tar")) as tar:
        files = {member.name: tar.extractfile(member) for member in tar.getmembers()}
        texts = {name: file.read() for name, file in files.items() if file is not None}
    assert texts["000000000.txt"] == b"one\ntwo"
    assert texts["000000003.txt"] == b""
    for key in ("000000000", "000000003"):
        meta = json.loads(texts[f"{key}.json"], parse_constant=refuse)
        assert (meta["key"], meta["x"], meta["day"]) == (key, None, "2020-01-02")
        assert (meta["raw"], meta["tags"]) == ("00ff", [{"a": None}])
        assert meta["stored_sha256"] == hashlib.sha256(texts[f"{key}.jpg"]).hexdigest()
        assert meta["sha256"] == hashlib.sha256(jpeg(int(key))).hexdigest()
        assert meta["original_bytes"] == len(jpeg(int(key)))


def test_a_stored_picture_that_its_tar_lacks_is_named_when_failed_rows_are_asked_again(
    site: Site, tmp_path: Path
) -> None:
    dataset = run(site, tmp_path / "d")
    path = Path(dataset.path("shards/00001.tar"))
    size = path.stat().st_size
    path.write_bytes(bytes(size))  # reads as an empty tar of the size that the marker knows
    with pytest.raises(UserError, match=r"broken tar: .*00001\.tar"), dataset.lock():
        retry_failed(dataset, site.settings(), ONE)


def test_failed_rows_are_not_asked_again_beside_shards_that_are_not_as_the_others(
    site: Site, tmp_path: Path
) -> None:
    dataset = run(site, tmp_path / "d")
    Path(dataset.path("stages/download/00002.json")).unlink()
    asked = site.asked.total()
    with pytest.raises(UserError, match="shard 00002 is not downloaded"), dataset.lock():
        retry_failed(dataset, site.settings(), ONE)
    assert site.asked.total() == asked
