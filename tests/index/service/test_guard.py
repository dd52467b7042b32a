"""Who may ask, how much, how often, how long."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frenchcat.curate.dataset import Dataset
from frenchcat.curate.errors import UserError
from frenchcat.index.service.keys import read_keys
from frenchcat.index.service.rates import Rates
from frenchcat.index.service.settings import ServeSettings
from tests.index.service.served import served

KEY = "0123456789abcdef"


@pytest.fixture
def keys(tmp_path: Path) -> str:
    path = tmp_path / "keys.txt"
    path.write_text(f"# ours\n{KEY}\nanother-key-of-ours\n")
    return str(path)


def test_data_asks_for_a_key_and_the_page_does_not(cats: Dataset, keys: str) -> None:
    protected = (
        "/v1/datasets",
        "/v1/pictures/cats/000000001",
        "/indices-list",
        "/metrics",
        "/openapi.json",
    )
    with served(cats, api_key_file=keys) as client:
        for route in protected:
            answer = client.get(route)
            assert answer.status_code == 401
            assert "Bearer KEY" in answer.json()["error"]
            assert client.get(route, headers={"Authorization": f"Bearer {KEY}x"}).status_code == 401
            assert client.get(route, headers={"Authorization": f"Bearer {KEY}"}).status_code == 200
            assert client.get(route, headers={"X-API-Key": "another-key-of-ours"}).is_success
            doubled = "http://testserver/" + route  # is no way round
            assert client.get(doubled).status_code == 401
        for route in ("/healthz", "/readyz", "/config.json"):
            assert client.get(route).status_code == 200
        assert client.post("/knn-service", content="{}").status_code == 401
        assert client.get("/config.json").json()["frenchcat"]["datasets"] == []


@pytest.mark.parametrize("text", ["", "# nothing\n\n", "short\n"])
def test_a_file_without_good_keys_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "keys").write_text(text)
    with pytest.raises(UserError, match="--api-key-file"):
        read_keys(str(tmp_path / "keys"))
    with pytest.raises(UserError, match="cannot be read"):
        read_keys(str(tmp_path / "none"))


def test_removal_for_everybody_is_refused() -> None:
    with pytest.raises(UserError, match="--api-key-file"):
        ServeSettings(host="0.0.0.0", allow_remove=True).check()
    ServeSettings(allow_remove=True).check()
    ServeSettings(host="0.0.0.0", allow_remove=True, api_key_file="keys").check()


@given(
    rate=st.floats(0.5, 50),
    gaps=st.lists(st.floats(0, 2), min_size=1, max_size=200),
)
def test_never_more_than_rate_and_burst(rate: float, gaps: list[float]) -> None:
    now = [0.0]
    rates = Rates(rate, lambda: now[0])
    allowed = []
    for gap in gaps:
        now[0] += gap
        wait = rates.wait_sec("somebody")
        if not wait:
            allowed.append(now[0])
        else:
            assert wait * rate <= 1 + 1e-9
    burst = max(1.0, 2 * rate)
    times = np.array(allowed)
    for start in range(len(times)):
        passed = times[start:] - times[start]
        assert (np.arange(1, len(passed) + 1) <= burst + rate * passed + 1e-6).all()
    assert not rates.wait_sec("somebody else")


def test_too_many_requests_are_told_when_to_come_back(cats: Dataset) -> None:
    with served(cats, rate=1) as client:
        answers = [client.get("/healthz") for _ in range(5)]
    assert [answer.status_code for answer in answers][:2] == [200, 200]
    assert answers[-1].status_code == 429
    assert answers[-1].headers["retry-after"] == "1"


def test_a_large_body_is_refused_by_its_announcement_and_by_its_bytes(cats: Dataset) -> None:
    sent = 0

    def drip() -> Iterator[bytes]:
        nonlocal sent
        for _ in range(100_000):
            sent += 1000
            yield b" " * 1000

    with served(cats, max_body_bytes=10_000) as client:
        for route in ("/v1/search", "/knn-service", "/v1/search/picture"):
            announced = client.post(route, content=b"x" * 10_001)
            streamed = client.post(route, content=drip())
            assert announced.status_code == streamed.status_code == 413
            assert "larger than" in streamed.json()["error"]


def test_loopback_is_not_reached_by_another_name(cats: Dataset) -> None:
    with served(cats, hosts=()) as client:
        for host, status in (
            ("evil.example", 403),
            ("127.0.0.1.evil.example", 403),
            ("127.0.0.1:1234", 200),
            ("localhost", 200),
            ("[::1]:1234", 200),
        ):
            assert client.get("/v1/datasets", headers={"Host": host}).status_code == status


def test_a_request_that_does_not_end_is_ended(cats: Dataset) -> None:
    with served(cats, deadline_sec=0.3) as client:
        app = client.app

        async def slowly(*args: object) -> None:
            await asyncio.Event().wait()

        app.state.service.work.search = slowly  # type: ignore[attr-defined]
        body = {"vector": [1.0] * 512, "k": 1}
        answer = client.post("/v1/search", json=body)
    assert answer.status_code == 503
    assert answer.headers["retry-after"]
    assert "longer than 0.3 s" in answer.json()["error"]


def test_other_sites_may_ask_only_where_they_are_named(cats: Dataset) -> None:
    ask = {"Origin": "https://page.example", "Access-Control-Request-Method": "POST"}
    with served(cats) as client:
        answer = client.get("/indices-list", headers={"Origin": "https://page.example"})
        assert "access-control-allow-origin" not in answer.headers
    with served(cats, cors=("https://page.example",)) as client:
        allowed = client.options("/v1/search", headers=ask)
        assert allowed.headers["access-control-allow-origin"] == "https://page.example"
        other = client.get("/indices-list", headers={"Origin": "https://other.example"})
        assert "access-control-allow-origin" not in other.headers
        mine = client.get("/indices-list", headers={"Origin": "https://page.example"})
        assert mine.headers["access-control-allow-origin"] == "https://page.example"
