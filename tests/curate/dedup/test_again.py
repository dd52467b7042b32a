"""What is read of any row has all compared anew, and the answer is brute force's."""

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frenchcat.curate.catalog import Catalog
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.dedup import DedupReport, DedupSettings, dedup
from frenchcat.curate.removals import Request, log
from tests.curate.dedup.folders import Row, pdq, read, vector, write

V = [vector(seed) for seed in range(10)]


def lone(number: int) -> Row:
    """A row like no other."""
    name = f"http://a.test/{number}.jpg"
    return Row(name, f"{number:064x}", pdq=pdq(number), vector=vector(number), text=V[0])


def run(dataset: Dataset, **named: Any) -> DedupReport:
    with dataset.lock():
        return dedup(dataset, DedupSettings(**named))


def duplicate_of(dataset: Dataset) -> dict[str, str]:
    """Key -> the row that stays in its place, of those that do not stay."""
    return {k: r["duplicate_of"] for k, r in read(dataset).items() if r["duplicate_of"]}


def made(root: Path, *shards: Sequence[Row]) -> Dataset:
    dataset = Dataset.create(root, "d")
    for number, rows in enumerate(shards):
        write(dataset, f"{number:05d}", rows)
    return dataset


def gone(dataset: Dataset, number: int, *keys: str) -> None:
    log(dataset, Request(number, "key", "2026-01-01T00:00:00Z", keys=keys))


# -- what is up to date ----------------------------------------------------------------------------

FIRST = [lone(0), lone(1)]
SECOND = [lone(2), replace(lone(3), sha256=lone(0).sha256)]


@pytest.mark.parametrize(
    "changed",
    [
        replace(SECOND[0], url="HTTP://A.test:80/1.jpg"),
        replace(SECOND[0], sha256=lone(1).sha256),
        replace(SECOND[0], stored=False),
        replace(SECOND[0], pdq=pdq(1, 20)),
        replace(SECOND[0], vector=V[1]),
    ],
    ids=["url", "sha256", "not stored", "pdq", "vector"],
)
def test_any_row_s_change_has_all_compared_anew(changed: Row, tmp_path: Path) -> None:
    dataset = made(tmp_path / "d", FIRST, SECOND)
    run(dataset)
    write(dataset, "00001", [changed, SECOND[1]])
    assert not run(dataset).skipped
    anew = made(tmp_path / "anew", FIRST, [changed, SECOND[1]])
    run(anew)
    assert read(dataset) == read(anew)
    copy_of = "000000001" if changed.stored else None
    assert duplicate_of(dataset).get("000010000") == copy_of
    assert run(dataset).skipped


@pytest.mark.parametrize(
    "changed",
    [{"url": "HTTP://A.test:80/1.jpg"}, {"sha256": lone(1).sha256}, {"stored": False}],
    ids=lambda named: next(iter(named)),
)
def test_so_has_a_row_s_that_was_never_embedded(changed: dict[str, Any], tmp_path: Path) -> None:
    plain = [replace(row, vector=None) for row in (*FIRST, *SECOND)]
    dataset = made(tmp_path / "d", plain[:2], plain[2:])
    run(dataset, methods=("exact",))
    write(dataset, "00001", [replace(plain[2], **changed), plain[3]])
    assert not run(dataset, methods=("exact",)).skipped
    copy_of = "000000001" if "stored" not in changed else None
    assert duplicate_of(dataset).get("000010000") == copy_of


def test_a_caption_s_other_vector_has_all_compared_anew(tmp_path: Path) -> None:
    dataset = made(tmp_path / "d", FIRST, SECOND)
    run(dataset)
    write(dataset, "00001", [replace(SECOND[0], text=V[5]), SECOND[1]])
    assert not run(dataset).skipped


def test_hashes_of_a_quality_below_50_say_nothing_by_default(tmp_path: Path) -> None:
    def pair(quality: int) -> DedupReport:
        alike = [replace(lone(n), pdq=pdq(0), quality=quality) for n in (0, 1)]
        return run(made(tmp_path / str(quality), alike), methods=("perceptual",))

    assert pair(50).duplicates == 1
    assert pair(49).duplicates == 0


def test_a_vector_that_became_another_row_s_has_all_compared_anew(tmp_path: Path) -> None:
    """The file of vectors is the same, byte for byte; whose they are is not."""
    has, lacks = ([replace(lone(n), vector=v) for n in (2, 3)] for v in (V[0], None))
    dataset = made(tmp_path / "d", FIRST, [has[0], lacks[1]])
    run(dataset)
    assert duplicate_of(dataset) == {"000010000": "000000000"}
    write(dataset, "00001", [lacks[0], has[1]])
    assert not run(dataset).skipped
    assert duplicate_of(dataset) == {"000010001": "000000000"}


@pytest.mark.parametrize(
    ("changed", "rule"),
    [
        (replace(SECOND[1], side=200), "resolution"),
        (replace(SECOND[1], similarity=0.9), "similarity"),
        (replace(SECOND[1], caption="a cat of many words"), "caption_length"),
    ],
)
def test_a_copy_that_became_the_better_one_stays(changed: Row, rule: Any, tmp_path: Path) -> None:
    dataset = made(tmp_path / "d", FIRST, SECOND)
    run(dataset, survivor=(rule,))
    assert duplicate_of(dataset) == {"000010001": "000000000"}
    write(dataset, "00001", [SECOND[0], changed])
    assert not run(dataset, survivor=(rule,)).skipped
    assert duplicate_of(dataset) == {"000000000": "000010001"}


def test_a_score_that_is_not_read_changes_nothing(tmp_path: Path) -> None:
    dataset = made(tmp_path / "d", FIRST, SECOND)
    run(dataset)
    path = dataset.path("scores/00001.parquet")
    table = pq.read_table(path)
    digests = json.loads(table.schema.metadata[b"frenchcat.scores"]) | {"punsafe": "0" * 64}
    table = table.append_column("punsafe", [[0.5] * table.num_rows])
    metadata = {b"frenchcat.scores": json.dumps(digests)}
    pq.write_table(table.replace_schema_metadata(metadata), path)
    assert run(dataset).skipped


@pytest.mark.parametrize(
    "other",
    [
        {"methods": ("exact", "perceptual")},
        {"perceptual_distance": 30},
        {"perceptual_quality": 49},
        {"semantic_cosine": 0.97},
        {"survivor": ("similarity", "key")},
    ],
    ids=lambda named: next(iter(named)),
)
def test_other_settings_are_another_question(other: dict[str, Any], tmp_path: Path) -> None:
    dataset = made(tmp_path / "d", FIRST, SECOND)
    run(dataset)
    assert not run(dataset, **other).skipped
    assert run(dataset, **other).skipped


# -- what is removed -------------------------------------------------------------------------------


def test_a_removed_row_stands_for_no_other(tmp_path: Path) -> None:
    """Else a rule that drops duplicates would drop the last copy, too."""
    best = replace(FIRST[0], side=500)
    dataset = made(tmp_path / "d", [best, lone(1)], SECOND)
    run(dataset)
    assert duplicate_of(dataset) == {"000010001": "000000000"}
    gone(dataset, 1, "000000000")
    report = run(dataset)
    assert (report.skipped, report.rows, report.duplicates) == (False, 3, 0)
    assert duplicate_of(dataset) == {}
    assert run(dataset).skipped
    with Catalog(dataset) as catalog:
        one_of_each = ["000000001", "000010000", "000010001"]
        assert catalog.keys("duplicate_of is null") == one_of_each
        assert catalog.keys("multiplicity = 1") == one_of_each


def test_a_removed_row_ties_no_others(tmp_path: Path) -> None:
    bridge = replace(lone(5), sha256=lone(0).sha256, pdq=pdq(1, 3))
    dataset = made(tmp_path / "d", FIRST, [bridge])
    assert run(dataset).clusters == 1
    gone(dataset, 1, "000010000")
    assert run(dataset).clusters == 0
    assert [row["multiplicity"] for row in read(dataset).values()] == [1, 1]


# -- limits and ties -------------------------------------------------------------------------------


@pytest.mark.parametrize(("distance", "tied"), [(30, 0), (31, 1), (32, 1)])
def test_hashes_at_the_very_distance_are_duplicates(
    distance: int, tied: int, tmp_path: Path
) -> None:
    dataset = made(tmp_path / "d", [lone(0), replace(lone(1), pdq=pdq(0, 31))])
    assert run(dataset, perceptual_distance=distance).duplicates == tied


@pytest.mark.parametrize(("cosine", "tied"), [(0.74, 1), (0.75, 1), (0.76, 0)])
def test_vectors_at_the_very_cosine_are_duplicates(
    cosine: float, tied: int, tmp_path: Path
) -> None:
    one = np.eye(16)[0]
    other = 0.75 * one + np.sqrt(1 - 0.75**2) * np.eye(16)[1]  # their product is .75 to the bit
    rows = [replace(lone(0), vector=one), replace(lone(1), vector=other)]
    dataset = made(tmp_path / "d", rows)
    assert run(dataset, semantic_cosine=cosine).duplicates == tied


@pytest.mark.parametrize(("least", "tied"), [(49, 1), (50, 1), (51, 0)])
def test_hashes_of_the_very_quality_count(least: int, tied: int, tmp_path: Path) -> None:
    rows = [replace(lone(n), pdq=pdq(0), quality=50) for n in range(2)]
    assert run(made(tmp_path / "d", rows), perceptual_quality=least).duplicates == tied


@pytest.mark.parametrize(
    ("copy", "tied"),
    [
        ({"pdq": pdq(0, 31)}, 1),
        ({"pdq": pdq(0, 32)}, 0),
        ({"pdq": pdq(0), "quality": 50}, 1),
        ({"pdq": pdq(0), "quality": 49}, 0),
        ({"vector": vector(50, V[0], 0.962)}, 1),
        ({"vector": vector(50, V[0], 0.958)}, 0),
    ],
)
def test_the_limits_are_by_default_those_that_are_documented(
    copy: dict[str, Any], tied: int, tmp_path: Path
) -> None:
    dataset = made(tmp_path / "d", [lone(0), replace(lone(1), **copy)])
    assert run(dataset).duplicates == tied


def test_equal_stored_bytes_are_exact_duplicates(tmp_path: Path) -> None:
    rows = [replace(lone(n), sha256=None, stored_sha256="f" * 64) for n in range(2)]
    dataset = made(tmp_path / "d", [*rows, replace(lone(2), sha256="f" * 64)])
    assert run(dataset).kinds == {"exact": 1}  # original bytes are not compared with stored ones
    assert duplicate_of(dataset) == {"000000001": "000000000"}


def test_pixels_decide_not_a_side_and_an_unknown_size_loses(tmp_path: Path) -> None:
    wide, square = replace(lone(0), side=900, height=10), replace(lone(1), side=100)
    tall, unknown = replace(lone(2), side=10, height=900), replace(lone(3), side=None)
    rows = [replace(row, sha256="e" * 64) for row in (unknown, wide, tall, square)]
    dataset = made(tmp_path / "d", rows)
    run(dataset)
    assert set(duplicate_of(dataset).values()) == {"000000003"}


# -- brute force -----------------------------------------------------------------------------------

ROWS = st.fixed_dictionaries(
    {
        "url": st.integers(0, 30),
        "sha256": st.sampled_from([None, *"abcdefghi"]),
        "stored_sha256": st.sampled_from([None, *"abcdefghi"]),
        "side": st.sampled_from([None, 100, 200]),
        "similarity": st.sampled_from([None, 0.1, 0.2]),
        "pdq": st.one_of(st.none(), st.tuples(st.integers(0, 2), st.sampled_from([0, 20, 40, 60]))),
        "quality": st.sampled_from([10, 50, 90]),
        "vector": st.one_of(st.none(), st.integers(0, 15)),
        "stored": st.sampled_from([True, True, True, False]),
        "removed": st.sampled_from([False, False, False, True]),
    }
)
CIRCLE = [  # each is near its neighbours alone: 14 degrees lie between them, .96 is 16.26
    np.cos(np.deg2rad(14 * n)) * np.eye(16)[0] + np.sin(np.deg2rad(14 * n)) * np.eye(16)[1]
    for n in range(16)
]


def row_of(drawn: Mapping[str, Any]) -> Row:
    """The row of a drawing; equal letters, numbers and places are near."""
    hash_, place = drawn["pdq"], drawn["vector"]
    return Row(
        f"http://a.test/{drawn['url']}",
        drawn["sha256"] and drawn["sha256"] * 64,
        drawn["stored_sha256"] and drawn["stored_sha256"] * 64,
        drawn["side"],
        similarity=drawn["similarity"],
        pdq=None if hash_ is None else pdq(*hash_),
        quality=drawn["quality"],
        vector=None if place is None else CIRCLE[place],
        stored=drawn["stored"],
    )


def evidence(one: Row, other: Row) -> str | None:
    """The strongest of what ties two rows."""
    for name in ("url", "sha256", "stored_sha256"):
        if getattr(one, name) is not None and getattr(one, name) == getattr(other, name):
            return "exact"
    if one.pdq and other.pdq and min(one.quality, other.quality) >= 50:
        apart = int.from_bytes(one.pdq) ^ int.from_bytes(other.pdq)
        if apart.bit_count() <= 31:
            return "perceptual"
    if one.vector is not None and other.vector is not None and one.vector @ other.vector >= 0.96:
        return "semantic"
    return None


def reached(rows: Mapping[str, Row], start: str, tied: Callable[[str | None], bool]) -> set[str]:
    """All that can be reached from a row over such evidence."""
    found, new = {start}, [start]
    while new:
        here = rows[new.pop()]
        near = {key for key, row in rows.items() if tied(evidence(here, row))} - found
        found |= near
        new += near
    return found


@settings(max_examples=20, deadline=None)
@given(st.lists(st.lists(ROWS, max_size=7), min_size=1, max_size=3))
def test_clusters_survivors_and_kinds_are_brute_forces(
    shards: list[list[Mapping[str, Any]]],
) -> None:
    kinds = ("exact", "perceptual", "semantic")
    with tempfile.TemporaryDirectory() as folder:
        dataset = made(Path(folder) / "d", *([row_of(each) for each in shard] for shard in shards))
        drawn = {f"{n:05d}{m:04d}": each for n, s in enumerate(shards) for m, each in enumerate(s)}
        if out := [key for key, each in drawn.items() if each["removed"]]:
            gone(dataset, 1, *out)
        rows = {k: row_of(d) for k, d in drawn.items() if d["stored"] and not d["removed"]}
        report = run(dataset)
        found = read(dataset)
    assert list(found) == sorted(rows)
    for key, row in found.items():
        cluster = reached(rows, key, lambda kind: kind is not None)
        assert row["cluster"] == min(cluster)
        assert row["multiplicity"] == len(cluster)
        stays = min(cluster, key=lambda k: (-(rows[k].side or 0), -(rows[k].similarity or -1), k))
        assert row["duplicate_of"] == (None if stays == key else stays)
        strongest = next(
            n for n in range(3) if stays in reached(rows, key, lambda k, n=n: k in kinds[: n + 1])
        )
        assert row["kind"] == (None if stays == key else kinds[strongest])
    assert report.rows == len(rows)
    assert report.duplicates == sum(row["duplicate_of"] is not None for row in found.values())
    several = {row["cluster"] for row in found.values() if row["multiplicity"] > 1}
    assert report.clusters == len(several)
