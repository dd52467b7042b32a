"""Pages of other sites: refused wherever it costs or changes something, unless they are allowed."""

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from starlette.datastructures import Headers

from frenchcat.curate.dataset import Dataset
from frenchcat.index.service.app import ROUTERS
from frenchcat.index.service.keys import public_paths
from frenchcat.index.service.origins import foreign_origin
from tests.index.service.served import served

ELSEWHERE = "https://elsewhere.example"
CROSS = {"Sec-Fetch-Site": "cross-site"}
FOREIGN = ({**CROSS, "Origin": ELSEWHERE}, CROSS, {"Origin": ELSEWHERE}, {"Origin": "null"})


def routes(client: TestClient) -> Iterator[tuple[str, str]]:
    for path, methods in client.get("/openapi.json").json()["paths"].items():
        for method in methods:
            yield method, path.replace("{key}", "000000000").replace("{dataset}", "cats")


@pytest.mark.parametrize("headers", FOREIGN)
def test_every_route_that_is_not_public_refuses_them(
    cats: Dataset, headers: dict[str, str]
) -> None:
    public = public_paths(ROUTERS)
    body: dict[str, Any] = {"content": b'{"by": "key"}', "headers": headers}
    with served(cats, allow_remove=True) as client:
        for method, path in routes(client):
            given = body if method == "post" else {"headers": headers}
            answer = client.request(method, path.replace("{name}", "cats"), **given)
            assert (answer.status_code == 403) == (path not in public), path
            if path not in public:
                assert "--cors" in answer.json()["error"]
        for path in ("/", "/app.js", "/healthz", "/config.json"):  # a link leads to the page
            assert client.get(path, headers=headers).status_code == 200


def test_the_page_and_programs_and_allowed_sites_are_answered(cats: Dataset) -> None:
    search = {"vector": [1.0] * 512, "k": 1}
    own = {"Origin": "http://testserver", "Sec-Fetch-Site": "same-origin"}
    for cors, headers, status in (
        ((), {}, 200),
        ((), own, 200),
        ((), {"Sec-Fetch-Site": "none"}, 200),
        ((), {"Origin": "http://testserver"}, 200),
        ((ELSEWHERE,), FOREIGN[0], 200),
        ((f" {ELSEWHERE.upper()}/",), FOREIGN[0], 200),
        (("*",), FOREIGN[0], 200),
        (("https://another.example",), FOREIGN[0], 403),
    ):
        with served(cats, cors=cors) as client:
            answer = client.post("/v1/search", json=search, headers=headers)
            assert answer.status_code == status, (cors, headers)


@pytest.mark.parametrize(
    ("origin", "host", "foreign"),
    [
        ("http://127.0.0.1:1234", "127.0.0.1:1234", False),
        ("http://127.0.0.1:3000", "127.0.0.1:1234", True),  # another service of this machine
        ("http://localhost:1234", "127.0.0.1:1234", True),
        ("https://cats.example", "cats.example", False),  # a proxy took TLS off
        ("https://CATS.example:443", "cats.example", False),
        ("http://[::1]:1234", "[::1]:1234", False),
        ("https://cats.example.evil", "cats.example", True),
        ("https://cats.example:x", "cats.example", True),
        ("file://", "127.0.0.1:1234", True),
    ],
)
def test_an_origin_is_compared_by_host_and_port(origin: str, host: str, foreign: bool) -> None:
    headers = {"origin": origin, "host": host}
    assert (foreign_origin(Headers(headers), ()) is not None) == foreign
    behind = Headers({**headers, "sec-fetch-site": "same-origin"})  # the proxy changed Host
    assert foreign_origin(behind, ()) is None
    assert foreign_origin(Headers({**headers, "sec-fetch-site": "same-site"}), ()) is not None
