"""Addresses of published datasets: ``postgresql://user@host/db?table=cats``, ``milvus://host``.

What follows `table=` names the rows of one dataset; several may share a database. Passwords are
never stored or printed: PostgreSQL takes them from PGPASSWORD or ~/.pgpass, too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit

from frenchcat.curate.errors import UserError
from frenchcat.curate.extras import how_to_install

if TYPE_CHECKING:
    from frenchcat.curate.vector_stores.store import VectorDatabase

DEFAULT_TABLE = "frenchcat"
_TABLE = re.compile(r"[a-z_][a-z0-9_]{0,39}")


@dataclass(frozen=True)
class StoreKind:
    """A database: its class, and the extra and package that it needs."""

    module: str
    name: str
    extra: str
    package: str


_HERE = "frenchcat.curate.vector_stores"
_POSTGRES = StoreKind(f"{_HERE}.postgresql", "PostgresStore", "postgres", "psycopg")
_MILVUS = StoreKind(f"{_HERE}.milvus", "MilvusStore", "milvus", "pymilvus")
KINDS = {"postgresql": _POSTGRES, "postgres": _POSTGRES, "milvus": _MILVUS}
"""Scheme -> database. To add one: its class in a module here, and its entry."""


@dataclass(frozen=True)
class StoreAddress:
    """A parsed address."""

    scheme: str
    connection: str  # without `table`; what the driver takes, with the password if one was given
    table: str

    @classmethod
    def of(cls, address: str) -> StoreAddress:
        """Parse an address. Raises `UserError` for an unknown scheme and a name that is none."""
        parts = urlsplit(address)
        if parts.scheme not in KINDS:
            known = ", ".join(f"{scheme}://" for scheme in KINDS)
            raise UserError(f"{address} is not the address of a vector database; known: {known}")
        asked = parse_qsl(parts.query, keep_blank_values=True)
        table = dict(asked).get("table", DEFAULT_TABLE)
        if not _TABLE.fullmatch(table):
            raise UserError(
                f"table={table} in {hidden(address)} is not a name; give 1 to 40 of a-z, 0-9, _, "
                "a letter first"
            )
        rest = urlencode([pair for pair in asked if pair[0] != "table"])
        return cls(parts.scheme, _joined(parts._replace(query=rest)), table)

    def __str__(self) -> str:
        """The address as it is stored and printed, without a password."""
        parts = urlsplit(hidden(self.connection))
        query = urlencode([*parse_qsl(parts.query), ("table", self.table)])
        return _joined(parts._replace(query=query))


def hidden(address: str) -> str:
    """An address without its password."""
    parts = urlsplit(address)
    query = [pair for pair in parse_qsl(parts.query) if pair[0] not in ("password", "token")]
    user, at, host = parts.netloc.rpartition("@")
    return _joined(
        parts._replace(netloc=user.partition(":")[0] + at + host, query=urlencode(query))
    )


def _joined(parts: SplitResult) -> str:
    """An address of its parts; urlunsplit leaves out the slashes where there is no host."""
    query = f"?{parts.query}" if parts.query else ""
    return f"{parts.scheme}://{parts.netloc}{parts.path}{query}"


def is_store(text: str) -> bool:
    """Whether a text is the address of a vector database, and not a dataset's."""
    return text.partition("://")[0] in KINDS and "://" in text


def open_store(address: str | StoreAddress) -> VectorDatabase:
    """Connect to an address. Raises `UserError` without the extra, `Unreachable` if it is down."""
    parsed = StoreAddress.of(address) if isinstance(address, str) else address
    kind = KINDS[parsed.scheme]
    try:
        import_module(kind.package)
    except ImportError:
        raise UserError(
            f"{parsed} needs the package {kind.package}; {how_to_install(kind.extra)}"
        ) from None
    module = import_module(kind.module)
    opened: VectorDatabase = getattr(module, kind.name)(parsed)
    return opened
