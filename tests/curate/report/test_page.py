"""The page: whole, offline, escaped, bounded, and sensible whatever was not run."""

import http.server
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path

import pytest
from typer.testing import CliRunner

from frenchcat.curate.dataset import Dataset
from frenchcat.curate.errors import UserError
from frenchcat.curate.outputs import default_path
from frenchcat.curate.report.page import write_report
from frenchcat.curate.report.report import make_report
from frenchcat.curate.report.settings import ReportSettings
from frenchcat.curate.report.thumbnails import ReportThumbnails
from tests.curate.report.datasets import write
from tests.sample.row import Row
from tests.trees import tree_digest

QUICK = ReportSettings(replicates=100)
EVIL = "</title></style><script>document.title='owned'</script><img src=http://{host}/x onerror=a>"
VOID = {"meta", "link", "img", "br", "input", "rect", "path", "circle"}


class Outline(HTMLParser):
    """The tags of a page, what they point to, and whether they are closed in their order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.targets: list[str] = []
        self.open: list[str] = []
        self.alts: list[str | None] = []
        self.feed(page)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag."""
        given = dict(attrs)
        self.tags.append(tag)
        self.ids += [str(given["id"])] if "id" in given else []
        self.targets += [str(given[name]) for name in ("src", "href", "action") if name in given]
        self.alts += [given.get("alt")] if tag == "img" else []
        assert not any(name.startswith("on") for name in given)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """A tag closes the one that was opened last."""
        if tag not in VOID:
            assert self.open.pop() == tag


def everything(root: Path, host: str = "127.0.0.1:1") -> Dataset:
    """A dataset in which every section has something to say, with hostile texts all over."""
    evil = EVIL.format(host=host)
    sites = [f"http://s{n}.org/{n}?<script>" for n in range(30)]
    shard = [
        Row(
            sites[n % 30],
            (evil, "eine Frau in München", "東京の女性", None, "a man")[n % 5],
            failed=f"http_404: {evil}" if n % 11 == 0 else None,
            reason=f"rule_{n % 3}" if n % 4 == 0 else None,
            scores={
                "similarity": n / 400,
                "punsafe": n / 400,
                "language": evil if n % 9 == 0 else "de",
                "my<b>score": float(n % 7),
            },
            copy_of=1 if n in (2, 3) else None,
            signals=[("license", evil, None), (evil if n % 50 == 0 else "tdmrep", "1", "opt_out")],
        )
        for n in range(400)
    ]
    return write(root, shard, rules=["rule_0", "rule_1"])


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, str]:
    """A dataset of everything and its page."""
    dataset = everything(tmp_path_factory.mktemp("full") / "d")
    return dataset, read(write_report(dataset, settings=QUICK))


def test_the_page_is_whole_and_points_to_itself_alone(full: tuple[Dataset, str]) -> None:
    _, page = full
    outline = Outline(page)
    assert "script" not in outline.tags
    for target in outline.targets:
        assert target.startswith("data:") or target[1:] in outline.ids
    assert len(set(outline.ids)) == len(outline.ids)
    assert outline.alts
    assert None not in outline.alts
    assert outline.tags.count("svg") == outline.tags.count("desc")
    assert not re.search(r"@import|url\(", page)
    assert "default-src 'none'" in page
    for section in ("funnel", "kept", "lost", "scores", "made-of", "rights", "domains"):
        assert section in outline.ids
    assert "東京の女性" in page


def test_texts_from_the_web_are_escaped_everywhere(full: tuple[Dataset, str]) -> None:
    _, page = full
    assert "<script" not in page
    assert "onerror=a>" not in page
    assert page.count("&lt;script&gt;") > 10
    assert "<b>rows" not in page
    assert "my&lt;b&gt;score" in page


@contextmanager
def serving(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """A server of a folder at the loopback interface, and the paths that were asked for."""
    asked: list[str] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *given: object) -> None:
            super().__init__(*given, directory=str(folder))  # type: ignore[arg-type]

        def log_message(self, *_: object) -> None:
            asked.append(self.path)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_address[1]}", asked
        finally:
            server.shutdown()
            thread.join()


def test_a_browser_asks_for_nothing_but_the_page(tmp_path: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        if os.environ.get("CI"):
            pytest.fail("no chromium: apt-get install chromium")
        pytest.skip("no chromium")
    with serving(tmp_path) as (host, asked):
        write_report(everything(tmp_path / "d", host), tmp_path / "page.html", QUICK)
        flags = "--headless --no-sandbox --disable-gpu --disable-background-networking"
        flags += " --disable-component-update --disable-sync --virtual-time-budget=3000"
        profile = f"--user-data-dir={tmp_path / 'profile'}"
        url = f"http://{host}/page.html"
        shown = subprocess.run(
            [browser, *flags.split(), profile, "--dump-dom", url],
            capture_output=True,
            text=True,
            timeout=90,
            check=True,
        )
    assert asked == ["/page.html"]
    assert "<title>chosen &lt;b&gt;rows&lt;/b&gt; - report</title>" in shown.stdout


@pytest.mark.parametrize("only", [(), ("scores",), ("duplicates",), ("rights",)])
def test_what_was_not_run_is_one_line_with_its_command(
    tmp_path: Path, only: tuple[str, ...]
) -> None:
    dataset = write(tmp_path / "d", [Row(scores={"similarity": 0.1, "language": "en"})], only=only)
    page = read(write_report(dataset, settings=QUICK))
    for folder, verb in (("scores", "score"), ("duplicates", "dedup"), ("rights", "download")):
        assert (f"<code>frenchcat {verb} DATASET</code>" in page) == (folder not in only)
    assert "<code>frenchcat verdict DATASET</code>" in page
    Outline(page)


@pytest.mark.parametrize("shard", [[], [Row(failed="deadline")], [Row(reason="bad")]])
def test_a_dataset_of_nothing_has_its_page(tmp_path: Path, shard: list[Row]) -> None:
    dataset = write(tmp_path / "d", shard, rules=["bad"])
    page = read(write_report(dataset, settings=QUICK))
    assert "Nothing is left" in page
    Outline(page)


def test_the_same_dataset_gives_the_same_page_and_stays_as_it_is(
    full: tuple[Dataset, str], tmp_path: Path
) -> None:
    dataset, page = full
    before = tree_digest(Path(dataset.root))
    assert read(write_report(dataset, tmp_path / "again.html", QUICK)) == page
    assert tree_digest(Path(dataset.root)) == before


def test_unsafe_pictures_are_behind_a_veil(tmp_path: Path) -> None:
    shard = [Row(caption="fine", scores={"punsafe": 0.2}), Row(scores={"punsafe": 0.9})]
    page = read(write_report(write(tmp_path / "d", shard), settings=QUICK))
    veil = r'<label class="frame veil"><input type="checkbox" aria-label="[^"]+">'
    veiled = re.findall(veil, page)
    assert veiled
    figures = page.split("<figure")[1:]
    assert len(veiled) == sum('title="000000001' in figure for figure in figures)
    assert all("veil" not in figure for figure in figures if 'title="000000000' in figure)


def test_pictures_stop_at_their_budget(full: tuple[Dataset, str], tmp_path: Path) -> None:
    dataset, page = full
    settings = ReportSettings(replicates=100, thumbnails_mb=0)
    none = read(write_report(dataset, tmp_path / "none.html", settings))
    assert "<img" not in none
    assert "not shown: the page is full" in none
    assert "the page is full" not in page
    assert len(none) < 400_000  # words and plots alone
    Outline(none)


def test_broken_pictures_and_missing_tars_are_said(tmp_path: Path) -> None:
    dataset = write(tmp_path / "d", [Row(), Row()])
    tar = Path(dataset.path("shards/00000.tar"))
    data = bytearray(tar.read_bytes())
    data[512:640] = bytes(128)  # the first picture's bytes
    tar.write_bytes(data)
    page = read(write_report(dataset, settings=QUICK))
    assert "cannot be decoded" in page
    assert "<img" in page
    tar.unlink()
    assert "its tar cannot be read" in read(write_report(dataset, settings=QUICK))


def test_a_tar_is_opened_once_and_of_many_a_bounded_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from frenchcat.curate import tars
    from frenchcat.curate.report import thumbnails

    dataset = write(tmp_path / "d", *([Row()] * 3 for _ in range(5)))
    opened: list[str] = []
    members = tars.members
    monkeypatch.setattr(tars, "members", lambda path: opened.append(str(path)) or members(path))
    monkeypatch.setattr(thumbnails, "MAX_TARS", 3)
    found = ReportThumbnails(dataset, 10**6, 0.5)
    found.load(make_report(dataset, QUICK).pictures())
    assert len(opened) == len(set(opened)) == 3


def test_the_page_lies_beside_the_dataset_and_never_in_it(tmp_path: Path) -> None:
    dataset = write(tmp_path / "d", [Row()])
    assert write_report(dataset, settings=QUICK) == tmp_path / "d-report.html"
    assert default_path(Dataset("s3://bucket/cats"), "report") == Path("cats-report.html")
    with pytest.raises(UserError, match="inside the dataset"):
        write_report(dataset, tmp_path / "d" / "page.html", QUICK)
    with pytest.raises(UserError, match="cannot be written"):
        write_report(dataset, tmp_path / "d-report.html" / "page.html", QUICK)


def test_the_verb_writes_the_page_with_a_list_of_ones_own(tmp_path: Path) -> None:
    from frenchcat.cli import app

    write(tmp_path / "d", [Row(caption="a wombat"), Row(caption="Wombats!")])
    words = 'title = "Pets"\n[terms.wombat]\nen = ["wombat", "wombats"]'
    (tmp_path / "pets.toml").write_text(words)
    arguments = ["report", str(tmp_path / "d"), "--terms", str(tmp_path / "pets.toml")]
    out = str(tmp_path / "p.html")
    ended = CliRunner().invoke(app, [*arguments, "--set", "replicates=100", "--out", out, "--json"])
    assert ended.exit_code == 0, ended.output
    assert out in ended.stdout
    page = read(tmp_path / "p.html")
    assert 'title="wombat: 2 rows' in page
    assert "Pets" in page
    with pytest.raises(UserError, match="did you mean replicates"):
        CliRunner().invoke(app, [*arguments, "--set", "replicate=9"], catch_exceptions=False)
