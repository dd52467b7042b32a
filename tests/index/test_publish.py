"""Publishing to a vector database, and searching there: the answers are the local index's.

Every test runs on a database in this process; `make soak` runs them on the real ones, too.
"""

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from frenchcat.curate.dataset import Dataset
from frenchcat.curate.errors import (
    AlreadyThere,
    BadCondition,
    NoSpace,
    NotFound,
    UnknownColumn,
    Unreachable,
    UserError,
)
from frenchcat.curate.removals import Request, log, removed_keys
from frenchcat.curate.remove import RemovalQuery, matches, remove, residue, undo
from frenchcat.curate.stage import Silent
from frenchcat.curate.vector_stores import open_store
from frenchcat.curate.vector_stores.published import addresses
from frenchcat.index.build import build_index
from frenchcat.index.publish import publish
from frenchcat.index.search import Searcher, View
from frenchcat.index.store_searcher import StoreSearcher
from tests.index.judged import judged
from tests.index.judged import remove as log_removal
from tests.sample import memory_store, milvus, postgres
from tests.sample.embedded import add_shard, embedded
from tests.sample.row import Row
from tests.sample.vectors import unit_rows
from tests.sample.write import write

STORES = [
    "memory",
    pytest.param("postgresql", marks=pytest.mark.slow),
    pytest.param("milvus", marks=pytest.mark.slow),
]
CONDITIONS = (
    None,
    "punsafe > 0.3",
    "punsafe IS NULL",
    "NOT (punsafe < 0.5)",
    "punsafe IN (0.1, 0.9) OR caption LIKE '%00000_'",
    "key BETWEEN '000000010' AND '000030009' AND width >= 8",
    "caption ILIKE '%OF 00007%' AND punsafe IS NOT NULL",
    "width / height >= 1 AND width * 2 - height = 8",
    "keep = false",
    "width = 9",
)
NOT_FOR_MILVUS = (CONDITIONS[4], CONDITIONS[6], CONDITIONS[7])
"""Patterns with _ or without case, and arithmetic."""


@pytest.fixture(scope="module")
def server(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of a server of the kind that a test is run on."""
    if request.param == "memory":
        with pytest.MonkeyPatch.context() as patch:
            yield memory_store.started(patch)[0] + "?"
    elif request.param == "milvus":
        with milvus.running() as address:
            yield address + "?"
    else:
        with postgres.running() as address:
            yield address + "&"


@pytest.fixture
def store(server: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of a table that nothing is published to."""
    address = f"{server}table=t{abs(hash(request.node.name)) % 10**9}"
    yield address
    with open_store(address) as opened:
        opened.clear()


on_each = pytest.mark.parametrize("server", STORES, indirect=True)


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return embedded(tmp_path / "d", unit_rows(6), unit_rows(5, seed=1), unit_rows(4, seed=2))


@on_each
def test_answers_are_those_of_the_local_index(store: str, tmp_path: Path) -> None:
    made = judged(tmp_path / "d", "auto", seed=11)
    log_removal(made, [row.key for row in made.rows[5:12]])
    done = publish(made.dataset, store)
    assert (done.rows, done.put, done.recall) == (len(made.rows) - 7, 4, 1.0)
    local, there = Searcher(made.dataset), StoreSearcher(store)
    assert len(there) == done.rows
    flags = itertools.product((True, False), repeat=3)
    cases = itertools.product(CONDITIONS, flags, (1, 7, 1000), ("image", "text"))
    few = 41 if store.startswith("memory") else 1  # coprime to the numbers of choices
    for number, (where, shown, k, by) in enumerate(list(cases)[::few]):
        (vector,) = unit_rows(1, seed=number)
        view = View(where, *shown)
        if store.startswith("milvus") and where in NOT_FOR_MILVUS:
            with pytest.raises(BadCondition, match="Milvus is not asked for"):
                there.ranked(vector, k, by, view)
            continue
        expected, found = (s.hits(s.ranked(vector, k, by, view)) for s in (local, there))
        assert [hit.key for hit in found] == [hit.key for hit in expected], view
        cosines = ([hit.similarity for hit in hits] for hits in (found, expected))
        np.testing.assert_allclose(*cosines, atol=3e-6)
        assert [hit.columns for hit in found] == [hit.columns for hit in expected]
    there.close()


@on_each
def test_what_is_hidden_is_counted_as_by_the_local_index(store: str, tmp_path: Path) -> None:
    made = judged(tmp_path / "d", "auto", seed=3)
    publish(made.dataset, store)
    local, there, (vector,) = Searcher(made.dataset), StoreSearcher(store), unit_rows(1, seed=5)
    for view in (View("width >= 8 AND caption LIKE '%1'"), View(), View(None, False, False, True)):
        counts = local.hidden(vector, 50, view=view)
        assert there.hidden(vector, 50, view=view) == counts
        assert counts
    there.close()


@on_each
def test_a_hit_is_the_row_and_its_image_is_in_the_dataset(store: str, dataset: Dataset) -> None:
    publish(dataset, store)
    build_index(dataset)
    local, there = Searcher(dataset), StoreSearcher(store)
    (vector,) = unit_rows(1, seed=1)
    (expected,), (hit,) = (s.query(vector=vector, k=1) for s in (local, there))
    assert hit.key == "000010000"
    assert (hit.url, hit.caption, hit.columns) == (expected.url, expected.caption, expected.columns)
    assert there.picture(hit) == local.picture(expected)
    np.testing.assert_allclose(there.reconstruct([hit.id]), local.reconstruct([hit.id]), atol=1e-6)
    assert there.positions([hit.id, 77]).tolist() == [hit.id, -1]
    assert there.metadata([hit.id], ["caption"]) == local.metadata([hit.id], ["caption"])
    there.close()


class Stopped(Silent):
    """Progress that fails after a number of shards, as a killed process would."""

    def __init__(self, after: int) -> None:
        self.left = after

    def shard_done(self, shard: str, counts: object) -> None:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


@on_each
def test_what_was_stopped_goes_on_and_only_what_changed_is_put(
    store: str, dataset: Dataset
) -> None:
    with pytest.raises(KeyboardInterrupt):
        publish(dataset, store, progress=Stopped(2))
    with open_store(store) as opened:
        contents = opened.contents()
        assert contents is not None
        assert not contents.complete
        assert sorted(opened.shards()) == ["00000", "00001"]
    first = publish(dataset, store)
    assert (first.put, first.kept, first.rows) == (1, 2, 15)
    again = publish(dataset, store)
    assert (again.put, again.kept, again.rows) == (0, 3, 15)
    add_shard(dataset, "00003", unit_rows(2, seed=9))
    assert publish(dataset, store).put == 1
    rows = [Row(picture=b"x", vector=None, scores={"punsafe": n / 5}) for n in range(6)]
    write(dataset, "00000", rows, ("scores",))
    done = publish(dataset, store)
    assert (done.put, done.kept) == (4, 0)  # a new column
    write(dataset, "00000", [*rows[:5], Row(picture=b"x", scores={"punsafe": 0.0})], ("scores",))
    assert publish(dataset, store).put == 1
    there = StoreSearcher(store)
    keys = {hit.key for hit in there.query(vector=unit_rows(1)[0], k=99, where="punsafe >= 0")}
    assert keys == {f"00000000{n}" for n in (0, 1, 2, 5)}  # two are unsafe
    assert there.contents.complete
    there.close()


@on_each
def test_shards_that_the_dataset_lost_go(store: str, dataset: Dataset) -> None:
    publish(dataset, store)
    dataset.remove("stages/embed/00001.json")
    done = publish(dataset, store)
    assert (done.dropped, done.put, done.rows) == (1, 0, 10)


def removed(dataset: Dataset, *keys: str) -> Request:
    query = RemovalQuery("key", keys[0], keys=keys[1:])
    with dataset.lock():
        return remove(dataset, query, matches(dataset, query))


@on_each
def test_a_removal_is_gone_there_when_it_is_logged_and_the_check_looks_there(
    store: str, dataset: Dataset
) -> None:
    publish(dataset, store)
    there = StoreSearcher(store)
    request = removed(dataset, "000010002", "000000001")
    assert there.store.present(["000010002", "000000001", "000000002"]) == ["000000002"]
    assert len(there) == 13
    # One that was logged without the database, as by an older version of frenchcat.
    log(dataset, Request(2, "key", "2026-01-01T00:00:00Z", keys=("000000003",)))
    left = [one for one in residue(dataset) if one.file == str(there.store.address)]
    assert [one.what for one in left] == ["key 000000003"]
    publish(dataset, store)
    assert there.store.present(removed_keys(dataset)) == []
    assert not [one for one in residue(dataset) if one.file == str(there.store.address)]
    undo(dataset, request.number)
    assert publish(dataset, store).rows == 14
    there.close()


class Removing(Silent):
    """Progress that removes a row of a shard which was just put."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    def advance(self, rows: int) -> None:
        if not removed_keys(self.dataset):
            removed(self.dataset, "000000004", "000020001")


@on_each
def test_a_removal_during_a_publication_is_not_undone_by_it(store: str, dataset: Dataset) -> None:
    publish(dataset, store, progress=Removing(dataset))
    with open_store(store) as opened:
        assert opened.count() == 13
        assert opened.present(["000000004", "000020001"]) == []


@on_each
def test_rows_of_another_dataset_or_dimension_stay_unless_replaced(
    store: str, dataset: Dataset, tmp_path: Path
) -> None:
    publish(dataset, store)
    other = embedded(tmp_path / "other", unit_rows(3))
    with pytest.raises(AlreadyThere, match=r"holds 15 rows of the dataset 'synthetic'.*--replace"):
        publish(other, store)
    with open_store(store) as opened:
        assert opened.count() == 15
    assert publish(other, store, replace=True).rows == 3
    with pytest.raises(AlreadyThere):
        publish(dataset, store)
    wide = embedded(tmp_path / "wide", unit_rows(4, 8))
    publish(wide, store, replace=True)
    for shard in wide.shards("embed"):
        wide.remove(f"stages/embed/{shard}.json")
    add_shard(wide, "00000", unit_rows(4, 12))
    with pytest.raises(AlreadyThere, match="vectors of 8 numbers, not 12"):
        publish(wide, store)
    assert publish(wide, store, replace=True).rows == 4


@on_each
def test_what_cannot_be_asked_is_refused_in_one_line(store: str, dataset: Dataset) -> None:
    with pytest.raises(NotFound, match="nothing is published at"):
        StoreSearcher(store)
    publish(dataset, store)
    there, (vector,) = StoreSearcher(store), unit_rows(1)
    for where, kind in {
        "widht > 3": UnknownColumn,
        "regexp_matches(caption, 'a')": BadCondition,
        "width = 'a'": BadCondition,
        "caption ILIKE '%é%'": BadCondition,
        "width": BadCondition,
        "width > 1; DROP TABLE x": BadCondition,
    }.items():
        with pytest.raises(kind) as refused:
            there.query(vector=vector, where=where)
        assert "\n" not in str(refused.value)
    with pytest.raises(UserError, match="selection 'mine'"):
        there.ranked(vector, 3, view=View(selections=("mine",)))
    with pytest.raises(UserError, match="--hybrid"):
        there.hybrid("cat", vector, 3)
    assert len(there.query(vector=vector, k=99)) == 15
    there.close()


@on_each
def test_texts_of_any_kind_come_back_as_they_were(store: str, tmp_path: Path) -> None:
    captions = ['it\'s \\ 100% "x"', "a\0b", "Ünï 猫\n\t", "", "%_;--"]
    made = embedded(tmp_path / "d")
    add_shard(made, "00000", unit_rows(5), captions=captions)
    assert publish(made, store).replaced_texts == 1
    there, (vector,) = StoreSearcher(store), unit_rows(1)
    found = {hit.key[-1]: hit.caption for hit in there.query(vector=vector, k=9)}
    assert [found[str(n)] for n in range(5)] == [captions[0], "a\ufffdb", *captions[2:]]
    for at, where in {
        0: "caption = 'it''s \\ 100% \"x\"'",
        2: "caption LIKE 'Ünï 猫%'" if store.startswith("milvus") else "caption LIKE 'Ü__ 猫%'",
        4: "caption LIKE '%;--' AND caption < 'a'",
    }.items():
        assert [hit.key[-1] for hit in there.query(vector=vector, k=9, where=where)] == [str(at)]
    there.close()


# -- a server that fails ---------------------------------------------------------------------------


def test_a_full_server_is_named_with_what_is_published(
    monkeypatch: pytest.MonkeyPatch, dataset: Dataset
) -> None:
    address, server = memory_store.started(monkeypatch)
    server.room = 2
    with pytest.raises(
        NoSpace, match=r"is full.*; 2 of 3 shards are published there, and the same"
    ):
        publish(dataset, address)
    server.room = None
    assert publish(dataset, address).kept == 2


def test_a_removal_is_logged_though_the_server_is_down(
    monkeypatch: pytest.MonkeyPatch, dataset: Dataset
) -> None:
    address, server = memory_store.started(monkeypatch)
    other, _ = memory_store.started(monkeypatch, "two")
    publish(dataset, address)
    publish(dataset, other)
    server.down = True
    with pytest.raises(Unreachable, match=r"request 1 is logged .* but not at memory://one"):
        removed(dataset, "000000001")
    assert removed_keys(dataset) == {"000000001"}
    with open_store(other) as opened:  # the others are asked all the same
        assert opened.present(["000000001"]) == []
    with pytest.raises(Unreachable):
        residue(dataset)
    with pytest.raises(Unreachable):
        publish(dataset, address)
    server.down = False
    publish(dataset, address)
    with open_store(address) as opened:
        assert opened.count() == 14


def test_a_removal_between_reading_a_shard_and_putting_it_counts(
    monkeypatch: pytest.MonkeyPatch, dataset: Dataset
) -> None:
    address, server = memory_store.started(monkeypatch)

    def once() -> None:
        server.before_put = lambda: None
        removed(dataset, "000000002")

    server.before_put = once
    publish(dataset, address)
    with open_store(address) as opened:
        assert opened.present(["000000001", "000000002"]) == ["000000001"]


def test_rows_that_another_dataset_published_meanwhile_are_not_removed(
    monkeypatch: pytest.MonkeyPatch, dataset: Dataset, tmp_path: Path
) -> None:
    address, _ = memory_store.started(monkeypatch)
    publish(dataset, address)
    publish(embedded(tmp_path / "other", unit_rows(3)), address, replace=True)
    removed(dataset, "000000001")
    with open_store(address) as opened:
        assert opened.count() == 3
    assert not [one for one in residue(dataset) if one.file.startswith("memory")]


def test_a_password_is_neither_stored_nor_shown(
    monkeypatch: pytest.MonkeyPatch, dataset: Dataset
) -> None:
    address, server = memory_store.started(monkeypatch, "me:secret@host")
    publish(dataset, f"{address}?table=cats")
    assert list(addresses(dataset)) == ["memory://me@host?table=cats"]
    assert "secret" not in Path(dataset.path("published.json")).read_text()
    server.down = True
    with pytest.raises(Unreachable) as refused:
        publish(dataset, f"{address}?table=cats")
    assert "secret" not in str(refused.value)
