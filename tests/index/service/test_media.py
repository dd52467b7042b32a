"""Pictures and thumbnails, from the tars by offset."""

import io
from pathlib import Path

import pytest
from PIL import Image

from frenchcat.curate.clip.model import Clip
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.remove import RemovalQuery, compact, matches, remove
from tests.index.service.served import make_dataset, served
from tests.sample.pictures import picture


def take_out(dataset: Dataset, key: str) -> None:
    with dataset.lock():
        query = RemovalQuery("key", key)
        remove(dataset, query, matches(dataset, query))


def test_a_picture_is_the_stored_bytes(cats: Dataset) -> None:
    with served(cats) as client:
        answer = client.get("/v1/pictures/cats/000000003")
    assert answer.content == picture(3)
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in answer.headers["content-security-policy"]


def test_a_thumbnail_is_a_small_jpeg(cats: Dataset) -> None:
    with served(cats) as client:
        answer = client.get("/v1/thumbnails/cats/000000003?size=16")
        again = client.get("/v1/thumbnails/cats/000000003?size=16")
    with Image.open(io.BytesIO(answer.content)) as small:
        assert (small.format, small.size) == ("JPEG", (8, 8))  # never larger than it was
    assert again.content == answer.content


def test_an_unchanged_picture_is_not_sent_again(cats: Dataset) -> None:
    with served(cats) as client:
        tag = client.get("/v1/pictures/cats/000000003").headers["etag"]
        answer = client.get("/v1/pictures/cats/000000003", headers={"If-None-Match": tag})
    assert (answer.status_code, answer.content) == (304, b"")


def test_removed_pictures_are_gone_at_once(cats: Dataset) -> None:
    routes = [f"/v1/{kind}/cats/000000003" for kind in ("pictures", "thumbnails", "rows")]
    with served(cats) as client:
        assert [client.get(route).status_code for route in routes] == [200] * 3
        take_out(cats, "000000003")
        assert [client.get(route).status_code for route in routes] == [404] * 3


def test_a_tar_rewritten_under_an_open_index_gives_no_other_picture(cats: Dataset) -> None:
    with served(cats, poll_sec=3600) as client:
        before = client.get("/v1/pictures/cats/000000006").content
        take_out(cats, "000000001")
        with cats.lock():
            compact(cats)
        assert client.get("/v1/pictures/cats/000000006").content == before
        assert client.get("/v1/pictures/cats/000000001").status_code == 404


@pytest.mark.parametrize(
    "key",
    [
        "000000099",
        "../dataset.json",
        "..%2F..%2Fetc%2Fpasswd",
        "%2e%2e%2fdataset.json",
        "000000003%00",
        "0000000030000000300000003000000030000000300000003",
        "3",  # the id of 000000003, not its key
        "-1",
        "' OR 1=1 --",
        "%F0%9F%90%88",
        "%ff%fe",
    ],
)
def test_keys_that_are_no_rows_are_not_found(cats: Dataset, key: str) -> None:
    with served(cats) as client:
        for kind in ("pictures", "thumbnails", "rows", "duplicates"):
            answer = client.get(f"/v1/{kind}/cats/{key}")
            assert answer.status_code == 404, answer.text
            assert answer.json()["error"]
            assert client.get(f"/v1/{kind}/dogs/{key}").status_code == 404


def test_names_with_odd_characters_are_served(tmp_path: Path, clip: Clip) -> None:
    dataset = make_dataset(tmp_path / "cats", clip, ["a cat"])
    dataset.update_manifest({"name": "chats & chiens/été"})
    with served(dataset, clip=clip) as client:
        (hit,) = client.post("/v1/search", json={"text": "a cat"}).json()["hits"]
        row = client.get(f"/v1/rows/{hit['key']}")
        assert row.status_code == 404
        assert client.get(hit["picture"]).content == picture(0)
