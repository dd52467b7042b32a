"""Whatever is sent: a clear 4xx, quickly, and the service goes on."""

import io
import json
import math
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from frenchcat.curate.clip.model import Clip
from frenchcat.curate.dataset import Dataset
from tests.index.service.served import base64_of, make_dataset, served
from tests.sample.pictures import picture


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory, clip: Clip) -> Iterator[TestClient]:
    cats = make_dataset(tmp_path_factory.mktemp("bad") / "cats", clip)
    with served(cats, clip=clip, allow_remove=True) as client:
        yield client


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bomb(width: int, height: int) -> bytes:
    """A PNG of few bytes that claims to be huge."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(10_000_000), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels)


def narrow() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (1, 60_000)).save(out, "PNG")
    return out.getvalue()


PICTURES = {
    "bomb": bomb(60_000, 60_000),
    "small bomb that ends early": bomb(9_000, 9_000),
    "truncated": picture(0, 300, 300, "JPEG")[:-400],
    "a line": narrow(),
    "html": b"<!doctype html><script>alert(1)</script>",
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
    "nothing": b"",
    "zeros": bytes(1000),
    "a tar": (b"ustar" + bytes(1019)) * 4,
    "a broken webp": b"RIFF\xff\xff\xff\xffWEBPVP8X" + bytes(50),
    "an eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(x) run\n",
}


@pytest.mark.parametrize("name", list(PICTURES))
def test_hostile_pictures_are_refused(client: TestClient, name: str) -> None:
    data = PICTURES[name]
    begun = time.monotonic()
    answers = [
        client.post("/v1/search", json={"picture": base64_of(data)}),
        client.post("/v1/search/picture", content=data),
        client.post(
            "/knn-service",
            json={
                "image": base64_of(data),
                "modality": "image",
                "num_images": 1,
                "indice_name": "cats",
            },
        ),
    ]
    for answer in answers:
        assert answer.status_code == 400, (name, answer.text)
        assert "image" in answer.json()["error"]
    assert time.monotonic() - begun < 10
    assert client.post("/v1/search/picture", content=picture(0, 32, 24)).status_code == 200


def test_a_hundred_megabytes_are_refused_before_they_are_read(client: TestClient) -> None:
    answer = client.post("/v1/search/picture", content=bytes(100 * 2**20))
    assert answer.status_code == 413
    assert "send less" in answer.json()["error"]


ADDRESSES = (
    "file:///etc/passwd",
    "ftp://example.org/cat.jpg",
    "http://127.0.0.1:{port}/cat.png",
    "http://localhost:{port}/cat.png",
    "http://[::1]:{port}/cat.png",
    "http://2130706433:{port}/cat.png",
    "http://0x7f.1:{port}/cat.png",
    "http://[::ffff:127.0.0.1]:{port}/cat.png",
    "http://169.254.169.254/latest/meta-data/",
    "http://10.0.0.1/cat.jpg",
    "http://0.0.0.0:{port}/cat.png",
    "gopher://127.0.0.1:{port}/_GET",
    "http://user:password@127.0.0.1:{port}/cat.png",
    "javascript:alert(1)",
    "data:image/png;base64,AAAA",
    "",
    "//",
    "http://",
    "http://\x00/",
    "http://exa mple.org/",
)


class _Site(BaseHTTPRequestHandler):
    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(picture(0, 32, 24))

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def site() -> Iterator[ThreadingHTTPServer]:
    handler = type("Site", (_Site,), {"asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("address", ADDRESSES)
def test_no_address_reaches_into_the_house(
    client: TestClient, site: ThreadingHTTPServer, address: str
) -> None:
    url = address.replace("{port}", str(site.server_port))
    knn = {"image_url": url, "modality": "image", "num_images": 1, "indice_name": "cats"}
    for route, body in (
        ("/v1/search", {"picture_url": url}),
        ("/v1/search", {"terms": [{"picture_url": url}]}),
        ("/knn-service", knn),
    ):
        answer = client.post(route, json=body)
        assert answer.status_code == 400, answer.text
        assert answer.json()["error"]
    assert site.RequestHandlerClass.asked == []  # type: ignore[attr-defined]


def test_an_address_that_is_allowed_is_fetched(
    cats: Dataset, clip: Clip, site: ThreadingHTTPServer
) -> None:
    host = f"127.0.0.1:{site.server_port}"
    body = {"picture_url": f"http://{host}/cat.png", "k": 2}
    with served(cats, clip=clip, allow_hosts=(host,)) as client:
        by_address = client.post("/v1/search", json=body).json()["hits"]
        by_bytes = client.post("/v1/search/picture?k=2", content=picture(0, 32, 24)).json()["hits"]
        assert by_address == by_bytes
    with served(cats, clip=clip, allow_hosts=(host,), remote_pictures=False) as client:
        assert client.post("/v1/search", json=body).status_code == 403


@pytest.mark.parametrize(
    "where",
    [
        "1=1; DROP TABLE rows",
        "1=1) OR (SELECT count(*) FROM rows) > 0 --",
        "key IN (SELECT key FROM rows)",
        "read_text('/etc/passwd') <> ''",
        "getenv('HOME') <> ''",
        "width > (",
        "nope = 1",
        "'",
        "",
        "   ",
        "\x00",
        "caption = 1",
        "1/0 = 'x'",
        "true UNION SELECT 1",
        "true LIMIT 1",
        "COPY rows TO '/tmp/x'",
        "list_transform([1], x -> x) = [1]",
        "(" * 3000 + "true" + ")" * 3000,
    ],
)
def test_a_condition_that_is_more_than_one_is_refused(client: TestClient, where: str) -> None:
    body = {"vector": [1.0] * 512, "where": where}
    for route, value in (
        ("/v1/search", body),
        ("/v1/selections", {"name": "x", "where": where}),
    ):
        answer = client.post(route, json=value)
        assert answer.status_code in (400, 422), answer.text
        assert answer.json()["error"]


VALUES = [
    ({"k": 0}, 422, "k:"),
    ({"k": -1}, 422, "k:"),
    ({"k": 10**6}, 422, "k:"),
    ({"k": 10**40}, 422, "k:"),
    ({"k": 10_000, "skip": 10_000}, 400, "at most 10000"),
    ({"k": "many"}, 422, "k:"),
    ({"vector": [1.0] * 511}, 400, "511 numbers"),
    ({"vector": []}, 400, "0 numbers"),
    ({"vector": [0.0] * 512}, 400, "zero"),
    ({"vector": ["x"] * 512}, 422, "vector.0"),
    ({"vector": [[1.0]] * 512}, 422, "vector.0"),
    ({"dataset": "dogs"}, 404, "there are: cats"),
    ({"dataset": "../cats"}, 404, "no dataset"),
    ({"by": "sound"}, 422, "by:"),
    ({"text": "a cat"}, 422, "exactly one"),
    ({"surprise": 1}, 422, "surprise"),
    ({"vector": None, "text": " "}, 400, "empty"),
    ({"vector": None, "text": "x" * 3000}, 422, "text"),
    ({"vector": None, "like": "9"}, 404, "no row"),
    ({"vector": None, "picture": "====="}, 400, "base64"),
    ({"vector": None, "terms": []}, 422, "terms"),
    ({"vector": None, "terms": [{"text": "a"}, {"text": "a", "weight": -1}]}, 400, "cancel"),
    ({"vector": None, "terms": [{"text": "a", "like": "b"}]}, 422, "exactly one"),
    ({"vector": None, "terms": [{"text": "a", "weight": 1e9}]}, 422, "weight"),
]


@pytest.mark.parametrize("size", [1e308, 1e-308])
def test_a_vector_of_any_length_is_a_direction(client: TestClient, size: float) -> None:
    answer = client.post("/v1/search", json={"vector": [size] * 512, "k": 8})
    assert answer.status_code == 200
    same = client.post("/v1/search", json={"vector": [1.0] * 512, "k": 8})
    assert answer.json()["hits"] == same.json()["hits"]


@pytest.mark.parametrize(("change", "status", "said"), VALUES)
def test_values_that_do_not_do_are_named(
    client: TestClient, change: dict[str, Any], status: int, said: str
) -> None:
    answer = client.post("/v1/search", json={"vector": [1.0] * 512} | change)
    assert answer.status_code == status, answer.text
    assert said in answer.json()["error"]
    assert len(answer.content) < 2000


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"5",
        b'"x"',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"vector": [' + b"NaN," * 511 + b"NaN]}",
        b'{"vector": [' + b"Infinity," * 511 + b"1]}",
        b'{"text": "\\ud800"}',
        b'{"k": ' + b"9" * 10_000 + b', "text": "a"}',
        b'{"ids": [1e400], "indice_name": "cats"}',
        b'{"ids": [9223372036854775808], "indice_name": "cats"}',
        json.dumps({"ids": ["x"], "indice_name": "cats"}).encode(),
        json.dumps({"name": "../../x", "where": "true"}).encode(),
        json.dumps({"by": "key", "value": "\ud800", "confirm": True}).encode(),
    ],
)
@pytest.mark.parametrize(
    "route", ["/v1/search", "/knn-service", "/metadata", "/v1/selections", "/v1/remove"]
)
def test_bodies_of_another_form_are_told(client: TestClient, route: str, body: bytes) -> None:
    answer = client.post(route, content=body, headers={"Content-Type": "application/json"})
    assert 400 <= answer.status_code < 500, answer.text
    assert answer.json()["error"]


@pytest.mark.parametrize(
    "values", [[math.inf, 1, 0.5, "x"], [0, -math.inf, 0.5, "x"], [math.nan, 1, 0.5, "x"], [[], 1]]
)
@pytest.mark.parametrize("route", ["/v1/search", "/v1/browse"])
def test_what_is_no_cursor_is_told(client: TestClient, route: str, values: list[Any]) -> None:
    cursor = base64_of(json.dumps(values).encode())
    text = {"text": "a cat"} if route == "/v1/search" else {}
    answer = client.post(route, json={**text, "cursor": cursor})
    assert (answer.status_code, answer.json()["code"]) == (400, "bad-value")


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".hidden", "x" * 101, "é", "a b", "con\x00"])
def test_a_selections_name_is_no_path(client: TestClient, name: str) -> None:
    answer = client.post("/v1/selections", json={"name": name, "where": "true"})
    assert answer.status_code in (400, 422)


def test_words_that_no_query_may_hold(cats: Dataset, clip: Clip, tmp_path: Path) -> None:
    (tmp_path / "words").write_text("gore\nsome thing\n")
    with served(cats, clip=clip, refused_words=str(tmp_path / "words")) as client:
        for text, status in (
            ("GORE everywhere", 403),
            ("some thing", 403),
            ("Gorey was an artist", 200),
            ("a cat", 200),
        ):
            assert client.post("/v1/search", json={"text": text}).status_code == status
        terms = [{"text": "a cat"}, {"text": "gore", "weight": -1}]
        assert client.post("/v1/search", json={"terms": terms}).status_code == 403
