"""Why a fetch brought no image: a closed set of stable names.

Reads nothing, writes nothing. The names end up in the dataset's sidecar, so they are only ever
added to, never renamed. What varies (the address, the status line) goes to the detail beside them.
"""

from enum import StrEnum

from frenchcat.curate import failures


class FailureReason(StrEnum):
    """Every reason but the `http_<status>` ones, which `http_status` makes."""

    BAD_URL = "bad_url"
    """Not a URL, or one without a usable host."""
    SCHEME_REFUSED = "scheme_refused"
    """Neither http nor https."""
    CREDENTIALS_REFUSED = "credentials_refused"
    """A user name or password in the URL: using a found password is not ours to do."""
    PORT_REFUSED = "port_refused"
    """A port of another protocol (mail, ssh, ...), as browsers refuse it."""
    ADDRESS_REFUSED = "address_refused"
    """The host is, or resolves to, an address that is not public."""
    DNS_FAILED = "dns_failed"
    """The host's name has no address."""
    CONNECT_FAILED = "connect_failed"
    """No connection: refused, unreachable, or not answered within connect_timeout_sec."""
    TLS_FAILED = "tls_failed"
    """The encrypted connection failed, or its certificate is not valid for the host."""
    CONNECTION_LOST = "connection_lost"
    """The server closed or reset the connection before its answer."""
    BAD_RESPONSE = "bad_response"
    """The answer is not HTTP, or its headers are too many or too long."""
    DEADLINE = "deadline"
    """The whole fetch did not end within deadline_sec."""
    HOST_GIVEN_UP = "host_given_up"
    """Not asked: this host failed too many times in a row."""
    TOO_MANY_REDIRECTS = "too_many_redirects"
    """More than max_redirects of them."""
    BAD_REDIRECT = "bad_redirect"
    """A redirect without a Location, or to something that is not a URL."""
    BODY_TOO_LARGE = "body_too_large"
    """More bytes than max_body_bytes, as announced, as sent, or after decoding."""
    BAD_ENCODING = "bad_encoding"
    """Compressed although we asked for it plain, and not readable as gzip or deflate."""
    TRUNCATED = "truncated"
    """The body ended before its announced end."""
    EMPTY_BODY = "empty_body"
    """Success without a single byte."""
    NOT_AN_IMAGE = "not_an_image"
    """The bytes are something else; the detail says what (html, svg, text, pdf, ...)."""
    BAD_IMAGE = "bad_image"
    """The bytes begin as an image does, but its header names no usable width and height."""
    TOO_MANY_PIXELS = "too_many_pixels"
    """The header announces more than max_pixels."""
    OPTED_OUT = failures.OPTED_OUT
    """The site's robots.txt forbids asking; the signal beside it says in which words."""
    UNEXPECTED = "unexpected"
    """A fault of ours; the detail names the exception."""


# Client errors that say "not now" rather than "never": timeout, misdirected, locked, too early,
# too many requests (RFC 9110 section 15.5, RFC 4918, RFC 8470, RFC 6585).
_PASSING_4XX = frozenset({408, 421, 423, 425, 429})
# Server errors that describe the request, not the moment: not implemented, HTTP version.
_LASTING_5XX = frozenset({501, 505})


def http_status(status: int) -> str:
    """The reason for an answer that is neither an image nor a redirect, e.g. `http_404`."""
    return f"http_{status}"


def worth_retrying(status: int) -> bool:
    """Whether the same request may succeed within seconds: 429, and 5xx that can pass."""
    return status == 429 or (500 <= status <= 599 and status not in _LASTING_5XX)


REASONS: frozenset[str] = frozenset(FailureReason) | {http_status(s) for s in range(100, 1000)}
"""All there are. Other signals than robots.txt opt out of being stored, not of being fetched."""

PERMANENT: frozenset[str] = (
    frozenset(
        str(reason)
        for reason in (
            FailureReason.BAD_URL,
            FailureReason.SCHEME_REFUSED,
            FailureReason.CREDENTIALS_REFUSED,
            FailureReason.PORT_REFUSED,
            FailureReason.TOO_MANY_REDIRECTS,
            FailureReason.BAD_REDIRECT,
            FailureReason.BODY_TOO_LARGE,
            FailureReason.BAD_ENCODING,
            FailureReason.NOT_AN_IMAGE,
            FailureReason.BAD_IMAGE,
            FailureReason.TOO_MANY_PIXELS,
        )
    )
    | {http_status(s) for s in range(400, 500) if s not in _PASSING_4XX}
    | {http_status(s) for s in _LASTING_5XX}
)
"""Never worth asking again with the same settings. `address_refused` is not among them: asking
again sends nothing, and `--allow-host` may have opened the host meanwhile."""


class FetchFailure(Exception):
    """Ends one attempt: why, with a detail for people, and whether and when to try again.

    `signal` is what opts out, where the reason is `opted_out`.
    """

    def __init__(
        self,
        reason: str,
        detail: str,
        *,
        signal: str | None = None,
        retry: bool = False,
        retry_after_sec: float | None = None,
    ) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = str(reason)
        self.signal = signal
        self.detail = detail
        self.retry = retry
        self.retry_after_sec = retry_after_sec
