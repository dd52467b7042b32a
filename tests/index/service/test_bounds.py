"""What one visitor may hold of a service, sent by the byte over real sockets."""

import asyncio
import io
import json
import select
import socket
import struct
import threading
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
import uvicorn
from PIL import Image
from uvicorn.server import ServerState

from frenchcat.curate.clip.model import Clip
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.errors import UserError
from frenchcat.index.search import Hit
from frenchcat.index.service import media
from frenchcat.index.service.connections import protocol_of
from frenchcat.index.service.pixels import PixelBudget, claimed_size
from frenchcat.index.service.served_dataset import ServedDataset
from frenchcat.index.service.settings import ServeSettings
from tests.index.service.live import WAIT_SEC, Live, live
from tests.index.service.served import make_dataset
from tests.sample.pictures import picture

ANY = {"vector": [1.0] * 512, "k": 2}
HALF = b"POST /v1/search HTTP/1.1\r\nHost: 127.0.0.1\r\n"


@pytest.fixture(scope="module")
def eight(tmp_path_factory: pytest.TempPathFactory, clip: Clip) -> Dataset:
    return make_dataset(tmp_path_factory.mktemp("bounds") / "cats", clip)


@pytest.fixture
def held() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def leave(connection: socket.socket) -> None:
    """Break a connection off, as a client does that is killed."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def closed(connection: socket.socket) -> bool:
    """Whether the other end closes it, after what is left of an answer. Raises TimeoutError."""
    try:
        while connection.recv(65536):
            pass
    except ConnectionResetError:
        pass
    return True


def refusal(service: Live, held: ExitStack, size: int) -> bytes:
    """The first answer to one of many uploads that are held open."""
    for _ in range(40):
        connection = held.enter_context(service.send("/v1/search/picture", sent=bytes(size)))
        connection.settimeout(0.5)
        try:
            answer = connection.recv(65536)
        except TimeoutError:
            continue
        connection.settimeout(30)
        while not answer.endswith(b"}"):  # head and body may come apart
            answer += connection.recv(65536)
        return answer
    raise AssertionError("none was refused")


def test_uploads_on_their_way_are_bounded_in_number(eight: Dataset, held: ExitStack) -> None:
    with live(eight, max_uploads=2) as service:
        answer = refusal(service, held, 10)
        assert answer.startswith(b"HTTP/1.1 503")
        assert b"retry-after: 5" in answer
        assert b"2 uploads are already running (max_uploads)" in answer
        assert service.post("/v1/search", ANY).status_code == 200  # it comes in one piece
        held.close()
        large = {"picture": "A" * 500_000}
        while (again := service.post("/v1/search", large)).status_code == 503:
            pass
        assert again.status_code == 400


def test_uploads_are_bounded_in_bytes_together(eight: Dataset, held: ExitStack) -> None:
    with live(eight, upload_bytes=100_000) as service:
        answer = refusal(service, held, 40_000)
        assert answer.startswith(b"HTTP/1.1 503")
        assert b"already have 100,000 bytes (upload_bytes)" in answer
        held.close()
        while (again := service.post("/v1/search", {"text": "x" * 90_000})).status_code == 503:
            pass
        assert again.status_code == 422


def test_half_sent_headers_are_closed_after_a_time(eight: Dataset, held: ExitStack) -> None:
    with live(eight, header_sec=1.0) as service:
        silent, half = (held.enter_context(service.connect()) for _ in range(2))
        half.sendall(HALF)
        second = held.enter_context(service.connect())
        second.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert second.recv(65536).startswith(b"HTTP/1.1 200")
        second.sendall(HALF)
        # What is left of a body that was refused: it is waited for no longer than headers are.
        body = held.enter_context(service.connect())
        body.sendall(HALF + b"Content-Length: 99999999\r\n\r\n{")
        assert body.recv(65536).startswith(b"HTTP/1.1 413")
        body.sendall(b"{")
        for connection in (silent, half, second, body):
            assert closed(connection)


def test_a_slow_body_is_no_half_sent_header(eight: Dataset, held: ExitStack) -> None:
    with live(eight, header_sec=0.2, deadline_sec=2.0) as service:
        slow = held.enter_context(service.send("/v1/search", sent=b"{"))
        assert slow.recv(65536).startswith(b"HTTP/1.1 408")


def test_too_many_connections_cost_those_that_wait_longest(eight: Dataset, held: ExitStack) -> None:
    with live(eight, max_connections=3, header_sec=3600) as service:
        silent = [held.enter_context(service.connect()) for _ in range(5)]
        for connection in silent[:2]:
            assert closed(connection)
        assert service.post("/v1/search", ANY).status_code == 200
        assert closed(silent[2])


# -- answers ---------------------------------------------------------------------------------------


def unread(service: Live, held: ExitStack, key: str) -> socket.socket:
    """A connection on which several MB are asked for, of which the client takes some kB."""
    body = json.dumps({"keys": [key] * 1000}).encode()
    head = f"POST {VECTORS} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    asked = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
    connection = held.enter_context(socket.socket())
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # before it is connected
    connection.settimeout(WAIT_SEC)
    connection.connect(("127.0.0.1", service.port))
    connection.sendall(asked * 3)
    assert connection.recv(12) == b"HTTP/1.1 200"
    return connection


VECTORS = "/v1/datasets/cats/vectors"


def broken(connection: socket.socket) -> bool:
    """Whether the other end breaks the connection off, without a byte being read."""
    poll = select.poll()
    poll.register(connection, 0)  # errors are always told
    return bool(poll.poll(WAIT_SEC * 1000))


def test_who_takes_nothing_of_an_answer_is_disconnected(eight: Dataset, held: ExitStack) -> None:
    with live(eight, unread_sec=0.5) as service:
        key = service.client.get("/v1/datasets/cats/rows?k=1").json()["rows"][0]["key"]
        assert broken(unread(service, held, key))


class Transport(asyncio.Transport):
    """Whose client has taken some bytes whenever it is asked how many are left, until it stops."""

    def __init__(self, end: socket.socket, left: Sequence[int]) -> None:
        super().__init__({"socket": end})
        self.left, self.aborted = list(left), asyncio.Event()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        assert high == 0

    def get_write_buffer_size(self) -> int:
        return self.left.pop(0)

    def abort(self) -> None:
        self.aborted.set()


def test_who_takes_an_answer_slowly_is_waited_for(held: ExitStack) -> None:
    settings = ServeSettings(unread_sec=0.001)

    async def serve() -> None:
        config = uvicorn.Config(lambda: None)
        config.load()
        connection = protocol_of(settings)(config, ServerState(), {})
        transport = Transport(held.enter_context(socket.socket()), [90, 60, 40, 39, 39])
        connection.connection_made(transport)
        connection.pause_writing()
        await asyncio.wait_for(transport.aborted.wait(), WAIT_SEC)
        assert transport.left == []

    asyncio.run(serve())


def test_answers_that_nobody_reads_lock_nobody_out(eight: Dataset, held: ExitStack) -> None:
    with live(eight, max_connections=3, unread_sec=3600) as service:
        key = service.client.get("/v1/datasets/cats/rows?k=1").json()["rows"][0]["key"]
        service.client.close()
        first, *_ = [unread(service, held, key) for _ in range(3)]
        asking = held.enter_context(service.connect())
        asking.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert asking.recv(12) == b"HTTP/1.1 200"
        assert broken(first)
        held.close()  # before the service ends: it would wait for them


# -- pixels ----------------------------------------------------------------------------------------


def test_pixels_beyond_the_bound_are_refused_and_within_it_decoded(
    eight: Dataset, clip: Clip
) -> None:
    with live(eight, clip=clip, decoded_pixels=32 * 24) as service:
        for size, status in (((33, 24), 400), ((32, 24), 200)):
            answer = service.client.post("/v1/search/picture", content=picture(0, *size))
            assert answer.status_code == status, answer.text
        thumbnail = service.client.get("/v1/thumbnails/cats/000000000?size=16")
        assert thumbnail.status_code == 200
    with live(eight, clip=clip, decoded_pixels=1) as service:
        answer = service.client.post("/v1/search/picture", content=picture(0, 32, 24))
        assert "claims 768 pixels; this service decodes at most 1 at a time" in answer.text
        assert service.client.get("/v1/thumbnails/cats/000000000?size=16").status_code == 200


def test_never_more_pixels_than_the_budget_are_held() -> None:
    budget = PixelBudget(1_000)
    lock, held, most = threading.Lock(), 0, 0
    sizes = [(size, 10) for size in (10, 40, 90, 100, 200, 5, 60)] * 10

    def hold(size: tuple[int, int]) -> None:
        nonlocal held, most
        pixels = min(size[0] * size[1], 1_000)
        with budget.holding(picture(0, *size)):
            with lock:
                held += pixels
                most = max(most, held)
            with lock:
                held -= pixels

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(hold, sizes))
    assert 0 < most <= 1_000
    with budget.holding(picture(0, 100, 10)):  # all was given back
        pass


def test_an_image_waits_while_too_few_pixels_are_left() -> None:
    budget, held, most = PixelBudget(1_000), 0, 0

    async def hold(width: int) -> None:
        nonlocal held, most
        async with budget.held(picture(0, width, 10)):
            held += width * 10
            most = max(most, held)
            await asyncio.sleep(0)  # whoever may hold pixels now has its turn
            held -= width * 10

    async def together() -> None:
        await asyncio.gather(*map(hold, (40, 60, 90, 10, 30, 100)))

    asyncio.run(together())
    assert most == 1_000


def test_who_leaves_while_waiting_holds_nothing() -> None:
    budget = PixelBudget(100)

    async def hold(height: int = 10) -> None:
        async with budget.held(picture(0, 10, height)):
            pass

    async def leave() -> None:
        with budget.holding(picture(0, 10, 10)):
            waiting = asyncio.create_task(hold())
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
        await asyncio.wait_for(hold(), 60)
        with pytest.raises(UserError, match="claims 110 pixels"):
            await hold(11)

    asyncio.run(leave())


@pytest.mark.parametrize("path", ["/metadata", "/v1/search", "/v1/search/picture"])
def test_who_leaves_before_the_whole_body_is_here_leaves_no_traceback(
    eight: Dataset, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    with live(eight) as service:
        leave(service.send(path, sent=b'{"ids": [1'))
        service.wait_for(f'http_requests_total{{route="{path}",status="499"}} 1.0')
    assert caplog.records == []


def test_who_leaves_while_rows_are_made_leaves_no_work_behind(
    eight: Dataset, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    reading, go_on, read = threading.Event(), threading.Event(), list[str]()

    def slowly(served: ServedDataset, hit: Hit) -> bytes:
        read.append(hit.key)
        reading.set()
        assert go_on.wait(60)
        return stored(served, hit)

    stored = media.read
    monkeypatch.setattr(media, "read", slowly)
    with live(eight) as service:
        (name,) = service.client.get("/indices-list").json()
        connection = service.send("/metadata", {"ids": list(range(8)), "indice_name": name})
        assert reading.wait(60)
        leave(connection)
        service.wait_for('http_requests_total{route="/metadata",status="499"} 1.0')
        go_on.set()
    assert len(read) == 1, "the service has ended its threads"
    assert caplog.records == []


def claiming(width: int, height: int) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", b""))
    written = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(written)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP"])
def test_a_size_is_read_without_decoding(kind: str) -> None:
    out = io.BytesIO()
    Image.new("RGB", (30, 20)).save(out, kind)
    assert claimed_size(out.getvalue()) == (30, 20)
    assert claimed_size(claiming(12_000, 9_000)) == (12_000, 9_000)
    assert claimed_size(b"<svg/>") is None
