"""Connections to PostgreSQL: one per thread, vectors as arrays, and errors as one line."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import errors
from psycopg.adapt import Buffer, Dumper, Loader
from psycopg.pq import Format
from psycopg.types import TypeInfo

from frenchcat.curate.errors import (
    BadCondition,
    FrenchcatError,
    Unreachable,
    Unwritable,
    first_line,
)
from frenchcat.curate.vector_stores.address import StoreAddress
from frenchcat.curate.vector_stores.store_errors import store_full, store_refused, store_stale

Connection: TypeAlias = "psycopg.Connection[Any]"
CONNECT_SEC, ANSWER_SEC = 10, 60
_FULL = (errors.DiskFull, errors.OutOfMemory, errors.ConfigurationLimitExceeded)
_BAD_VALUE = (errors.DivisionByZero, errors.NumericValueOutOfRange, errors.InvalidParameterValue)


class PostgresConnections:
    """The connections of all threads to one address."""

    def __init__(self, address: StoreAddress) -> None:
        """Connect. Raises `Unreachable`."""
        self.address = address
        self._own = threading.local()
        self._all: list[Connection] = []
        self.current()

    def current(self) -> Connection:
        """The connection of the calling thread."""
        found: Connection | None = getattr(self._own, "connection", None)
        if found is not None and not found.closed:
            return found
        try:
            made = psycopg.connect(
                self.address.connection,
                connect_timeout=CONNECT_SEC,
                autocommit=True,
                application_name="frenchcat",
                options=(
                    f"-c statement_timeout={ANSWER_SEC}s -c standard_conforming_strings=on "
                    f"-c client_min_messages=warning"
                ),
            )
        except psycopg.Error as error:
            raise self._unreachable(error) from None
        self._own.connection = made
        self._all.append(made)
        adapt_vectors(made)
        return made

    def _unreachable(self, error: BaseException) -> Unreachable:
        said = first_line(str(error).strip().splitlines()[-1] if str(error).strip() else error)
        return Unreachable(
            f"{self.address} does not answer ({said}); check the address and that the server runs"
        )

    @contextlib.contextmanager
    def asked(self, seconds: int | None = None) -> Iterator[Connection]:
        """A transaction, in which at most `seconds` pass per statement; 0: any number."""
        connection = self.current()
        try:
            with connection.transaction():
                if seconds is not None:
                    connection.execute(f"SET LOCAL statement_timeout = '{seconds}s'")
                yield connection
        except psycopg.Error as error:
            raise self._explained(error) from None

    def _explained(self, error: psycopg.Error) -> FrenchcatError:
        said = first_line(error)
        if isinstance(error, _FULL):
            return store_full(self.address, said)
        if isinstance(error, errors.InsufficientPrivilege):
            return Unwritable(f"{self.address} cannot be written ({said}); ask for the privilege")
        if isinstance(error, errors.ReadOnlySqlTransaction):
            return Unwritable(f"{self.address} is read-only ({said}); name the primary server")
        if isinstance(error, errors.QueryCanceled):
            return Unreachable(f"{self.address} took too long ({said}); try again, or a smaller k")
        if isinstance(error, _BAD_VALUE):
            return BadCondition(f"the condition fails at {self.address}: {said}")
        if isinstance(error, errors.UndefinedTable | errors.UndefinedColumn):
            return store_stale(self.address, said)
        if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
            return self._unreachable(error)
        return store_refused(self.address, said)

    def close(self) -> None:
        """End them."""
        for connection in self._all:
            connection.close()


# -- vectors in PostgreSQL's binary form -----------------------------------------------------------


class _VectorDumper(Dumper):  # type: ignore[misc]
    """(D,) numbers: their count and 0 as 16 bits each, then float32, big-endian."""

    format = Format.BINARY

    def dump(self, obj: Any) -> Buffer:
        return np.array([len(obj), 0], ">i2").tobytes() + np.asarray(obj, ">f4").tobytes()


class _VectorLoader(Loader):  # type: ignore[misc]
    format = Format.BINARY

    def load(self, data: Buffer) -> NDArray[np.float32]:
        return np.frombuffer(bytes(data)[4:], ">f4").astype(np.float32)


def adapt_vectors(connection: Connection) -> None:
    """Have arrays taken for vectors, where the server has the type."""
    info = TypeInfo.fetch(connection, "vector")
    if info is None:
        return
    info.register(connection)
    dumper = type("VectorDumper", (_VectorDumper,), {"oid": info.oid})
    connection.adapters.register_dumper(np.ndarray, dumper)
    connection.adapters.register_loader(info.oid, _VectorLoader)
