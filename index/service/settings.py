"""The settings of the service. Imports nothing heavy."""

from __future__ import annotations

from pydantic import Field, field_validator

from frenchcat.curate.config import settings
from frenchcat.curate.errors import UserError
from frenchcat.curate.urls import named_host, plain_origin

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


@settings
class ServeSettings:
    """How the service behaves; the defaults suit one person on one machine."""

    host: str = "127.0.0.1"
    """The address to listen on; 0.0.0.0 is every one."""
    port: int = Field(1234, ge=0, le=65535)
    """0: any free one."""
    api_key_file: str | None = None
    """A file of keys, one per line; none: no key is needed."""
    allow_remove: bool = False
    """Whether /v1/remove may remove rows."""
    allow_select: bool | None = None
    """Whether /v1/selections writes; None: where the service is at loopback or asks for keys."""
    allow_decide: bool | None = None
    """Whether rows are kept and dropped by hand through it; None: as with `allow_select`."""
    confirm_rows: int = Field(100, ge=0)
    """A removal of more rows must be confirmed with their number."""
    cors: tuple[str, ...] = ()
    """Origins (`https://example.org`, or `*`) whose pages may send requests; empty: only its own
    page.
    """
    hosts: tuple[str, ...] = ()
    """Host names of the service; empty: any, or at loopback the loopback names."""
    rate: float | None = Field(None, gt=0)
    """Requests per second and client, twice as many in a burst; none: no limit."""
    picture_rate: float | None = Field(None, gt=0)
    """Images per second and client, twice as many in a burst; none: 20 times `rate`."""
    max_body_bytes: int = Field(16 * 2**20, ge=1024)
    """The maximum size of one request's body."""
    deadline_sec: float = Field(60.0, gt=0)
    """Seconds for one request, its body included."""
    max_uploads: int = Field(32, ge=1)
    """Uploads that may run at a time; bodies that arrive in one piece are not counted."""
    upload_bytes: int = Field(128 * 2**20, ge=1024)
    """Bytes of the bodies of all running requests; reading one takes about four times its bytes."""
    decoded_pixels: int = Field(64_000_000, ge=1)
    """Pixels of query images that are decoded at a time; as many again for stored images."""
    header_sec: float = Field(10.0, gt=0)
    """Seconds for a request's headers, from its connection or its first byte on."""
    unread_sec: float = Field(30.0, gt=0)
    """Seconds within which a client must take some more of its answer."""
    max_connections: int = Field(800, ge=1)
    """Maximum number of connections; beyond it, the one that has waited longest for headers is
    closed, else the one whose answer has waited longest for its client.
    """
    condition_sec: float = Field(10.0, gt=0)
    """Seconds for evaluating one condition; starting and waiting are not counted."""
    condition_memory_bytes: int = Field(2**30, ge=2**27)
    """Memory for evaluating one condition, beyond the 90 MB of an idle process."""
    condition_processes: int = Field(2, ge=1, le=64)
    """Conditions that are evaluated at a time."""
    condition_waiting: int = Field(32, ge=1)
    """Conditions running or waiting; more are refused."""
    exports: int = Field(2, ge=1, le=64)
    """Files of rows that are written at a time; more are refused."""
    max_hits: int = Field(10_000, ge=1)
    """Maximum number of hits in one answer; clip-retrieval's page downloads this many."""
    remote_pictures: bool = True
    """Whether a query may be the address of an image, which the service fetches."""
    allow_hosts: tuple[str, ...] = ()
    """`host:port` of private addresses from which query images may be fetched."""
    ratings: str | None = None
    """Aesthetic rating vectors: (10, D), .npy or .safetensors; none: the option has no effect."""
    violence: str | None = None
    """Two prompt vectors, harmless and violent: (2, D), .npy or .safetensors; none: no filter."""
    safety_head: str | None = None
    """A head on image vectors that says how unsafe one is (safetensors, see docs/serve.md)."""
    refused_words: str | None = None
    """A file of words, one per line, that no text query may contain."""
    contact: str | None = None
    """Where to ask for an image's removal: a mail address or a page. Shown on the page."""
    url_column: str = "url"
    """The column in which clip-retrieval's page looks for an image's address."""
    poll_sec: float = Field(1.0, gt=0)
    """Seconds between checks for a new version of an index."""

    draw_pictures: int = Field(4, ge=1, le=16)
    """Images per drawing (--draw)."""
    draw_steps: int = Field(50, ge=1, le=200)
    """Maximum number of sampler steps."""
    draw_waiting: int = Field(4, ge=0)
    """Drawings that may wait for the running one; more are refused."""

    preload: bool = True
    """Whether models are loaded before the first query."""

    @field_validator("hosts")
    @classmethod
    def _plain_hosts(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(named_host, names))

    @field_validator("cors")
    @classmethod
    def _plain_origins(cls, sites: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(site if site == "*" else plain_origin(site) for site in sites)

    @property
    def private(self) -> bool:
        """Whether only this machine can reach it."""
        return self.host in LOOPBACK

    @property
    def may_select(self) -> bool:
        """Whether selections can be made through it."""
        if self.allow_select is not None:
            return self.allow_select
        return self.private or self.api_key_file is not None

    @property
    def may_decide(self) -> bool:
        """Whether rows can be kept and dropped by hand through it."""
        if self.allow_decide is not None:
            return self.allow_decide
        return self.private or self.api_key_file is not None

    def check(self) -> None:
        """Raise `UserError` for settings that would let anybody remove rows."""
        if self.allow_remove and not self.private and self.api_key_file is None:
            raise UserError(
                f"--allow-remove at {self.host} without keys would let anybody remove images; "
                "give --api-key-file, or listen at 127.0.0.1"
            )
