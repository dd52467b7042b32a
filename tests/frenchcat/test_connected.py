"""frenchcat.connect: the same test bodies over an opened dataset and over a service of it."""

import base64
import inspect
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import frenchcat
from frenchcat import OpenDataset, RemoteDataset
from frenchcat.curate.clip.model import Clip, load_clip
from frenchcat.curate.clip.settings import ClipSettings
from frenchcat.curate.dataset import Dataset
from frenchcat.errors import (
    AlreadyThere,
    BadCondition,
    Busy,
    FrenchcatError,
    NotAllowed,
    NotFound,
    UnknownColumn,
    Unreachable,
    UnreadableImage,
    UserError,
)
from frenchcat.index.terms import QueryImage, Text, Vector
from tests.index.service.live import live
from tests.index.service.served import CAPTIONS
from tests.index.service.test_stage_columns import KEYS, make
from tests.sample.pictures import picture

pytestmark = pytest.mark.server
KEY = "a-key-of-sixteen-characters"
EITHER = OpenDataset | RemoteDataset


@dataclass(frozen=True)
class Both:
    """One dataset, opened and served."""

    opened: OpenDataset
    remote: RemoteDataset
    address: str


@pytest.fixture(scope="module")
def clip() -> Clip:
    return load_clip(ClipSettings())


def state_licences(dataset: Dataset, stated: dict[str, str]) -> None:
    """Add what rows state to the rights ledger."""
    with dataset.as_local("rights/00000.parquet") as path:
        table = pq.read_table(path)
    rows = [{"key": key, "signal": "license", "value": one} for key, one in stated.items()]
    with dataset.publish("rights") as publication:
        found = pa.Table.from_pylist(table.to_pylist() + rows, table.schema)
        pq.write_table(found, publication.path("rights/00000.parquet"))


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory, clip: Clip) -> Iterator[Both]:
    folder = tmp_path_factory.mktemp("connected")
    dataset = make(folder / "cats", clip)
    state_licences(dataset, {KEYS[0]: "CC BY 4.0", KEYS[3]: "CC BY-NC 4.0", KEYS[4]: "CC0 1.0"})
    keys = folder / "keys.txt"
    keys.write_text(KEY + "\n")
    closed: dict[str, Any] = {"api_key_file": str(keys), "allow_remove": True, "condition_sec": 300}
    closed["deadline_sec"] = 300  # a busy machine is no failure
    with live(dataset, clip=clip, **closed) as service:
        address = f"http://127.0.0.1:{service.port}"
        with frenchcat.connect(address + "/", key=KEY, timeout_sec=300) as remote:
            yield Both(frenchcat.open(dataset.root), remote, address)


@pytest.fixture(params=["opened", "remote"])
def cats(request: pytest.FixtureRequest, both: Both) -> EITHER:
    found: EITHER = getattr(both, request.param)
    return found


def refused(call: Callable[[], object]) -> FrenchcatError:
    with pytest.raises(FrenchcatError) as raised:
        call()
    assert "\n" not in str(raised.value)
    return raised.value


def test_searches_find_the_same(both: Both, cats: EITHER) -> None:
    asks: list[dict[str, object]] = [
        {"query": "a cat", "k": 3},
        {"query": "a cat", "k": 8, "where": "sharpness > 1", "dropped": True, "duplicates": True},
        {"query": "a dog", "k": 8, "by": "text", "min_similarity": 0.3},
        {"image": picture(1), "k": 2},
        {"vector": both.opened.vectors([KEYS[2]])[1][0], "k": 1},
        {"terms": [(1.0, Text("cat")), (-0.5, QueryImage(both.opened.picture(KEYS[1])))]},
        {"terms": [(1.0, Text("train")), (0.2, Vector(both.opened.vectors()[1][0]))]},
        {"query": "steam", "hybrid": True, "k": 1},
    ]
    for asked in asks:
        found = cats.search(**asked)  # type: ignore[arg-type]
        wanted = both.opened.search(**asked)  # type: ignore[arg-type]
        assert [hit.key for hit in found] == [hit.key for hit in wanted]
        assert [hit.caption for hit in found] == [hit.caption for hit in wanted]
        np.testing.assert_allclose(
            [hit.similarity for hit in found], [hit.similarity for hit in wanted], atol=1e-5
        )
        for hit, other in zip(found, wanted, strict=True):
            assert hit.columns.items() >= {**other.columns}.items()


def test_rows_vectors_and_pictures_are_the_same(both: Both, cats: EITHER) -> None:
    columns = ["key", "caption", "keep", "reason", "similarity", "domain"]
    table = cats.rows(columns, "width > 0")
    assert table.to_pylist() == both.opened.rows(columns, "width > 0").to_pylist()
    assert table["keep"].to_pylist().count(False) == 2
    assert set(cats.rows().column_names) >= {"key", "url", "caption", "sharpness"}
    keys, vectors = cats.vectors()
    assert keys == KEYS
    assert vectors.dtype == np.float16
    np.testing.assert_allclose(vectors, both.opened.vectors()[1], atol=1e-3)
    assert cats.vectors([KEYS[5], KEYS[0]], by="text")[0] == [KEYS[5], KEYS[0]]
    assert cats.vectors([])[0] == []
    assert cats.picture_bytes(KEYS[3]) == both.opened.picture_bytes(KEYS[3])
    assert cats.picture(KEYS[3]).size == both.opened.picture(KEYS[3]).size


def test_a_table_has_the_columns_that_were_asked_for_and_rows_in_key_order(
    cats: EITHER,
) -> None:
    for columns in (["caption"], ["caption", "key"], ["domain", "caption"]):
        table = cats.rows(columns)
        assert table.column_names == columns
        assert table["caption"].to_pylist() == list(CAPTIONS)


def test_counts_columns_and_facets_are_the_same(both: Both, cats: EITHER) -> None:
    assert cats.info() == both.opened.info()
    assert cats.columns() == both.opened.columns()
    assert cats.facets() == both.opened.facets()
    every = {"unsafe": True, "dropped": True, "duplicates": True}
    found = cats.facets(["language", "sharpness"], "width > 0", bins=3, top=1, **every)
    assert found["language"]["values"] == [{"value": "en", "rows": 4}]
    assert found["language"]["others"] == 3
    assert [one["rows"] for one in found["sharpness"]["bins"]] == [3, 3, 1]


def test_a_selection_is_made_read_and_not_lost(both: Both, cats: EITHER) -> None:
    name = type(cats).__name__
    asked = {"limit": 3, "weight": "sharpness + 1", "label": "language", "seed": 5}
    made = cats.select(name, "sharpness > 0", **asked)  # type: ignore[arg-type]
    assert (made.name, len(made)) == (name, 3)
    there = both.opened.selection(name)
    assert (made.digest, made.sql) == (there.digest, there.sql)
    assert there.choice.seed == 5
    assert made.rows.to_pylist() == there.rows.to_pylist()
    assert {"weight", "label"} <= set(made.rows.column_names)
    assert cats.selection(name).digest == made.digest
    assert name in cats.selections()
    error = refused(lambda: cats.select(name, "sharpness > 1"))
    assert type(error) is AlreadyThere
    assert len(cats.select(name, "sharpness > 1", replace=True)) < len(KEYS)
    assert type(refused(lambda: cats.select("none", "width < 0"))) is UserError
    even = cats.select(f"{name}-even", balance="language", limit=2)
    assert len(set(both.opened.selection(even.name).rows["key"].to_pylist())) == 2


def test_a_selection_is_of_the_licences_named(both: Both, cats: EITHER) -> None:
    name = f"{type(cats).__name__}-free"
    made = cats.select(name, "width > 0", licences=["CC BY", "CC0-1.0"])
    assert made.rows["key"].to_pylist() == [KEYS[0], KEYS[4]]
    assert made.sql == both.opened.selection(name).sql
    error = refused(lambda: cats.select("none", licences=[" "]))
    assert (type(error), "a licence is an empty text" in str(error)) == (UserError, True)


def test_what_both_can_do_takes_the_same_arguments() -> None:
    elsewhere = {("used", "runs")}  # a service names no folders
    for name, method in inspect.getmembers(RemoteDataset, inspect.isfunction):
        if name.startswith("_") or not hasattr(OpenDataset, name):
            continue
        ours = inspect.signature(getattr(OpenDataset, name)).parameters
        theirs = inspect.signature(method).parameters
        assert {(name, each) for each in ours.keys() ^ theirs.keys()} <= elsewhere
        assert all(ours[each].default == theirs[each].default for each in theirs)


def test_a_removal_is_shown_made_and_undone(cats: EITHER) -> None:
    key = KEYS[7]
    assert [match.key for match in cats.matches(key=key)] == [key]
    assert cats.remove(key=key, agree=lambda found: False) is None
    assert key in cats.rows(["key"])["key"].to_pylist()
    request = cats.remove(key=key, note="asked by mail")
    assert request is not None
    assert (request.by, request.keys, request.note) == ("key", (key,), "asked by mail")
    assert key not in cats.rows(["key"])["key"].to_pylist()
    assert cats.undo_removal(request.number).number == request.number
    assert key in cats.rows(["key"])["key"].to_pylist()
    assert type(refused(lambda: cats.undo_removal(request.number))) is UserError
    assert type(refused(lambda: cats.undo_removal(999))) is NotFound
    assert "one of url, domain" in str(refused(lambda: cats.remove(url="http://a.org", key=key)))
    assert "one of url, domain" in str(refused(lambda: cats.matches(colour="red")))


def test_uses_are_the_same(both: Both, cats: EITHER, tmp_path: Path) -> None:
    made = both.opened.select("used", limit=2, replace=True)
    key, url = (made.rows[name].to_pylist()[0] for name in ("key", "url"))
    file = tmp_path / "asked.png"
    file.write_bytes(both.opened.picture_bytes(key))
    asks: list[dict[str, Any]] = [{"key": key}, {"url": url}, {"like": file}]
    asks += [{"like": file, "near": True}, {"creator": "nobody"}, {"domain": "none.example"}]
    for asked in asks:
        found, wanted = cats.used(**asked), both.opened.used(**asked)
        rows = [(one.key, one.url, one.caption, one.why) for one in found.matches]
        assert rows == [(one.key, one.url, one.caption, one.why) for one in wanted.matches]
        assert (found.selections, found.runs) == (wanted.selections, wanted.runs)
        assert found.asked == wanted.asked
    assert cats.used(key=key).selections["used"] == 1
    for wrong in ({"sha256": "abc"}, {}, {"key": key, "url": url}):
        error = refused(lambda: cats.used(**wrong))  # noqa: B023
        assert str(error) == str(refused(lambda: both.opened.used(**wrong)))  # noqa: B023
    none = tmp_path / "none.png"
    assert f"{none}: no such" in str(refused(lambda: cats.used(like=none)))


def test_mistakes_are_of_the_same_class(cats: EITHER) -> None:
    broken = base64.b64encode(b"no image")
    asks: list[tuple[type[FrenchcatError], Callable[[], object]]] = [
        (NotFound, lambda: cats.picture("000009999")),
        (NotFound, lambda: cats.vectors(["000009999"])),
        (NotFound, lambda: cats.selection("none")),
        (UnknownColumn, lambda: cats.rows(["widht"])),
        (UnknownColumn, lambda: cats.rows(where="widht > 3")),
        (UnknownColumn, lambda: cats.search("a cat", where="widht > 3")),
        (UnknownColumn, lambda: cats.facets(["widht"])),
        (UnknownColumn, lambda: cats.select("x", "widht > 3")),
        (BadCondition, lambda: cats.rows(where="width >")),
        (UnreadableImage, lambda: cats.search(image=broken)),
        (NotFound, lambda: cats.search(image="no-such-file.jpg")),
        (UserError, lambda: cats.search("a", image=picture(1))),
        (UserError, lambda: cats.search(" ")),
        (UserError, lambda: cats.search(vector=[1.0])),
    ]
    for kind, call in asks:
        error = refused(call)
        assert type(error) is kind, (kind, error)
        if isinstance(error, UnknownColumn):
            assert error.column == "widht"
        if isinstance(error, UnreadableImage):
            assert error.reason
            assert f"({error.reason})" in str(error)


def test_who_cannot_be_connected_to_is_named(both: Both, clip: Clip) -> None:
    asks: list[tuple[type[FrenchcatError], str, Callable[[], object]]] = [
        (NotAllowed, "needs a key", lambda: frenchcat.connect(both.address)),
        (
            NotAllowed,
            "does not know the key",
            lambda: frenchcat.connect(both.address, key="another" * 3),
        ),
        (NotFound, "but cats", lambda: frenchcat.connect(both.address, key=KEY, dataset="dogs")),
        (UserError, "http://127", lambda: frenchcat.connect("127.0.0.1:1234")),
    ]
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
        slow = f"http://127.0.0.1:{port}"  # takes the connection and never answers
        asks.append((Busy, "within", lambda: frenchcat.connect(slow, timeout_sec=0.2)))
        for kind, said, call in asks:
            error = refused(call)
            assert (type(error), said in str(error)) == (kind, True), error
    gone = refused(lambda: frenchcat.connect(slow))
    assert (type(gone), slow in str(gone)) == (Unreachable, True)


class Website(BaseHTTPRequestHandler):
    """Something else than a frenchcat service."""

    def do_GET(self) -> None:
        if self.path.startswith("/short"):
            self.send_response(200)
            self.send_header("Content-Length", "100")
            self.end_headers()
            self.wfile.write(b"[")
            return
        moved = self.path.startswith("/moved")
        self.send_response(301 if moved else 200)
        self.send_header("Location", "https://example.org/")
        self.end_headers()
        self.wfile.write(b"<p>hello")

    def log_message(self, *given: object) -> None:
        """Nothing is printed."""


def test_another_website_is_told_from_a_service() -> None:
    with HTTPServer(("127.0.0.1", 0), Website) as other:
        thread = threading.Thread(target=other.serve_forever)
        thread.start()
        address = f"http://127.0.0.1:{other.server_port}"
        try:
            for path, said in (
                ("", "status 200"),
                ("/moved", "redirects to https://example.org/"),
                ("/short", "ended its answer early"),
            ):
                error = refused(lambda path=path: frenchcat.connect(address + path))  # type: ignore[misc]
                assert (type(error), said in str(error)) == (Unreachable, True), error
        finally:
            other.shutdown()
            thread.join()


def test_a_service_of_several_datasets_asks_which(tmp_path: Path, clip: Clip) -> None:
    first = make(tmp_path / "cats", clip)
    second = make(tmp_path / "dogs", clip)
    manifest = Path(second.path("dataset.json"))
    manifest.write_text(manifest.read_text().replace('"cats"', '"dogs"'))
    with live(first, second, clip=clip) as service:
        address = f"http://127.0.0.1:{service.port}"
        assert "'cats'" in str(refused(lambda: frenchcat.connect(address)))
        with frenchcat.connect(address, dataset="dogs") as dogs:
            assert dogs.info().name == "dogs"
            error = refused(lambda: dogs.remove(key=KEYS[0]))
            assert (type(error), "--allow-remove" in str(error)) == (NotAllowed, True)


def test_rows_are_kept_and_dropped_by_hand(both: Both, cats: EITHER) -> None:
    first, second = KEYS[3], KEYS[4]
    made = cats.drop([first, second], note="upside down")
    assert (made.keep, made.keys, made.note) == (False, (first, second), "upside down")
    for one in (both.opened, both.remote):
        assert one.rows(["key"], "reason = 'by_hand'")["key"].to_pylist() == [first, second]
        assert first not in [hit.key for hit in one.search("a cat", k=8, duplicates=True)]
    kept = cats.keep(first)
    assert cats.rows(["reason"], f"key = '{first}'")["reason"].to_pylist() == [None]
    assert cats.decisions() == both.opened.decisions()
    assert cats.decisions()[-1] == kept
    assert cats.undo_decision(kept.number) == kept
    assert cats.rows(["reason"], f"key = '{first}'")["reason"].to_pylist() == ["by_hand"]
    assert cats.undo_decision(made.number).keys == made.keys
    assert cats.drop(where="sharpness = 8").keys == (second,)
    cats.undo_decision(cats.decisions()[-1].number)
    assert type(refused(lambda: cats.keep("000009999"))) is NotFound
    assert type(refused(lambda: cats.keep("a", where="width > 1"))) is UserError
    assert type(refused(lambda: cats.drop(where="widht > 1"))) is UnknownColumn
    assert type(refused(lambda: cats.undo_decision(made.number))) is UserError
    assert isinstance(refused(lambda: cats.drop([])), UserError)
    assert "no row meets" in str(refused(lambda: cats.keep(where="sharpness > 99")))
