"""What a condition may cost, and that nobody else pays for it: sent over real sockets."""

import itertools
import select
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from frenchcat.curate.clip.model import Clip
from frenchcat.curate.dataset import Dataset
from tests.index.service.live import Live, live
from tests.index.service.served import make_dataset
from tests.sample.columns import add_columns

CHEAP = "key >= '000000005'"
LONG = "bin(bin(bin(bin(bin({})))))"
ENDLESS = f"levenshtein({LONG.format('key')}, {LONG.format('caption')}) > 1"  # hours, in one call
LARGE = "length(" + "bin(" * 7 + "caption" + ")" * 7 + ") > 1"  # 300 MB, which a machine has


@pytest.fixture(scope="module")
def eight(tmp_path_factory: pytest.TempPathFactory, clip: Clip) -> Dataset:
    return make_dataset(tmp_path_factory.mktemp("conditions") / "cats", clip)


@pytest.fixture(scope="module")
def one(eight: Dataset) -> Iterator[Live]:
    """One condition at a time, for as long as anybody waits for it; none may wait besides."""
    settings = {"condition_processes": 1, "condition_waiting": 1, "condition_sec": 3600}
    with live(eight, deadline_sec=600, **settings) as service:
        yield service


def asked(where: str | None) -> dict[str, Any]:
    return {"vector": [1.0] * 512, "k": 8, "where": where}


def test_a_search_without_a_condition_does_not_wait_and_who_left_holds_nothing(one: Live) -> None:
    endless = one.send("/v1/search", asked(ENDLESS))
    one.wait_for("http_requests_running 2.0")  # and the one that asks for it
    others = (asked(f"width > {number}") for number in itertools.count(7))  # none is remembered
    while (refused := one.post("/v1/search", next(others))).status_code == 200:
        # The endless one is not at work yet, or was refused as it came while another was.
        if select.select([endless], [], [], 0)[0]:
            endless.close()
            endless = one.send("/v1/search", asked(ENDLESS))
    assert (refused.status_code, "condition_waiting" in refused.json()["error"]) == (503, True)
    assert len(one.post("/v1/search", asked(None)).json()["hits"]) == 8
    endless.close()
    one.wait_for('status="499"')
    found = one.post("/v1/search", asked(CHEAP)).json()["hits"]
    assert {hit["key"] for hit in found} == {f"00000000{row}" for row in (5, 6, 7)}


def test_a_condition_that_takes_too_long_is_refused_in_words(eight: Dataset) -> None:
    with live(eight, condition_sec=0.5, condition_processes=3) as service:
        where = {"where": ENDLESS}
        ways = (
            lambda: service.post("/v1/search", asked(ENDLESS)),
            lambda: service.post("/v1/browse", where),
            lambda: service.client.get("/v1/datasets/cats/map", params=where),
        )
        with ThreadPoolExecutor(3) as threads:
            for answer in [threads.submit(way) for way in ways]:
                assert answer.result().status_code == 400
                assert "longer than 0.5 s (condition_sec)" in answer.result().json()["error"]


def test_a_condition_that_needs_much_memory_is_refused_in_words(eight: Dataset) -> None:
    with live(eight, condition_memory_bytes=2**27, condition_sec=3600) as service:
        answer = service.post("/v1/search", asked(LARGE))
        assert answer.status_code == 400
        assert "134,217,728 bytes of memory (condition_memory_bytes)" in answer.json()["error"]
        assert len(service.post("/v1/search", asked(CHEAP)).json()["hits"]) == 3


def test_askers_of_one_condition_share_it_and_one_that_stays_is_answered(eight: Dataset) -> None:
    slow = f"length({LONG.format('caption')}) > 1"
    with live(eight, condition_processes=1, condition_waiting=1) as service:
        for left in (service.send("/v1/browse", {"where": slow}) for _ in range(3)):
            left.close()
        assert service.post("/v1/browse", {"where": slow}).json()["total"] == 8


def test_a_selection_ends_with_its_request_and_leaves_the_dataset_free(
    tmp_path: Path, clip: Clip
) -> None:
    cats = make_dataset(tmp_path / "cats", clip)
    with live(cats, deadline_sec=3.0) as service:
        answer = service.post("/v1/selections", {"name": "never", "where": ENDLESS})
        assert answer.status_code == 503
    with live(cats) as service:
        made = service.post("/v1/selections", {"name": "late", "where": CHEAP})
        assert (made.status_code, made.json()["rows"]) == (201, 3)
        assert [one["name"] for one in service.client.get("/v1/selections").json()] == ["late"]


def test_a_condition_follows_the_dataset(tmp_path: Path, clip: Clip) -> None:
    """Its bitmap is that of the rows as they are, not of when it was asked for first."""
    cats = make_dataset(tmp_path / "cats", clip)
    add_columns(cats, "scores", aesthetic=[float(row) for row in range(8)])
    with live(cats, allow_remove=True) as service:
        where = asked("aesthetic >= 5")
        assert len(service.post("/v1/search", where).json()["hits"]) == 3
        shown = service.post("/v1/remove", {"by": "key", "value": "000000006"}).json()
        gone = {"by": "key", "value": "000000006", "confirm": True, "token": shown["token"]}
        assert service.post("/v1/remove", gone).json()["removed"]
        keys = {hit["key"] for hit in service.post("/v1/search", where).json()["hits"]}
        assert keys == {"000000005", "000000007"}


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("nope = 1", "no column 'nope'"),
        ("read_text('/etc/passwd') <> ''", "not allowed"),
        ("caption = 1", "fails"),
    ],
)
def test_a_mistake_in_a_condition_is_told_as_before(one: Live, where: str, said: str) -> None:
    answer = one.post("/v1/search", asked(where))
    assert (answer.status_code, said in answer.json()["error"]) == (400, True), answer.text
