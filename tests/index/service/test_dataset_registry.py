"""New index versions and removals, while queries run."""

import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from frenchcat.curate.clip.model import Clip
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.errors import UserError
from frenchcat.curate.remove import RemovalQuery, matches, remove
from frenchcat.index.service.app import create_app
from tests.index.service.served import CAPTIONS, index, make_dataset, named_by, served
from tests.sample.embedded import add_shard


def wait_for_rows(client: TestClient, rows: int) -> None:
    for _ in range(200):
        if client.get("/v1/datasets").json()[0]["rows"] == rows:
            return
        time.sleep(0.05)
    raise AssertionError(client.get("/v1/datasets").text)


def grow(dataset: Dataset, clip: Clip, shard: str, captions: list[str]) -> None:
    add_shard(dataset, shard, clip.encode_texts(captions), captions=captions)
    named_by(dataset, clip)
    index(dataset)


def test_no_request_is_lost_while_the_index_grows_and_a_row_goes(cats: Dataset, clip: Clip) -> None:
    body = {"vector": clip.encode_texts([CAPTIONS[0]])[0].tolist(), "k": 3}
    statuses: Counter[int] = Counter()
    removed_seen_after = []
    stop, gone = threading.Event(), threading.Event()
    with served(cats) as client:

        def ask() -> None:
            while not stop.is_set():
                was_gone = gone.is_set()
                answer = client.post("/v1/search", json=body)
                statuses[answer.status_code] += 1
                keys = {hit["key"] for hit in answer.json()["hits"]}
                if was_gone and "000000000" in keys:
                    removed_seen_after.append(keys)

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        try:
            before = client.get("/v1/datasets").json()[0]["index_version"]
            grow(cats, clip, "00001", ["a french cat with a beret again", "a zebra"])
            wait_for_rows(client, 10)
            assert client.get("/v1/datasets").json()[0]["index_version"] != before
            with cats.lock():
                query = RemovalQuery("key", "000000000")
                remove(cats, query, matches(cats, query))
            gone.set()
            until = statuses[200] + 20
            while statuses[200] < until and any(thread.is_alive() for thread in threads):
                time.sleep(0.01)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        hits = client.post("/v1/search", json=body).json()["hits"]
        assert hits[0]["caption"] == "a french cat with a beret again"
    assert set(statuses) == {200}
    assert removed_seen_after == []


def test_a_broken_new_index_leaves_the_old_one_serving(
    cats: Dataset, clip: Clip, caplog: pytest.LogCaptureFixture
) -> None:
    body = {"vector": clip.encode_texts([CAPTIONS[2]])[0].tolist(), "k": 1}
    with served(cats) as client:
        whole = cats.read_json("index/index.json")
        cats.write_json("index/index.json", {**whole, "parts": "nonsense", "made_of": {}})
        for _ in range(2000):
            if "its new index cannot be opened yet" in caplog.text:
                break
            time.sleep(0.01)
        assert "its new index cannot be opened yet" in caplog.text
        answer = client.post("/v1/search", json=body)
        assert answer.json()["hits"][0]["caption"] == CAPTIONS[2]
        cats.write_json("index/index.json", whole)
        grow(cats, clip, "00001", ["a zebra"])
        wait_for_rows(client, 9)


def test_removal_through_the_service(cats: Dataset) -> None:
    body = {"by": "key", "value": "000000002"}
    with served(cats) as client:
        assert client.post("/v1/remove", json={**body, "confirm": True}).status_code == 403
    with served(cats, allow_remove=True) as client:
        shown = client.post("/v1/remove", json=body).json()
        assert (shown["removed"], shown["total"]) == (False, 1)
        assert shown["matches"][0]["caption"] == CAPTIONS[2]
        assert client.get("/v1/rows/cats/000000002").status_code == 200
        sure = {**body, "confirm": True, "token": shown["token"], "note": "mail"}
        done = client.post("/v1/remove", json=sure).json()
        assert (done["removed"], done["request"]) == (True, 1)
        assert client.get("/v1/rows/cats/000000002").status_code == 404
        unknown = {**body, "value": "9"}
        token = client.post("/v1/remove", json=unknown).json()["token"]
        missing = client.post("/v1/remove", json={**unknown, "confirm": True, "token": token})
        assert missing.status_code == 400
        domain = client.post("/v1/remove", json={"by": "domain", "value": "a/b"})
        assert domain.status_code == 400


def test_what_cannot_be_served_is_said(tmp_path: Path, clip: Clip, cats: Dataset) -> None:
    with pytest.raises(UserError, match="has no shards; first: frenchcat download"):
        create_app([Dataset.create(tmp_path / "new", "new")])
    twin = make_dataset(tmp_path / "twin", clip)
    with pytest.raises(UserError, match="two datasets are named"):
        create_app([cats, twin])
    with pytest.raises(UserError, match="no dataset"):
        create_app([])
