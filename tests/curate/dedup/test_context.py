"""Rows of one image that contradict each other, by their captions' vectors or years."""

from dataclasses import replace

import numpy as np
import pytest

from frenchcat.curate.catalog import Catalog
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.dedup import DedupSettings, dedup
from frenchcat.curate.dedup.context import (
    CaptionVectors,
    contexts,
    groups_of,
    speaks,
    years_of,
)
from frenchcat.curate.remove import RemovalQuery, matches, remove
from frenchcat.curate.verdict.settings import VerdictSettings
from frenchcat.curate.verdict.stage import verdict
from tests.curate.dedup.folders import pdq
from tests.curate.dedup.folders import read as duplicates_of
from tests.sample.row import Row
from tests.sample.vectors import at_cosine, unit, unit_rows
from tests.sample.write import write

IMAGES = unit_rows(20, seed=7)  # what is shown; all are far from each other
_COMMON = unit_rows(1, seed=9)
SAID = np.stack([unit(one + 1.3 * _COMMON[0]) for one in unit_rows(20, seed=8)])
"""What is said: vectors of a narrow cone, as those of many models are."""


def row(image: int, said: int, caption: str, site: str, bits: int = 0, near: float = 1.0) -> Row:
    """A row whose caption's vector is at the cosine `near` to that of a number."""
    text = at_cosine(SAID[said], near, SAID[(said + 1) % 20])
    return Row(
        url=f"http://{site}/{image}-{said}-{bits}.png",
        caption=caption,
        columns={"original_width": 100, "original_height": 100},
        vector=IMAGES[image],
        text=text,
        scores={"pdq": pdq(image, bits).hex(), "pdq_quality": 100, "similarity": 0.2},
    )


ROWS = [
    row(0, 0, "a flood in one country", "a.example"),
    row(0, 1, "an earthquake in another", "b.example", bits=9),
    row(1, 2, "a red apple", "a.example"),
    row(1, 2, "one apple, red", "a.example", bits=5, near=0.9),
    row(2, 3, "summer fair, 2014", "c.example"),
    row(2, 3, "summer fair, 2022", "d.example", bits=3),
    row(3, 4, "a cat", "e.example"),
    row(3, 5, "IMG_0042.jpg", "f.example", bits=4),
    *[row(n, n, f"something else, {n}", f"g{n}.example") for n in range(6, 20)],
]


@pytest.fixture
def dataset(tmp_path: object) -> Dataset:
    made = Dataset.create(f"{tmp_path}/d", "d")
    write(made, "00000", ROWS[:3], ("sidecar", "vectors", "scores"))
    write(made, "00001", ROWS[3:], ("sidecar", "vectors", "scores"))
    return made


def key(number: int) -> str:
    return f"00000{number:04d}" if number < 3 else f"00001{number - 3:04d}"


def found(dataset: Dataset, **settings: object) -> list[dict[str, object]]:
    with dataset.lock():
        dedup(dataset, DedupSettings(**settings))  # type: ignore[arg-type]
    rows = duplicates_of(dataset)
    return [rows[key(number)] for number in range(len(ROWS))]


def test_captions_that_are_far_apart_contradict_and_near_ones_do_not(dataset: Dataset) -> None:
    rows = found(dataset)
    assert [one["contradicting"] for one in rows[:8]] == [1, 1, 0, 0, 1, 1, 0, 0]
    assert [one["also_seen"] for one in rows] == [1] * 8 + [0] * 14
    assert [one["also_seen_domains"] for one in rows[:8]] == [2, 2, 1, 1, 2, 2, 2, 2]
    assert rows[0]["also_seen_as"] == key(1)  # in another shard
    assert rows[5]["also_seen_as"] == key(4)
    assert rows[2]["also_seen_as"] is None
    captions = np.stack([one.text for one in ROWS if speaks(one.caption)])
    cosines = (captions @ captions.T)[~np.eye(len(captions), dtype=bool)]
    for a, b in ((0, 1), (2, 3)):
        apart = (1 - ROWS[a].text @ ROWS[b].text) / (1 - cosines.mean())
        assert rows[a]["caption_distance"] == pytest.approx(apart, abs=0.01)
    assert rows[6]["caption_distance"] is None  # the other row's caption is a file's name
    assert found(dataset, context_distance=2)[0]["contradicting"] == 0


def test_a_verdict_rule_drops_them_and_info_counts_them(dataset: Dataset) -> None:
    with dataset.lock():
        report = dedup(dataset)
        verdict(dataset, VerdictSettings(rules={"out_of_context": "contradicting > 0"}))
    assert report.contradicted == 4
    with Catalog(dataset) as catalog:
        dropped = catalog.keys("reason = 'out_of_context'")
    assert dropped == [key(0), key(1), key(4), key(5)]


def test_a_removed_row_contradicts_nothing(dataset: Dataset) -> None:
    found(dataset)
    with dataset.lock():
        query = RemovalQuery("key", key(1))
        remove(dataset, query, matches(dataset, query))
    rows = duplicates_of(dataset)
    with dataset.lock():
        dedup(dataset)
    rows = duplicates_of(dataset)
    assert rows[key(0)]["contradicting"] == 0
    assert rows[key(0)]["also_seen_as"] is None


def test_images_alike_by_meaning_alone_are_not_the_same(dataset: Dataset) -> None:
    alike = replace(row(0, 9, "quite another", "z.example"), scores={"pdq": pdq(99).hex()})
    write(dataset, "00002", [alike], ("sidecar", "vectors", "scores"))
    with dataset.lock():
        dedup(dataset)
    (one,) = [v for k, v in duplicates_of(dataset).items() if k.startswith("00002")]
    assert one["kind"] == "semantic"
    assert (one["also_seen"], one["contradicting"]) == (0, 0)
    rows = found(dataset, methods=("semantic",))
    assert {one["also_seen"] for one in rows} == {None}
    assert {one["contradicting"] for one in rows} == {None}


def test_without_vectors_of_captions_years_are_compared(dataset: Dataset) -> None:
    for shard in ("00000", "00001"):
        dataset.remove(f"stages/embed/{shard}.json")
    rows = found(dataset, methods=("exact", "perceptual"))
    assert [one["contradicting"] for one in rows[:8]] == [0, 0, 0, 0, 1, 1, 0, 0]
    assert rows[0]["caption_distance"] is None


@pytest.mark.parametrize(
    ("caption", "years"),
    [
        ("fair of 2014", {"2014"}),
        ("1914-1918", {"1914", "1918"}),
        ("wallpaper 1920x1080", set()),
        ("call 0612019888", set()),
        ("2,000 people and 2000.5 m", set()),
        ("1750", set()),
        (None, set()),
    ],
)
def test_years(caption: str | None, years: set[str]) -> None:
    assert years_of(caption) == years


def test_many_rows_of_one_image_are_compared_in_blocks_as_brute_force_does() -> None:
    random = np.random.default_rng(0)
    rows = 1500
    vectors = unit_rows(rows, 8, seed=2)
    captions = [f"said {n}" + (f" in {2000 + n % 7}" if n % 3 == 0 else "") for n in range(rows)]
    images = np.where(random.random(rows) < 0.9, 0, np.arange(rows))
    images[0] = 0
    told = CaptionVectors(np.arange(rows), vectors, 1.0)
    answer = contexts(images, captions, [None] * rows, told, limit=1.2)
    (same,) = groups_of(images)
    assert len(same) > 1200
    for one in same[:: len(same) // 40]:
        against = [
            other
            for other in same
            if other != one
            and (
                1 - vectors[one] @ vectors[other] > 1.2
                or (
                    years_of(captions[one])
                    and years_of(captions[other])
                    and years_of(captions[one]) != years_of(captions[other])
                )
            )
        ]
        assert answer.contradicting[one] == pytest.approx(len(against), abs=1)  # of rounding
        assert answer.distance[one] == pytest.approx(
            max(1 - unit(vectors[one]) @ vectors[other] for other in same), abs=1e-5
        )
    assert (answer.contradicting[images != 0] == 0).all()
