"""Images at an address, fetched safely: a query may name one instead of sending it.

Uses curate/download's fetch: no private address, whatever a name resolves or redirects to; bounded
in bytes, pixels and seconds. Few at a time and few per host, so that the service cannot be used
against others.
"""

from __future__ import annotations

from frenchcat.curate.download.fetch import Fetcher
from frenchcat.curate.download.settings import FetchSettings
from frenchcat.curate.errors import UserError
from frenchcat.index.service.metrics import Metrics
from frenchcat.index.service.problems import Refused
from frenchcat.index.service.settings import ServeSettings


class Remote:
    """The fetcher of one application; enter it in the event loop that uses it."""

    def __init__(self, settings: ServeSettings, metrics: Metrics) -> None:
        self._allowed, self._metrics = settings.remote_pictures, metrics
        self._settings = FetchSettings(
            connections=16,
            connections_per_host=2,
            requests_per_sec_per_host=5.0,
            deadline_sec=min(10.0, settings.deadline_sec),
            connect_timeout_sec=5.0,
            max_body_bytes=settings.max_body_bytes,
            retries=0,
            max_host_failures=None,
            allow_hosts=settings.allow_hosts,
        )

    async def __aenter__(self) -> Remote:
        self._fetcher = await Fetcher(self._settings).__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._fetcher.__aexit__(None, None, None)

    async def picture(self, address: str) -> bytes:
        """The image's bytes. Raises `UserError` that says why it is unavailable."""
        if not self._allowed:
            raise Refused(403, "this service does not fetch images; send the image itself")
        with self._metrics.time("download_time"):
            fetched = await self._fetcher.fetch(address)
        if fetched.body is None:
            shown = address[:200]
            raise UserError(
                f"{shown!r} is not a usable image: {fetched.reason} ({fetched.detail}); "
                "send the image itself"
            )
        return fetched.body
