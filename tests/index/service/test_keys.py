"""Keys and rates by the letter: every route, every key, each client by itself."""

import asyncio
import hmac
import re
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.routing import Route

from frenchcat.curate.dataset import Dataset
from frenchcat.curate.errors import UserError
from frenchcat.index.build import build_index
from frenchcat.index.service.app import ROUTERS
from frenchcat.index.service.keys import public, public_paths, read_keys
from frenchcat.index.service.page import FOLDER
from frenchcat.index.service.rates import CLIENTS, Rates
from frenchcat.index.service.settings import ServeSettings
from tests.index.service.served import served
from tests.sample.embedded import embedded
from tests.sample.vectors import unit_rows

KEYS = ("0123456789abcdef", "another-key-of-ours", "the-third-and-last-key")
OPEN = {"/healthz", "/readyz", "/config.json"}


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    dataset = embedded(tmp_path_factory.mktemp("keys") / "rows", unit_rows(5))
    build_index(dataset)
    return dataset


@pytest.fixture
def keys(tmp_path: Path) -> str:
    path = tmp_path / "keys.txt"
    path.write_text("\n".join(KEYS) + "\n")
    return str(path)


def test_every_route_but_three_asks_for_a_key_by_every_method(rows: Dataset, keys: str) -> None:
    """Found by asking the application what routes it has, so that a new one is not forgotten."""
    with served(rows, api_key_file=keys, allow_remove=True) as client:
        paths = client.app.openapi()["paths"]  # type: ignore[attr-defined]
        assert set(paths) >= OPEN
        assert {"/metadata", "/metrics", "/metrics-summary", "/knn-service"} <= set(paths)
        routes = [(method, path) for path in paths for method in (*paths[path], "post", "get")]
        routes += [("get", "/openapi.json"), ("put", "/v1/remove"), ("delete", "/v1/selections")]
        for method, path in routes:
            filled = re.sub(r"\{\w+\}", "x", path)
            for spelling in (filled, f"http://testserver/{filled}", f"http://testserver//{filled}"):
                answer = client.request(method, spelling)
                assert (answer.status_code == 401) == (path not in OPEN), (method, spelling)
                if answer.status_code == 401:
                    assert answer.headers["www-authenticate"] == "Bearer"
                    assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_route_asks_for_a_key_unless_it_stands_on_this_list(rows: Dataset, keys: str) -> None:
    """Each route of each router, those that OpenAPI does not name among them, and every file."""
    routes = [route for router in ROUTERS for route in router.routes if isinstance(route, Route)]
    page = {"/", *(f"/{file.relative_to(FOLDER).as_posix()}" for file in FOLDER.rglob("*.*"))}
    with served(rows, api_key_file=keys) as client:
        app = client.app
        assert isinstance(app, FastAPI)
        routes += [route for route in app.routes if isinstance(route, Route)]
        assert {route.path for route in routes} >= {*OPEN, *app.openapi()["paths"], "/openapi.json"}
        app.add_api_route("/v2/new", lambda: "data", include_in_schema=False)
        app.add_api_route("/healthz/new", lambda: "data")
        app.router.routes[:] = [*app.router.routes[-2:], *app.router.routes[:-2]]  # before the page
        paths = {re.sub(r"\{\w+(:\w+)?\}", "x", route.path) for route in (*routes, *app.routes[:2])}
        for path in {*paths, *page, "/v2/new", "/v1/nothing", "/nothing", "/page", "/healthz/x"}:
            answer = client.get(path)
            assert (answer.status_code == 401) == (path not in OPEN | page), path
        assert client.get("/v2/new", headers={"X-API-Key": KEYS[0]}).json() == "data"


def test_a_route_with_a_parameter_cannot_be_public() -> None:
    router = APIRouter()
    router.get("/open")(public(lambda: None))
    assert public_paths([router]) == {"/open"}
    router.get("/rows/{key}")(public(lambda key: None))
    with pytest.raises(ValueError, match="cannot be public"):
        public_paths([router])


def wrong_keys() -> list[str]:
    key = KEYS[1]
    return ["", key[:-1], key + "x", key.upper(), f"{KEYS[0]} {key}", "x" * 16, "é" * 16, key[::-1]]


@pytest.mark.parametrize("header", ["Authorization", "X-API-Key"])
def test_each_key_and_no_other_opens_by_either_header(
    rows: Dataset, keys: str, header: str
) -> None:
    before = "Bearer " if header == "Authorization" else ""
    with served(rows, api_key_file=keys) as client:
        for key in KEYS:
            sent = {header: before + key}
            assert client.get("/indices-list", headers=sent).json() == ["synthetic"]
        for key in wrong_keys():
            sent_bytes = {header.encode(): (before + key).encode()}
            answer = client.get("/indices-list", headers=sent_bytes)  # type: ignore[arg-type]
            assert answer.status_code == 401, key
            assert key not in answer.text or not key
        assert client.get("/indices-list", params={"api_key": KEYS[0]}).status_code == 401


def test_a_key_is_compared_with_all_of_them_and_in_constant_time(
    rows: Dataset, keys: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As often whichever key fits, or none: by the comparison that takes as long for all bytes."""
    compared: list[bool] = []
    compare: Callable[[Any, Any], bool] = hmac.compare_digest

    def counted(one: Any, other: Any) -> bool:
        compared.append(compare(one, other))
        return compared[-1]

    monkeypatch.setattr(hmac, "compare_digest", counted)
    monkeypatch.setattr(secrets, "compare_digest", counted)
    with served(rows, api_key_file=keys) as client:
        for key, fits in (*((key, 1) for key in KEYS), ("x" * 16, 0), ("", 0)):
            compared.clear()
            client.get("/indices-list", headers={"X-API-Key": key})
            assert (len(compared), sum(compared)) == (len(KEYS), fits)


@pytest.mark.parametrize("ending", ["\n", "\r\n", "  \n", "\t\r\n"])
def test_a_key_is_its_line_without_white_space(rows: Dataset, tmp_path: Path, ending: str) -> None:
    comment = "# a comment that is long enough to be a key"
    text = ending.join(("", f" {KEYS[0]}", "", comment, KEYS[1], ""))
    (tmp_path / "keys").write_bytes(text.encode())
    with served(rows, api_key_file=str(tmp_path / "keys")) as client:
        for key, status in ((KEYS[0], 200), (KEYS[1], 200), (comment, 401), ("", 401)):
            headers = {"Authorization": f"Bearer {key}".strip()}
            assert client.get("/indices-list", headers=headers).status_code == status


@pytest.mark.parametrize("text", ["", "\n \n", "# a comment alone, long enough", "x" * 15, " \r\n"])
def test_a_service_with_a_key_file_that_holds_none_does_not_start(
    rows: Dataset, tmp_path: Path, text: str
) -> None:
    (tmp_path / "keys").write_text(text)
    with (
        pytest.raises(UserError, match="--api-key-file"),
        served(rows, api_key_file=str(tmp_path / "keys")),
    ):
        pass
    (tmp_path / "keys").write_text("x" * 16)
    assert len(read_keys(str(tmp_path / "keys"))) == 1


# -- rates -----------------------------------------------------------------------------------------


@given(rate=st.floats(0.1, 20), early=st.floats(0, 0.98), rounds=st.integers(1, 3))
@settings(max_examples=40)
def test_a_burst_of_twice_the_rate_and_then_as_soon_as_it_was_told(
    rate: float, early: float, rounds: int
) -> None:
    now = [100.0]
    rates = Rates(rate, lambda: now[0])
    burst = int(max(1.0, 2 * rate))
    assert [rates.wait_sec("somebody") for _ in range(burst)] == [0.0] * burst
    for _ in range(rounds):
        wait = rates.wait_sec("somebody")
        assert 0 < wait <= 1 / rate + 1e-6
        now[0] += early * wait  # too soon, which costs nothing
        assert rates.wait_sec("somebody") == pytest.approx((1 - early) * wait, abs=1e-6)
        now[0] += (1 - early) * wait + 1e-6
        assert rates.wait_sec("somebody") == 0
    now[0] += 3600
    assert [rates.wait_sec("somebody") for _ in range(burst)] == [0.0] * burst
    assert rates.wait_sec("somebody") > 0


def test_rates_of_ten_thousand_clients_are_remembered_and_of_no_more() -> None:
    rates = Rates(0.5, lambda: 0.0)
    assert rates.wait_sec("first") == 0
    assert rates.wait_sec("first") > 0
    for number in range(CLIENTS):
        assert rates.wait_sec(f"client {number}") == 0
    assert rates.wait_sec(f"client {CLIENTS - 1}") > 0  # the newest ones
    assert rates.wait_sec("first") == 0  # forgotten


def test_the_rate_is_each_addresss_own_whatever_its_port(rows: Dataset) -> None:
    with served(rows, rate=1) as client:

        def ask(host: str, port: int) -> int:
            one = TestClient(client.app, client=(host, port))
            return one.get("/healthz").status_code

        assert [ask("10.0.0.1", port) for port in range(6)][-1] == 429
        assert [ask("10.0.0.2", port) for port in range(2)] == [200, 200]


def test_the_rate_is_each_keys_own_whatever_its_address(rows: Dataset, keys: str) -> None:
    with served(rows, rate=1, api_key_file=keys) as client:

        def ask(key: str, host: str) -> int:
            one = TestClient(client.app, client=(host, 5))
            return one.get("/indices-list", headers={"X-API-Key": key}).status_code

        assert [ask(KEYS[0], f"10.0.0.{number}") for number in range(6)][-1] == 429
        assert ask(KEYS[1], "10.0.0.1") == ask(KEYS[2], "10.0.0.5") == 200


# -- bodies, deadlines, names ----------------------------------------------------------------------


def asked(client: TestClient, receive: Any, **headers: str) -> tuple[int, bytes]:
    """Status and body of a POST whose body `receive` gives, message by message."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/v1/search",
        "raw_path": b"/v1/search",
        "query_string": b"",
        "headers": [(b"host", b"testserver")]
        + [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 5),
        "server": ("testserver", 80),
    }
    asyncio.run(client.app(scope, receive, send))  # type: ignore[arg-type]
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])


def test_a_body_that_does_not_arrive_is_the_senders_fault(rows: Dataset) -> None:
    started = False

    async def receive() -> dict[str, Any]:
        nonlocal started
        if not started:
            started = True
            return {"type": "http.request", "body": b'{"vector": [1', "more_body": True}
        await asyncio.sleep(3600)
        raise AssertionError

    with served(rows, deadline_sec=0.1) as client:
        status, body = asked(client, receive, content_type="application/json")
    assert status == 408
    assert b"did not arrive within 0.1 s" in body


def test_nothing_of_a_body_that_is_announced_as_too_large_is_read(rows: Dataset) -> None:
    async def receive() -> dict[str, Any]:
        raise AssertionError("the body was asked for")

    with served(rows, max_body_bytes=5000) as client:
        for length in ("5001", "9" * 30):
            assert asked(client, receive, content_length=length)[0] == 413


def test_addresses_that_are_no_routes_make_no_new_numbers(rows: Dataset) -> None:
    with served(rows) as client:
        for path in ("/v1/nothing/here", "/v1/rows/synthetic/000000001", "/v1/rows/dogs/9"):
            client.get(path)
        numbers = client.get("/metrics").text
    assert "nothing" not in numbers
    assert "000000001" not in numbers
    assert 'route="/v1/rows/{dataset}/{key}"' in numbers
    assert 'route="other"' in numbers


def test_it_is_reached_by_the_names_that_it_was_given_and_by_no_other(rows: Dataset) -> None:
    with served(rows, host="0.0.0.0", hosts=("Cats.Example.", "bücher.de", "::1")) as client:
        for host, status in (
            ("cats.example", 200),
            ("CATS.example:8080", 200),
            ("cats.example.", 200),
            ("xn--bcher-kva.de", 200),
            ("[::1]:1234", 200),
            ("cats.example.org", 403),
            ("my.cats.example", 403),
            ("127.0.0.1", 403),
            ("", 403),
        ):
            answer = client.get("/indices-list", headers={"Host": host})
            assert answer.status_code == status, host
    with pytest.raises(ValueError, match="is not a domain"):
        ServeSettings(hosts=("cats.example:8080",))
    with served(rows, host="0.0.0.0", hosts=()) as client:
        assert client.get("/indices-list", headers={"Host": "any.example"}).status_code == 200


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "0.0.0.0", "192.168.1.5", "::"])
@pytest.mark.parametrize("file", [None, "keys.txt"])
def test_who_may_write_where(host: str, file: str | None) -> None:
    private = host in ("127.0.0.1", "localhost", "::1")
    assert ServeSettings(host=host, api_key_file=file).private == private
    assert ServeSettings(host=host, api_key_file=file).may_select == (private or file is not None)
    for said in (True, False):
        assert ServeSettings(host=host, api_key_file=file, allow_select=said).may_select == said
    removing = ServeSettings(host=host, api_key_file=file, allow_remove=True)
    if private or file is not None:
        removing.check()
    else:
        with pytest.raises(UserError, match="without keys would let anybody remove"):
            removing.check()
