"""A connection to Milvus, or a file of Milvus Lite: what is asked, and errors as one line.

Every read is of consistency `Strong`, so what was deleted is gone.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from pymilvus import MilvusClient, MilvusException

from frenchcat.curate.errors import (
    FrenchcatError,
    Unreachable,
    Unwritable,
    UserError,
    first_line,
)
from frenchcat.curate.vector_stores.address import StoreAddress
from frenchcat.curate.vector_stores.store_errors import store_full, store_refused, store_stale

CONNECT_SEC, ANSWER_SEC = 10.0, 60.0
TOKEN_VARIABLE = "MILVUS_TOKEN"
"""Of the environment: user:password, or a token."""
STRONG = "Strong"
_PORT = 19_530
_BATCH = 1000  # rows per answer of an iterator
_FULL = ("quota exceeded", "no space", "memory limit", "disk full", "out of memory")
_REFUSED = ("permission", "privilege", "unauthenticated", "auth check failure")
_AWAY = ("connect", "unavailable", "deadline", "timeout", "timed out", "holds the lock")


class MilvusConnection:
    """A client, whose errors are explained."""

    def __init__(self, address: StoreAddress) -> None:
        """Connect. Raises `Unreachable`."""
        self.address = address
        self.file = _file_of(address)  # None: a server's
        with self._explaining():
            self._client = self._connected()

    def _connected(self) -> MilvusClient:
        if self.file is not None:
            if not self.file.parent.is_dir():
                raise UserError(
                    f"{self.address}: there is no folder {self.file.parent}; make it, or name "
                    "another file"
                )
            return MilvusClient(str(self.file))
        parts = urlsplit(self.address.connection)
        secure = parse_qs(parts.query).get("secure", ["false"])[-1] == "true"
        token = os.environ.get(TOKEN_VARIABLE, "")
        if parts.password:
            token = f"{unquote(parts.username or '')}:{unquote(parts.password)}"
        return MilvusClient(
            uri=f"{'https' if secure else 'http'}://{parts.hostname}:{parts.port or _PORT}",
            token=parse_qs(parts.query).get("token", [token])[-1],
            db_name=parts.path.strip("/"),
            timeout=CONNECT_SEC,
        )

    @contextlib.contextmanager
    def _explaining(self) -> Iterator[None]:
        """Explain what the server says, in one line."""
        try:
            yield
        except FrenchcatError:
            raise
        except MilvusException as error:
            raise self._explained(error) from None
        except Exception as error:  # Milvus Lite's own, and grpc's
            if not type(error).__module__.startswith(("grpc", "pymilvus", "milvus_lite")):
                raise
            raise self._explained(error) from None

    def _explained(self, error: BaseException) -> FrenchcatError:
        said = first_line(getattr(error, "message", "") or error)
        found = said.lower()
        if any(word in found for word in _FULL):
            return store_full(self.address, said)
        if any(word in found for word in _REFUSED):
            return Unwritable(f"{self.address} cannot be used ({said}); ask for the privilege")
        if any(word in found for word in _AWAY):
            return Unreachable(
                f"{self.address} does not answer ({said}); check the address and that the server "
                "runs, or that no other process has the file open"
            )
        if "not found" in found or "not exist" in found:
            return store_stale(self.address, said)
        return store_refused(self.address, said)

    @contextlib.contextmanager
    def asked(self) -> Iterator[MilvusClient]:
        """The client; what the server says to it is explained."""
        with self._explaining():
            yield self._client

    def close(self) -> None:
        """End the connection."""
        with contextlib.suppress(Exception):  # whatever it is, nothing is lost
            self._client.close()

    # -- collections -------------------------------------------------------------------------------

    def has(self, collection: str) -> bool:
        """Whether there is a collection of this name."""
        with self.asked() as client:
            return bool(client.has_collection(collection, timeout=ANSWER_SEC))

    def drop(self, collection: str) -> None:
        """Delete a collection, where it is there."""
        with self.asked() as client:
            if client.has_collection(collection, timeout=ANSWER_SEC):
                client.drop_collection(collection, timeout=ANSWER_SEC)

    def delete(self, collection: str, where: str) -> None:
        """Delete the rows that meet a filter."""
        with self.asked() as client:
            client.delete(collection, filter=where, timeout=ANSWER_SEC)

    def query(self, collection: str, where: str, names: Sequence[str]) -> list[dict[str, Any]]:
        """The rows that meet a filter; of a server at most 16,384."""
        with self.asked() as client:
            rows = client.query(
                collection,
                filter=where,
                output_fields=list(names),
                consistency_level=STRONG,
                timeout=ANSWER_SEC,
            )
        return [dict(row) for row in rows]

    def batches(
        self, collection: str, where: str, names: Sequence[str]
    ) -> Iterator[list[dict[str, Any]]]:
        """The rows that meet a filter, however many; a file's all at once.

        Files have no limit, and pymilvus's iterator prints tracebacks there.
        """
        if self.file is not None:
            yield self.query(collection, where, names)
            return
        with self.asked() as client:
            found = client.query_iterator(
                collection,
                filter=where,
                batch_size=_BATCH,
                output_fields=list(names),
                consistency_level=STRONG,
                timeout=ANSWER_SEC,
            )
        try:
            while True:
                with self._explaining():
                    rows = found.next()
                if not rows:
                    break
                yield [dict(row) for row in rows]
        finally:
            found.close()


def _file_of(address: StoreAddress) -> Path | None:
    """The file of Milvus Lite that an address names; None for a server's."""
    parts = urlsplit(address.connection)
    if parts.netloc:
        if parts.netloc.endswith(".db"):
            raise UserError(
                f"{address} names {parts.netloc} as a host; a file is written with its whole path: "
                f"milvus:///path/to/{parts.netloc}"
            )
        return None
    if not parts.path.strip("/"):
        raise UserError(
            f"{address} names neither a host nor a file; write milvus://HOST:{_PORT}/DATABASE or "
            "milvus:///path/to/cats.db"
        )
    return Path(unquote(parts.path))
