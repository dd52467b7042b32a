"""Chance by name: which sample, epoch and purpose meets which number, and how those are spread."""

import itertools
from collections import Counter
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch

from frenchcat.train.layout import rows_of_tars
from frenchcat.train.loader import Batches, Cursor, Loaded, noise_of, places
from frenchcat.train.plan import Plan
from frenchcat.train.population import Population
from frenchcat.train.randomness import Purpose, SampleRandomness
from tests.train.runs import settings
from tests.train.tars import write_tar

PURPOSES: tuple[Any, ...] = get_args(Purpose)
SAMPLES = 24


def test_every_part_of_the_name_matters() -> None:
    """Also where two parts side by side are the same digits."""
    names = [(1, 1, "a", 0), (2, 1, "a", 0), (1, 2, "a", 0), (1, 1, "b", 0), (1, 1, "a", 1)]
    names += [(11, 1, "a", 0), (1, 11, "a", 0), (1, 1, "1a", 0), (1, 1, "a1", 1), (1, 1, "a", 11)]
    numbers = [SampleRandomness(*name).number(purpose) for name in names for purpose in PURPOSES]
    assert len(set(numbers)) == len(numbers)
    assert numbers == [
        SampleRandomness(*name).number(purpose) for name in names for purpose in PURPOSES
    ]


def test_uniform_is_even_over_samples_and_over_epochs() -> None:
    for chances in (
        [SampleRandomness(0, 0, f"{n:09d}") for n in range(4000)],
        [SampleRandomness(0, epoch, "000000001") for epoch in range(4000)],
    ):
        found = np.array([chance.uniform("flip") for chance in chances])
        assert found.min() >= 0
        assert found.max() < 1
        counts, _ = np.histogram(found, 20, (0, 1))
        assert ((counts - 200) ** 2 / 200).sum() < 43.8  # chi-square, 19 degrees, p = .001


def test_purposes_samples_and_epochs_are_independent() -> None:
    found = [
        [SampleRandomness(0, epoch, f"{n:09d}").uniform(purpose) for n in range(3000)]
        for epoch, purpose in itertools.product((0, 1), PURPOSES)
    ]
    apart = np.corrcoef(found) - np.eye(len(found))
    assert np.abs(apart).max() < 0.07
    following = [np.corrcoef(row[1:], row[:-1])[0, 1] for row in found]
    assert np.abs(following).max() < 0.07


def test_noise_is_standard_normal_and_each_samples_own() -> None:
    alone = noise_of([7], (3, 64, 64))
    assert torch.equal(noise_of([5, 7], (3, 64, 64))[1], alone[0])
    assert torch.equal(noise_of([7, 5], (3, 64, 64))[0], alone[0])
    assert not torch.equal(noise_of([5], (3, 64, 64)), alone)
    values = alone.flatten().double().numpy()
    assert values.mean() == pytest.approx(0, abs=0.04)
    for order, moment in ((2, 1), (3, 0), (4, 3)):
        assert (values**order).mean() == pytest.approx(moment, abs=0.25)
    both = np.corrcoef(values, noise_of([8], (3, 64, 64)).flatten().numpy())[0, 1]
    assert abs(both) < 0.04


# -- what a loader makes of it ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The rows of one tar."""
    folder = tmp_path_factory.mktemp("chance")
    tar = write_tar(folder / "a.tar", range(SAMPLES))
    rows_of_tars([str(tar)], folder / "rows")
    return folder / "rows"


def epoch_of(rows: Path, epoch: int, **more: dict[str, Any]) -> Loaded:
    """All samples of an epoch."""
    data = {"batch": SAMPLES, "size": 8} | more.pop("data", {})
    return Batches(rows, settings(rows, rows, data=data, **more))[epoch, 0]


def noise_by_key(loaded: Loaded) -> dict[str, int]:
    return dict(zip(loaded.keys, loaded.noise_seeds, strict=True))


def test_a_sample_meets_other_noise_in_each_epoch_and_under_each_seed(rows: Path) -> None:
    first = noise_by_key(epoch_of(rows, 0))
    assert len(set(first.values())) == SAMPLES
    assert noise_by_key(epoch_of(rows, 0)) == first
    others = [noise_by_key(epoch_of(rows, epoch)) for epoch in (1, 2)]
    others.append(noise_by_key(epoch_of(rows, 0, run={"seed": 1})))
    for other in others:
        assert other.keys() == first.keys()
        assert not any(other[key] == first[key] for key in first)


def test_every_chance_changes_with_the_epoch(rows: Path) -> None:
    more = {"text": {"dropout": 0.5}}
    epochs = [epoch_of(rows, epoch, **more) for epoch in range(4)]
    for key in epochs[0].keys:
        at = [loaded.keys.index(key) for loaded in epochs]
        assert len({int(one.times[n]) for one, n in zip(epochs, at, strict=True)}) > 1
    dropped = [{k for k, c in zip(e.keys, e.captions, strict=True) if not c} for e in epochs]
    assert len(set(map(frozenset, dropped))) == 4


def test_a_row_drawn_twice_meets_other_noise_the_second_time(tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "a.tar", range(6))
    laid, _ = rows_of_tars([str(tar)], tmp_path / "rows")
    Population.of(np.zeros(6, np.int64), np.full(6, 4.0)).save(laid.folder)
    loaded = epoch_of(laid.folder, 0)
    assert Counter(Counter(loaded.keys).values()) == {4: 6}
    assert len(set(loaded.noise_seeds)) == SAMPLES


def test_timesteps_are_even_over_the_whole_schedule(rows: Path) -> None:
    more = {"diffusion": {"steps": 8}}
    found = Counter(int(t) for e in range(20) for t in epoch_of(rows, e, **more).times)
    assert set(found) == set(range(8))
    mean = 20 * SAMPLES / 8
    assert sum((n - mean) ** 2 / mean for n in found.values()) < 24.3  # 7 degrees, p = .001


@pytest.mark.parametrize("dropout", [0.0, 0.3, 0.8])
def test_so_many_captions_are_left_out_and_the_others_stay(rows: Path, dropout: float) -> None:
    epochs = [epoch_of(rows, epoch, text={"dropout": dropout}) for epoch in range(20)]
    left_out = 0
    for loaded in epochs:
        for key, caption in zip(loaded.keys, loaded.captions, strict=True):
            assert caption in ("", f"cat {int(key)}")
            left_out += not caption
    drawn = 20 * SAMPLES
    error = 4 * (dropout * (1 - dropout) / drawn) ** 0.5
    assert left_out / drawn == pytest.approx(dropout, abs=error)


def test_the_seed_and_the_selection_decide_the_order(rows: Path, tmp_path: Path) -> None:
    keys = [epoch_of(rows, 0, run={"seed": seed}).keys for seed in (0, 1)]
    other = write_tar(tmp_path / "a.tar", range(SAMPLES + 1))
    laid, _ = rows_of_tars([str(other)], tmp_path / "rows")
    assert keys[0] != keys[1]
    assert epoch_of(laid.folder, 0).keys != keys[0]


@pytest.mark.parametrize("per_block", [1, 2, 6])
def test_so_many_shards_are_mixed(tmp_path: Path, per_block: int) -> None:
    tars = [str(write_tar(tmp_path / f"{n}.tar", range(n * 8, n * 8 + 8))) for n in range(6)]
    laid, _ = rows_of_tars(tars, tmp_path / "rows")
    data = {"batch": 8 * per_block, "shards_per_block": per_block}
    chosen = settings(tmp_path, tmp_path, data=data)
    together = Batches(laid.folder, chosen)[0, 0].keys
    assert sorted(Counter(int(key) // 8 for key in together).values()) == [8] * per_block


def test_a_run_goes_through_every_batch_of_every_epoch() -> None:
    plan = Plan(Population.of(np.zeros(35, np.int64)), "d", 0, 10)
    found = list(places(plan, Cursor(), 10))
    assert found == [(e, k) for e in range(4) for k in range(3)][:10]
    assert list(places(plan, Cursor(*found[4]), 6)) == found[4:]
    assert list(places(plan, Cursor(0, 3), 2)) == [(1, 0), (1, 1)]
