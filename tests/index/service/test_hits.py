"""Which rows are answered where vectors decide: brute force over a thousand rows of 16 numbers."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.numpy import save_file
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components

from frenchcat.curate import select
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.errors import UserError
from frenchcat.curate.removals import Request, log, removed
from frenchcat.index import map as maps
from frenchcat.index.build import build_index
from frenchcat.index.service.content_policy import ContentPolicy
from frenchcat.index.service.rows import plain
from frenchcat.index.service.search import later_copies
from frenchcat.index.service.settings import ServeSettings
from tests.index.service.served import served
from tests.sample.columns import add_columns
from tests.sample.embedded import add_shard, embedded
from tests.sample.pictures import picture
from tests.sample.vectors import unit_rows

ROWS = 1300
NAME = "synthetic"


def directions() -> NDArray[np.float32]:
    """(ROWS, 16): the first 1,150 rows lie on one side, so that they are judged alike."""
    rows = unit_rows(ROWS, seed=2)
    rows[:, 0] = np.abs(rows[:, 0]) + 0.1
    rows[1150:, 0] *= -1
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows.astype(np.float16).astype(np.float32)


VECTORS = directions()
FIRST = np.eye(1, 16, dtype=np.float32)[0]
BAD = VECTORS[:, 0] > 0


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    dataset = embedded(tmp_path_factory.mktemp("hits") / "rows", VECTORS)
    build_index(dataset)
    return dataset


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Violence prompts and a safety head that find the rows of BAD."""
    folder = tmp_path_factory.mktemp("files")
    np.save(folder / "violence.npy", np.stack([-FIRST, FIRST]))
    head = {"weight": FIRST[None], "bias": np.zeros(1, np.float32)}
    save_file(head, folder / "head.safetensors")
    return {name: str(folder / name) for name in ("violence.npy", "head.safetensors")}


@pytest.fixture(scope="module", params=["violence", "safety_head", "both"])
def judging(
    request: pytest.FixtureRequest, rows: Dataset, files: dict[str, str]
) -> Iterator[tuple[str, TestClient]]:
    options = {
        "violence": {"violence": files["violence.npy"]},
        "safety_head": {"safety_head": files["head.safetensors"]},
    }
    options["both"] = options["violence"] | options["safety_head"]
    with pytest.MonkeyPatch.context() as patch, served(rows, **options[request.param]) as client:
        patch.setattr(maps, "EPOCHS", 1)  # which rows are on the map is asked, not where
        yield request.param, client


def shown(judge: str, safe: bool, violence: bool) -> NDArray[np.bool_]:
    """What brute force lets through."""
    judged = (judge != "safety_head" and not violence) or (judge != "violence" and safe)
    return ~BAD if judged else np.ones(ROWS, bool)


@pytest.mark.parametrize(("safe", "violence"), [(True, False), (False, False), (True, True)])
@pytest.mark.parametrize("k", [1, 20, 1300])
def test_exactly_k_where_most_of_the_nearest_are_left_out(
    judging: tuple[str, TestClient], k: int, safe: bool, violence: bool
) -> None:
    """All of the thousand nearest to the first query, and most of those of the second."""
    judge, client = judging
    may = np.flatnonzero(shown(judge, safe, violence))
    for query in (FIRST, unit_rows(1, seed=9)[0]):
        body = {"vector": query.tolist(), "k": k, "safe": safe, "violence": violence}
        body |= {"duplicates": True}
        hits = client.post("/v1/search", json=body).json()["hits"]
        expected = np.sort(VECTORS[may] @ query)[::-1][:k]
        assert [hit["similarity"] for hit in hits] == pytest.approx(expected.tolist(), abs=2e-6)
        assert {int(hit["key"]) for hit in hits} <= set(may.tolist())
        knn = {"embedding_input": query.tolist(), "modality": "image", "num_images": 1}
        knn |= {"indice_name": NAME, "num_result_ids": k, "use_safety_model": safe}
        knn |= {"use_violence_detector": not violence}
        found = client.post("/knn-service", json=knn).json()
        assert sorted(row["id"] for row in found) == sorted(int(hit["key"]) for hit in hits)


@pytest.mark.parametrize(("safe", "violence"), [(True, False), (False, False), (True, True)])
def test_rows_without_a_query_are_judged_alike_and_pages_are_full(
    judging: tuple[str, TestClient], safe: bool, violence: bool
) -> None:
    judge, client = judging
    may = np.flatnonzero(shown(judge, safe, violence)).tolist()
    body = {"k": 40, "safe": safe, "violence": violence}
    for skip in (0, 100, 140):
        page = client.post("/v1/browse", json={**body, "skip": skip}).json()["rows"]
        assert [int(row["key"]) for row in page] == may[skip : skip + 40]
    flags = {"safe": safe, "violence": violence}
    drawn = client.get(f"/v1/datasets/{NAME}/map", params=flags).json()
    assert [int(key) for key in drawn["keys"]] == may


def test_a_head_finds_what_is_above_a_half_and_not_at_it(tmp_path: Path) -> None:
    head = {"weight": FIRST[None], "bias": np.zeros(1, np.float32)}
    save_file(head, tmp_path / "head.safetensors")
    content_policy = ContentPolicy(ServeSettings(safety_head=str(tmp_path / "head.safetensors")))
    rows = np.stack([0 * FIRST, 1e-3 * FIRST, -1e-3 * FIRST])  # sigmoid: .5, above, below
    assert content_policy.unsafe(rows).tolist() == [False, True, False]


@given(seed=st.integers(0, 1000), count=st.sampled_from([0, 1, 2, 60, 700]))
@settings(max_examples=12)
def test_near_copies_are_what_cosines_of_94_connect(seed: int, count: int) -> None:
    """Chains too, whose ends are far apart; however many other hits lie between."""
    rng = np.random.default_rng(seed + 10_000)  # else its steps are rows, and none is left of one
    rows = unit_rows(count, seed=seed)
    for at in range(1, count):
        if rng.random() < 0.5:  # a step away from an earlier row, of a cosine around the border
            step = rng.standard_normal(16).astype(np.float32)
            near = rows[int(rng.integers(at))]
            step -= near * (step @ near)
            cosine = float(rng.uniform(0.90, 0.98))
            rows[at] = cosine * near + np.sqrt(1 - cosine**2) * step / np.linalg.norm(step)
    rows = rows[rng.permutation(count)] if count else rows
    _, labels = connected_components(csr_matrix(rows @ rows.T >= 0.94))
    later = [at for at in range(count) if labels[at] in labels[:at]]
    assert later_copies(rows).tolist() == later


def test_no_answer_has_more_hits_than_the_operator_lets(rows: Dataset) -> None:
    vector = FIRST.tolist()
    knn: dict[str, Any] = {"embedding_input": vector, "modality": "image", "indice_name": NAME}
    with served(rows, max_hits=5) as client:
        for k, skip, status in ((5, 0, 200), (2, 3, 200), (3, 3, 400), (6, 0, 400), (1, 9000, 400)):
            body = {"vector": vector, "k": k, "skip": skip}
            assert client.post("/v1/search", json=body).status_code == status, body
        for sizes in ({"num_images": 9}, {"num_images": 9, "num_result_ids": 70}):
            assert len(client.post("/knn-service", json=knn | sizes).json()) == 5


def test_pictures_come_with_two_hundred_rows_and_not_with_more(rows: Dataset) -> None:
    with served(rows) as client:
        for count in (200, 201):
            body = {"ids": list(range(count)), "indice_name": NAME}
            found = client.post("/metadata", json=body).json()
            assert len(found) == count
            assert all(("image" in row["metadata"]) == (count == 200) for row in found)
            knn = {"embedding_input": FIRST.tolist(), "modality": "image", "indice_name": NAME}
            hits = client.post("/knn-service", json={**knn, "num_images": count}).json()
            assert [("image" in hit) for hit in hits] == [count == 200] * count


def test_a_jpeg_is_handed_out_as_it_is_stored(tmp_path: Path) -> None:
    dataset = Dataset.create(tmp_path / "d", NAME)
    stored = [picture(0, 40, 30, "JPEG"), picture(0, 40, 30, "PNG")]
    add_shard(dataset, "00000", unit_rows(2), files=stored)
    build_index(dataset)
    with served(dataset) as client:
        rows = client.post("/metadata", json={"ids": [0, 1], "indice_name": NAME}).json()
    first, second = (base64.b64decode(row["metadata"]["image"]) for row in rows)
    assert first == stored[0]
    assert second != stored[1]
    assert second[:3] == b"\xff\xd8\xff"


# -- writing ---------------------------------------------------------------------------------------


@pytest.fixture
def few(tmp_path: Path) -> Dataset:
    """Five rows, of which the last two are near copies of the first."""
    vectors = unit_rows(5, seed=3)
    vectors[3:] = vectors[0]
    dataset = embedded(tmp_path / "few", vectors)
    build_index(dataset)
    return dataset


def test_near_copies_go_with_a_row_where_that_is_asked_and_the_note_is_kept(few: Dataset) -> None:
    body: dict[str, Any] = {"by": "key", "value": "000000000", "note": "mail of 3 May"}
    with served(few, allow_remove=True) as client:
        assert client.post("/v1/remove", json=body).json()["total"] == 1
        near = client.post("/v1/remove", json={**body, "near": True}).json()
        assert (near["removed"], near["request"], near["total"]) == (False, None, 3)
        assert not removed(few)
        sure = {"near": True, "confirm": True, "token": near["token"]}
        done = client.post("/v1/remove", json={**body, **sure}).json()
        assert (done["removed"], done["total"]) == (True, 3)
        left = client.post("/v1/browse", json={}).json()["rows"]
        for gone in ("000000000", "000000003"):
            assert client.post("/v1/search", json={"like": gone}).status_code == 404
            assert client.get(f"/v1/duplicates/{NAME}/{gone}").status_code == 404
    assert [row["key"] for row in left] == ["000000001", "000000002"]
    (request,) = removed(few).requests
    assert request.note == "mail of 3 May"


def test_of_a_cluster_one_is_shown_and_the_others_are_counted(few: Dataset) -> None:
    keys = [f"00000000{row}" for row in range(5)]
    add_columns(
        few,
        "duplicates",
        cluster=[keys[0], keys[1], keys[2], keys[0], keys[0]],
        duplicate_of=[keys[3], None, None, None, keys[3]],
        multiplicity=[3, 1, 1, 3, 3],
    )
    body: dict[str, Any] = {"vector": unit_rows(5, seed=3)[0].tolist(), "count_hidden": True}
    with served(few) as client:
        for k, shown_first, hidden in ((1, keys[3], 1), (2, keys[3], 1), (3, keys[3], 2)):
            found = client.post("/v1/search", json={**body, "k": k}).json()
            assert (len(found["hits"]), found["hits"][0]["key"]) == (k, shown_first)
            assert found["hidden"] == {"duplicate": hidden}
        log(few, Request(1, "key", "2026-01-01T00:00:00Z", keys=(keys[3],)))
        found = client.post("/v1/search", json={**body, "k": 5}).json()
        assert {hit["key"] for hit in found["hits"]} == {keys[0], keys[1], keys[2]}
        assert found["hidden"] == {"duplicate": 1, "removed": 1}
        every = client.post("/v1/search", json={**body, "k": 5, "duplicates": True}).json()
        assert (len(every["hits"]), every["hidden"]) == (4, {"removed": 1})


def test_nothing_is_removed_while_the_dataset_is_written(few: Dataset) -> None:
    body: dict[str, Any] = {"by": "key", "value": "000000001"}
    with served(few, allow_remove=True) as client:
        token = client.post("/v1/remove", json=body).json()["token"]
        body |= {"confirm": True, "token": token}
        with few.lock():
            refused = client.post("/v1/remove", json=body)
            assert (refused.status_code, "another" in refused.json()["error"]) == (409, True)
        assert not removed(few)
        assert client.get(f"/v1/rows/{NAME}/000000001").status_code == 200
        assert client.post("/v1/remove", json=body).status_code == 200
    assert removed(few).keys == {"000000001"}


def test_a_selection_meets_condition_and_query_and_limit(few: Dataset, tmp_path: Path) -> None:
    vector = unit_rows(5, seed=3)[0].tolist()
    where, query = "key <> '000000000'", {"vector": vector, "k": 2, "duplicates": True}
    with served(few) as client:
        for name, body, keys in (
            ("both", {"where": where, "query": query}, {"000000003", "000000004"}),
            ("hits", {"query": query}, {"000000000", "000000003"}),
            ("rows", {"where": where}, {f"00000000{row}" for row in (1, 2, 3, 4)}),
        ):
            made = client.post("/v1/selections", json={"name": name, **body})
            assert made.status_code == 201, made.text
            assert made.json()["folder"] == few.root
            assert set(select.open_selection(few, name).table["key"].to_pylist()) == keys
        for limit in (1, 3):
            body = {"name": f"most{limit}", "where": where, "limit": limit}
            assert client.post("/v1/selections", json=body).json()["rows"] == limit
        before = select.open_selection(few, "rows").digest
        same, another = {"name": "rows", "where": where}, {"name": "rows", "where": "true"}
        assert client.post("/v1/selections", json=same).status_code == 201
        refused = client.post("/v1/selections", json=another)
        assert (refused.status_code, "already" in refused.json()["error"]) == (409, True)
        assert select.open_selection(few, "rows").digest == before
        assert client.post("/v1/selections", json={**another, "replace": True}).json()["rows"] == 5
        other = {"name": "other", "query": {**query, "dataset": "dogs"}}
        assert client.post("/v1/selections", json=other).status_code == 400
    (tmp_path / "keys").write_text("0123456789abcdef")
    options: dict[str, Any] = {"host": "0.0.0.0", "api_key_file": str(tmp_path / "keys")}
    with served(few, **options) as client:
        headers = {"X-API-Key": "0123456789abcdef"}
        body = {"name": "away", "where": where}
        made = client.post("/v1/selections", json=body, headers=headers)
        assert (made.status_code, made.json()["folder"]) == (201, None)
        assert few.root not in made.text
        lacking = client.post(
            "/v1/selections", json={"name": "x", "where": "duplicate_of is null"}, headers=headers
        )
        assert "run frenchcat" in lacking.json()["detail"]
        assert few.root not in lacking.text


# -- what the operator's files must be, what JSON holds --------------------------------------------


@pytest.mark.parametrize(
    ("option", "shape"),
    [("ratings", (9, 16)), ("ratings", (11, 16)), ("ratings", (16,)), ("violence", (3, 16))],
)
def test_vectors_of_another_number_are_refused(
    rows: Dataset, tmp_path: Path, option: str, shape: tuple[int, ...]
) -> None:
    np.save(tmp_path / "file.npy", np.ones(shape, np.float32))
    with pytest.raises(UserError, match=f"--{option}"):
        ContentPolicy(ServeSettings(**{option: str(tmp_path / "file.npy")}))


def test_vectors_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    found = np.ones((10, 16), np.float32)
    found[3, 3] = np.nan
    np.save(tmp_path / "file.npy", found)
    with pytest.raises(UserError, match="--ratings"):
        ContentPolicy(ServeSettings(ratings=str(tmp_path / "file.npy")))


def test_refused_words_are_words_in_any_case_and_no_patterns(tmp_path: Path) -> None:
    (tmp_path / "words").write_text("a.b\nC++\n  Straße \n\n(x\n")
    content_policy = ContentPolicy(ServeSettings(refused_words=str(tmp_path / "words")))
    for text in ("a.b", "say A.B!", "in c++ again", "STRASSE", "straße", "f (x"):
        assert content_policy.refuses(text), text
    for text in ("axb", "a.bc", "xa.b", "C+", "strassen", "x", ""):
        assert not content_policy.refuses(text), text


values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text() | st.integers() | st.binary(),
    lambda parts: st.lists(parts) | st.dictionaries(st.text(), parts),
    max_leaves=8,
)


@given(value=values)
@example(value=float("inf"))
@example(value=[{"a": -float("inf")}, float("nan")])
@settings(max_examples=60)
def test_any_value_is_made_plain_json(value: Any) -> None:
    found = json.loads(json.dumps(plain(value), allow_nan=False))
    if isinstance(value, float):
        assert found is None if not np.isfinite(value) else found == value
    if isinstance(value, list):
        assert len(found) == len(value)
