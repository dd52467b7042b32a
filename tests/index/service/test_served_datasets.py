"""Versions taken up, pictures of the right row, models of the right vectors, and an honest end."""

import asyncio
import io
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from PIL import Image

from frenchcat.curate.clip.model import Clip
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.errors import UserError
from frenchcat.curate.removals import Request, log
from frenchcat.index.build import JSON, build_index
from frenchcat.index.search import Searcher
from frenchcat.index.service import batching
from frenchcat.index.service.app import create_app
from frenchcat.index.service.batching import Encoder
from frenchcat.index.service.dataset_registry import DatasetRegistry
from frenchcat.index.service.media import ThumbnailCache
from frenchcat.index.service.metrics import Metrics
from frenchcat.index.service.problems import Refused, handle_problems
from frenchcat.index.service.served_dataset import FolderSource
from frenchcat.index.service.settings import ServeSettings
from frenchcat.index.service.work import Work
from frenchcat.index.terms import Text
from tests.index.service.served import CAPTIONS, make_dataset, served
from tests.index.test_parts import Overtaken
from tests.sample.columns import add_columns
from tests.sample.embedded import add_shard, embedded
from tests.sample.vectors import unit_rows


def named(dataset: Dataset, name: str) -> Dataset:
    """The dataset by another name."""
    dataset.update_manifest({"name": name})
    return dataset


def small(root: Path, *parts: Any) -> Dataset:
    dataset = embedded(root, *parts)
    build_index(dataset)
    return dataset


def registry_of(*datasets: Dataset) -> DatasetRegistry:
    return DatasetRegistry(map(FolderSource, datasets), Work(1), Metrics())


# -- versions --------------------------------------------------------------------------------------


def test_the_first_dataset_is_the_one_without_a_name(tmp_path: Path) -> None:
    one = named(small(tmp_path / "a", unit_rows(3)), "one")
    two = named(small(tmp_path / "b", unit_rows(4)), "two")
    with served(one, two) as client:
        body = {"vector": unit_rows(1)[0].tolist()}
        for named_one, rows in ((None, 3), ("one", 3), ("two", 4)):
            found = client.post("/v1/search", json={**body, "dataset": named_one}).json()
            assert (found["dataset"], len(found["hits"])) == (named_one or "one", rows)
        assert client.get("/config.json").json()["defaultIndex"] == "one"


def test_what_a_stage_wrote_may_be_named_once_it_has_ended(tmp_path: Path) -> None:
    dataset = small(tmp_path / "d", unit_rows(3))
    registry = registry_of(dataset)
    assert "aesthetic" not in registry.get(None).columns
    assert not registry.renew("synthetic")
    add_columns(dataset, "scores", aesthetic=[1.0, 2.0, 3.0])
    assert registry.renew("synthetic")
    assert "aesthetic" in registry.get(None).columns
    assert not registry.renew("synthetic")


def test_a_build_that_ended_while_the_one_before_was_opened_is_taken_up(tmp_path: Path) -> None:
    dataset = small(tmp_path / "d", unit_rows(3))
    late = Overtaken(dataset.root)
    registry = registry_of(late)

    def grow() -> None:
        add_shard(dataset, "00002", unit_rows(2, seed=2))
        build_index(dataset)

    add_shard(dataset, "00001", unit_rows(4, seed=1))
    build_index(dataset)
    late.happens.append(grow)
    while registry.renew("synthetic"):
        pass
    assert len(registry.get(None)) == 9


@pytest.mark.parametrize(
    "broken",
    [b"{", b"[]", b"null", b'{"made_of": []}', b'{"made_of": {"version": 2}, "parts": "nonsense"}'],
)
def test_a_version_that_cannot_be_opened_leaves_the_old_one_and_is_tried_again(
    tmp_path: Path, broken: bytes
) -> None:
    dataset = small(tmp_path / "d", unit_rows(3))
    registry, path = registry_of(dataset), Path(dataset.path(JSON))
    before = registry.get(None)
    add_shard(dataset, "00001", unit_rows(4, seed=1))
    build_index(dataset)
    whole = path.read_bytes()
    path.write_bytes(broken)
    for _ in range(2):
        assert not registry.renew("synthetic")
        assert registry.get(None) is before
    path.write_bytes(whole)
    assert registry.renew("synthetic")
    assert (len(before), len(registry.get(None))) == (3, 7)  # a request goes on with the old one


# -- pictures --------------------------------------------------------------------------------------


def colour(number: int, side: int = 90) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (side, side // 2), (number, 255 - number, 90)).save(out, "PNG")
    return out.getvalue()


def seen(jpeg: bytes) -> tuple[tuple[int, int], int]:
    """A JPEG's size, and how red it is, to the nearest 50."""
    with Image.open(io.BytesIO(jpeg)) as opened:
        pixel = opened.getpixel((0, 0))
    assert isinstance(pixel, tuple)
    return opened.size, round(pixel[0] / 50) * 50


def test_a_thumbnail_is_of_its_dataset_its_version_and_the_size_asked_for(tmp_path: Path) -> None:
    made = []
    for number, name in enumerate(("one", "two")):
        dataset = Dataset.create(tmp_path / name, name)
        add_shard(dataset, "00000", unit_rows(2), files=[colour(50), colour(200 * number)])
        build_index(dataset)
        made.append(dataset)
    with served(*made, poll_sec=3600) as client:

        def ask(name: str, key: int, size: int) -> tuple[tuple[int, int], int]:
            return seen(client.get(f"/v1/thumbnails/{name}/00000000{key}?size={size}").content)

        for _ in range(2):
            assert ask("one", 0, 32) == ((32, 16), 50)
            assert ask("one", 0, 64) == ((64, 32), 50)
            assert ask("one", 1, 32) == ((32, 16), 0)
            assert ask("two", 1, 32) == ((32, 16), 200)
        add_shard(made[0], "00000", unit_rows(2, seed=1), files=[colour(150), colour(0)])
        build_index(made[0])
        assert client.app.state.service.registry.renew("one")  # type: ignore[attr-defined]
        assert ask("one", 0, 32) == ((32, 16), 150)


def test_kept_thumbnails_are_bounded_and_removed_ones_are_gone(tmp_path: Path) -> None:
    dataset = Dataset.create(tmp_path / "d", "d")
    keys = add_shard(dataset, "00000", unit_rows(3), files=[colour(50), colour(100), colour(150)])
    build_index(dataset)
    served_dataset, tar = registry_of(dataset).get(None), Path(dataset.path("shards/00000.tar"))
    whole = tar.read_bytes()
    one = len(ThumbnailCache().get(served_dataset, keys[0], 32))
    kept = ThumbnailCache(one + one // 2)
    first, second = (kept.get(served_dataset, key, 32) for key in keys[:2])
    tar.unlink()  # so that only what is kept can be answered
    assert kept.get(served_dataset, keys[1], 32) == second
    with pytest.raises((Refused, OSError)):
        kept.get(served_dataset, keys[0], 32)
    tar.write_bytes(whole)
    assert kept.get(served_dataset, keys[0], 32) == first
    log(dataset, Request(1, "key", "2026-01-01T00:00:00Z", keys=(keys[0],)))
    with pytest.raises(Refused):
        kept.get(served_dataset, keys[0], 32)


def test_a_browser_asks_again_after_a_minute_and_no_proxy_keeps_a_picture(tmp_path: Path) -> None:
    dataset = Dataset.create(tmp_path / "d", "synthetic")
    add_shard(dataset, "00000", unit_rows(2), files=[colour(50), colour(200)])
    build_index(dataset)
    with served(dataset) as client:
        for kind in ("pictures", "thumbnails"):
            said = client.get(f"/v1/{kind}/synthetic/000000001").headers["cache-control"]
            rules = dict(part.strip().partition("=")[::2] for part in said.split(","))
            assert "private" in rules
            assert "public" not in rules
            assert int(rules["max-age"]) <= 60
            tags = [
                client.get(f"/v1/{kind}/synthetic/00000000{row}").headers["etag"] for row in (0, 1)
            ]
            for row, tag, status in ((0, tags[0], 304), (1, tags[0], 200), (1, tags[1], 304)):
                headers = {"If-None-Match": tag}
                answer = client.get(f"/v1/{kind}/synthetic/00000000{row}", headers=headers)
                assert answer.status_code == status


def test_a_tar_written_anew_in_another_order_gives_each_row_its_own(tmp_path: Path) -> None:
    """The members are of one size, so that only their names tell whose bytes lie where."""
    dataset = Dataset.create(tmp_path / "d", "d")
    files = [colour(number, 8) for number in (10, 11, 12)]
    assert len({len(data) for data in files}) == 1
    keys = add_shard(dataset, "00000", unit_rows(3), files=files)
    build_index(dataset)
    with served(dataset, poll_sec=3600) as client:
        tar = Path(dataset.path("shards/00000.tar"))
        data = tar.read_bytes()
        blocks = [data[at : at + 1024] for at in range(0, 3 * 1024, 1024)]
        tar.write_bytes(b"".join([blocks[2], blocks[0], blocks[1]]) + data[3 * 1024 :])
        for key, expected in zip(keys, files, strict=True):
            assert client.get(f"/v1/pictures/d/{key}").content == expected


# -- models ----------------------------------------------------------------------------------------


def test_a_text_is_encoded_by_the_model_of_its_own_dataset(tmp_path: Path, clip: Clip) -> None:
    """Or refused, where the model at hand did not make that dataset's vectors."""
    ours = make_dataset(tmp_path / "ours", clip, CAPTIONS[:3])
    theirs = named(make_dataset(tmp_path / "theirs", clip, CAPTIONS[:3]), "theirs")
    manifest = theirs.read_json("dataset.json")
    manifest["stages"]["embed"]["settings"]["weights"] = "1" * 64
    theirs.write_json("dataset.json", manifest)
    build_index(theirs)
    with served(ours, theirs) as client:
        text = {"text": CAPTIONS[1], "k": 1}
        (hit,) = client.post("/v1/search", json=text).json()["hits"]
        assert hit["caption"] == CAPTIONS[1]
        answer = client.post("/v1/search", json={**text, "dataset": "theirs"})
        assert (answer.status_code, "hits" in answer.json()) == (400, False)
        assert "were made by" in answer.json()["error"]
    with pytest.raises(UserError, match="were made by"):
        Searcher(theirs).query(text=CAPTIONS[1])


def test_words_are_those_of_the_texts_that_are_added(tmp_path: Path, clip: Clip) -> None:
    cats = make_dataset(tmp_path / "cats", clip)
    searcher = Searcher(cats, clip)
    terms = [(1.0, Text("a red car")), (-1.0, Text("coffee"))]
    found = searcher.query(terms=terms, hybrid=True, k=8)
    vector = searcher.encode(terms=terms)
    assert found == searcher.hits(searcher.hybrid("a red car", vector, 8))
    assert found != searcher.hits(searcher.hybrid("a red car coffee", vector, 8))


def test_of_several_kinds_of_query_clip_retrievals_first_one_counts(
    cats: Dataset, clip: Clip
) -> None:
    knn: dict[str, Any] = {"modality": "image", "num_images": 1, "indice_name": "cats"}
    data = "not even base64"
    vector = clip.encode_texts([CAPTIONS[4]])[0].tolist()
    with served(cats, clip=clip) as client:
        for text in CAPTIONS[:2]:
            body = {**knn, "text": text, "image": data, "image_url": "x", "embedding_input": vector}
            assert client.post("/knn-service", json=body).json()[0]["caption"] == text
        body = {**knn, "text": "", "image": data, "embedding_input": vector}
        assert client.post("/knn-service", json=body).status_code == 400


class Fake:
    """A model of no weight, which counts what it encodes, and fails when it is told to."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.go, self.error = threading.Event(), False
        self.go.set()

    def encode_texts(self, texts: Sequence[str]) -> Any:
        self.go.wait(30)
        if self.error:
            raise ValueError("a model may fail in any way")
        self.texts += texts
        return np.ones((len(texts), 4), np.float32)


def encoder_of(fake: Fake) -> Encoder:
    return Encoder(lambda: fake, Metrics())  # type: ignore[arg-type, return-value]


def test_two_thousand_may_wait_for_a_model_and_no_more() -> None:
    fake = Fake()
    fake.go.clear()
    encoder = encoder_of(fake)

    async def ask() -> list[Any]:
        tasks = [asyncio.create_task(encoder.text(f"text {n}")) for n in range(2500)]
        await asyncio.sleep(0)
        fake.go.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    found = asyncio.run(ask())
    encoder.close()
    refused = [one for one in found if isinstance(one, Refused)]
    assert {one.status for one in refused} == {503}
    assert all("Retry-After" in one.headers for one in refused)
    assert 2000 <= len(found) - len(refused) <= 2000 + batching.BATCH


def test_the_vectors_of_the_last_texts_are_kept_and_of_no_others() -> None:
    fake = Fake()
    encoder = encoder_of(fake)

    async def ask() -> None:
        await encoder.text("the first")
        await encoder.text("the first")
        assert fake.texts == ["the first"]
        for start in range(0, batching.KEPT + 100, 1000):
            await asyncio.gather(*(encoder.text(f"{start + n}") for n in range(1000)))
        count = len(fake.texts)
        await encoder.text(fake.texts[-1])
        assert len(fake.texts) == count
        await encoder.text("the first")
        assert len(fake.texts) == count + 1

    asyncio.run(ask())
    encoder.close()


def test_whoever_waits_hears_of_a_failure_and_the_next_are_answered() -> None:
    fake = Fake()
    encoder = encoder_of(fake)

    async def ask() -> None:
        fake.error = True
        tasks = [encoder.text(f"text {n}") for n in range(3)]
        heard = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 10)
        assert all(isinstance(one, Exception) for one in heard)
        fake.error = False
        assert (await asyncio.wait_for(encoder.text("text 1"), 10)).tolist() == [1] * 4

    asyncio.run(ask())
    encoder.close()

    async def late() -> None:
        with pytest.raises(Refused):
            await asyncio.wait_for(encoder.text("too late"), 10)

    asyncio.run(late())


def test_a_model_that_did_not_load_is_tried_again_after_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tries, fake = [], Fake()

    def load() -> Any:
        tries.append(1)
        if len(tries) < 3:
            raise UserError("no weights yet")
        return fake

    encoder = Encoder(load, Metrics())

    async def ask() -> None:
        for _ in range(3):
            with pytest.raises(UserError, match="no weights yet"):
                await encoder.text("a cat")
        assert len(tries) == 1
        monkeypatch.setattr(batching, "AGAIN_SEC", -1.0)
        with pytest.raises(UserError, match="no weights yet"):
            await encoder.text("a cat")
        assert len(await encoder.text("a cat")) == 4

    asyncio.run(ask())
    encoder.close()
    assert len(tries) == 3


# -- beginning, failing ----------------------------------------------------------------------------


def test_a_service_that_has_not_begun_or_has_ended_is_not_ready(tmp_path: Path) -> None:
    app = create_app([small(tmp_path / "d", unit_rows(3))], ServeSettings(hosts=("testserver",)))
    outside = TestClient(app)
    assert outside.get("/readyz").status_code == 503
    assert outside.get("/healthz").status_code == 200
    with TestClient(app) as client:
        assert client.get("/readyz").json()["detail"] == {"rows": {"synthetic": 3}}
    ended = outside.get("/readyz")
    assert (ended.status_code, "retry-after" in ended.headers) == (503, True)


def test_an_unexpected_failure_tells_the_log_and_not_the_asker(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = FastAPI()
    handle_problems(app, lambda path: ["GET"])

    @app.get("/fails")
    def fails() -> None:
        raise RuntimeError("/home/operator/secret")

    answer = TestClient(app, raise_server_exceptions=False).get("/fails")
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert answer.json().keys() == {"type", "title", "status", "detail", "code", "error"}
    assert "/home/operator/secret" in caplog.text
