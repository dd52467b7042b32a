"""/v1: every kind of query and filter, against brute force over the same vectors."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from frenchcat.curate import select
from frenchcat.curate.clip.model import Clip
from frenchcat.curate.dataset import Dataset
from tests.index.service.served import (
    CAPTIONS,
    NAME,
    base64_of,
    index,
    make_dataset,
    named_by,
    served,
)
from tests.sample.columns import add_columns
from tests.sample.embedded import add_shard
from tests.sample.pictures import picture
from tests.sample.vectors import unit


def captions(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [hit["caption"] for hit in answer.json()["hits"]]


def ranked(clip: Clip, query: Any) -> list[str]:
    order = np.argsort(-(clip.encode_texts(CAPTIONS) @ unit(query)), kind="stable")
    return [CAPTIONS[at] for at in order]


def test_datasets_are_described(cats: Dataset, clip: Clip, tmp_path: Path) -> None:
    dogs = make_dataset(tmp_path / "dogs", clip, ["a dog"])
    dogs.update_manifest({"name": "dogs"})
    with served(cats, dogs) as client:
        first, second = client.get("/v1/datasets").json()
        assert (first["name"], first["rows"], first["model"]) == (NAME, 8, clip.name)
        assert (second["name"], second["rows"]) == ("dogs", 1)
        body = {"vector": clip.encode_texts(["a dog"])[0].tolist(), "dataset": "dogs"}
        assert captions(client.post("/v1/search", json=body)) == ["a dog"]
        assert client.get("/indices-list").json() == [NAME, "dogs"]


def test_a_text_finds_what_brute_force_finds(cats: Dataset, clip: Clip) -> None:
    with served(cats, clip=clip) as client:
        answer = client.post("/v1/search", json={"text": "french cat", "k": 8})
    assert captions(answer) == ranked(clip, clip.encode_texts(["french cat"])[0])
    found = answer.json()
    assert (found["dataset"], found["hits"][0]["key"]) == (NAME, "000000000")
    assert found["hits"][0]["picture"] == "/v1/pictures/cats/000000000"
    assert set(found["took_ms"]) == {"encode", "search"}


def test_terms_are_summed(cats: Dataset, clip: Clip) -> None:
    cat, dog = clip.encode_texts(["a cat", "a dog"])
    terms = [{"text": "a cat"}, {"text": "a dog", "weight": -0.7}, {"like": "000000003"}]
    train = unit(clip.encode_texts(CAPTIONS)[3])
    with served(cats, clip=clip) as client:
        answer = client.post("/v1/search", json={"terms": terms, "k": 8})
    assert captions(answer) == ranked(clip, cat - 0.7 * dog + train)


def test_a_picture_is_a_query_by_base64_body_and_key(cats: Dataset, clip: Clip) -> None:
    data = picture(0, 32, 24)
    with served(cats, clip=clip) as client:
        body = {"picture": "data:image/png;base64," + base64_of(data), "k": 3}
        one = captions(client.post("/v1/search", json=body))
        answer = client.post("/v1/search/picture", params={"k": 3}, content=data)
        like = captions(client.post("/v1/search", json={"like": "000000005", "k": 1}))
    assert one == captions(answer)
    assert len(one) == 3
    assert like == [CAPTIONS[5]]


def test_by_text_compares_with_captions(tmp_path: Path, clip: Clip) -> None:
    cats = make_dataset(tmp_path / "cats", clip)
    with served(cats, clip=clip) as client:
        hits = captions(client.post("/v1/search", json={"text": CAPTIONS[4], "by": "text", "k": 1}))
    assert hits == [CAPTIONS[4]]


def test_where_safe_and_duplicates_filter_and_are_counted(cats: Dataset, clip: Clip) -> None:
    add_columns(
        cats, "scores", punsafe=[0.0, 0.9, *[0.0] * 6], aesthetic=[float(n) for n in range(8)]
    )
    base = {"text": "a cat", "k": 8}
    with served(cats, clip=clip) as client:
        every = client.post("/v1/search", json={**base, "count_hidden": True})
        assert CAPTIONS[1] not in captions(every)
        assert every.json()["hidden"] == {"unsafe": 1}
        assert CAPTIONS[1] in captions(client.post("/v1/search", json={**base, "safe": False}))
        few = client.post("/v1/search", json={**base, "where": "aesthetic >= 5"})
        assert sorted(captions(few)) == sorted(CAPTIONS[5:])
        names = [column["name"] for column in client.get("/v1/columns").json()["columns"]]
        assert {"aesthetic", "punsafe", "caption", "width"} <= set(names)
        assert "regexp_matches" in client.get("/v1/columns").json()["functions"]


def test_hits_below_a_similarity_are_left_out(cats: Dataset, clip: Clip) -> None:
    body = {"text": CAPTIONS[0], "k": 8}
    with served(cats, clip=clip) as client:
        hits = client.post("/v1/search", json=body).json()["hits"]
        least = (hits[2]["similarity"] + hits[3]["similarity"]) / 2
        few = client.post("/v1/search", json={**body, "min_similarity": least}).json()["hits"]
        assert client.post("/v1/search", json={**body, "min_similarity": 2}).status_code == 422
    assert few == hits[:3]


def test_the_lists_own_columns_stand_beside_the_answers_fields(tmp_path: Path, clip: Clip) -> None:
    names = ("picture", "thumbnail", "stored", "similarity", "id", "keep", "image")
    dataset = Dataset.create(tmp_path / "d", "d")
    own = {name: [100 + place] for place, name in enumerate(names)}
    add_shard(dataset, "00000", clip.encode_texts(["a cat"]), captions=["a cat"], **own)
    named_by(dataset, clip)
    index(dataset)
    with served(dataset, clip=clip) as client:
        (hit,) = client.post("/v1/search", json={"text": "a cat", "k": 1}).json()["hits"]
        columns = {one["name"] for one in client.get("/v1/columns").json()["columns"]}
        assert client.get("/v1/datasets").json()[0]["filters"]["verdicts"] is False
    for place, name in enumerate(names[:-1]):
        assert hit[f"list_{name}"] == 100 + place
    assert hit["image"] == 106
    assert hit["picture"] == "/v1/pictures/d/000000000"
    assert hit["stored"] is True
    assert hit["similarity"] == pytest.approx(1, abs=2e-3)
    assert {"list_similarity", "list_id", "list_keep"} <= columns


def test_pages_join_up(cats: Dataset, clip: Clip) -> None:
    body = {"text": "a cat", "k": 3}
    with served(cats, clip=clip) as client:
        pages = [captions(client.post("/v1/search", json={**body, "skip": n})) for n in (0, 3, 6)]
        whole = captions(client.post("/v1/search", json={**body, "k": 8}))
    assert [len(page) for page in pages] == [3, 3, 2]
    assert [caption for page in pages for caption in page] == whole


@given(
    k=st.integers(1, 8),
    where=st.sampled_from([None, "width = 8", "key >= '000000002'", "key <= '000000004'", "false"]),
    unsafe=st.sets(st.integers(0, 7)),
    violent=st.booleans(),
)
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_exactly_k_whenever_k_may_be_shown(
    tmp_path_factory: pytest.TempPathFactory,
    clip: Clip,
    k: int,
    where: str | None,
    unsafe: set[int],
    violent: bool,
) -> None:
    root = tmp_path_factory.mktemp("k")
    cats = make_dataset(root / "cats", clip)
    add_columns(cats, "scores", punsafe=[0.9 if row in unsafe else 0.1 for row in range(8)])
    vectors = clip.encode_texts(CAPTIONS)
    np.save(root / "violence.npy", np.stack([vectors[1], vectors[0]]))
    is_violent = (vectors @ np.stack([vectors[1], vectors[0]]).T).argmax(axis=1) == 1
    meets = {
        None: range(8),
        "width = 8": range(8),
        "key >= '000000002'": range(2, 8),
        "key <= '000000004'": range(5),
        "false": range(0),
    }[where]
    shown = [row for row in meets if row not in unsafe and (violent or not is_violent[row])]
    body = {"vector": vectors[0].tolist(), "k": k, "where": where, "violence": violent}
    with served(cats, clip=clip, violence=str(root / "violence.npy")) as client:
        hits = client.post("/v1/search", json=body).json()["hits"]
    assert len(hits) == min(k, len(shown))
    assert {int(hit["key"]) for hit in hits} <= set(shown)


def test_a_row_and_its_duplicates(tmp_path: Path, clip: Clip) -> None:
    cats = make_dataset(tmp_path / "cats", clip, CAPTIONS[:4])
    keys = [f"00000000{row}" for row in range(4)]
    add_columns(
        cats,
        "duplicates",
        cluster=[keys[0], keys[0], keys[2], keys[3]],
        duplicate_of=[None, keys[0], None, None],
        multiplicity=[2, 2, 1, 1],
    )
    with served(cats) as client:
        row = client.get(f"/v1/rows/cats/{keys[1]}").json()
        assert (row["caption"], row["width"]) == (CAPTIONS[1], 8)
        same = client.get(f"/v1/duplicates/cats/{keys[1]}").json()
        assert [one["key"] for one in same] == [keys[1], keys[0]]
        alone = client.get(f"/v1/duplicates/cats/{keys[2]}").json()
        assert [one["key"] for one in alone] == [keys[2]]


def test_a_selection_of_a_condition_is_what_the_trainer_reads(cats: Dataset, clip: Clip) -> None:
    body = {"name": "late", "where": "key >= '000000005'"}
    with served(cats) as client:
        answer = client.post("/v1/selections", json=body)
        assert answer.status_code == 201
        listed = client.get("/v1/selections").json()
    made = select.open_selection(cats, "late")
    assert made.table["caption"].to_pylist() == list(CAPTIONS[5:])
    assert (answer.json()["rows"], answer.json()["digest"]) == (3, made.digest)
    assert listed == [
        {"dataset": NAME, "name": "late", "rows": 3, "digest": made.digest, "sql": None}
    ]


def test_a_selection_of_a_querys_hits(cats: Dataset, clip: Clip) -> None:
    query = {"text": "a cat", "k": 2}
    with served(cats, clip=clip) as client:
        hits = captions(client.post("/v1/search", json=query))
        client.post("/v1/selections", json={"name": "two", "query": query}).raise_for_status()
    assert sorted(select.open_selection(cats, "two").table["caption"].to_pylist()) == sorted(hits)


def test_selections_are_refused_where_the_service_may_not(cats: Dataset) -> None:
    body = {"name": "late", "where": "width = 8"}
    with served(cats, allow_select=False) as client:
        assert client.post("/v1/selections", json=body).status_code == 403
    with served(cats, host="0.0.0.0") as client:
        assert client.post("/v1/selections", json=body).status_code == 403
    assert select.names(cats) == []


def test_a_form_of_another_site_cannot_write(cats: Dataset) -> None:
    """A page elsewhere can send text/plain without asking first; that is no JSON here."""
    with served(cats, allow_remove=True) as client:
        for route in ("/v1/selections", "/v1/remove"):
            answer = client.post(
                route,
                content='{"name": "x", "by": "key", "value": "000000000", "confirm": true}',
                headers={"Content-Type": "text/plain"},
            )
            assert answer.status_code == 422
    assert select.names(cats) == []


def test_a_dataset_busy_elsewhere_answers_409(cats: Dataset) -> None:
    with served(cats) as client, cats.lock():
        answer = client.post("/v1/selections", json={"name": "late", "where": "width = 8"})
    assert answer.status_code == 409
    assert "another frenchcat process" in answer.json()["error"]


def test_the_openapi_of_our_routes_is_whole(cats: Dataset) -> None:
    with served(cats) as client:
        schema = client.get("/openapi.json").json()
    paths = schema["paths"]
    assert "/v1/search" in paths
    assert "/knn-service" in paths
    for path, methods in paths.items():
        for method, route in methods.items():
            assert route.get("description"), f"{method} {path} is not described"
