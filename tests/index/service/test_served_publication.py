"""A publication is served as its dataset's folder is: the same answers, whoever gives them."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from frenchcat.curate.clip.model import Clip
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.embeddings import model_of
from frenchcat.curate.errors import NotFound
from frenchcat.curate.manifest import StageEntry
from frenchcat.curate.markers import record_entry
from frenchcat.curate.remove import RemovalQuery, matches, remove
from frenchcat.index.publish import publish
from frenchcat.index.service import served_publication
from frenchcat.index.service.served_publication import PublishedSource
from tests.index.service.served import NAME, index, served
from tests.sample import memory_store
from tests.sample.columns import add_columns

KEYS = [f"00000{row:04d}" for row in range(8)]
OF_AN_ANSWER = ("took_ms", "index_version", "next")


@pytest.fixture
def judged(cats: Dataset) -> Dataset:
    """Cats of which one is unsafe and two are copies."""
    add_columns(cats, "scores", punsafe=[0.9, *[0.0] * 7], similarity=[n / 8 for n in range(8)])
    cluster = [*KEYS[:5], KEYS[5], KEYS[5], KEYS[7]]
    own = {
        "cluster": cluster,
        "duplicate_of": [None] * 6 + [KEYS[5], None],
        "kind": [None] * 6 + ["exact", None],
        "multiplicity": [1] * 5 + [2, 2, 1],
    }
    add_columns(cats, "duplicates", **own)
    index(cats)
    return cats


@pytest.fixture
def both(
    judged: Dataset, clip: Clip, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[TestClient, TestClient]]:
    """A client of the folder's service, and one of the publication's."""
    address, _ = memory_store.started(monkeypatch)
    publish(judged, address)
    settings: dict[str, Any] = {"clip": clip, "allow_remove": True, "poll_sec": 0.05}
    with (
        served(judged, **settings) as folder,
        served(PublishedSource(address), **settings) as published,
    ):
        yield folder, published


def same(clients: tuple[TestClient, TestClient], method: str, path: str, **asked: Any) -> Any:
    """The answer of both, which is one."""
    answers = [client.request(method, path, **asked) for client in clients]
    assert [one.status_code for one in answers] == [200, 200], answers[1].text
    told = [one.json() for one in answers]
    for value in told:
        for name in OF_AN_ANSWER if isinstance(value, dict) else ():
            value.pop(name, None)
    assert told[1] == told[0]
    return told[1]


def test_answers_are_those_of_the_folder(both: tuple[TestClient, TestClient]) -> None:
    for body in (
        {"text": "a cat", "k": 3},
        {"text": "a cat", "k": 99, "safe": False, "duplicates": True, "count_hidden": True},
        {"text": "sea", "k": 4, "where": "similarity > 0.2", "columns": ["caption", "width"]},
        {"like": KEYS[3], "k": 2, "by": "text", "count_hidden": True},
        {"text": "a cat", "k": 4, "sort": "-caption_similarity"},
    ):
        told = same(both, "POST", "/v1/search", json=body)
        assert told["hits"]
    assert [hit["key"] for hit in told["hits"]] == [KEYS[7], KEYS[5], KEYS[4], KEYS[3]]
    for body in ({}, {"safe": False, "k": 3, "skip": 2}, {"where": "width = 8", "sort": "caption"}):
        assert same(both, "POST", "/v1/browse", json=body)["rows"]
    facets = {"facets": ["similarity", "caption", "cluster"], "duplicates": True}
    same(both, "POST", f"/v1/datasets/{NAME}/facets", json=facets)
    same(both, "GET", f"/v1/datasets/{NAME}/map")
    same(both, "GET", f"/v1/duplicates/{NAME}/{KEYS[6]}")
    same(both, "GET", f"/v1/rows/{NAME}/{KEYS[5]}")
    same(both, "GET", f"/v1/datasets/{NAME}/info")
    same(both, "POST", f"/v1/datasets/{NAME}/vectors", json={"keys": KEYS[:2]})
    about = same(both, "GET", f"/v1/datasets/{NAME}")
    assert about["rows"] == 8
    assert about["filters"]["duplicates"]
    pictures = [client.get(f"/v1/pictures/{NAME}/{KEYS[2]}") for client in both]
    assert pictures[0].content == pictures[1].content


def test_columns_for_conditions_are_those_that_are_published(
    both: tuple[TestClient, TestClient],
) -> None:
    folder, published = (
        {one["name"]: one["type"] for one in client.get("/v1/columns").json()["columns"]}
        for client in both
    )
    assert published == {name: folder[name] for name in published}
    assert {"key", "width", "punsafe", "domain"} <= published.keys()


def test_a_removal_counts_at_once_and_a_new_publication_is_noticed(
    both: tuple[TestClient, TestClient], judged: Dataset
) -> None:
    query = RemovalQuery("key", KEYS[2])
    with judged.lock():
        remove(judged, query, matches(judged, query))
    for client in both:
        hits = client.post("/v1/search", json={"text": "a car", "k": 99}).json()["hits"]
        assert KEYS[2] not in [hit["key"] for hit in hits]
        assert client.get(f"/v1/rows/{NAME}/{KEYS[2]}").status_code == 404
        assert client.get(f"/v1/pictures/{NAME}/{KEYS[2]}").status_code == 404
    body = {"by": "key", "value": KEYS[4]}
    shown = both[1].post(f"/v1/datasets/{NAME}/removals", json={**body, "preview": True})
    assert shown.status_code in (200, 404, 422)


def test_what_another_model_published_anew_is_asked_with_that_model(
    judged: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, _ = memory_store.started(monkeypatch)
    publish(judged, address)
    source, made_by = PublishedSource(address), model_of(judged)
    assert source.weights == made_by["weights"]
    record_entry(judged, "embed", StageEntry(settings={**made_by, "weights": "1" * 64}))
    publish(judged, address)
    assert source.weights == "1" * 64


def test_a_publication_that_is_gone_leaves_the_connections_open(
    judged: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The version before still answers over them, until something is published again."""
    address, _ = memory_store.started(monkeypatch)
    publish(judged, address)
    source, closed = PublishedSource(address), list[int]()
    monkeypatch.setattr(memory_store.MemoryStore, "close", lambda store: closed.append(1))
    source.store.clear()
    with pytest.raises(NotFound, match="nothing is published"):
        source.open(source.name, None)  # type: ignore[arg-type]
    assert not closed


def test_without_the_folder_search_goes_on_and_the_rest_is_told(
    judged: Dataset, clip: Clip, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    address, server = memory_store.started(monkeypatch)
    publish(judged, address)
    shutil.rmtree(judged.root)
    with served(PublishedSource(address), clip=clip) as client:
        hits = client.post("/v1/search", json={"text": "a french cat", "k": 99}).json()["hits"]
        assert len(hits) == 6
        for path in (f"/v1/pictures/{NAME}/{KEYS[2]}", f"/v1/datasets/{NAME}/info"):
            told = client.get(path)
            assert told.status_code == 404
            assert "cannot be read here" in told.json()["detail"]
        monkeypatch.setattr(served_publication, "MOST_LISTED", 5)
        told = client.post("/v1/browse", json={})
        assert told.status_code == 400
        assert "more than 5 rows" in told.json()["detail"]
        told = client.post("/v1/search", json={"text": "cat", "hybrid": True})
        assert told.status_code == 400
        server.down = True
        told = client.post("/v1/search", json={"text": "cat"})
        assert (told.status_code, told.json()["detail"]) == (
            503,
            f"{address}?table=frenchcat does not answer (down); start it",
        )
