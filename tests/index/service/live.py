"""Applications at real ports, and requests that are sent by the byte."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from frenchcat.curate.clip.model import Clip
from frenchcat.curate.dataset import Dataset
from frenchcat.index.service.app import create_app, server_of
from frenchcat.index.service.drawing import DrawBackend
from frenchcat.index.service.settings import ServeSettings
from frenchcat.used_route import mount_used

WAIT_SEC = 60  # a busy machine is no failure


class Live:
    """A service at a port of 127.0.0.1."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=WAIT_SEC)

    def post(self, path: str, body: Any) -> httpx.Response:
        return self.client.post(path, json=body)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=WAIT_SEC)

    def send(self, path: str, body: Any = None, sent: bytes | None = None) -> socket.socket:
        """A connection on which a request was sent, of its body perhaps only the bytes `sent`."""
        whole = json.dumps(body).encode()
        size = len(whole) if sent is None else len(sent) + 1_000
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        connection = self.connect()
        connection.sendall(f"{head}Content-Length: {size}\r\n\r\n".encode())
        connection.sendall(whole if sent is None else sent)
        return connection

    def wait_for(self, metric: str) -> None:
        """Until /metrics has a line."""
        until = time.monotonic() + WAIT_SEC
        while metric not in self.client.get("/metrics").text:
            assert time.monotonic() < until, f"no {metric}"


@contextmanager
def live(
    *datasets: Dataset,
    clip: Clip | None = None,
    draw_backend: DrawBackend | None = None,
    **settings: Any,
) -> Iterator[Live]:
    """A service as `frenchcat serve` runs it, in a thread of this process."""
    told = ServeSettings(**{"preload": False, "poll_sec": 0.1, **settings})
    app = create_app(datasets, told, clip, draw_backend)
    mount_used(app)
    server = server_of(app, told)
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        found = Live(listener.getsockname()[1])
        try:
            while not server.started:
                assert thread.is_alive()
            yield found
        finally:
            found.client.close()
            server.should_exit = True
            thread.join()
