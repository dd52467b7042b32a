"""The two-prompt experiment's arithmetic, and the whole of it on a tiny run."""

from pathlib import Path

import numpy as np
import pytest

from bench import steer
from frenchcat.train.loop import train
from tests.sample.vectors import unit_rows
from tests.train.runs import settings, write_tars


def test_the_difference_is_own_less_swapped() -> None:
    pictures, texts = unit_rows(6, 4, 1).astype(float), unit_rows(6, 4, 2).astype(float)
    found = steer.differences(pictures, texts)
    for n in range(3):
        (p, q), (a, b) = pictures[2 * n : 2 * n + 2], texts[2 * n : 2 * n + 2]
        assert found[n] == pytest.approx((p @ a + q @ b - p @ b - q @ a) / 2)


def test_the_interval_is_near_the_normal_one() -> None:
    values = np.random.default_rng(0).normal(0.2, 1, 400)
    low, high = steer.bootstrap(values, 0)
    half = 1.96 * values.std(ddof=1) / 20
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.02)


def test_without_guidance_nothing_is_steered(tmp_path: Path) -> None:
    tars = write_tars(tmp_path / "tars", 1)
    run = train(settings(tars, tmp_path / "run", optimizer={"steps": 1}))
    pairs = [("a cat", "a red apple"), ("a house", "a blue flag")]
    found = steer.measure(run, pairs, [0.0, 5.0], 2, 0, "cpu")["by_guidance"]
    assert found["0"]["mean"] == pytest.approx(0, abs=1e-4)
    assert abs(found["5"]["mean"]) > 1e-6
    assert (run / "steer.png").exists()
