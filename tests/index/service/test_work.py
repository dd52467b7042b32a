"""What is looked through and decided: clusters, failed rows, decisions; and who may decide."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from frenchcat.curate.clip.model import Clip
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.decisions import decisions
from frenchcat.curate.removals import Request, log
from frenchcat.curate.remove.match import RemovalQuery
from frenchcat.curate.remove.request import remove
from tests.index.service.served import served
from tests.index.service.test_stage_columns import KEYS, make
from tests.sample.row import Row
from tests.sample.write import write

CATS = "/v1/datasets/cats"


@pytest.fixture(scope="module")
def cats(tmp_path_factory: pytest.TempPathFactory, clip: Clip) -> Dataset:
    dataset = make(tmp_path_factory.mktemp("work") / "cats", clip)
    failed = [Row(url=f"http://a.org/{n}", failed="http_404: gone") for n in range(3)]
    failed += [Row(url="http://a.org/x", failed="opted_out:noai: said so")]
    write(dataset, "00001", failed, ("tar", "sidecar"))
    return dataset


@pytest.fixture(scope="module")
def client(cats: Dataset, clip: Clip) -> Iterator[TestClient]:
    with served(cats, clip=clip, condition_sec=60, allow_decide=True) as client:
        yield client


def test_failed_rows_are_shown_by_reason(client: TestClient) -> None:
    assert client.get(f"{CATS}/info").json()["failed_reasons"] == {
        "http_404": 3,
        "opted_out:noai": 1,
    }
    found = client.get(f"{CATS}/failed", params={"reason": "http_404", "k": 2}).json()
    assert found["total"] == 3
    assert [(row["key"], row["url"]) for row in found["rows"]] == [
        ("000010000", "http://a.org/0"),
        ("000010001", "http://a.org/1"),
    ]
    assert found["rows"][0]["detail"] == "gone"
    signal = client.get(f"{CATS}/failed", params={"reason": "opted_out:noai"}).json()
    assert [row["detail"] for row in signal["rows"]] == ["said so"]


def test_without_a_reason_failed_rows_are_counted_by_it(client: TestClient) -> None:
    found = client.get(f"{CATS}/failed").json()
    assert list(found["reasons"].items()) == [("http_404", 3), ("opted_out:noai", 1)]
    assert found["total"] == 4
    assert [row["reason"] for row in found["rows"]] == ["http_404"] * 3 + ["opted_out:noai"]
    assert len(client.get(f"{CATS}/failed", params={"k": 2}).json()["rows"]) == 2
    one = client.get(f"{CATS}/failed", params={"reason": "opted_out:noai"}).json()
    assert (one["reasons"], one["total"]) == (found["reasons"], 1)


@pytest.mark.parametrize("reason", ["none", "", "x' OR TRUE --", "http_404\x00", "opted_out"])
def test_a_reason_that_no_row_has_is_told_those_that_there_are(
    client: TestClient, reason: str
) -> None:
    answer = client.get(f"{CATS}/failed", params={"reason": reason})
    assert (answer.status_code, answer.json()["code"]) == (404, "not-found")
    assert answer.json()["detail"] == (
        f"no row of cats failed for {reason!r}; rows failed for: http_404, opted_out:noai"
    )


def test_a_failed_row_that_was_removed_is_not_shown(clip: Clip, tmp_path: Path) -> None:
    """A removal takes rows without an image along: they have an address and a caption."""
    dataset = make(tmp_path / "cats", clip)
    failed = [Row(url=f"http://{host}/1", failed="http_404: gone") for host in ("a.org", "b.org")]
    write(dataset, "00001", failed, ("tar", "sidecar"))
    with served(dataset, clip=clip) as client:
        path = f"{CATS}/failed"
        assert client.get(path).json()["total"] == 2
        with dataset.lock():
            remove(dataset, RemovalQuery("domain", "a.org"), [])
        left = client.get(path).json()
        assert [row["url"] for row in left["rows"]] == ["http://b.org/1"]
        assert (left["total"], left["reasons"]) == (1, {"http_404": 1})
        with dataset.lock():
            remove(dataset, RemovalQuery("domain", "b.org"), [])
        assert client.get(path).json()["reasons"] == {}
        none = client.get(path, params={"reason": "http_404"})
        assert none.json()["detail"].endswith("nor for any other reason")


def test_clusters_are_looked_through_and_decided_about(client: TestClient, cats: Dataset) -> None:
    """The cluster of the sample has the rows 0, 3 and 5."""
    members = [KEYS[0], KEYS[3], KEYS[5]]

    def shown(**asked: bool) -> list[list[tuple[str, bool | None]]]:
        found = client.get(f"{CATS}/clusters", params=asked).json()
        assert found["total"] == len(found["clusters"])
        return [
            [(row["key"], row["by_hand"]) for row in one["members"]] for one in found["clusters"]
        ]

    assert shown(undecided=True) == [[(key, None) for key in members]]
    assert client.get(f"{CATS}/clusters", params={"skip": 1}).json()["clusters"] == []
    made = client.post(f"{CATS}/decisions", json={"keep": False, "keys": members[1:], "note": "n"})
    assert made.status_code == 201
    assert made.json()["keys"] == members[1:]
    assert shown() == [[(members[0], None), (members[1], False), (members[2], False)]]
    assert shown(undecided=True) == []
    every = {"where": "reason = 'by_hand'", "dropped": True, "duplicates": True}
    assert client.post(f"{CATS}/rows", json=every).json()["total"] == 2
    rows = client.get(f"{CATS}/rows/{members[1]}").json()
    assert (rows["keep"], rows["reason"]) == (False, "by_hand")
    number = made.json()["number"]
    undone = client.delete(f"{CATS}/decisions/{number}")
    assert (undone.json()["number"], undone.json()["undone"]) == (number, True)
    assert client.get(f"{CATS}/rows/{members[1]}").json()["keep"] is True
    listed = client.get(f"{CATS}/decisions").json()
    assert [one["number"] for one in listed] == [one.number for one in decisions(cats)]
    assert [(one["keep"], one["undoes"]) for one in listed[-2:]] == [(False, None), (None, number)]
    log(cats, Request(1, "key", "2026-01-01T00:00:00Z", keys=(members[2],)))
    assert shown() == [[(members[0], None), (members[1], None)]]


def test_what_cannot_be_decided_is_refused(client: TestClient, cats: Dataset, clip: Clip) -> None:
    unknown = client.post(f"{CATS}/decisions", json={"keep": True, "keys": ["000009999"]})
    assert (unknown.status_code, unknown.json()["code"]) == (404, "not-found")
    assert client.post(f"{CATS}/decisions", json={"keep": True, "keys": []}).status_code == 422
    assert client.delete(f"{CATS}/decisions/99").status_code == 404
    with cats.lock():
        busy = client.post(f"{CATS}/decisions", json={"keep": True, "keys": [KEYS[1]]})
    assert (busy.status_code, busy.json()["code"]) == (409, "busy")
    before = decisions(cats)
    with served(cats, clip=clip, host="0.0.0.0") as public:  # no keys
        for answer in (
            public.post(f"{CATS}/decisions", json={"keep": True, "keys": [KEYS[1]]}),
            public.delete(f"{CATS}/decisions/1"),
        ):
            assert (answer.status_code, answer.json()["code"]) == (403, "not-allowed")
        assert public.get("/config.json").json()["frenchcat"]["mayDecide"] is False
    assert decisions(cats) == before
