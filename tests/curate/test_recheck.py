"""Sites that change their minds after the crawl: what each says is found, and can be removed."""

import contextlib
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import frenchcat
from frenchcat.cli import app
from frenchcat.curate.config import resolve
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.download import DownloadSettings
from frenchcat.curate.errors import UserError
from frenchcat.curate.recheck import Rechecked, opted_out_since, recheck
from frenchcat.curate.removals import removed
from tests.sample.row import Row
from tests.sample.write import write

NOW = datetime(2030, 5, 1, 12, tzinfo=UTC)
SIGNED = ("xmp_data_mining", "DMI-PROHIBITED", "opt_out")


class Site:
    """Images with headers, and files, on loopback; counts what it is asked for."""

    def __init__(self, *, head: bool = True) -> None:
        self.files: dict[str, str] = {}
        self.headers: dict[str, tuple[str, str]] = {}
        self.missing: set[str] = set()
        self.asked: list[tuple[str, str]] = []
        self.head = head
        self.address = ""

    def answer(self, handler: BaseHTTPRequestHandler, method: str) -> None:
        path = handler.path
        self.asked.append((method, path))
        body = self.files[path].encode() if path in self.files else b"an image"
        if path in self.missing or (not path.endswith(".png") and path not in self.files):
            status, body = 404, b""
        elif method == "HEAD" and not self.head:
            status, body = 405, b""
        else:
            status = 200
        handler.send_response(status)
        if path in self.headers:
            handler.send_header(*self.headers[path])
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        if method == "GET":
            handler.wfile.write(body)


@contextlib.contextmanager
def serving(site: Site) -> Iterator[Site]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            site.answer(self, "GET")

        def do_HEAD(self) -> None:
            site.answer(self, "HEAD")

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    site.address = f"127.0.0.1:{server.server_address[1]}"
    try:
        yield site
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def sites() -> Iterator[tuple[Site, Site]]:
    with serving(Site()) as one, serving(Site(head=False)) as other:
        yield one, other


def key(number: int) -> str:
    return f"{number:09d}"


@pytest.fixture
def dataset(tmp_path: Path, sites: tuple[Site, Site]) -> Dataset:
    """Four images of the first site, two of the second; nothing was opted out by a site."""
    made = Dataset.create(tmp_path / "d", "d")
    urls = [f"http://{sites[n // 4].address}/{n}.png" for n in range(6)]
    signals: list[list[tuple[str, str, str | None]]] = [[] for _ in urls]
    signals[3] = [SIGNED]  # in the file, recorded and stored
    write(made, "00000", [Row(u, signals=s) for u, s in zip(urls, signals, strict=True)])
    return made


def asked(dataset: Dataset, sites: tuple[Site, Site], day: int = 0, **how: Any) -> Rechecked:
    hosts = [site.address for site in sites]
    settings = resolve(DownloadSettings, {"fetch": {"allow_hosts": hosts, "retries": 0}})
    with dataset.lock():
        return recheck(dataset, settings, NOW + timedelta(days=day), **how)


def test_each_new_opt_out_is_found_and_nothing_else(
    dataset: Dataset, sites: tuple[Site, Site]
) -> None:
    one, other = sites
    one.headers["/0.png"] = ("X-Robots-Tag", "noai")
    one.headers["/2.png"] = ("tdm-reservation", "0")
    one.missing.add("/1.png")
    other.files["/robots.txt"] = "User-agent: *\nDisallow: /4\n"
    found = asked(dataset, sites)
    assert [(row.key, row.outcome, row.signals) for row in found.changes] == [
        (key(0), "new_opt_out", ("x_robots_tag",)),
        (key(2), "changed", ()),
        (key(4), "new_opt_out", ("robots_txt",)),
    ]
    assert found.outcomes == {"new_opt_out": 2, "changed": 1, "same": 2, "no_answer": 1}
    assert (found.asked, found.due, found.unanswered) == (6, 0, {"http_404": 1})
    assert opted_out_since(dataset) == {key(0): "x_robots_tag", key(4): "robots_txt"}
    rows = pq.read_table(dataset.path("rechecks/00000.parquet")).to_pylist()
    assert {row["asked"] for row in rows} == {"2030-05-01T12:00:00.000000Z"}
    told = next(row for row in rows if row["signal"] == "x_robots_tag")
    # the server's own date, not our clock's
    assert told["time"][:4] == str(datetime.now(UTC).year)
    assert found.first is not None
    assert found.first <= told["time"] <= (found.last or "")


def test_sites_are_asked_politely(dataset: Dataset, sites: tuple[Site, Site]) -> None:
    one, other = sites
    other.files["/robots.txt"] = "User-agent: *\nDisallow: /4\n"
    asked(dataset, sites)
    assert one.asked.count(("GET", "/robots.txt")) == 1
    assert [path for method, path in one.asked if method == "HEAD"]
    assert not [path for method, path in one.asked if method == "GET" and path.endswith(".png")]
    # what robots.txt forbids is not requested; HEAD refused: GET once
    assert not [path for _, path in other.asked if path == "/4.png"]
    assert [m for m, path in other.asked if path == "/5.png"] == ["HEAD", "GET"]


def test_a_budget_resumes_where_it_ended(dataset: Dataset, sites: tuple[Site, Site]) -> None:
    first = asked(dataset, sites, limit=4)
    assert (first.asked, first.due) == (4, 2)
    second = asked(dataset, sites, day=1, limit=4)
    assert (second.asked, second.due) == (2, 0)
    assert asked(dataset, sites, day=2).asked == 0
    again = asked(dataset, sites, day=31, limit=1)
    assert (again.asked, again.due) == (1, 3)
    with pytest.raises(UserError, match="give at least 1"):
        asked(dataset, sites, limit=0)


def test_sites_alone(dataset: Dataset, sites: tuple[Site, Site]) -> None:
    one, _ = sites
    one.files["/.well-known/tdmrep.json"] = '[{"location": "/3*", "tdm-reservation": 1}]'
    one.headers["/0.png"] = ("X-Robots-Tag", "noai")
    found = asked(dataset, sites, images=False)
    assert not [path for _, path in one.asked if path.endswith(".png")]
    # row 3 was opted out by its file before: a further signal is no new opt-out
    assert [(row.key, row.outcome) for row in found.changes] == [(key(3), "changed")]
    assert opted_out_since(dataset) == {}


def test_a_clock_behind_the_last_recheck_is_one_line(
    dataset: Dataset, sites: tuple[Site, Site]
) -> None:
    asked(dataset, sites)
    with pytest.raises(UserError, match=r"clock says 2030-04-30.*at 2030-05-01.*set the clock"):
        asked(dataset, sites, day=-1)


def test_the_verb_turns_new_opt_outs_into_removals(
    dataset: Dataset, sites: tuple[Site, Site]
) -> None:
    one, other = sites
    other.files["/ai.txt"] = "User-Agent: *\nDisallow: *.png\n"
    hosts = [f"--allow-host={site.address}" for site in sites]
    call = ["recheck", dataset.root, *hosts]
    done = CliRunner().invoke(app, call, catch_exceptions=False)
    assert "opted out since the crawl: 2" in done.stdout
    assert not removed(dataset)
    CliRunner().invoke(app, [*call, "--remove"], catch_exceptions=False)
    assert not removed(dataset)  # nobody agreed
    CliRunner().invoke(app, [*call, "--remove", "--yes"], catch_exceptions=False)
    (request,) = removed(dataset).requests
    assert request.keys == (key(4), key(5))
    assert request.note == "opted out since the crawl: ai_txt 2"
    assert opted_out_since(dataset) == {}
    assert not [path for _, path in one.asked if path == "/4.png"]
    frenchcat.open(dataset.root).compact()
    left = pq.read_table(dataset.path("rechecks/00000.parquet"))["key"].to_pylist()
    assert set(left) == {key(n) for n in range(4)}
