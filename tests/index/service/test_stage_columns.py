"""Rows say what every stage says of them; facets and order are compared with plain Python."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fastapi.testclient import TestClient

from frenchcat.curate.clip.model import Clip
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.removals import Request, log
from tests.index.service.served import CAPTIONS, base64_of, make_dataset, served
from tests.sample.columns import add_columns, set_columns
from tests.sample.pictures import picture

ROWS = len(CAPTIONS)
KEYS = [f"{row:09d}" for row in range(ROWS)]
SCORES: dict[str, Any] = {
    "similarity": [row / 10 for row in range(ROWS)],
    "language": ["en", "fr", "en", None, "en", "fr", "de", "en"],
    "sharpness": [3.0, 1.0, None, 2.0, 8.0, 5.0, 5.0, 0.5],
}
REASONS = [None, "watermark", None, None, None, None, "too_small", None]


def make(root: Path, clip: Clip) -> Dataset:
    """Scored, judged, with a cluster of three rows, and a row that two signals opt out."""
    dataset = make_dataset(root, clip)
    add_columns(dataset, "scores", **SCORES)
    cluster = [KEYS[0] if row in (0, 3, 5) else key for row, key in enumerate(KEYS)]
    add_columns(
        dataset,
        "duplicates",
        cluster=cluster,
        duplicate_of=[KEYS[0] if row in (3, 5) else None for row in range(ROWS)],
        kind=["pixels" if row in (3, 5) else None for row in range(ROWS)],
        multiplicity=[3 if row in (0, 3, 5) else 1 for row in range(ROWS)],
    )
    keep = [reason is None for reason in REASONS]
    add_columns(dataset, "verdicts", keep=keep, reason=REASONS)
    signals = pa.table(
        {
            "key": [KEYS[2], KEYS[2], KEYS[4], KEYS[5]],
            "signal": ["tdm-reservation", "noai", "robots", "synthetic"],
            "value": ["1", "noai", "*", "Midjourney"],
            "decision": ["opt_out", "opt_out", "allowed", None],
        }
    )
    with dataset.publish("rights") as publication:
        pq.write_table(signals, publication.path("rights/00000.parquet"))
    return dataset


@pytest.fixture(scope="module")
def cats(tmp_path_factory: pytest.TempPathFactory, clip: Clip) -> Dataset:
    return make(tmp_path_factory.mktemp("columns") / "cats", clip)


@pytest.fixture(scope="module")
def client(cats: Dataset, clip: Clip) -> Iterator[TestClient]:
    with served(cats, clip=clip, condition_sec=60) as client:
        yield client


EVERY = {"dropped": True, "duplicates": True, "safe": False}


def by_key(client: TestClient, way: str) -> dict[str, dict[str, Any]]:
    """All rows, as each route gives them."""
    if way == "search":
        body = {"text": "a cat", "k": ROWS, **EVERY}
        found = client.post("/v1/search", json=body).json()["hits"]
    elif way == "browse":
        found = client.post("/v1/browse", json=EVERY).json()["rows"]
    else:
        found = [client.get(f"/v1/rows/cats/{key}").json() for key in KEYS]
    return {row["key"]: row for row in found}


@pytest.mark.parametrize("way", ["search", "browse", "row"])
def test_a_row_says_what_every_stage_says_of_it(client: TestClient, way: str) -> None:
    rows = by_key(client, way)
    assert sorted(rows) == KEYS
    for at, key in enumerate(KEYS):
        row = rows[key]
        assert row["caption_similarity"] == SCORES["similarity"][at]
        assert row["language"] == SCORES["language"][at]
        assert (row["keep"], row["reason"]) == (REASONS[at] is None, REASONS[at])
        assert row["copies"] == (2 if at in (0, 3, 5) else 0)
        assert row["opted_out"] == ("noai, tdm-reservation" if at == 2 else None)
        assert row["synthetic"] == ("Midjourney" if at == 5 else None)
        assert row["caption"] == CAPTIONS[at]
    if way == "search":  # to the query, whatever the score of that name says
        assert rows[KEYS[0]]["similarity"] > rows[KEYS[2]]["similarity"] != 0.2


def test_columns_are_chosen_and_unknown_ones_refused(client: TestClient) -> None:
    body = {"text": "a cat", "k": 2}
    few = client.post("/v1/search", json={**body, "columns": ["reason", "caption", "domain"]})
    assert [set(hit) for hit in few.json()["hits"]] == [
        {"key", "similarity", "reason", "caption", "domain"}
    ] * 2
    none = client.post("/v1/search", json={**body, "columns": []}).json()["hits"]
    assert [set(hit) for hit in none] == [{"key", "similarity"}] * 2
    rows = client.post("/v1/browse", json={"columns": ["sharpness"], "k": 1}).json()["rows"]
    assert rows == [{"key": KEYS[0], "sharpness": 3.0}]
    for route, more in (("search", {"text": "a cat"}), ("browse", {})):
        wrong = client.post(f"/v1/{route}", json={**more, "columns": ["widht"]})
        assert wrong.status_code == 400
        assert "'widht'" in wrong.json()["error"]


def test_new_scores_and_removed_copies_count_at_once(tmp_path: Path, clip: Clip) -> None:
    cats = make(tmp_path / "cats", clip)
    with served(cats, clip=clip) as client:
        assert client.get(f"/v1/rows/cats/{KEYS[0]}").json()["copies"] == 2
        log(cats, Request(1, "key", "2026-01-01T00:00:00Z", keys=(KEYS[3],)))
        set_columns(cats, "verdicts/00000.parquet", reason=["blurred"] * ROWS)
        row = client.get(f"/v1/rows/cats/{KEYS[0]}").json()
        assert (row["copies"], row["reason"]) == (1, "blurred")
        Path(cats.path("scores/00000.parquet")).write_bytes(b"no parquet")
        broken = client.get(f"/v1/rows/cats/{KEYS[0]}")
        assert (broken.status_code, "scores/00000.parquet" in broken.json()["error"]) == (400, True)


FACETS = "/v1/datasets/cats/facets"


def test_facets_count_what_meets_the_filters(client: TestClient) -> None:
    asked = {**EVERY, "facets": ["language", "sharpness", "keep"], "bins": 3, "top": 2}
    found = client.post(FACETS, json=asked).json()
    languages = Counter(one for one in SCORES["language"] if one)
    facets = found["facets"]
    assert found["rows"] == ROWS
    assert facets["language"]["values"] == [
        {"value": value, "rows": rows} for value, rows in languages.most_common(2)
    ]
    assert (facets["language"]["others"], facets["language"]["distinct"]) == (1, 3)
    assert facets["language"]["missing"] == 1
    assert facets["keep"]["values"] == [{"value": "true", "rows": 6}, {"value": "false", "rows": 2}]
    numbers = [one for one in SCORES["sharpness"] if one is not None]
    counts, edges = np.histogram(numbers, 3)
    bins = facets["sharpness"]["bins"]
    assert [one["rows"] for one in bins] == counts.tolist()
    assert [one["from"] for one in bins] + [bins[-1]["to"]] == pytest.approx(edges.tolist())
    assert facets["sharpness"]["mean"] == pytest.approx(np.mean(numbers))
    few = client.post(FACETS, json={"facets": ["language"], "where": "language = 'en'"}).json()
    assert (few["rows"], few["facets"]["language"]["rows"]) == (4, 4)  # kept, and no copy


def test_facets_of_a_querys_nearest(client: TestClient) -> None:
    query = {"text": "a cat", "k": 3, **EVERY}
    hits = client.post("/v1/search", json=query).json()["hits"]
    found = client.post(FACETS, json={**query, "facets": ["language"]}).json()
    expected = Counter(hit["language"] for hit in hits if hit["language"])
    values = {one["value"]: one["rows"] for one in found["facets"]["language"]["values"]}
    assert (found["rows"], values) == (3, dict(expected))
    usual = client.post(FACETS, json={}).json()["facets"]
    assert {"language", "domain", "reason", "width", "caption_similarity"} <= set(usual)


@pytest.mark.parametrize(
    ("facets", "said"), [(["langauge"], "'langauge'"), (["language; drop"], "no column")]
)
def test_facets_of_no_column_are_refused(client: TestClient, facets: list[str], said: str) -> None:
    wrong = client.post(FACETS, json={"facets": facets})
    assert wrong.status_code == 400
    assert said in wrong.json()["error"]


@pytest.mark.parametrize("sort", ["sharpness", "-sharpness", "language", "-language", "caption"])
def test_rows_are_sorted_by_a_column_and_pages_join_up(client: TestClient, sort: str) -> None:
    name, down = sort.removeprefix("-"), sort.startswith("-")
    values = {"caption": CAPTIONS, **SCORES}[name]
    there = [at for at in range(ROWS) if values[at] is not None]
    expected = sorted(there, key=lambda at: values[at], reverse=down)
    expected += [at for at in range(ROWS) if values[at] is None]
    for body, route, field in (
        ({}, "browse", "rows"),
        ({"text": "a cat"}, "search", "hits"),
    ):
        asked = {**body, **EVERY, "sort": sort}
        pages = [
            client.post(f"/v1/{route}", json={**asked, "k": 3, "skip": skip}).json()[field]
            for skip in (0, 3, 6)
        ]
        found = [values[int(row["key"])] for page in pages for row in page]
        assert found == [values[at] for at in expected]
        keys = [row["key"] for page in pages for row in page]
        assert sorted(keys) == KEYS
        if route == "browse" and not down:
            assert keys == [KEYS[at] for at in expected]  # equal ones in the index's order
        if route == "search":
            plain = client.post("/v1/search", json={**body, **EVERY, "k": ROWS}).json()["hits"]
            similar = {hit["key"]: hit["similarity"] for hit in plain}
            assert all(row["similarity"] == similar[row["key"]] for page in pages for row in page)


def test_only_the_nearest_are_sorted(client: TestClient) -> None:
    query = {"text": "a cat", "k": 3, **EVERY}
    near = {hit["key"] for hit in client.post("/v1/search", json=query).json()["hits"]}
    found = client.post("/v1/search", json={**query, "sort": "-sharpness", "pool": 3}).json()
    assert {hit["key"] for hit in found["hits"]} == near
    wrong = client.post("/v1/search", json={**query, "sort": "shrapness"})
    assert wrong.json()["code"] == "unknown-column"


def test_like_names_a_row_of_another_dataset(tmp_path: Path, cats: Dataset, clip: Clip) -> None:
    words = [CAPTIONS[4], *CAPTIONS[:3]]
    others = make_dataset(tmp_path / "others", clip, words)
    others.update_manifest({"name": "others"})
    with served(cats, others, clip=clip) as client:

        def first(like: Any, dataset: str) -> Any:
            body = {"like": like, "dataset": dataset, "k": 1, **EVERY}
            return client.post("/v1/search", json=body).json()["hits"][0]["caption"]

        assert first(KEYS[0], "cats") == CAPTIONS[0]
        assert first(KEYS[0], "others") == CAPTIONS[4]  # a key alone is of the dataset searched
        row = {"dataset": "cats", "key": KEYS[2]}
        assert (first(row, "cats"), first(row, "others")) == (CAPTIONS[2], CAPTIONS[2])
        for row in ({"dataset": "dogs", "key": KEYS[2]}, {"dataset": "others", "key": "7"}):
            wrong = client.post("/v1/search", json={"like": row, "dataset": "cats"})
            assert wrong.status_code == 404
        # Vectors of another model do not compare: the picture is encoded by this one's.
        served_others = client.app.state.service.registry.get("others")  # type: ignore[attr-defined]
        served_others.weights = "another"
        body = {"like": {"dataset": "others", "key": KEYS[1]}, "dataset": "cats", "k": ROWS}
        anew = client.post("/v1/search", json={**body, **EVERY}).json()["hits"]
        data = client.get(f"/v1/pictures/others/{KEYS[1]}").content
        encoded = {"picture": base64_of(data), "dataset": "cats", "k": ROWS, **EVERY}
        assert anew == client.post("/v1/search", json=encoded).json()["hits"]
    assert picture(0, 8, 8) != data
