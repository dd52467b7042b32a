"""/v1/datasets/{name}/…: links, cursors, batches, vectors, exports, what is kept, and problems."""

import base64
import csv
import gzip
import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fastapi.testclient import TestClient

from frenchcat.curate import export, select
from frenchcat.curate.clip.model import Clip
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.removals import Request, log, removed_keys
from frenchcat.index.search import Searcher
from tests.index.service.served import CAPTIONS, base64_of, make_dataset, served
from tests.index.service.test_stage_columns import EVERY, KEYS, ROWS, make

CATS = "/v1/datasets/cats"
SEARCH = f"{CATS}/search"


@pytest.fixture(scope="module")
def cats(tmp_path_factory: pytest.TempPathFactory, clip: Clip) -> Dataset:
    return make(tmp_path_factory.mktemp("v1") / "cats", clip)


@pytest.fixture(scope="module")
def client(cats: Dataset, clip: Clip) -> Iterator[TestClient]:
    allowed: dict[str, Any] = {"allow_remove": True, "allow_select": True}
    with served(cats, clip=clip, condition_sec=60, **allowed) as client:
        yield client


def without_times(answer: Any) -> Any:
    found = answer.json()
    assert answer.status_code == 200, found
    found.pop("took_ms")
    found.pop("next")
    return found


def test_a_search_can_be_linked(client: TestClient) -> None:
    asked: dict[str, Any] = {"k": 3, "where": "width > 1", **EVERY}
    asked["columns"] = ["caption", "reason"]
    body = client.post(SEARCH, json={"text": "a cat", **asked})
    link = client.get(SEARCH, params={"q": "a cat", **asked, "columns": "caption,reason"})
    assert without_times(link) == without_times(body)
    like = client.get(SEARCH, params={"like": KEYS[2], "k": 1, **EVERY}).json()
    assert like["hits"][0]["key"] == KEYS[2]
    rows = client.get(f"{CATS}/rows", params={"where": "language = 'en'", **EVERY}).json()
    assert rows["total"] == 4
    for wrong in ({}, {"q": "a", "like": "b"}):
        assert client.get(SEARCH, params=wrong).status_code == 422
    other = client.post(SEARCH, json={"text": "a", "dataset": "dogs"})
    assert other.status_code == 400


def pages(client: TestClient, path: str, field: str, body: dict[str, Any]) -> list[list[str]]:
    """The keys of all pages, by cursors."""
    found: list[list[str]] = []
    cursor = None
    while True:
        more: dict[str, Any] = {} if cursor is None else {"cursor": cursor}
        answer = client.post(path, json={**body, **more})
        assert answer.status_code == 200, answer.json()
        found.append([row["key"] for row in answer.json()[field]])
        if (cursor := answer.json()["next"]) is None:
            return found


@pytest.mark.parametrize(
    ("path", "field", "body"),
    [
        (SEARCH, "hits", {"text": "a cat"}),
        (SEARCH, "hits", {"text": "a cat", "sort": "-sharpness"}),
        (f"{CATS}/rows", "rows", {}),
        (f"{CATS}/rows", "rows", {"sort": "language"}),
    ],
)
def test_cursors_go_to_the_end(
    client: TestClient, path: str, field: str, body: dict[str, Any]
) -> None:
    found = pages(client, path, field, {**body, **EVERY, "k": 3})
    assert [len(page) for page in found] == [3, 3, 2]
    whole = client.post(path, json={**body, **EVERY, "k": ROWS}).json()[field]
    assert [key for page in found for key in page] == [row["key"] for row in whole]


def test_cursors_go_beyond_max_hits_and_stay_where_they_are(tmp_path: Path, clip: Clip) -> None:
    cats = make_dataset(tmp_path / "cats", clip)
    body = {"text": "a cat", "duplicates": True, "k": 3}
    with served(cats, clip=clip, max_hits=3) as client:
        assert len({key for page in pages(client, SEARCH, "hits", body) for key in page}) == ROWS
        for path, field in ((SEARCH, "hits"), (f"{CATS}/rows", "rows")):
            asked = body if path == SEARCH else {"k": 3}
            plain = [key for page in pages(client, path, field, asked) for key in page]
            first = client.post(path, json=asked).json()
            gone = plain[1]  # that was given already, so that all after it move up
            log(cats, Request(len(plain), "key", "2026-01-01T00:00:00Z", keys=(gone,)))
            second = client.post(path, json={**asked, "cursor": first["next"]}).json()
            assert [row["key"] for row in second[field]] == plain[3:6]
            cats.remove(f"removals/{len(plain):06d}.json")
        other = client.post(SEARCH, json={**body, "text": "a dog", "cursor": first["next"]})
        assert (other.status_code, other.json()["code"]) == (409, "cursor-outdated")
        assert client.post(SEARCH, json={**body, "cursor": "nonsense"}).status_code == 400


def test_a_batch_answers_each_of_its_queries(client: TestClient) -> None:
    queries = [{"text": "a cat", "k": 2}, {"like": KEYS[3], "k": 1, **EVERY}]
    found = client.post(f"{SEARCH}/batch", json={"queries": queries}).json()["answers"]
    alone = [client.post(SEARCH, json=query).json()["hits"] for query in queries]
    assert [one["hits"] for one in found] == alone


def test_embed_and_vectors_are_the_models(client: TestClient, cats: Dataset, clip: Clip) -> None:
    text = client.post(f"{CATS}/embed", json={"text": "a cat"}).json()
    assert text["vector"] == pytest.approx(clip.encode_texts(["a cat"])[0].tolist(), abs=1e-6)
    stored = client.post(f"{CATS}/vectors", json={"keys": KEYS[:2], "by": "text"}).json()
    expected = Searcher(cats).reconstruct([0, 1], "text")
    assert np.allclose(stored["vectors"], expected, atol=1e-3)
    one = client.get(f"{CATS}/rows/{KEYS[1]}/vector", params={"by": "text"}).json()
    assert one["vectors"] == stored["vectors"][1:]
    hits = client.post(SEARCH, json={"vector": text["vector"], "k": 3, **EVERY}).json()["hits"]
    by_text = client.post(SEARCH, json={"text": "a cat", "k": 3, **EVERY}).json()["hits"]
    assert [hit["key"] for hit in hits] == [hit["key"] for hit in by_text]


def test_hybrid_finds_words(client: TestClient, cats: Dataset, clip: Clip) -> None:
    asked: dict[str, Any] = {"text": "snow", "k": 4, **EVERY}
    found = client.post(SEARCH, json={**asked, "hybrid": True}).json()["hits"]
    expected = Searcher(cats, clip).query(**asked, hybrid=True)
    assert [hit["key"] for hit in found] == [hit.key for hit in expected]
    assert found[0]["caption"] == CAPTIONS[1]
    wrong = client.post(SEARCH, json={"like": KEYS[0], "hybrid": True})
    assert (wrong.status_code, "no text" in wrong.json()["error"]) == (400, True)


def test_several_datasets_are_ranked_together(tmp_path: Path, cats: Dataset, clip: Clip) -> None:
    others = make_dataset(tmp_path / "others", clip, ["a cat, sleeping", "a green tree"])
    others.update_manifest({"name": "others"})
    with served(cats, others, clip=clip) as client:
        query = {"text": "a cat", "k": 5, **EVERY}
        found = client.post("/v1/search/datasets", json=query).json()
        each = [
            (hit["similarity"], name, hit["key"])
            for name in ("cats", "others")
            for hit in client.post(f"/v1/datasets/{name}/search", json=query).json()["hits"]
        ]
        expected = sorted(each, key=lambda one: -one[0])[:5]
        assert [(h["similarity"], h["dataset"], h["key"]) for h in found["hits"]] == expected
        assert {hit["dataset"] for hit in found["hits"]} == {"cats", "others"}
        one = client.post("/v1/search/datasets", json={**query, "datasets": ["others"]}).json()
        assert len(one["hits"]) == 2
        client.app.state.service.registry.get("others").weights = "x"  # type: ignore[attr-defined]
        wrong = client.post("/v1/search/datasets", json=query)
        assert (wrong.status_code, "two models" in wrong.json()["error"]) == (400, True)


def read(format: str, data: bytes) -> Any:
    """A file's rows, with a reader that is not ours."""
    if format == "ndjson":
        return [json.loads(line) for line in data.decode().splitlines()]
    if format == "csv":
        return list(csv.DictReader(io.StringIO(data.decode())))
    if format == "parquet":
        return pq.read_table(io.BytesIO(data)).to_pylist()
    with pa.ipc.open_stream(data) as reader:
        return reader.read_all().to_pylist()


@pytest.mark.parametrize("format", ["ndjson", "csv", "parquet", "arrow"])
def test_rows_are_written_out(client: TestClient, format: str) -> None:
    asked: dict[str, Any] = {"where": "language = 'en'", "format": format, **EVERY}
    answer = client.get(f"{CATS}/export", params=asked)
    assert answer.status_code == 200, answer.text
    assert f'filename="cats.{format}"' in answer.headers["content-disposition"]
    rows = read(format, answer.content)
    assert [row["key"] for row in rows] == [KEYS[at] for at in (0, 2, 4, 7)]
    assert [row["caption"] for row in rows] == [CAPTIONS[at] for at in (0, 2, 4, 7)]
    assert float(rows[1]["caption_similarity"]) == pytest.approx(0.2)
    assert rows[1]["opted_out"] == "noai, tdm-reservation"
    query: dict[str, Any] = {"text": "a cat", "k": 5, **EVERY}
    body = {**query, "format": format, "columns": ["similarity", "domain"]}
    found = read(format, client.post(f"{CATS}/export", json=body).content)
    hits = client.post(SEARCH, json=query).json()["hits"]
    assert [row["key"] for row in found] == [hit["key"] for hit in hits]
    similar = [float(row["similarity"]) for row in found]
    assert similar == pytest.approx([hit["similarity"] for hit in hits], abs=1e-5)
    assert set(found[0]) == {"key", "similarity", "domain"}
    empty = client.get(f"{CATS}/export", params={**asked, "where": "width < 0"})
    assert read(format, empty.content) == []
    wrong = client.get(f"{CATS}/export", params={**asked, "columns": "widht"})
    assert (wrong.status_code, "widht" in wrong.json()["error"]) == (400, True)


def test_selections_are_listed_renamed_read_and_deleted(client: TestClient, cats: Dataset) -> None:
    path = f"{CATS}/selections"
    made = client.post(path, json={"name": "english", "where": "language = 'en'"})
    assert made.status_code == 201
    made = made.json()
    assert [one["name"] for one in client.get(path).json()] == ["english"]
    assert client.get(f"{path}/english").json()["sql"] == made["sql"]
    rows = read("parquet", client.get(f"{path}/english/rows?format=parquet").content)
    assert rows == select.open_selection(cats, "english").table.to_pylist()
    assert client.patch(f"{path}/english", json={"name": "no/name"}).status_code == 400
    renamed = client.patch(f"{path}/english", json={"name": "anglais"}).json()
    assert (renamed["name"], renamed["digest"]) == ("anglais", made["digest"])
    assert select.names(cats) == ["anglais"]
    for digest in ("0" * 16, made["digest"][:7], ""):
        kept = client.delete(f"{path}/anglais", params={"digest": digest})
        assert kept.status_code == 409
    assert client.delete(f"{path}/anglais").status_code == 422
    client.delete(f"{path}/anglais", params={"digest": made["digest"]})
    assert select.names(cats) == []
    assert client.get(f"{path}/anglais").status_code == 404


def test_removals_are_listed_and_taken_back(client: TestClient, cats: Dataset) -> None:
    path = f"{CATS}/removals"
    asked = {"by": "key", "value": KEYS[6]}
    token = client.post(path, json=asked).json()["token"]
    number = client.post(path, json={**asked, "confirm": True, "token": token}).json()["request"]
    assert removed_keys(cats) == {KEYS[6]}
    (listed,) = client.get(path).json()
    assert (listed["number"], listed["by"], listed["rows"], listed["undone"]) == (
        number,
        "key",
        1,
        False,
    )
    assert client.delete(f"{path}/{number}").json()["undone"] is True
    assert removed_keys(cats) == frozenset()
    assert client.delete(f"{path}/{number}").status_code == 400
    assert client.delete(f"{path}/999").status_code == 404


def test_a_removal_names_several_rows_and_a_selection_is_balanced(client: TestClient) -> None:
    several = {"by": "key", "value": KEYS[6], "keys": [KEYS[1], KEYS[7]]}
    found = client.post(f"{CATS}/removals", json=several).json()
    assert sorted(match["key"] for match in found["matches"]) == [KEYS[1], KEYS[6], KEYS[7]]
    other = client.post(f"{CATS}/removals", json={**several, "by": "domain", "value": "a.org"})
    assert other.status_code == 400
    asked = {"name": "balanced", "where": "language in ('en', 'fr')"}
    sizes = {"balance": "language", "limit": 2}
    made = client.post(f"{CATS}/selections", json={**asked, **sizes}).json()
    keys = [row["key"] for row in read("ndjson", client.get(
        f"{CATS}/selections/balanced/rows").content)]  # fmt: skip
    rows = client.post(f"{CATS}/rows", json={**EVERY, "columns": ["language"]}).json()["rows"]
    languages = {row["key"]: row["language"] for row in rows}
    assert sorted(languages[key] for key in keys) == ["en", "fr"]
    client.delete(f"{CATS}/selections/balanced", params={"digest": made["digest"]})


def test_what_may_not_be_done_is_refused(cats: Dataset, clip: Clip) -> None:
    with served(cats, clip=clip, allow_select=False) as client:
        for answer in (
            client.get(f"{CATS}/removals"),
            client.delete(f"{CATS}/removals/1"),
            client.post(f"{CATS}/removals", json={"by": "key", "value": "1"}),
            client.post(f"{CATS}/selections", json={"name": "a"}),
            client.patch(f"{CATS}/selections/a", json={"name": "b"}),
            client.delete(f"{CATS}/selections/a", params={"digest": "0" * 16}),
        ):
            assert (answer.status_code, answer.json()["code"]) == (403, "not-allowed")


def test_problems_are_rfc_9457s(client: TestClient) -> None:
    for answer, status, code in (
        (client.post(SEARCH, json={"text": "a", "where": "widht > 1"}), 400, "unknown-column"),
        (client.post(SEARCH, json={"text": "a", "where": "width >"}), 400, "bad-condition"),
        (client.post(SEARCH, json={}), 422, "bad-form"),
        (client.get("/v1/datasets/dogs"), 404, "not-found"),
        (client.get("/v1/nothing"), 404, "not-found"),
        (client.put(SEARCH), 405, "method-not-allowed"),
    ):
        problem = answer.json()
        assert answer.headers["content-type"] == "application/problem+json"
        assert (answer.status_code, problem["status"], problem["code"]) == (status, status, code)
        assert problem["type"] == f"urn:frenchcat:{code}"
        assert problem["title"]
        assert problem["detail"] == problem["error"] != ""


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v1/browse", "POST"),
        ("POST", "/v1/datasets", "GET, HEAD"),
        ("PUT", SEARCH, "GET, HEAD, POST"),
        ("DELETE", "/knn-service", "POST"),
        ("POST", "/app.js", "GET, HEAD"),
    ],
)
def test_another_method_is_told_those_that_there_are(
    client: TestClient, method: str, path: str, allowed: str
) -> None:
    answer = client.request(method, path)
    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)


def test_head_is_get_without_the_body(client: TestClient) -> None:
    for path in ("/v1/datasets", f"{CATS}/pictures/{KEYS[0]}", "/healthz", "/", f"{CATS}/rows"):
        head, get = client.head(path), client.get(path)
        assert (head.status_code, head.content) == (200, b"")
        for name in ("content-type", "etag"):
            assert head.headers.get(name) == get.headers.get(name)
    assert client.head("/v1/browse").status_code == 405


def test_etags_survive_a_proxy_and_parts_can_be_asked_for(client: TestClient) -> None:
    path = f"{CATS}/pictures/{KEYS[0]}"
    whole = client.get(path)
    tag = whole.headers["etag"]
    for given in (tag, f"W/{tag}", f'"other", W/{tag}', "*"):
        assert client.get(path, headers={"If-None-Match": given}).status_code == 304
    assert client.get(path, headers={"If-None-Match": '"other"'}).status_code == 200
    data = whole.content
    for asked, part in (
        ("bytes=0-9", data[:10]),
        ("bytes=10-", data[10:]),
        ("bytes=-7", data[-7:]),
        (f"bytes=5-{len(data) + 9}", data[5:]),
    ):
        answer = client.get(path, headers={"Range": asked})
        assert (answer.status_code, answer.content) == (206, part)
        first = (
            len(data) - len(part) if asked.startswith("bytes=-") else int(asked[6:].split("-")[0])
        )
        said = f"bytes {first}-{first + len(part) - 1}/{len(data)}"
        assert answer.headers["content-range"] == said
    assert client.get(path, headers={"Range": f"bytes={len(data)}-"}).status_code == 416
    long = "9" * 5_000  # more digits than Python makes a number of
    for asked, status in ((f"0-{long}", 206), (f"-{long}", 206), (f"{long}-", 416)):
        answer = client.get(path, headers={"Range": f"bytes={asked}"})
        assert (answer.status_code, len(answer.content)) == (status, len(data) * (status == 206))
    for asked in ("bytes=9-3", "lines=1-2", "bytes=0-1,4-5"):
        assert client.get(path, headers={"Range": asked}).status_code == 200
    other = {"Range": "bytes=0-9", "If-Range": '"other"'}
    assert client.get(path, headers=other).content == data


def test_answers_are_compressed_where_that_is_taken(client: TestClient) -> None:
    with client.stream("GET", "/app.js", headers={"Accept-Encoding": "gzip"}) as answer:
        assert answer.headers["content-encoding"] == "gzip"
        packed = b"".join(answer.iter_raw())
    plain = client.get("/app.js", headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert gzip.decompress(packed) == plain.content
    knn = {"text": "a", "modality": "image", "indice_name": "cats", "num_images": 8}
    theirs = client.post("/knn-service", json=knn, headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in theirs.headers


def test_a_key_is_sent_as_http_basic_too(tmp_path: Path, cats: Dataset, clip: Clip) -> None:
    keys = tmp_path / "keys"
    keys.write_text("a-key-of-16-letters\n")
    with served(cats, clip=clip, api_key_file=str(keys)) as client:
        for pair, status in (
            ("anybody:a-key-of-16-letters", 200),
            ("a-key-of-16-letters:", 200),
            ("anybody:another-key-of-16", 401),
            ("", 401),
        ):
            sent = {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
            answer = client.get("/v1/datasets", headers=sent)
            assert answer.status_code == status, pair
        odd = client.get("/v1/datasets", headers={b"Authorization": "Basic é".encode()})
        assert odd.status_code == 401
        wrong = client.get("/v1/datasets", headers={"X-API-Key": "nonsense"}).json()["detail"]
        none = client.get("/v1/datasets").json()["detail"]
        assert "does not know the key" in wrong
        assert "needs a key" in none


def test_pictures_have_a_rate_of_their_own_and_the_page_has_none(cats: Dataset, clip: Clip) -> None:
    with served(cats, clip=clip, rate=0.5, picture_rate=2) as client:
        assert {client.get("/app.js").status_code for _ in range(20)} == {200}
        thumbnails = [client.get(f"/v1/thumbnails/cats/{KEYS[0]}").status_code for _ in range(5)]
        assert thumbnails.count(200) == 4
        assert thumbnails[-1] == 429
        assert client.get("/v1/datasets").status_code == 200
        late = client.get("/v1/datasets")
        assert (late.status_code, late.json()["code"]) == (429, "too-many-requests")


def test_the_schema_says_how_keys_are_sent_and_names_operations(client: TestClient) -> None:
    schema = client.get("/openapi.json").json()
    assert set(schema["components"]["securitySchemes"]) == {"bearer", "header", "basic"}
    names = [one["operationId"] for path in schema["paths"].values() for one in path.values()]
    assert len(names) == len(set(names))
    assert {"search_link", "embed", "facets", "undo_removal"} <= set(names)
    problem = schema["paths"]["/v1/search"]["post"]["responses"]["400"]["content"]
    assert list(problem) == ["application/problem+json"]


def test_a_picture_of_another_form_is_a_query_too(client: TestClient) -> None:
    data = client.get(f"{CATS}/pictures/{KEYS[0]}").content
    body = client.post(f"{SEARCH}/picture", params={"k": 2}, content=data).json()["hits"]
    same = client.post(SEARCH, json={"picture": base64_of(data), "k": 2}).json()["hits"]
    assert [hit["key"] for hit in body] == [hit["key"] for hit in same]


def chosen(client: TestClient, name: str, where: str) -> None:
    made = client.post(f"{CATS}/selections", json={"name": name, "where": where, "replace": True})
    assert made.status_code == 201, made.json()


def found_keys(client: TestClient, **asked: Any) -> list[str]:
    answer = client.post(f"{CATS}/rows", json={**EVERY, **asked})
    assert answer.status_code == 200, answer.json()
    return [row["key"] for row in answer.json()["rows"]]


def test_a_querys_condition_and_the_selections_own_both_hold(client: TestClient) -> None:
    query = {"text": "a cat", "k": 8, "where": "sharpness > 1", **EVERY}
    asked = {"name": "between", "query": query, "where": "sharpness < 4", "replace": True}
    assert client.post(f"{CATS}/selections", json=asked).status_code == 201
    assert found_keys(client, selections=["between"]) == [KEYS[0], KEYS[3]]


def test_rows_are_those_of_selections(client: TestClient) -> None:
    chosen(client, "few", f"key < '{KEYS[4]}'")
    chosen(client, "late", f"key > '{KEYS[1]}'")
    few = [KEYS[0], KEYS[2], KEYS[3]]
    assert found_keys(client, selections=["few"]) == few
    assert found_keys(client, selections=["few", "late"]) == [KEYS[2], KEYS[3]]
    assert found_keys(client, selections=["late"], outside=["few"]) == [KEYS[4], KEYS[5], KEYS[7]]
    assert found_keys(client, selections=["late"], where="sharpness > 4") == [KEYS[4], KEYS[5]]
    link = client.get(SEARCH, params={"q": "a cat", "selections": ["few", "late"], **EVERY}).json()
    assert {hit["key"] for hit in link["hits"]} == {KEYS[2], KEYS[3]}
    hidden = client.post(
        SEARCH, json={"text": "a cat", "k": 1, "selections": ["few"], "count_hidden": True}
    ).json()["hidden"]
    assert hidden.keys() <= {"selection"}
    compared = client.get(f"{CATS}/selections/few/compare", params={"with": "late"}).json()
    assert compared == {"only": {"few": 1, "late": 3}, "both": 2}
    both = {"name": "both", "selections": ["few"], "outside": ["late"], "replace": True}
    assert client.post(f"{CATS}/selections", json=both).json()["rows"] == 1
    chosen(client, "few", f"key = '{KEYS[7]}'")  # another one of the name
    assert found_keys(client, selections=["few"]) == [KEYS[7]]
    for path in ("selections/none/compare?with=few", "selections/few/compare?with=none"):
        assert client.get(f"{CATS}/{path}").status_code == 404
    assert client.post(f"{CATS}/rows", json={"selections": ["none"]}).json()["code"] == "not-found"


def test_a_selection_is_written_out_with_its_pictures(
    client: TestClient, cats: Dataset, tmp_path: Path
) -> None:
    chosen(client, "pictures", f"key > '{KEYS[3]}'")
    answer = client.get(f"{CATS}/selections/pictures/rows", params={"format": "tar"})
    assert answer.headers["content-type"] == "application/x-tar"
    assert "x-rows-left-out" not in answer.headers
    folder = export.export(cats, "pictures", tmp_path / "tars")
    with tarfile.open(fileobj=io.BytesIO(answer.content)) as found:
        with tarfile.open(folder / "00000.tar") as written:
            assert found.getnames() == written.getnames() != []
            for name in written.getnames():
                assert found.extractfile(name).read() == written.extractfile(name).read()  # type: ignore[union-attr]
    rows = client.get(f"{CATS}/selections/pictures/rows", params={"format": "json"}).json()
    assert [row["key"] for row in rows] == [KEYS[4], KEYS[5], KEYS[7]]
    none = client.post(f"{CATS}/export", json={"where": "width < 0", "format": "json"})
    assert none.json() == []
