"""/v1: rows without a query and the map, filtered as a search is."""

from pathlib import Path

import numpy as np

from frenchcat.curate.clip.model import Clip
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.remove import RemovalQuery, matches, remove
from tests.index.service.served import CAPTIONS, NAME, served
from tests.sample.columns import add_columns

KEYS = [f"00000{row:04d}" for row in range(8)]


def test_rows_come_in_order_by_pages_and_are_counted(cats: Dataset) -> None:
    body = {"where": "key >= '000000002'", "k": 4}
    with served(cats) as client:
        pages = [client.post("/v1/browse", json={**body, "skip": at}).json() for at in (0, 4, 8)]
    assert [[row["key"] for row in page["rows"]] for page in pages] == [KEYS[2:6], KEYS[6:], []]
    assert {page["total"] for page in pages} == {6}
    first = pages[0]["rows"][0]
    assert (first["caption"], first["stored"]) == (CAPTIONS[2], True)
    assert first["thumbnail"] == f"/v1/thumbnails/{NAME}/{KEYS[2]}"


def test_filters_and_removals_count(cats: Dataset) -> None:
    add_columns(cats, "scores", punsafe=[0.9, *[0.0] * 7])
    query = RemovalQuery("key", KEYS[7], False)
    with cats.lock():
        remove(cats, query, matches(cats, query))
    with served(cats) as client:
        shown = client.post("/v1/browse", json={}).json()
        unsafe = client.post("/v1/browse", json={"safe": False}).json()
        drawn = client.get(f"/v1/datasets/{NAME}/map").json()
        some = client.get(f"/v1/datasets/{NAME}/map", params={"where": "key > '000000004'"}).json()
    assert [row["key"] for row in shown["rows"]] == drawn["keys"] == KEYS[1:7]
    assert [row["key"] for row in unsafe["rows"]] == KEYS[:7]
    assert some["keys"] == KEYS[5:7]
    assert len(drawn["x"]) == len(drawn["y"]) == 6
    places = dict(zip(drawn["keys"], zip(drawn["x"], drawn["y"], strict=True), strict=True))
    assert (some["x"][0], some["y"][0]) == places[KEYS[5]]  # a filter moves nothing


def test_what_only_vectors_tell_is_left_out(cats: Dataset, clip: Clip, tmp_path: Path) -> None:
    vectors = clip.encode_texts(CAPTIONS)
    prompts = np.stack([vectors[1], vectors[0]])
    np.save(tmp_path / "violence.npy", prompts)
    harmless = [
        key for key, at in zip(KEYS, (vectors @ prompts.T).argmax(1), strict=True) if not at
    ]
    assert 1 < len(harmless) < 8
    with served(cats, violence=str(tmp_path / "violence.npy")) as client:
        first = client.post("/v1/browse", json={"k": 1}).json()
        shown = client.post("/v1/browse", json={"skip": 1}).json()
        every = client.post("/v1/browse", json={"violence": True}).json()
        drawn = client.get(f"/v1/datasets/{NAME}/map").json()
    assert [row["key"] for row in first["rows"] + shown["rows"]] == harmless == drawn["keys"]
    assert [row["key"] for row in every["rows"]] == KEYS


def test_what_does_not_do_is_refused(cats: Dataset) -> None:
    with served(cats) as client:
        assert client.get("/v1/datasets/dogs/map").status_code == 404
        assert client.post("/v1/browse", json={"where": "nothing > 1"}).status_code == 400
        assert client.post("/v1/browse", json={"k": 0}).status_code == 422


def test_ratings_move_a_search(cats: Dataset, clip: Clip, tmp_path: Path) -> None:
    ratings = np.zeros((10, clip.dimension), np.float32)
    ratings[9] = clip.encode_texts([CAPTIONS[2]])[0]
    np.save(tmp_path / "ratings.npy", ratings)
    body = {"text": "a cat", "k": 1, "aesthetic_score": 9, "aesthetic_weight": 9}
    with served(cats, clip=clip, ratings=str(tmp_path / "ratings.npy")) as client:
        hit = client.post("/v1/search", json=body).json()["hits"][0]
        plain = client.post("/v1/search", json={**body, "aesthetic_score": 3}).json()["hits"][0]
    assert hit["caption"] == CAPTIONS[2]
    assert plain["caption"] != CAPTIONS[2]
