"""How often a client may ask: a token bucket per client."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable
from time import monotonic

CLIENTS = 10_000  # whose rates are remembered

PICTURES_PER_REQUEST = 20  # images that a client may fetch per request of its rate

PICTURES = re.compile(r"/v1/(datasets/[^/]+/)?(pictures|thumbnails)/")


class Rates:
    """A token bucket per client: `rate` requests per second, twice as many in a burst."""

    def __init__(self, rate: float, clock: Callable[[], float] = monotonic) -> None:
        self.rate, self.burst, self._clock = rate, max(1.0, 2 * rate), clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # tokens, when

    def wait_sec(self, client: str) -> float:
        """0 if the client may ask now, else the seconds until it may."""
        now = self._clock()
        tokens, since = self._left.pop(client, (self.burst, now))
        tokens = min(self.burst, tokens + (now - since) * self.rate)
        allowed = tokens >= 1
        self._left[client] = (tokens - 1 if allowed else tokens, now)
        if len(self._left) > CLIENTS:
            self._left.popitem(last=False)
        return 0.0 if allowed else (1 - tokens) / self.rate
