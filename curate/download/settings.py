"""Settings of the safe fetch. Reads and writes nothing; every duration, size and count is bounded.

The defaults suit a crawl from one machine: generous to slow hosts, gentle to small ones.
"""

from importlib import metadata

from pydantic import ConfigDict, Field, field_validator
from pydantic.dataclasses import dataclass

from frenchcat.curate.reasons import FetchFailure
from frenchcat.curate.urls import parse_authority

_PACKAGE = "frenchcat"


def default_user_agent() -> str:
    """``frenchcat/<version>``: who asks. There is no page of ours; a user names one of theirs."""
    try:
        return f"{_PACKAGE}/{metadata.version(_PACKAGE)}"
    except metadata.PackageNotFoundError:  # run from a source tree that was never installed
        return f"{_PACKAGE}/0"


@dataclass(frozen=True, config=ConfigDict(extra="forbid", use_attribute_docstrings=True))
class FetchSettings:
    """How a Fetcher behaves. Raises pydantic.ValidationError for a value out of range."""

    connections: int = Field(default=128, ge=1, le=65_536)
    """Concurrent requests over all hosts (count)."""
    connections_per_host: int = Field(default=8, ge=1)
    """Concurrent requests to one host name (count)."""
    requests_per_sec_per_host: float | None = Field(default=50.0, gt=0)
    """Requests started per second at one host name; none: unlimited."""
    deadline_sec: float = Field(default=30.0, gt=0)
    """Seconds for one whole fetch from its first request on: look-ups, connections, redirects,
    body, retries and the waits between them. Waiting for our own per-host limits is not counted,
    but ends the fetch, too, when it adds up to as much again.
    """
    connect_timeout_sec: float = Field(default=10.0, gt=0)
    """Seconds for one connection, encryption included; a dead address costs this, not the
    deadline.
    """
    max_body_bytes: int = Field(default=32 * 2**20, ge=1)
    """Bytes of one body, announced, received or decoded."""
    max_pixels: int = Field(default=100_000_000, ge=1)
    """Width x height that a picture's header may state (pixels)."""
    max_redirects: int = Field(default=5, ge=0)
    """Redirects followed in one fetch (count)."""
    retries: int = Field(default=2, ge=0, le=20)
    """Further tries after a 429, a passing 5xx or a lost connection (count)."""
    backoff_sec: float = Field(default=0.5, ge=0)
    """Seconds before the first retry, doubled for each further one, times a random factor from 0.5
    to 1.5 (fixed per URL).
    """
    max_retry_after_sec: float = Field(default=20.0, ge=0)
    """The longest Retry-After to wait for, in seconds. If a server asks for more, or for more than
    the deadline leaves, the fetch ends with its http_<status> instead of asking too early.
    """
    max_host_failures: int | None = Field(default=20, ge=1)
    """Consecutive fetches that got nothing from a host (no connection, no answer in time, 429 or
    503 to the end) before its other rows become host_given_up (count); none: never.
    """
    host_rest_sec: float = Field(default=300.0, ge=0)
    """Seconds until a host that was given up is tried again."""
    lookahead: int = Field(default=10_000, ge=1)
    """URLs that `fetch_all` reads ahead, so that it can ask other hosts while one must wait
    (count). It bounds the memory for the list.
    """
    max_held_bytes: int = Field(default=512 * 2**20, ge=1)
    """Bytes of bodies that `fetch_all` aims to hold at a time: finished ones that wait for the
    consumer, and those expected from fetches under way. It starts no fetch beyond that. A sudden
    run of large bodies can exceed it, by `connections` x max_body_bytes in the worst case.
    """
    verify_tls: bool = True
    """Whether certificates must be valid. If not, more old images load, but anybody on the way can
    replace them.
    """
    user_agent: str = Field(default_factory=default_user_agent, min_length=1, pattern=r"^[ -~]+$")
    """The User-Agent header, printable ASCII. It should name a page that says who is asking."""
    allow_hosts: tuple[str, ...] = ()
    """`host:port` entries that may have loopback and private addresses; each allows exactly that
    host, as it is written in URLs, at exactly that port.
    """

    @field_validator("allow_hosts")
    @classmethod
    def _check_allow_hosts(cls, entries: tuple[str, ...]) -> tuple[str, ...]:
        for entry in entries:
            parse_allow_host(entry)
        return entries


def parse_allow_host(entry: str) -> tuple[str, int]:
    """`host:port` -> (canonical host, port). Raises ValueError naming the entry and the fix."""
    try:
        host, port = parse_authority(entry, 0)
    except FetchFailure as failure:
        message = f"allow_hosts entry {entry!r} is not host:port; write it like 127.0.0.1:8000"
        raise ValueError(message) from failure
    return host, port
