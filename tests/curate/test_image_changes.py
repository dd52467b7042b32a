"""Changed images are graded, and a domain with a new owner stands out of those without one."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from frenchcat.cli import app
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.diff import diff
from frenchcat.curate.image_changes import (
    FAR_COSINE,
    domain_tests,
    far_cosine,
    flagged,
    graded,
    pdq_bits,
)
from tests.sample.row import Row
from tests.sample.vectors import unit_rows
from tests.sample.write import write

ZERO, NEAR, FAR = "0" * 64, "0" * 57 + "fffffff", "f" * 64


@pytest.mark.parametrize(
    ("bits", "cosine", "same", "grade"),
    [
        (0, 1.0, False, "re_encoded"),
        (31, None, False, "re_encoded"),
        (200, 0.1, True, "re_encoded"),  # other bytes that were stored as the same
        (10, 0.9, False, "re_encoded"),  # vectors of small models move when an image shrinks
        (10, 0.7, False, "edited"),
        (120, 0.97, False, "edited"),  # mirrored, cropped
        (120, 0.8, False, "edited"),
        (120, 0.7, False, "replaced"),
        (None, 0.7, False, "replaced"),
        (None, 0.99, False, "edited"),
        (60, None, False, "edited"),
        (128, None, False, "replaced"),
        (None, None, False, "ungraded"),
    ],
)
def test_a_grade_is_by_hash_and_vector(
    bits: int | None, cosine: float | None, same: bool, grade: str
) -> None:
    assert graded(bits, cosine, 0.75, same).grade == grade


def test_bits_of_hashes() -> None:
    assert [pdq_bits(ZERO, other) for other in (ZERO, NEAR, FAR, None)] == [0, 28, 256, None]


def test_how_far_different_images_are_is_learnt_from_the_pairs() -> None:
    vectors = unit_rows(200)
    cosines = (vectors @ vectors.T)[np.triu_indices(200, 1)]
    assert far_cosine(vectors) == pytest.approx(np.quantile(cosines, 0.99), abs=0.03)
    assert far_cosine(unit_rows(5)) == FAR_COSINE


def test_a_domain_stands_out_and_small_ones_cannot() -> None:
    counts = {f"{n}.example": (40, 1) for n in range(30)}
    counts |= {"taken.example": (12, 10), "small.example": (1, 1)}
    (found,) = flagged(counts)
    assert (found.domain, found.rows, found.replaced) == ("taken.example", 12, 10)
    assert found.others_rate == pytest.approx(31 / 1201)
    assert found.q == pytest.approx(found.p * 32)
    assert flagged({"a.example": (50, 0), "b.example": (9, 0)}) == []
    # without a takeover nothing is found in 19 of 20 crawls
    rng = np.random.default_rng(2)
    plain = [{f"{n}": (30, int(rng.binomial(30, 0.1))) for n in range(50)} for _ in range(100)]
    assert sum(bool(flagged(one)) for one in plain) <= 5
    assert len(domain_tests(counts)) == len(counts)


def crawl(root: Path, *, later: bool) -> Dataset:
    """Sixty images at six domains; later a.example has other images, one is gone, one coarser."""
    vectors = unit_rows(120)
    rows = []
    for n in range(60):
        domain = "abcdef"[n // 10]
        taken = later and domain == "a"
        changed = taken or (later and n == 59)
        if later and n == 0:
            gone = {"uid": f"{n:032d}"}
            rows.append(Row("http://a.example/0.jpg", failed="http_404: gone", columns=gone))
            continue
        rows.append(
            Row(
                f"http://{domain}.example/{n}.jpg",
                columns={
                    "uid": f"{n:032d}",
                    "sha256": f"{n + 100 * changed:064d}",
                    "stored_sha256": f"{n + 100 * changed:064d}",
                },
                vector=vectors[n + 60 if taken else n],
                scores={"pdq": FAR if taken else NEAR if changed else ZERO, "pdq_quality": 100},
            )
        )
    made = Dataset.create(root, "d")
    write(made, "00000", rows)
    return made


def test_a_takeover_is_seen_between_two_crawls(tmp_path: Path) -> None:
    before, after = crawl(tmp_path / "a", later=False), crawl(tmp_path / "b", later=True)
    found = diff(before, after)
    assert found.by_grade() == {"re_encoded": 1, "edited": 0, "replaced": 9, "ungraded": 0}
    (domain,) = found.domains
    assert (domain.domain, domain.rows, domain.replaced) == ("a.example", 9, 9)
    assert diff(before, before).domains == []
    assert diff(before, before).by_grade() == {}
    command = ["diff", before.root, after.root]
    said = CliRunner().invoke(app, command, catch_exceptions=False).stdout
    assert "images replaced" in said
    assert "a.example: 9 of 9 images replaced" in said
    told = CliRunner().invoke(app, [*command, "--json"], catch_exceptions=False).stdout
    lines = [json.loads(line) for line in told.splitlines()]
    assert [one["domain"] for one in lines if one["change"] == "domain"] == ["a.example"]
    assert "image" not in lines[0]  # it is gone
    assert lines[1]["image"]["grade"] == "replaced"
    assert lines[1]["image"]["pdq_bits"] == 256
