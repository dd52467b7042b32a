"""The plan: a permutation, blocks, weights, buckets, and nothing but numbers to resume from."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frenchcat.train.permutation import permuted
from frenchcat.train.plan import Plan
from frenchcat.train.population import Population


@given(st.integers(1, 3000), st.integers(0, 2**63))
def test_a_permutation_takes_every_value_once(n: int, key: int) -> None:
    assert sorted(permuted(np.arange(n), n, key).tolist()) == list(range(n))


def test_a_permutation_depends_on_its_key_and_looks_shuffled() -> None:
    one, other = permuted(np.arange(10_000), 10_000, 1), permuted(np.arange(10_000), 10_000, 2)
    assert (one == other).mean() < 0.01
    assert abs(np.corrcoef(np.arange(10_000), one)[0, 1]) < 0.05
    assert (np.abs(np.diff(one)) == 1).mean() < 0.01


def test_a_permutation_is_even_over_keys() -> None:
    """Each of the six orders of three comes about equally often (chi-square, 5 degrees)."""
    found = Counter(tuple(permuted(np.arange(3), 3, key).tolist()) for key in range(6000))
    assert sum((n - 1000) ** 2 / 1000 for n in found.values()) < 20.5  # p = .001


def test_places_outside_are_refused() -> None:
    with pytest.raises(ValueError, match="of 5"):
        permuted(np.array([5]), 5, 0)


def population(rows: int, per_shard: int, **more: object) -> Population:
    return Population.of(np.arange(rows) // per_shard, **more)  # type: ignore[arg-type]


def all_rows(plan: Plan, epoch: int) -> list[int]:
    return [int(row) for k in range(plan.batches(epoch)) for row in plan.at(epoch, k).rows]


@settings(max_examples=40)
@given(st.integers(1, 400), st.integers(1, 60), st.integers(1, 17), st.integers(1, 5))
def test_an_epoch_draws_every_row_once_but_for_the_last_part(
    rows: int, per_shard: int, batch: int, block: int
) -> None:
    plan = Plan(population(rows, per_shard), "digest", 3, batch, block)
    drawn = all_rows(plan, 0)
    assert len(set(drawn)) == len(drawn) == rows // batch * batch
    assert plan.epoch(0).left_out == rows % batch


def test_batches_are_pure_and_differ_by_seed_epoch_and_digest() -> None:
    def rows(digest: str, seed: int, epoch: int) -> list[int]:
        return Plan(population(500, 50), digest, seed, 20).at(epoch, 7).rows.tolist()

    first = rows("a", 1, 0)
    assert first == rows("a", 1, 0)
    assert (
        len({tuple(first), *map(tuple, (rows("b", 1, 0), rows("a", 2, 0), rows("a", 1, 1)))}) == 4
    )


def test_reads_stay_within_a_block_of_shards() -> None:
    plan = Plan(population(10_000, 100), "d", 0, 50, shards_per_block=4)
    for k in range(plan.batches(0)):
        shards = set((plan.at(0, k).rows // 100).tolist())
        assert len(shards) <= 8  # a batch may lie across two blocks
    assert len({tuple(sorted(set((plan.at(0, k).rows // 100).tolist()))) for k in range(9)}) < 4


@settings(max_examples=30)
@given(
    st.lists(st.sampled_from([0.0, 0.25, 1.0, 1.5, 3.0]), min_size=5, max_size=80).filter(any),
    st.integers(1, 9),
)
def test_weights_are_kept_within_one_draw(weights: list[float], per_shard: int) -> None:
    plan = Plan(population(len(weights), per_shard, weights=np.array(weights)), "d", 5, 1)
    for epoch in range(3):
        drawn = Counter(all_rows(plan, epoch))
        for row, weight in enumerate(weights):
            assert drawn[row] in (int(np.floor(weight)), int(np.ceil(weight)))


def test_weights_are_met_on_average() -> None:
    weights = np.array([0.3, 1.0, 2.6, 0.0, 0.1] * 4)
    plan = Plan(population(20, 5, weights=weights), "d", 5, 1)
    drawn = Counter(row for epoch in range(400) for row in all_rows(plan, epoch))
    found = np.array([drawn[row] for row in range(20)]) / 400
    np.testing.assert_allclose(found, weights, atol=0.08)


def test_the_draws_of_one_row_are_told_apart() -> None:
    plan = Plan(population(10, 5, weights=np.full(10, 3.0)), "d", 0, 6)
    pairs = []
    for k in range(plan.batches(0)):
        batch = plan.at(0, k)
        pairs += list(zip(batch.rows.tolist(), batch.repeats.tolist(), strict=True))
    assert sorted(pairs) == [(row, repeat) for row in range(10) for repeat in range(3)]


def test_a_batch_holds_one_bucket_and_buckets_take_turns() -> None:
    buckets = np.array([0, 1, 1, 2] * 300)
    plan = Plan(population(1200, 100, buckets=buckets), "d", 0, 10)
    turns = []
    for k in range(plan.batches(0)):
        batch = plan.at(0, k)
        assert set(buckets[batch.rows].tolist()) == {batch.bucket}
        turns.append(batch.bucket)
    assert Counter(turns) == {0: 30, 1: 60, 2: 30}
    assert Counter(turns[:20]) == {0: 5, 1: 10, 2: 5}
    assert len(set(all_rows(plan, 0))) == 1200


@pytest.mark.parametrize("world", [1, 2, 3, 4, 6])
def test_ranks_share_a_batch_out(world: int) -> None:
    batch = Plan(population(240, 40), "d", 0, 12).at(0, 3)
    parts = [batch.of_rank(rank, world) for rank in range(world)]
    assert {len(part.rows) for part in parts} == {12 // world}
    together = np.stack([part.rows for part in parts], axis=1).ravel()
    assert together.tolist() == batch.rows.tolist()


def test_a_saved_population_is_mapped_and_plans_the_same(tmp_path: Path) -> None:
    made = population(300, 30, weights=np.arange(300) % 3 + 0.5, buckets=np.arange(300) % 2)
    made.save(tmp_path)
    mapped = Population.open(tmp_path)
    assert isinstance(mapped.weights, np.memmap)
    for k in range(5):
        one, other = (Plan(each, "d", 0, 16).at(2, k) for each in (made, mapped))
        assert one.rows.tolist() == other.rows.tolist()


def test_what_cannot_be_planned_is_said() -> None:
    with pytest.raises(ValueError, match="without rows"):
        Population.of(np.empty(0, np.int64))
    for weights in ([-1.0, 1.0], [np.nan, 1.0], [0.0, 0.0]):
        with pytest.raises(ValueError, match="weight"):
            Population.of(np.zeros(2, np.int64), np.array(weights))
    with pytest.raises(IndexError, match="epoch 0, which has 2"):
        Plan(population(20, 5), "d", 0, 10).at(0, 2)
    with pytest.raises(ValueError, match="batch 0"):
        Plan(population(20, 5), "d", 0, 0)


@pytest.mark.parametrize("n", [2**16 - 1, 2**16 + 1, 2**32 + 1, 2**33, 10**12])
def test_large_permutations_stay_within_and_never_meet(n: int) -> None:
    chance = np.random.default_rng(0)
    places = np.unique(np.r_[0 : min(n, 5000), n - 5000 : n, chance.integers(0, n, 20_000)])
    found = permuted(places, n, 7)
    assert len(np.unique(found)) == len(places)
    assert int(found.min()) >= 0
    assert int(found.max()) < n
    assert int(found.max()) > 0.99 * n
    assert abs(np.corrcoef(places.astype(float), found.astype(float))[0, 1]) < 0.05


@settings(max_examples=30)
@given(st.integers(1, 10**6), st.integers(0, 2**63), st.integers(0, 10**6))
def test_any_place_is_computed_alone(n: int, key: int, place: int) -> None:
    place %= n
    near = np.arange(max(0, place - 3), min(n, place + 3))
    alone = permuted(np.array([place]), n, key)[0]
    assert alone == permuted(near, n, key)[np.flatnonzero(near == place)[0]]


def test_seed_and_epoch_are_no_sum_and_no_row_of_digits() -> None:
    plans = [(1, 11), (11, 1), (111, 0), (2, 10), (10, 2), (12, 0)]
    orders = [all_rows(Plan(population(60, 10), "d", seed, 60), epoch) for seed, epoch in plans]
    assert len(set(map(tuple, orders))) == len(plans)
    ones = [all_rows(Plan(population(60, 10), d, seed, 60), 0) for d, seed in (("1", 2), ("", 12))]
    assert ones[0] != ones[1]


def test_other_shards_lie_together_in_each_epoch() -> None:
    """With blocks of one: the order of the shards; with blocks of two: which are mixed."""
    plan = Plan(population(120, 10), "d", 0, 10, shards_per_block=1)
    orders = []
    for epoch in range(6):
        shards = [set((plan.at(epoch, k).rows // 10).tolist()) for k in range(12)]
        assert all(len(one) == 1 for one in shards)
        orders.append(tuple(one.pop() for one in shards))
        assert sorted(orders[-1]) == list(range(12))
    assert len(set(orders)) == 6
    plan = Plan(population(120, 10), "d", 0, 20, shards_per_block=2)
    pairs = [frozenset((plan.at(e, k).rows // 10).tolist()) for e in range(6) for k in range(6)]
    assert len(set(pairs)) > 20


def test_rows_within_a_block_have_an_order_of_their_own() -> None:
    """Neither the file's nor that of another block or epoch."""
    plan = Plan(population(400, 40), "d", 0, 40, shards_per_block=1)
    orders = [tuple((plan.at(e, k).rows % 40).tolist()) for e in range(3) for k in range(10)]
    assert len(set(orders)) == 30
    for one in orders:
        assert abs(np.corrcoef(one, range(40))[0, 1]) < 0.7
    assert abs(np.mean([np.corrcoef(one, range(40))[0, 1] for one in orders])) < 0.15


def test_what_an_epoch_leaves_out_differs_from_epoch_to_epoch() -> None:
    plan = Plan(population(55, 5), "d", 0, 10)
    left_out = [set(range(55)) - set(all_rows(plan, epoch)) for epoch in range(40)]
    assert {len(one) for one in left_out} == {5}
    assert len(set.union(*left_out)) > 45
