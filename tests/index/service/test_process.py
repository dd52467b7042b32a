"""`frenchcat serve` as a process: starts, serves the page, ends without dropping a request."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from frenchcat.index.build import build_index
from tests.command_line import main
from tests.sample.embedded import embedded
from tests.sample.vectors import unit_rows


@contextmanager
def process(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A serving process and its port."""
    command = [sys.executable, "-m", "frenchcat", "serve", *arguments, "--port", "0"]
    running = subprocess.Popen(
        [*command, "--set", "preload=false"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "NO_ALBUMENTATIONS_UPDATE": "1"},
    )
    try:
        assert running.stdout is not None
        line = running.stdout.readline()
        assert line.startswith("serving at http://127.0.0.1:"), running.communicate()
        yield running, int(line.rstrip().rstrip("/").rpartition(":")[2])
    finally:
        running.kill()
        running.communicate()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    dataset = embedded(tmp_path_factory.mktemp("served") / "cats", unit_rows(20))
    with dataset.lock():
        build_index(dataset)
    return dataset.root


def test_it_answers_and_finishes_what_runs_when_it_is_told_to_end(folder: str) -> None:
    body = json.dumps({"vector": unit_rows(1, seed=3)[0].tolist(), "k": 2}).encode()
    with process(folder) as (running, port):
        assert httpx.get(f"http://127.0.0.1:{port}/readyz").json()["status"] == "ready"
        assert httpx.get(f"http://127.0.0.1:{port}/indices-list").json() == ["synthetic"]
        with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
            head = f"POST /v1/search HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n"
            connection.sendall(head.encode() + b"Content-Type: application/json\r\n\r\n" + body[:9])
            connection.settimeout(0.3)
            with pytest.raises(TimeoutError):  # the request has arrived and is not answered yet
                connection.recv(1)
            running.send_signal(signal.SIGTERM)
            connection.settimeout(20)
            connection.sendall(body[9:])
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        assert answer.startswith(b"HTTP/1.1 200")
        assert answer.count(b'"key"') == 2
        assert running.wait(20) == 0
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"http://127.0.0.1:{port}/readyz")


def test_a_condition_at_work_does_not_keep_it_from_ending(folder: str) -> None:
    long = "bin(bin(bin(bin(bin({})))))"
    endless = f"levenshtein({long.format('caption')}, {long.format('key')}) > 1"
    body = json.dumps({"vector": unit_rows(1)[0].tolist(), "where": endless}).encode()
    with process(folder, "--set", "condition_sec=3600") as (running, port):
        assert httpx.get(f"http://127.0.0.1:{port}/readyz").is_success
        with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
            head = f"POST /v1/search HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n"
            connection.sendall(head.encode() + b"Content-Type: application/json\r\n\r\n" + body)
            metrics = f"http://127.0.0.1:{port}/metrics"
            while "http_requests_running 2.0" not in httpx.get(metrics).text:
                pass
            running.send_signal(signal.SIGTERM)
            assert connection.recv(65536).startswith(b"HTTP/1.1 503")
        assert running.wait(25) == 0


def test_a_port_that_is_taken_is_said_in_one_line(folder: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "frenchcat", "serve", folder, "--port", str(port)]
        done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert "give another --port" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_ctrl_c_is_answered_by_one_line(folder: str) -> None:
    with process(folder) as (running, port):
        socket.create_connection(("127.0.0.1", port)).close()  # it listens when it says so
        running.send_signal(signal.SIGINT)
        _, said = running.communicate()
    assert running.returncode == 130
    assert said.startswith("frenchcat: stopping")
    assert len(said.splitlines()) == 1


def test_mistakes_are_one_line_and_status_2(
    folder: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "empty").write_text("# no key\n")
    for arguments, said in (
        ([str(tmp_path)], "is not a dataset"),
        ([folder, "--rate", "0"], "rate"),
        ([folder, "--set", "surprise=1"], "surprise"),
        ([folder, "--ratings", str(tmp_path / "none.npy")], "--ratings"),
        ([folder, "--host", "0.0.0.0", "--allow-remove"], "--api-key-file"),
        ([folder, "--draw", str(tmp_path)], "is not a run"),
        ([folder, "--api-key-file", str(tmp_path / "none")], "cannot be read"),
        ([folder, "--api-key-file", str(tmp_path / "empty")], "contains no key"),
    ):
        assert main(monkeypatch, "serve", *arguments) == 2
        shown = capsys.readouterr().err
        assert len(shown.splitlines()) == 1, shown
        assert said in shown


def test_the_page_is_served_with_its_policy(folder: str) -> None:
    with process(folder) as (_, port):
        answer = httpx.get(f"http://127.0.0.1:{port}/")
    assert answer.headers["content-security-policy"].startswith("default-src 'none'; script-src")
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["content-type"].startswith("text/html")
