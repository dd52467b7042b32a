"""clip-retrieval's routes: what its clients send, and what they rely on in the answer."""

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from frenchcat.curate.clip.model import Clip
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.remove import RemovalQuery, matches, remove
from tests.index.service.served import CAPTIONS, NAME, base64_of, make_dataset, served
from tests.sample.columns import add_columns
from tests.sample.pictures import picture
from tests.sample.vectors import unit

HISTOGRAMS = (
    "full_knn_request_time",
    "download_time",
    "text_clip_inference_time",
    "image_clip_inference_time",
    "metadata_get_time",
    "knn_index_time",
    "dedup_time",
    "safety_time",
    "image_prepro_time",
    "text_prepro_time",
)

COLUMNS = {"image_path", "image", "caption", "url", "uid", "width", "height"}


def page_body(**changes: Any) -> dict[str, Any]:
    """What the upstream page sends for a text."""
    return {
        "text": "a french cat with a beret",
        "image": None,
        "image_url": None,
        "embedding_input": None,
        "modality": "image",
        "num_images": 2,
        "indice_name": NAME,
        "num_result_ids": 5,
        "use_mclip": False,
        "deduplicate": True,
        "use_safety_model": True,
        "use_violence_detector": False,
        "aesthetic_score": "",
        "aesthetic_weight": "0.5",
    } | changes


def test_indices_list_names_the_datasets(cats: Dataset) -> None:
    with served(cats) as client:
        assert client.get("/indices-list").json() == [NAME]


def test_knn_service_gives_columns_for_the_first_and_ids_for_the_rest(
    cats: Dataset, clip: Clip
) -> None:
    with served(cats, clip=clip) as client:
        rows = client.post("/knn-service", content=json.dumps(page_body())).json()
    assert len(rows) == 5
    first = rows[0]
    assert set(first) == {"id", "similarity", *COLUMNS}
    assert (first["id"], first["image_path"]) == (0, "000000000")
    assert first["caption"] == CAPTIONS[0]
    assert first["similarity"] == pytest.approx(1, abs=2e-3)  # stored as float16
    with Image.open(io.BytesIO(base64.b64decode(first["image"]))) as image:
        assert (image.format, image.size) == ("JPEG", (8, 8))
    assert all(set(row) == {"id", "similarity"} for row in rows[2:])
    similarities = [row["similarity"] for row in rows]
    assert similarities == sorted(similarities, reverse=True)


@pytest.mark.parametrize("kind", [None, "text/plain;charset=UTF-8", "application/json", "nonsense"])
def test_the_body_is_json_whatever_its_type(cats: Dataset, clip: Clip, kind: str | None) -> None:
    headers = {} if kind is None else {"Content-Type": kind}
    with served(cats, clip=clip) as client:
        for route, body in (
            ("/knn-service", page_body()),
            ("/metadata", {"ids": [1], "indice_name": NAME}),
        ):
            answer = client.post(route, content=json.dumps(body), headers=headers)
            assert answer.status_code == 200
            assert answer.json()


@pytest.mark.parametrize(("score", "weight"), [(None, None), ("", ""), (9, 0.5), ("9", "0.5")])
def test_aesthetics_without_ratings_change_nothing(
    cats: Dataset, clip: Clip, score: Any, weight: Any
) -> None:
    body = page_body(aesthetic_score=score, aesthetic_weight=weight)
    with served(cats, clip=clip) as client:
        plain = client.post("/knn-service", content=json.dumps(page_body())).json()
        assert client.post("/knn-service", content=json.dumps(body)).json() == plain


def test_aesthetics_move_the_query_by_the_ratings_vector(
    cats: Dataset, clip: Clip, tmp_path: Path
) -> None:
    ratings = np.random.default_rng(0).standard_normal((10, clip.dimension)).astype(np.float32)
    np.save(tmp_path / "ratings.npy", ratings)
    query = unit(clip.encode_texts(["a red car"])[0])
    moved = unit(query + 0.25 * ratings[7])
    expected = sorted(
        (float(unit(vector) @ moved) for vector in clip.encode_texts(CAPTIONS)), reverse=True
    )
    body = page_body(text=None, embedding_input=query.tolist(), num_result_ids=8)
    body |= {"aesthetic_score": 7, "aesthetic_weight": 0.25, "deduplicate": False}
    with served(cats, ratings=str(tmp_path / "ratings.npy")) as client:
        rows = client.post("/knn-service", content=json.dumps(body)).json()
    assert [row["similarity"] for row in rows] == pytest.approx(expected, abs=2e-3)


def test_deduplicate_collapses_clusters_and_still_gives_as_many_as_asked(
    tmp_path: Path, clip: Clip
) -> None:
    cats = make_dataset(tmp_path / "cats", clip, (*CAPTIONS[:3], *CAPTIONS[:3], *CAPTIONS[3:]))
    clusters = [f"00000{number:04d}" for number in (0, 1, 2, 0, 1, 2, 6, 7, 8, 9, 10)]
    survivors = [None, None, None, *clusters[:3], None, None, None, None, None]
    add_columns(
        cats,
        "duplicates",
        cluster=clusters,
        duplicate_of=survivors,
        multiplicity=[2] * 6 + [1] * 5,
    )
    body = page_body(num_images=1, num_result_ids=8)
    with served(cats, clip=clip) as client:
        rows = client.post("/knn-service", content=json.dumps(body)).json()
        assert sorted(row["id"] for row in rows) == [0, 1, 2, 6, 7, 8, 9, 10]
        body["deduplicate"] = False
        every = client.post("/knn-service", content=json.dumps(body)).json()
        assert {row["id"] for row in every[:2]} == {0, 3}


def test_deduplicate_without_clusters_compares_the_hits(tmp_path: Path, clip: Clip) -> None:
    cats = make_dataset(tmp_path / "cats", clip, (*CAPTIONS[:3], *CAPTIONS[:3], *CAPTIONS[3:]))
    body = page_body(num_images=1, num_result_ids=8)
    vectors = clip.encode_texts([*CAPTIONS[:3], *CAPTIONS[:3], *CAPTIONS[3:]])
    distinct = [0, 1, 2, 6, 7, 8, 9, 10]
    off_diagonal = (vectors @ vectors.T)[np.ix_(distinct, distinct)] - 2 * np.eye(8)
    assert off_diagonal.max() < 0.94  # what is one group below is one by being the same
    with served(cats, clip=clip) as client:
        rows = client.post("/knn-service", content=json.dumps(body)).json()
    assert len(rows) == 8
    assert len({row["id"] if row["id"] > 5 else row["id"] % 3 for row in rows}) == 8


def test_safety_model_leaves_out_what_was_scored_unsafe(cats: Dataset, clip: Clip) -> None:
    add_columns(cats, "scores", punsafe=[0.9, *[0.1] * 7])
    with served(cats, clip=clip) as client:
        safe = client.post("/knn-service", content=json.dumps(page_body())).json()
        body = page_body(use_safety_model=False)
        every = client.post("/knn-service", content=json.dumps(body)).json()
    assert 0 not in {row["id"] for row in safe}
    assert every[0]["id"] == 0
    assert len(safe) == len(every) == 5


def test_violence_detector_leaves_out_what_is_nearer_to_the_second_prompt(
    cats: Dataset, clip: Clip, tmp_path: Path
) -> None:
    vectors = clip.encode_texts(CAPTIONS)
    prompts = np.stack([vectors[1], vectors[0]])  # whatever is more cat than dog is "violent"
    np.save(tmp_path / "violence.npy", prompts)
    nearer = (vectors @ prompts.T).argmax(axis=1) == 1
    assert 0 < nearer.sum() < len(nearer)
    body = page_body(use_violence_detector=True, num_result_ids=8, deduplicate=False)
    with served(cats, clip=clip, violence=str(tmp_path / "violence.npy")) as client:
        rows = client.post("/knn-service", content=json.dumps(body)).json()
    assert sorted(row["id"] for row in rows) == np.flatnonzero(~nearer).tolist()


def test_a_picture_counts_where_the_text_is_empty(cats: Dataset, clip: Clip) -> None:
    body = page_body(text="", image=base64_of(picture(0, 32, 24)), num_images=8, num_result_ids=8)
    body["deduplicate"] = False
    with served(cats, clip=clip) as client:
        rows = client.post("/knn-service", content=json.dumps(body)).json()
    with Image.open(io.BytesIO(picture(0, 32, 24))) as opened:
        (query,) = clip.encode_images([opened.convert("RGB")])
    expected = sorted((clip.encode_texts(CAPTIONS) @ query).tolist(), reverse=True)
    assert [row["similarity"] for row in rows] == pytest.approx(expected, abs=2e-3)


def test_metadata_is_by_id_and_silent_about_removed_rows(cats: Dataset) -> None:
    with served(cats) as client:
        body = {"ids": [5, 2, 10**15, "3"], "indice_name": NAME}
        rows = client.post("/metadata", content=json.dumps(body)).json()
        assert [row["id"] for row in rows] == [5, 2, 3]
        assert rows[0]["metadata"]["caption"] == CAPTIONS[5]
        assert set(rows[0]["metadata"]) == COLUMNS
        with cats.lock():
            asked_for = RemovalQuery("key", "000000002")
            remove(cats, asked_for, matches(cats, asked_for))
        rows = client.post("/metadata", content=json.dumps(body)).json()
        assert [row["id"] for row in rows] == [5, 3]
        assert client.post("/metadata", json={"ids": [], "indice_name": NAME}).json() == []


def test_metrics_have_the_upstream_names(cats: Dataset, clip: Clip) -> None:
    with served(cats, clip=clip) as client:
        assert client.get("/metrics-summary").text == "No request yet, go do some"
        client.post("/knn-service", content=json.dumps(page_body()))
        answer = client.get("/metrics")
        summary = client.get("/metrics-summary").text
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    for name in HISTOGRAMS:
        assert f"# TYPE {name} histogram" in answer.text
        assert f"{name}_count" in answer.text
        assert name in summary or name == "full_knn_request_time"
    assert "full_knn_request_time_count 1.0" in answer.text
    assert "text_clip_inference_time_count 1.0" in answer.text
    assert summary.startswith("Among 1.0 calls to the knn end point with an average latency of")


def test_config_json_is_what_the_page_reads(cats: Dataset) -> None:
    with served(cats) as client:
        config = client.get("/config.json").json()
    assert config["defaultBackend"] == "http://testserver/"
    assert config["defaultIndex"] == NAME
    assert config["urlColumn"] == "url"


def test_a_back_end_address_that_ends_in_a_slash_works(cats: Dataset) -> None:
    with served(cats) as client:
        assert client.get("http://testserver//indices-list").json() == [NAME]


@pytest.mark.parametrize(
    ("change", "status", "said"),
    [
        ({"indice_name": "dogs"}, 404, "there are: cats"),
        ({"modality": "sound"}, 422, "modality"),
        ({"num_images": 0}, 422, "num_images"),
        ({"num_images": 10**6}, 422, "num_images"),
        ({"text": None}, 400, "one of text"),
        ({"text": None, "embedding_input": [1.0, 2.0]}, 400, "2 numbers"),
        ({"text": None, "embedding_input": [float("nan")] * 3}, 400, "3 numbers"),
        ({"text": None, "image": "no base64!"}, 400, "base64"),
        ({"text": None, "image": base64_of(b"GIF89a")}, 400, "cannot be decoded"),
        ({"aesthetic_score": "nine"}, 422, "aesthetic_score"),
    ],
)
def test_mistakes_are_told(
    cats: Dataset, clip: Clip, change: dict[str, Any], status: int, said: str
) -> None:
    with served(cats, clip=clip) as client:
        answer = client.post("/knn-service", content=json.dumps(page_body(**change)))
    assert answer.status_code == status
    assert said in answer.json()["error"]
