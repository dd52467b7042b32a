"""What may be seen, step by step: a searcher that stays open, against a plain list of the rows.

Rows are removed, judged, scored, clustered; requests are taken back; conditions are asked again
after each change. Nothing that was remembered may outlive what it was made of.
"""

import gc
import itertools
import weakref
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from frenchcat.curate.dataset import Dataset
from frenchcat.curate.manifest import StageEntry
from frenchcat.curate.markers import record_entry
from frenchcat.curate.removals import FOLDER
from frenchcat.index.build import build_index
from frenchcat.index.search import Searcher, View
from tests.index.judged import Judged, Row, remove, write
from tests.sample.columns import set_columns
from tests.sample.embedded import add_shard, embedded
from tests.sample.vectors import unit_rows

COUNTS = {"00000": 9, "00001": 4}
CONDITIONS = (None, "punsafe IS NULL", "key::BIGINT % 2 = 0", "key::BIGINT % 3 = 0")
Step = tuple[str, int, int]


def plain(root: Path) -> Judged:
    """A small dataset in two parts of which nothing is known yet."""
    made = Judged(Dataset.create(root, "d"))
    for shard, count in COUNTS.items():
        vectors = unit_rows(count, seed=int(shard))
        for key, vector in zip(add_shard(made.dataset, shard, vectors), vectors, strict=True):
            stored = vector.astype(np.float16).astype(np.float32)
            made.rows.append(Row(key, stored, None, None, key, True, judged=False))
        build_index(made.dataset)
    write(made)
    return made


def take(made: Judged, step: Step) -> None:
    """One change of the dataset."""
    name, at, value = step
    row = made.rows[at % len(made.rows)]
    if name == "remove":
        remove(made, [row.key])
    elif name == "take back":
        for file in made.dataset.files(FOLDER):
            made.dataset.remove(f"{FOLDER}/{file}")
        for each in made.rows:
            each.removed = False
    elif name == "judge":
        reasons = (None, "tiny", "violence", "nsfw_x", "punsafe", "unsafe", "duplicate", "not_nsfw")
        row.reason, row.judged = reasons[value % len(reasons)], value % 5 > 0
        row.judged = row.judged or row.reason is not None
    elif name == "score":
        row.punsafe = (None, 0.1, 0.5, 0.9)[value % 4]
    else:
        members = [made.rows[(at + far) % len(made.rows)] for far in range(2 + value % 3)]
        for each in made.rows:
            each.cluster, each.stays = each.key, True
        for number, each in enumerate(members):
            each.cluster, each.stays = members[0].key, number == value % len(members)
    folders = {"judge": "verdicts", "score": "scores", "cluster": "duplicates"}
    if name in folders:
        write(made, [folders[name]])


steps = st.lists(
    st.tuples(
        st.sampled_from(["remove", "judge", "score", "cluster", "judge", "score", "take back"]),
        st.integers(0, 12),
        st.integers(0, 40),
    ),
    min_size=1,
    max_size=4,
)


@settings(
    max_examples=5,
    phases=(Phase.explicit, Phase.generate),  # a few steps need no shrinking
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(steps=steps, flags=st.tuples(st.booleans(), st.booleans(), st.booleans()))
def test_after_every_change_exactly_the_rows_that_may_be_seen(
    tmp_path_factory: pytest.TempPathFactory, steps: list[Step], flags: tuple[bool, bool, bool]
) -> None:
    made = plain(tmp_path_factory.mktemp("changes") / "d")
    searcher, (vector,) = Searcher(made.dataset), unit_rows(1, seed=3)
    safe, duplicates, dropped = flags
    for step in [("score", 0, 0), *steps]:
        take(made, step)
        for condition in CONDITIONS[:3]:
            modulo = 2 if condition == CONDITIONS[2] else None
            rows = made.visible(modulo, safe, duplicates, dropped)
            if condition == CONDITIONS[1]:
                rows = _unscored(made, safe, duplicates, dropped)
            hits = searcher.query(
                vector=vector,
                k=len(made.rows),
                where=condition,
                safe=safe,
                duplicates=duplicates,
                dropped=dropped,
            )
            assert {hit.key for hit in hits} == {row.key for row in rows}, (step, condition)
        gone = [row.removed for row in made.rows]
        known = searcher.positions([int(row.key) for row in made.rows])
        assert [at < 0 for at in known.tolist()] == gone


def _unscored(made: Judged, safe: bool, duplicates: bool, dropped: bool) -> list[Row]:
    scored = [row for row in made.rows if row.punsafe is not None and not row.removed]
    for row in scored:
        row.removed = True  # for a moment: what a condition leaves out stands for no cluster
    try:
        return made.visible(None, safe, duplicates, dropped)
    finally:
        for row in scored:
            row.removed = False


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (("remove", 3, 0), ("take back", 0, 0)),
        (("score", 3, 0), ("score", 3, 3)),
        (("score", 3, 3), ("score", 3, 0)),
        (("judge", 3, 1), ("judge", 3, 2)),
        (("cluster", 3, 0), ("cluster", 5, 1)),
        (("score", 3, 0), ("remove", 3, 0)),
    ],
)
def test_what_was_asked_before_a_change_is_asked_anew(
    tmp_path: Path, before: Step, after: Step
) -> None:
    """Of the conditions, too; and where two conditions are of one length."""
    made = plain(tmp_path / "d")
    searcher, (vector,) = Searcher(made.dataset), unit_rows(1, seed=3)
    for step in (before, after):
        take(made, step)
        for condition, modulo in zip(CONDITIONS[2:], (2, 3), strict=True):
            for dropped in (False, True):
                hits = searcher.query(vector=vector, k=13, where=condition, dropped=dropped)
                rows = made.visible(modulo, True, False, dropped)
                assert {hit.key for hit in hits} == {row.key for row in rows}
        hits = searcher.query(vector=vector, k=13, where="punsafe > 0.2", safe=False)
        scored = {row.key for row in made.rows if (row.punsafe or 0) > 0.2 and not row.removed}
        assert {hit.key for hit in hits} == scored


def test_a_condition_over_what_another_stage_wrote_is_asked_anew(tmp_path: Path) -> None:
    """The sidecar, too, may be written again, in a folder that no bitmap is made of."""
    dataset = embedded(tmp_path / "d", unit_rows(6))
    build_index(dataset)
    searcher = Searcher(dataset)
    wide = {"vector": unit_rows(1)[0], "k": 6, "where": "width >= 100"}
    assert searcher.query(**wide) == []  # type: ignore[arg-type]
    set_columns(dataset, "shards/00000.parquet", width=[8, 8, 200, 8, 8, 200])
    record_entry(dataset, "download", StageEntry(settings={"again": True}))
    found = searcher.query(**wide)  # type: ignore[arg-type]
    assert {hit.key for hit in found} == {"000000002", "000000005"}


def test_removals_and_verdicts_of_a_dataset_elsewhere_count_at_once(tmp_path: Path) -> None:
    made = plain(tmp_path / "d")
    there = Dataset("memory://changes")
    there.fs.put(f"{made.dataset.root}/", f"{there.root}/", recursive=True)
    searcher, (vector,) = Searcher(there), unit_rows(1, seed=3)
    assert len(searcher.query(vector=vector, k=13)) == 13
    take(made, ("judge", 3, 1))
    for shard in COUNTS:
        file = f"verdicts/{shard}.parquet"
        there.fs.put_file(made.dataset.path(file), there.path(file))
    record_entry(there, "verdict", StageEntry(settings={}, counts={"kept": 12}))
    keys = {hit.key for hit in searcher.query(vector=vector, k=13)}
    assert keys == {row.key for row in made.visible(None, True, False, False)}
    assert len(keys) == 12
    remove(Judged(there, made.rows), [made.rows[0].key])
    assert made.rows[0].key not in {hit.key for hit in searcher.query(vector=vector, k=13)}


def test_a_removed_row_that_is_not_indexed_hides_no_other(tmp_path: Path) -> None:
    made = plain(tmp_path / "d")
    remove(made, ["000990000", "photo"])
    searcher = Searcher(made.dataset)
    assert len(searcher.query(vector=made.rows[-1].vector, k=13)) == 13
    assert searcher.hidden(made.rows[-1].vector, 13) == {}
    assert searcher.positions([int(made.rows[-1].key)]).tolist() == [12]


def test_a_clusters_drawer_has_its_rows_but_for_removed_ones(tmp_path: Path) -> None:
    made = plain(tmp_path / "d")
    take(made, ("cluster", 2, 1))  # rows 2, 3, 4
    searcher = Searcher(made.dataset)
    assert searcher.visible.cluster(3).tolist() == [2, 3, 4]
    remove(made, [made.rows[4].key])
    assert searcher.visible.cluster(3).tolist() == [2, 3]


def test_clusters_come_largest_first_and_of_one_size_in_the_order_of_rows(tmp_path: Path) -> None:
    made = plain(tmp_path / "d")
    for first, last in ((1, 2), (4, 6), (9, 10)):
        for row in made.rows[first : last + 1]:
            row.cluster, row.stays = made.rows[first].key, row is made.rows[first]
    write(made)
    visible = Searcher(made.dataset).visible
    assert [group.tolist() for group in visible.groups()] == [[4, 5, 6], [1, 2], [9, 10]]
    asked = np.array([3, 4, 6, 1])
    assert visible.copies(asked).tolist() == [0, 2, 2, 1]
    remove(made, [made.rows[5].key])
    assert visible.copies(asked).tolist() == [0, 1, 1, 1]
    assert [group.tolist() for group in visible.groups()] == [[1, 2], [4, 6], [9, 10]]


RULES = {
    "unsafe": (
        "unsafe",
        "unsafe_picture",
        "punsafe",
        "punsafe>0.5",
        "nsfw",
        "nsfw_x",
        "violence_7",
    ),
    "dropped": ("tiny", "not_nsfw", "nsf"),
    "": ("duplicate", "duplicate_semantic", None),
}


def test_a_verdicts_rule_and_a_score_say_what_a_row_is_shown_with(tmp_path: Path) -> None:
    made, (vector,) = plain(tmp_path / "d"), unit_rows(1)
    listed = [(kind, rule) for kind, rules in RULES.items() for rule in rules]
    assert len(listed) == len(made.rows)
    for row, (_, rule) in zip(made.rows, listed, strict=True):
        row.reason, row.judged = rule, rule is not None
    write(made)
    searcher = Searcher(made.dataset)
    for safe, dropped in itertools.product((True, False), repeat=2):
        shown = {""} | ({"dropped"} if dropped else set()) | (set() if safe else {"unsafe"})
        hits = searcher.query(vector=vector, k=13, safe=safe, dropped=dropped)
        expected = {
            row.key for row, (kind, _) in zip(made.rows, listed, strict=True) if kind in shown
        }
        assert {hit.key for hit in hits} == expected
    scores = (0.0, 0.1, 0.4999, 0.5, 0.5001, 1.0, None)
    for row, score in itertools.zip_longest(made.rows, scores):
        row.reason, row.judged, row.punsafe = None, False, score
    write(made)
    keys = {hit.key for hit in searcher.query(vector=vector, k=13)}
    assert keys == {row.key for row in made.rows if row.punsafe is None or row.punsafe < 0.5}
    assert len(searcher.query(vector=vector, k=13, safe=False)) == 13


def test_a_row_that_is_compared_but_not_judged_is_not_dropped(tmp_path: Path) -> None:
    made, (vector,) = plain(tmp_path / "d"), unit_rows(1)
    take(made, ("cluster", 2, 0))
    take(made, ("judge", 7, 1))
    hits = Searcher(made.dataset).query(vector=vector, k=13, duplicates=True)
    assert {hit.key for hit in hits} == {row.key for at, row in enumerate(made.rows) if at != 7}


def test_the_row_that_stays_stands_for_its_cluster_or_else_the_first_seen(tmp_path: Path) -> None:
    made, (vector,) = plain(tmp_path / "d"), unit_rows(1)
    members = made.rows[2:6]
    for row in members:
        row.cluster, row.stays = members[0].key, row is members[2]
    write(made)
    searcher = Searcher(made.dataset)
    for hidden, stands in ((None, 2), (2, 0), (0, 1), (1, 3), (3, None)):
        if hidden is not None:
            members[hidden].reason, members[hidden].judged = "tiny", True
            write(made)
        seen = {hit.key for hit in searcher.query(vector=vector, k=13)}
        expected = set() if stands is None else {members[stands].key}
        assert seen & {row.key for row in members} == expected
        assert len(seen) == 9 + len(expected)


def test_what_is_hidden_is_counted_once_of_the_nearest_k_of_all(tmp_path: Path) -> None:
    """For the first reason, whatever else would hide it."""
    made = plain(tmp_path / "d")
    (vector,) = unit_rows(1, seed=3)
    order = sorted(made.rows, key=lambda row: -float(row.vector @ vector))
    for row, reason in zip(made.rows, ("nsfw", "tiny", None, "nsfw", "tiny", "nsfw"), strict=False):
        row.reason, row.judged = reason, True
    write(made)
    searcher, gone = Searcher(made.dataset), made.rows[3].key
    view = View("key::BIGINT % 2 = 0")
    searcher.hidden(vector, 13, view=view)
    remove(made, [gone])
    for k in (1, 4, 13):
        counts = {"removed": 0, "where": 0, "unsafe": 0, "dropped": 0}
        for row in order[:k]:
            if row.removed:
                counts["removed"] += 1
            elif int(row.key) % 2:
                counts["where"] += 1
            elif row.unsafe:
                counts["unsafe"] += 1
            elif row.dropped:
                counts["dropped"] += 1
        expected = {reason: number for reason, number in counts.items() if number}
        assert searcher.hidden(vector, k, view=view) == expected


def test_bitmaps_of_conditions_asked_long_ago_are_let_go(tmp_path: Path) -> None:
    dataset = embedded(tmp_path / "d", unit_rows(4))
    build_index(dataset)
    visible = Searcher(dataset).visible
    first = visible.mask(View("width > 1000"))
    assert first is not None
    let_go = weakref.ref(first)
    del first
    for number in range(9):
        for safe, duplicates, dropped in itertools.product((False, True), repeat=3):
            visible.mask(View(f"width > {number}", safe, duplicates, dropped))
    gc.collect()
    assert let_go() is None
