"""What the service can be told. Imports nothing heavy."""

from __future__ import annotations

from pydantic import Field

from frenchcat.curate.config import settings
from frenchcat.curate.errors import UserError

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


@settings
class ServeSettings:
    """How the service behaves; the defaults suit one person at one machine."""

    host: str = "127.0.0.1"
    """The address to listen at; 0.0.0.0 is every one."""
    port: int = Field(1234, ge=0, le=65535)
    """0: any free one."""
    api_key_file: str | None = None
    """A file of keys, one a line; None: nobody is asked for a key."""
    allow_remove: bool = False
    """Whether /v1/remove removes."""
    allow_select: bool | None = None
    """Whether /v1/selections writes; None: where the service is at loopback or asks for keys."""
    confirm_rows: int = Field(100, ge=0)
    """A removal of more rows is confirmed with their number."""
    cors: tuple[str, ...] = ()
    """Origins (`https://example.org`, or `*`) whose pages may ask; empty: the own page alone."""
    hosts: tuple[str, ...] = ()
    """Host names that it is reached by; empty: any, or at loopback the loopback names."""
    rate: float | None = Field(None, gt=0)
    """Requests a second and client, twice as many in a burst; None: no limit."""
    picture_rate: float | None = Field(None, gt=0)
    """Pictures a second and client, twice as many in a burst; None: 20 times `rate`."""
    max_body_bytes: int = Field(16 * 2**20, ge=1024)
    """Of one request."""
    deadline_sec: float = Field(60.0, gt=0)
    """For one request, its body included."""
    max_uploads: int = Field(32, ge=1)
    """Bodies that are on their way at a time, those that came in one piece left out."""
    upload_bytes: int = Field(128 * 2**20, ge=1024)
    """Of the bodies of all requests that are being answered; reading one takes some four times."""
    decoded_pixels: int = Field(64_000_000, ge=1)
    """Of pictures of queries that are decoded at a time; of stored ones, so many again."""
    header_sec: float = Field(10.0, gt=0)
    """For the headers of a request, from its connection or its first byte on."""
    max_connections: int = Field(800, ge=1)
    """Of more, that which has waited longest for its headers is closed."""
    condition_sec: float = Field(10.0, gt=0)
    """For evaluating one condition; its start and its waiting are not counted."""
    condition_memory_bytes: int = Field(2**30, ge=2**26)
    """For evaluating one condition, beyond the 90 MB of an idle process."""
    condition_processes: int = Field(2, ge=1, le=64)
    """Conditions that are evaluated at a time."""
    condition_waiting: int = Field(32, ge=1)
    """Conditions at work or waiting; more are refused."""
    exports: int = Field(2, ge=1, le=64)
    """Files of rows that are written at a time; more are refused."""
    max_hits: int = Field(10_000, ge=1)
    """Hits of one answer; clip-retrieval's page downloads so many."""
    remote_pictures: bool = True
    """Whether a query may be the address of a picture, which the service fetches."""
    allow_hosts: tuple[str, ...] = ()
    """`host:port` of private addresses that query pictures may be fetched from."""
    ratings: str | None = None
    """Aesthetic rating vectors: (10, D), .npy or .safetensors; None: the option does nothing."""
    violence: str | None = None
    """Two prompt vectors, harmless and violent: (2, D), .npy or .safetensors; None: no filter."""
    safety_head: str | None = None
    """A head on picture vectors that gives how unsafe one is (safetensors, see docs/serve.md)."""
    refused_words: str | None = None
    """A file of words, one a line, that no text query may hold."""
    contact: str | None = None
    """Where to ask for a picture's removal: a mail address or a page. Shown on the page."""
    url_column: str = "url"
    """The column in which clip-retrieval's page looks for a picture's address."""
    poll_sec: float = Field(1.0, gt=0)
    """How often a new version of an index is looked for."""

    draw_pictures: int = Field(4, ge=1, le=16)
    """Pictures that a prompt may be drawn at once (--draw)."""
    draw_steps: int = Field(50, ge=1, le=200)
    """Steps of the sampler that may be asked for."""
    draw_waiting: int = Field(4, ge=0)
    """Drawings that may wait for the one that is made; more are refused."""

    preload: bool = True
    """Whether models are loaded before the first query."""

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

    def check(self) -> None:
        """Raise `UserError` for settings that would let anybody remove."""
        if self.allow_remove and not self.private and self.api_key_file is None:
            raise UserError(
                f"--allow-remove at {self.host} without keys would let anybody remove pictures; "
                "give --api-key-file, or listen at 127.0.0.1"
            )
