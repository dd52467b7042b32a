"""Exactly k, whatever is hidden: every filter at once against brute force, over several parts."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from frenchcat.curate.errors import UserError
from frenchcat.curate.remove import undo
from frenchcat.index import part as parts
from frenchcat.index.search import Searcher, View
from frenchcat.index.visible import Mask, Visible
from tests.index.judged import Judged, judged, remove, write
from tests.sample.vectors import unit_rows

FACTORIES = ("auto", "RaBitQ2", "IVF4,RaBitQ2", "HNSW8", "PQ4x4")


@pytest.fixture(scope="module", params=FACTORIES)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Judged:
    return judged(tmp_path_factory.mktemp("judged") / "d", request.param, seed=11)


@pytest.fixture(scope="module")
def searcher(made: Judged) -> Searcher:
    return Searcher(made.dataset)


queries = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 10_000),
        "k": st.sampled_from([1, 2, 7, 40, 180, 1_000_000]),
        "modulo": st.sampled_from([None, 1, 2, 5, 40, 1_000_003]),
        "safe": st.booleans(),
        "duplicates": st.booleans(),
        "dropped": st.booleans(),
    }
)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.differing_executors])
@given(query=queries, few=st.sampled_from([0, parts.FEW]))
def test_exactly_k_rows_that_may_be_seen(
    made: Judged, searcher: Searcher, query: dict[str, int], few: int
) -> None:
    flags = {name: bool(query[name]) for name in ("safe", "duplicates", "dropped")}
    modulo, k = query["modulo"], query["k"]
    where = None if modulo is None else f"key::BIGINT % {modulo} = 0"
    (vector,) = unit_rows(1, seed=query["seed"])
    rows = made.visible(modulo, **flags)
    before, parts.FEW = parts.FEW, few  # so that both ways are taken at this size
    try:
        hits = searcher.query(vector=vector, k=k, where=where, **flags)
    finally:
        parts.FEW = before
    assert len(hits) == min(k, len(rows))
    assert len({hit.key for hit in hits}) == len(hits)
    # A cosine is at most 1, which float16 rounds a vector's length across.
    truth = {row.key: min(1.0, float(row.vector @ vector)) for row in rows}
    assert {hit.key for hit in hits} <= truth.keys()
    found = [hit.similarity for hit in hits]
    np.testing.assert_allclose(found, [truth[hit.key] for hit in hits], atol=3e-6)
    assert found == sorted(found, reverse=True)
    compared = few and len(rows) < len(made.rows)  # a filter leaves few: all of them are compared
    if compared or k >= len(rows) or all(part.entry.exact for part in searcher._parts["image"]):
        np.testing.assert_allclose(found, sorted(truth.values(), reverse=True)[:k], atol=3e-6)


def test_what_was_hidden_is_counted_by_the_first_reason(tmp_path: Path) -> None:
    made = judged(tmp_path / "d", "auto", seed=3)
    remove(made, [row.key for row in made.rows[:9]])
    searcher = Searcher(made.dataset)
    (vector,) = unit_rows(1, seed=5)
    counts = searcher.hidden(vector, len(made.rows), view=View("key::BIGINT % 3 = 0"))
    everything = len(made.rows)
    removed = sum(row.removed for row in made.rows)
    elsewhere = sum(not row.removed and int(row.key) % 3 > 0 for row in made.rows)
    shown = made.visible(3, False, True, True)
    safe = made.visible(3, True, True, True)
    kept = made.visible(3, True, True, False)
    single = made.visible(3, True, False, False)
    expected = {
        "removed": removed,
        "where": elsewhere,
        "unsafe": len(shown) - len(safe),
        "dropped": len(safe) - len(kept),
        "duplicate": len(kept) - len(single),
    }
    assert counts == {reason: number for reason, number in expected.items() if number}
    assert everything - sum(counts.values()) == len(single)
    assert searcher.hidden(vector, 1, view=View(safe=False, duplicates=True, dropped=True)) in (
        {},
        {"removed": 1},
    )


def test_removals_and_verdicts_count_in_a_searcher_that_is_open(tmp_path: Path) -> None:
    made = judged(tmp_path / "d", "auto", seed=4)
    searcher = Searcher(made.dataset)
    (first, *_) = searcher.query(vector=made.rows[0].vector, k=3)
    remove(made, [first.key])
    assert first.key not in {hit.key for hit in searcher.query(vector=made.rows[0].vector, k=300)}
    assert searcher.metadata([first.id]) == [None]
    with pytest.raises(UserError, match="has no row with the id"):
        searcher.reconstruct([first.id])
    (second, *_) = searcher.query(vector=made.rows[0].vector, k=1)
    (row,) = (row for row in made.rows if row.key == second.key)
    row.reason, row.judged = "tiny", True
    write(made)
    assert second.key not in {hit.key for hit in searcher.query(vector=made.rows[0].vector, k=300)}
    shown = searcher.query(vector=made.rows[0].vector, k=1, dropped=True)
    assert shown[0].key == second.key


def test_a_condition_is_asked_again_when_the_rows_that_meet_it_change(tmp_path: Path) -> None:
    made = judged(tmp_path / "d", "auto", seed=4)
    searcher = Searcher(made.dataset)
    row = next(row for row in made.rows if row.reason is None and row.stays and row.punsafe == 0.1)

    def found(where: str) -> bool:
        hits = searcher.query(vector=row.vector, k=300, where=where, safe=False)
        return row.key in {hit.key for hit in hits}

    remove(made, [row.key])
    assert not found("width > 0")
    undo(made.dataset, 1)
    assert found("width > 0")
    assert not found("punsafe > 0.8")
    row.punsafe = 0.9
    write(made)
    assert found("punsafe > 0.8")


def test_clusters_and_their_drawer(made: Judged, searcher: Searcher) -> None:
    numbers = searcher.visible.clusters()
    assert numbers is not None
    place = {row.key: int(searcher.positions([int(row.key)])[0]) for row in made.rows}
    for row in made.rows:
        there = {place[other.key] for other in made.rows if other.cluster == row.cluster}
        assert set(np.flatnonzero(numbers == numbers[place[row.key]])) == there
        assert set(searcher.visible.cluster(place[row.key])) == there


def test_rows_and_vectors_by_id(made: Judged, searcher: Searcher) -> None:
    chosen = [made.rows[at] for at in (150, 3, 3, 70)]
    ids = [int(row.key) for row in chosen]
    stored = searcher.reconstruct(ids)
    np.testing.assert_array_equal(stored, [row.vector for row in chosen])
    found = searcher.metadata([*ids, 99], ["key", "caption"])
    said = [{"key": row.key, "caption": f"caption of {row.key}"} for row in chosen]
    assert found == [*said, None]


def test_a_bad_condition_is_a_users_mistake(searcher: Searcher) -> None:
    for where in ("nowhere > 3", "1; DROP TABLE rows", "key IN (SELECT key FROM rows)"):
        with pytest.raises(UserError):
            searcher.query(vector=[1.0] * 16, where=where)


def test_a_slow_condition_holds_up_no_other_query(
    searcher: Searcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = Event(), Event()
    meeting = Visible._meeting

    def slow(self: Visible, where: str) -> Mask:
        begun.set()
        assert go_on.wait(30)
        return meeting(self, where)

    monkeypatch.setattr(Visible, "_meeting", slow)
    with ThreadPoolExecutor() as pool:
        asked = [pool.submit(searcher.visible.mask, View("width < 987654")) for _ in range(2)]
        assert begun.wait(30)
        free = pool.submit(searcher.visible.mask, View(safe=False, dropped=True))
        assert free.exception(timeout=30) is None
        assert not any(each.done() for each in asked)
        go_on.set()
        first, second = (each.result() for each in asked)
    assert first is second
