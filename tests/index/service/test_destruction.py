"""Nothing is lost that was not seen: removals are of their previews, names are not taken twice."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from frenchcat.curate import select
from frenchcat.curate.clip.model import Clip
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.removals import removed_keys
from tests.index.service.served import make_dataset, served

ONE: dict[str, Any] = {"by": "key", "value": "000000002"}
MANY: dict[str, Any] = {"by": "key", "value": "000000003", "near": True}  # all eight


@pytest.fixture
def cats(tmp_path: Path, clip: Clip) -> Dataset:
    """Eight rows, each of them a near copy of the others."""
    return make_dataset(tmp_path / "cats", clip, ["a cat"] * 8)


@pytest.fixture
def client(cats: Dataset) -> Iterator[TestClient]:
    with served(cats, allow_remove=True) as client:
        yield client


def previewed(client: TestClient, body: dict[str, Any]) -> Any:
    answer = client.post("/v1/remove", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def confirmed(client: TestClient, body: dict[str, Any], token: str | None, **more: Any) -> Any:
    return client.post("/v1/remove", json={**body, "confirm": True, "token": token, **more})


def test_a_removal_without_a_preview_is_refused(client: TestClient, cats: Dataset) -> None:
    for token in (None, "", "0" * 32):
        answer = confirmed(client, ONE, token)
        assert answer.status_code == 409
        assert "preview" in answer.json()["error"]
    assert removed_keys(cats) == frozenset()
    shown = previewed(client, ONE)
    done = confirmed(client, ONE, shown["token"]).json()
    assert (done["removed"], done["total"], done["token"]) == (True, 1, None)
    assert removed_keys(cats) == {ONE["value"]}


@pytest.mark.parametrize(
    "other", [MANY, {"by": "key", "value": "000000003"}, {**ONE, "near": True}]
)
def test_the_preview_of_one_thing_removes_nothing_else(
    client: TestClient, cats: Dataset, other: dict[str, Any]
) -> None:
    token = previewed(client, ONE)["token"]
    answer = confirmed(client, other, token, total=8)
    assert answer.status_code == 409
    assert "of another preview" in answer.json()["error"]
    assert removed_keys(cats) == frozenset()


def test_rows_that_changed_since_the_preview_are_shown_anew(
    client: TestClient, cats: Dataset
) -> None:
    shown = previewed(client, MANY)
    assert shown["total"] == 8
    confirmed(client, ONE, previewed(client, ONE)["token"])
    late = confirmed(client, MANY, shown["token"])
    assert (late.status_code, "matches 7 rows now" in late.json()["error"]) == (409, True)
    assert removed_keys(cats) == {ONE["value"]}
    again = previewed(client, MANY)
    assert confirmed(client, MANY, again["token"]).json()["total"] == 7


def test_beyond_a_bound_the_number_is_confirmed(cats: Dataset) -> None:
    with served(cats, allow_remove=True, confirm_rows=7) as client:
        shown = previewed(client, MANY)
        assert (shown["total"], shown["confirm_total"]) == (8, True)
        assert previewed(client, ONE)["confirm_total"] is False
        for total in (None, 7, 80):
            answer = confirmed(client, MANY, shown["token"], total=total)
            assert answer.status_code == 409
            assert "total=8" in answer.json()["error"]
        assert removed_keys(cats) == frozenset()
        assert confirmed(client, MANY, shown["token"], total=8).json()["removed"]
    assert len(removed_keys(cats)) == 8


def test_a_selection_takes_no_other_ones_name(cats: Dataset) -> None:
    first = {"name": "late", "where": "key >= '000000005'"}
    other = {"name": "late", "where": "key >= '000000006'"}
    with served(cats) as client:
        assert client.post("/v1/selections", json=first).status_code == 201
        refused = client.post("/v1/selections", json=other)
        assert (refused.status_code, "'late'" in refused.json()["error"]) == (409, True)
        assert "replace" in refused.json()["error"]
        assert len(select.open_selection(cats, "late")) == 3
        made = client.post("/v1/selections", json={**other, "replace": True})
        assert (made.status_code, made.json()["rows"]) == (201, 2)
    assert len(select.open_selection(cats, "late")) == 2
