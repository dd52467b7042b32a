"""A real HTTP server on 127.0.0.1 that serves pictures from threads, and lists of its URLs."""

import contextlib
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from frenchcat.curate.download import DownloadSettings, FetchSettings, ResizeSettings
from tests.sample import pictures

Answer = tuple[int, bytes]


@cache
def jpeg(number: int, width: int = 96, height: int = 64) -> bytes:
    """A picture of its own for each number."""
    noise = np.random.default_rng(number).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return pictures.jpeg(Image.fromarray(noise).resize((width, height)))


def usual(number: int) -> Answer:
    """Mostly pictures; one in ten is gone, one in ten locked, one in twenty cut, as many text."""
    if number % 10 == 3:
        return 404, b""
    if number % 10 == 7:
        return 423, b""
    if number % 20 == 4:
        return 200, jpeg(number)[:-40]
    if number % 20 == 8:
        return 200, b"<html><body>gone</body></html>"
    return 200, jpeg(number)


def healthy(number: int) -> Answer:
    """A picture each."""
    return 200, jpeg(number)


@dataclass
class Site:
    """Answers ``/<number>.jpg`` with `answer(number)`; counts what it is asked for."""

    answer: Callable[[int], Answer]
    port: int = 0
    asked: Counter[int] = field(default_factory=Counter)

    def url(self, number: int) -> str:
        return f"http://127.0.0.1:{self.port}/{number}.jpg"

    def settings(self, per_shard: int = 10, image_size: int = 48) -> DownloadSettings:
        return DownloadSettings(
            samples_per_shard=per_shard,
            threads=2,
            resize=ResizeSettings(image_size=image_size),
            fetch=FetchSettings(
                allow_hosts=(f"127.0.0.1:{self.port}",),
                requests_per_sec_per_host=None,
                retries=0,
                max_host_failures=None,
                deadline_sec=10,
            ),
        )

    def write_list(self, path: Path, numbers: range | list[int]) -> Path:
        table = pa.table(
            {
                "URL": [self.url(number) for number in numbers],
                "TEXT": [f"picture {number}" for number in numbers],
                "number": pa.array(list(numbers), pa.int32()),
            }
        )
        pq.write_table(table, path)
        return path


@contextlib.contextmanager
def serve(answer: Callable[[int], Answer] = usual) -> Iterator[Site]:
    site = Site(answer)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            name = self.path.strip("/").split(".")[0]
            status, body = 404, b""  # robots.txt and its like: there is none
            if name.isdigit():
                site.asked[int(name)] += 1
                status, body = site.answer(int(name))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 256  # of connections; the standard five loses some under load

    server = Server(("127.0.0.1", 0), Handler)
    site.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
