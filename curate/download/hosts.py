"""Whose turn it is: limits on connections and rate per host, and when to give up on a host.

Keeps queues in memory, reads and writes nothing. A request asks for a turn at its host and gets one
when the host has a free connection, its rate allows it, and one of the connections that all hosts
share is free. A host that must wait occupies none of those; hosts that can go take turns, so a list
sorted by host still spreads over hosts. Every step costs the same however many hosts wait.

Each host has two queues. Fetches under way (a redirect, another try) go before fresh ones, so that
what was begun ends first; fresh ones also wait while `admit()` returns false, which is how the
caller bounds its memory.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field

_EARLY_SEC = 1e-4  # a timer may fire a clock tick before its time
_MAX_FAILING = 65_536  # origins whose failures are remembered


@dataclass(slots=True)
class _Host:
    under_way: deque[Callable[[], None]] = field(default_factory=deque)
    fresh: deque[Callable[[], None]] = field(default_factory=deque)
    active: int = 0
    next_at: float = 0.0  # loop time before which no request may start
    timer: asyncio.TimerHandle | None = None
    in_ring: list[bool] = field(default_factory=lambda: [False, False])


class HostTurns:
    """Gives out turns. Not thread-safe: it belongs to the event loop that runs it."""

    def __init__(
        self,
        total: int,
        per_host: int,
        per_sec: float | None,
        admit: Callable[[], bool] = lambda: True,
    ) -> None:
        """Set `total` and `per_host` connections, and starts per second and host (None:
        unlimited).
        """
        self._total = total
        self._per_host = per_host
        self._interval_sec = 0.0 if per_sec is None else 1 / per_sec
        self._admit = admit
        self._active = 0
        self._hosts: dict[str, _Host] = {}
        self._rings: tuple[deque[str], deque[str]] = (deque(), deque())  # under way, fresh
        self._pumping = False
        self._loop = asyncio.get_running_loop()

    def submit(self, host: str, start: Callable[[], None], *, fresh: bool = False) -> None:
        """Queue `start`; it is called with a turn, which `done(host)` must give back."""
        state = self._hosts.setdefault(host, _Host())
        (state.fresh if fresh else state.under_way).append(start)
        self._settle(host, state)
        self.pump()

    async def turn(self, host: str) -> None:
        """Wait for a turn at this host, before fresh ones; `done(host)` must give it back."""
        granted: asyncio.Future[None] = self._loop.create_future()

        def start() -> None:
            if granted.done():  # the waiting task was cancelled
                self.done(host, unused=True)
            else:
                granted.set_result(None)

        self.submit(host, start)
        try:
            await granted
        except asyncio.CancelledError:
            if not granted.cancelled():  # granted in the same moment
                self.done(host, unused=True)
            raise

    def done(self, host: str, *, unused: bool = False) -> None:
        """Give a turn back; `unused` if nothing was sent, so that it does not count."""
        state = self._hosts[host]
        state.active -= 1
        if unused:
            state.next_at -= self._interval_sec
        self._active -= 1
        self._settle(host, state)
        self.pump()

    def pause(self, host: str, sec: float) -> None:
        """Start nothing at this host for this long."""
        state = self._hosts.setdefault(host, _Host())
        state.next_at = max(state.next_at, self._loop.time() + sec)
        self._settle(host, state)

    def has_queue(self, host: str) -> bool:
        """Whether a connection to this host will be wanted again at once."""
        state = self._hosts.get(host)
        return state is not None and bool(state.under_way or state.fresh)

    def drop_fresh(self) -> None:
        """Forget every fresh entry that has not started."""
        for host, state in list(self._hosts.items()):
            state.fresh.clear()
            self._settle(host, state)

    def close(self) -> None:
        """Cancel the timers."""
        for state in self._hosts.values():
            if state.timer is not None:
                state.timer.cancel()

    def pump(self) -> None:
        """Start all that may start now; call it when `admit()` may have changed."""
        if self._pumping:
            return
        self._pumping = True
        try:
            while self._active < self._total and self._start_next():
                pass
        finally:
            self._pumping = False

    def _start_next(self) -> bool:
        kind = 0 if self._rings[0] else 1
        if not self._rings[kind] or (kind == 1 and not self._admit()):
            return False
        host = self._rings[kind].popleft()
        state = self._hosts.get(host)
        if state is None:
            return True
        state.in_ring[kind] = False
        line = state.fresh if kind else state.under_way
        if line and self._may_start(state):
            start = line.popleft()
            state.active += 1
            self._active += 1
            now = self._loop.time()
            # Counted from when it was due, so that late timers do not lower the rate.
            state.next_at = max(state.next_at, now - self._interval_sec) + self._interval_sec
            self._settle(host, state)
            start()
        else:
            self._settle(host, state)
        return True

    def _may_start(self, state: _Host) -> bool:
        return state.active < self._per_host and self._is_due(state)

    def _is_due(self, state: _Host) -> bool:
        return state.next_at <= self._loop.time() + _EARLY_SEC

    def _settle(self, host: str, state: _Host) -> None:
        """Put the host where it belongs now: into the rings, on a timer, or away."""
        waiting = bool(state.under_way or state.fresh)
        if not self._is_due(state):
            if state.timer is None and (waiting or not state.active):
                state.timer = self._loop.call_at(state.next_at, self._wake, host)
        elif not waiting and not state.active:
            if state.timer is not None:
                state.timer.cancel()
            # A ring may still name the host; _start_next skips names it does not know, and a
            # name that came back is only checked once more than needed.
            self._hosts.pop(host, None)
        elif waiting and state.active < self._per_host:
            for kind, line in enumerate((state.under_way, state.fresh)):
                if line and not state.in_ring[kind]:
                    state.in_ring[kind] = True
                    self._rings[kind].append(host)

    def _wake(self, host: str) -> None:
        state = self._hosts.get(host)
        if state is not None:
            state.timer = None
            self._settle(host, state)
            self.pump()


class HostHealth:
    """Counts consecutive failures per origin (host, port) and gives up for a while.

    Without this, one dead host with 10,000 rows costs 10,000 deadlines.
    """

    def __init__(self, max_failures: int | None, rest_sec: float) -> None:
        """Give up after `max_failures` in a row (None: never), for `rest_sec` seconds."""
        self._max_failures = max_failures
        self._rest_sec = rest_sec
        self._failing: OrderedDict[tuple[str, int], tuple[int, float]] = OrderedDict()

    def answered(self, origin: tuple[str, int]) -> None:
        """The host works."""
        self._failing.pop(origin, None)

    def failed(self, origin: tuple[str, int], now: float) -> None:
        """Record that a fetch got nothing from the host; `now` in seconds."""
        count = self._failing.pop(origin, (0, 0.0))[0] + 1
        self._failing[origin] = (count, now + self._rest_sec)
        if len(self._failing) > _MAX_FAILING:
            self._failing.popitem(last=False)

    def given_up(self, origin: tuple[str, int], now: float) -> bool:
        """Whether to skip the host. After the rest, one more failure is enough again."""
        if self._max_failures is None or origin not in self._failing:
            return False
        count, until = self._failing[origin]
        return count >= self._max_failures and now < until
