"""HTTP requests to one frenchcat service, and its refusals as errors of this package."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from frenchcat.curate import errors
from frenchcat.curate.errors import (
    Busy,
    FrenchcatError,
    NotAllowed,
    UnknownColumn,
    Unreachable,
    UnreadableImage,
    UserError,
    first_line,
)

if TYPE_CHECKING:
    import httpx


TIMEOUT_SEC = 75.0
"""For one answer; the service itself ends a request after `deadline_sec` (60)."""


class ServiceClient:
    """Requests to one service, and its refusals as errors of this package."""

    def __init__(self, address: str, key: str | None, timeout_sec: float) -> None:
        import httpx

        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UserError(
                f"{address!r} is not the address of a service; give one such as "
                "http://127.0.0.1:1234"
            )
        self.address = address.rstrip("/")
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        self._client = httpx.Client(headers=headers, timeout=timeout_sec)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def json(self, method: str, path: str, body: Any = None) -> Any:
        """The answer's value."""
        answer = self.answer(method, path, body)
        try:
            return answer.json()
        except ValueError:
            raise self._another(answer) from None

    def answer(self, method: str, path: str, body: Any = None) -> httpx.Response:
        """The answer. Raises what the service refuses, and `Unreachable`."""
        import httpx

        try:
            answer = self._client.request(method, self.address + path, json=body)
        except httpx.TimeoutException:
            raise Busy(
                f"{self.address} did not answer within {self._client.timeout.read:g} s; "
                "ask again later, or give connect(…, timeout_sec=…)"
            ) from None
        except (httpx.RemoteProtocolError, httpx.ReadError) as error:
            raise Unreachable(
                f"{self.address} ended its answer early ({first_line(error)}); ask for fewer rows "
                "or columns, or have its deadline_sec raised"
            ) from None
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            raise Unreachable(
                f"{self.address} cannot be reached ({first_line(error)}); is `frenchcat serve` "
                "running there?"
            ) from None
        if answer.is_success:
            return answer
        try:
            problem = answer.json()
            raise error_of(int(answer.status_code), str(problem["code"]), problem)
        except (ValueError, KeyError, TypeError):
            raise self._another(answer) from None

    def _another(self, answer: httpx.Response) -> Unreachable:
        said = f"answers with status {answer.status_code}"
        if answer.has_redirect_location:
            said = f"redirects to {answer.headers['location']}"
        return Unreachable(
            f"{self.address} {said}, as no frenchcat service does; give the address that "
            "`frenchcat serve` prints"
        )


def error_of(status: int, code: str, problem: Mapping[str, Any]) -> FrenchcatError:
    """A problem of RFC 9457 as the class that its stable code names."""
    detail = str(problem["detail"])
    if code == "unknown-column":
        return UnknownColumn(detail, str(problem.get("column") or ""))
    if code == "unreadable-image":
        reason = str(problem.get("reason") or "")
        name, _, cure = detail.partition(f" cannot be decoded ({reason}); ")
        return UnreadableImage(name, reason, cure)
    kind = getattr(errors, "".join(map(str.capitalize, code.split("-"))), None)
    if isinstance(kind, type) and issubclass(kind, UserError):
        return kind(detail)
    if status in (401, 403):
        return NotAllowed(detail)
    if status in (408, 429, 503):
        return Busy(detail)
    return UserError(detail) if status < 500 else FrenchcatError(detail)
