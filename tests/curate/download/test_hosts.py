import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from frenchcat.curate.download.hosts import HostHealth, HostTurns


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    asyncio.run(coroutine)


class Watch:
    """Starts jobs through turns, holds each for a while, and notes what ran when."""

    def __init__(self, turns: HostTurns, hold_sec: float = 0.002) -> None:
        self.turns = turns
        self.hold_sec = hold_sec
        self.busy: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.most_in_all = 0
        self.order: list[str] = []
        self.begun_at: list[float] = []

    async def job(self, host: str) -> None:
        await self.turns.turn(host)
        self.begun_at.append(asyncio.get_running_loop().time())
        self.order.append(host)
        self.busy[host] += 1
        self.most[host] = max(self.most[host], self.busy[host])
        self.most_in_all = max(self.most_in_all, self.busy.total())
        await asyncio.sleep(self.hold_sec)
        self.busy[host] -= 1
        self.turns.done(host)


@settings(max_examples=30, deadline=None)
@given(
    hosts=st.lists(st.sampled_from("abcdef"), max_size=60),
    total=st.integers(1, 8),
    per_host=st.integers(1, 4),
    per_sec=st.sampled_from([None, 2000.0]),
)
def test_limits_hold_and_everybody_gets_a_turn(
    hosts: list[str], total: int, per_host: int, per_sec: float | None
) -> None:
    async def check() -> None:
        turns = HostTurns(total, per_host, per_sec)
        watch = Watch(turns)
        async with asyncio.timeout(10):
            await asyncio.gather(*(watch.job(host) for host in hosts))
        assert Counter(watch.order) == Counter(hosts)
        assert max(watch.most.values(), default=0) <= per_host
        assert watch.most_in_all <= total
        await asyncio.sleep(0.01)
        assert turns._hosts == {}, "hosts without work are forgotten"

    run(check())


def test_requests_begin_no_faster_than_the_rate_and_not_much_slower() -> None:
    async def check() -> None:
        watch = Watch(HostTurns(100, 100, per_sec=100), hold_sec=0)
        await asyncio.gather(*(watch.job("a") for _ in range(41)))
        for begun, later in zip(watch.begun_at, watch.begun_at[10:], strict=False):
            assert later - begun >= 0.09 - 0.011  # ten intervals, one of them made up for
        assert 0.39 <= watch.begun_at[-1] - watch.begun_at[0] < 1

    run(check())


def test_a_waiting_host_holds_no_connection_that_others_could_use() -> None:
    async def check() -> None:
        turns = HostTurns(total=2, per_host=1, per_sec=None)
        await turns.turn("slow")
        watch = Watch(turns, hold_sec=0)
        slow = [asyncio.create_task(watch.job("slow")) for _ in range(50)]
        await asyncio.sleep(0)
        async with asyncio.timeout(2):
            await asyncio.gather(*(watch.job(f"quick{n}") for n in range(50)))
        assert "slow" not in watch.order
        turns.done("slow")
        await asyncio.gather(*slow)

    run(check())


def test_a_list_sorted_by_host_still_alternates() -> None:
    async def check() -> None:
        turns = HostTurns(total=1, per_host=1, per_sec=None)
        order: list[str] = []

        def job(host: str) -> Callable[[], None]:
            def start() -> None:
                order.append(host)
                asyncio.get_running_loop().call_soon(turns.done, host)

            return start

        await turns.turn("c")
        for host in "aaabbb":
            turns.submit(host, job(host))
        turns.done("c")
        await asyncio.sleep(0.05)
        assert "".join(order) == "ababab"

    run(check())


def test_what_is_under_way_goes_first_and_fresh_work_waits_for_admission() -> None:
    async def check() -> None:
        admitted = False
        turns = HostTurns(total=1, per_host=1, per_sec=None, admit=lambda: admitted)
        order: list[str] = []
        turns.submit("a", lambda: order.append("fresh a"), fresh=True)
        turns.submit("b", lambda: order.append("under way b"))
        turns.submit("a", lambda: order.append("under way a"))
        assert order == ["under way b"]
        turns.done("b")
        turns.done("a")
        assert order == ["under way b", "under way a"]
        admitted = True
        turns.pump()
        assert order[2:] == ["fresh a"]
        turns.submit("a", lambda: order.append("dropped"), fresh=True)
        turns.drop_fresh()
        turns.done("a")
        assert order[3:] == []

    run(check())


def test_both_lines_of_a_host_share_its_connections() -> None:
    async def check() -> None:
        turns = HostTurns(total=2, per_host=1, per_sec=None)
        order: list[str] = []
        await turns.turn("b")
        await turns.turn("c")
        turns.submit("a", lambda: order.append("fresh"), fresh=True)
        turns.submit("a", lambda: order.append("under way"))
        turns.done("b")
        turns.done("c")
        assert order == ["under way"]
        turns.done("a")
        assert order == ["under way", "fresh"]

    run(check())


def test_a_pause_holds_one_host_only() -> None:
    async def check() -> None:
        turns = HostTurns(total=4, per_host=4, per_sec=None)
        watch = Watch(turns, hold_sec=0)
        turns.pause("a", 0.1)
        begun = asyncio.get_running_loop().time()
        await asyncio.gather(watch.job("a"), watch.job("b"))
        assert watch.order == ["b", "a"]
        assert watch.begun_at[0] - begun < 0.05
        assert 0.099 <= watch.begun_at[1] - begun < 0.5

    run(check())


def test_who_is_cancelled_while_waiting_leaves_no_turn_behind() -> None:
    async def check() -> None:
        turns = HostTurns(total=1, per_host=1, per_sec=None)
        await turns.turn("a")
        waiting = [asyncio.create_task(turns.turn("a")) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()  # in the queue
        await asyncio.sleep(0)
        turns.done("a")
        waiting[1].cancel()  # just granted, not yet woken
        await asyncio.gather(*waiting[:2], return_exceptions=True)
        async with asyncio.timeout(1):
            await waiting[2]
        turns.done("a")
        assert turns._active == 0
        assert turns._hosts == {}

    run(check())


def test_an_unused_turn_does_not_count_against_the_rate() -> None:
    async def check() -> None:
        turns = HostTurns(total=1, per_host=1, per_sec=2)
        async with asyncio.timeout(0.4):
            for _ in range(20):
                await turns.turn("a")
                turns.done("a", unused=True)
        turns.close()

    run(check())


def test_a_host_is_given_up_after_failures_in_a_row_and_asked_again_after_a_rest() -> None:
    health = HostHealth(max_failures=3, rest_sec=10)
    origin = ("a", 80)
    for now in (0, 1):
        health.failed(origin, now)
    health.answered(origin)
    for now in (2, 3):
        health.failed(origin, now)
    assert not health.given_up(origin, 3)
    health.failed(origin, 4)
    assert health.given_up(origin, 5)
    assert not health.given_up(("a", 81), 5)
    assert not health.given_up(origin, 14.5)
    health.failed(origin, 14.5)
    assert health.given_up(origin, 15), "one more failure is enough"
    assert not HostHealth(None, 10).given_up(origin, 0)
