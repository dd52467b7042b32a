"""Requests each site's own files once, before anything else from it is requested.

Reads robots.txt, tdmrep.json and ai.txt through the same safe fetch as images: checked addresses,
deadlines, caps, turns. All rows of a site wait for one look-up. A missing file says nothing. If a
site does not answer for robots.txt, no image is requested from it (RFC 9309 2.3.1.4), and its rows
fail with the site's own reason, so that they are requested again another day. Cost: up to three
requests per site. Memory: at most `MAX_SITES` sites.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING

from frenchcat.curate.download.rights.settings import RightsSettings, SiteFile
from frenchcat.curate.download.rights.signal import OPT_OUT, Signal, date_of
from frenchcat.curate.download.rights.sites import PATHS, SiteFileText, SiteRules
from frenchcat.curate.reasons import FailureReason, FetchFailure
from frenchcat.curate.urls import WebURL

if TYPE_CHECKING:
    from frenchcat.curate.download.request import Hop

MAX_SITES = 2048
MAX_BODY_BYTES = 2 * 2**20
Get = Callable[[WebURL], "Coroutine[object, object, tuple[bytes, list[Hop]]]"]
_Origin = tuple[str, str, int]
_UNKNOWN = frozenset(
    (
        FailureReason.DNS_FAILED,
        FailureReason.CONNECT_FAILED,
        FailureReason.TLS_FAILED,
        FailureReason.CONNECTION_LOST,
        FailureReason.BAD_RESPONSE,
        FailureReason.TRUNCATED,
        FailureReason.DEADLINE,
        FailureReason.HOST_GIVEN_UP,
        FailureReason.BODY_TOO_LARGE,
        FailureReason.BAD_ENCODING,
    )
)
"""Failures that leave the file's content unknown; any other means that there is none."""


class SiteCache:
    """What sites say, by origin. Belongs to one event loop."""

    def __init__(self, settings: RightsSettings, get: Get) -> None:
        """Take the fetch: `get(url)` returns body and hops, or raises FetchFailure."""
        self.settings = settings
        self._get = get
        self._sites: OrderedDict[_Origin, SiteRules] = OrderedDict()
        self._asking: dict[_Origin, asyncio.Task[SiteRules]] = {}

    def known(self, url: WebURL) -> SiteRules | None:
        """The site of a URL, if it was looked up already."""
        origin = _origin(url)
        if origin in self._sites:
            self._sites.move_to_end(origin)
        return self._sites.get(origin)

    async def ask(self, url: WebURL) -> SiteRules:
        """The site of a URL. Raises FetchFailure if it is unknown whether there is a robots.txt.

        Failures are not cached: later rows ask again.
        """
        origin = _origin(url)
        task = self._asking.get(origin)
        if task is None:
            task = asyncio.create_task(self._read(url))
            self._asking[origin] = task
            task.add_done_callback(lambda done: self._keep(origin, done))
        # Shielded: a waiter that is cancelled must not cancel the look-up for others.
        return await asyncio.shield(task)

    def refusal(self, signals: list[Signal]) -> Signal | None:
        """What forbids requesting a URL at all, if the policy is to respect it."""
        if self.settings.policy != "respect":
            return None
        refusing = (s for s in signals if s.signal == "robots_txt" and s.decision == OPT_OUT)
        return next(refusing, None)

    async def close(self) -> None:
        """Cancel what is under way."""
        tasks = list(self._asking.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _keep(self, origin: _Origin, task: asyncio.Task[SiteRules]) -> None:
        self._asking.pop(origin, None)
        if task.cancelled() or task.exception() is not None:
            return
        self._sites[origin] = task.result()
        if len(self._sites) > MAX_SITES:
            self._sites.popitem(last=False)

    async def _read(self, url: WebURL) -> SiteRules:
        wanted = self.settings.site_files
        files: dict[SiteFile, SiteFileText] = {}
        if "robots" in wanted:  # first and alone: a dead host costs one connection
            files["robots"] = await self._file(url, "robots")
        others = [name for name in wanted if name != "robots"]
        found = await asyncio.gather(*(self._file(url, name) for name in others))
        return SiteRules(files | dict(zip(others, found, strict=True)), self.settings.agents)

    async def _file(self, url: WebURL, name: SiteFile) -> SiteFileText:
        target = dataclasses.replace(url, path=PATHS[name])
        try:
            body, hops = await self._get(target)
        except FetchFailure as failure:
            if not _is_open(failure):
                return SiteFileText(str(target), None)
            if name == "robots" and self.settings.policy == "respect":
                raise FetchFailure(failure.reason, f"robots.txt: {failure.detail}") from failure
            return SiteFileText(str(target), None, failure=failure.reason)
        text = body.decode("utf-8-sig", "replace")
        return SiteFileText(str(target), text, date_of(hops[-1].headers))


def _is_open(failure: FetchFailure) -> bool:
    status = failure.reason.removeprefix("http_")
    if status.isdigit():
        return int(status) == 429 or int(status) >= 500
    return failure.reason in _UNKNOWN


def _origin(url: WebURL) -> _Origin:
    return url.scheme, url.host, url.port
