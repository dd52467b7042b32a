"""Errors while files of a list are read, turned into errors that name the file.

Reads and writes nothing. DuckDB and Arrow read several files as one, on several threads: not every
error says which file it is about.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace

from frenchcat.curate.download.list_source import Source, broken


class NotText(Exception):
    """A parquet has a text column with bytes that are not UTF-8."""

    def __init__(self, source: Source) -> None:
        self.source = source
        super().__init__(source.name)


@contextlib.contextmanager
def blaming(sources: list[Source]) -> Iterator[None]:
    """Turn the reader's errors into errors about the file that they name."""
    import duckdb
    import pyarrow as pa

    try:
        yield
    except (
        duckdb.Error,
        pa.ArrowException,
        OSError,
        RuntimeError,
        UnicodeDecodeError,
    ) as error:
        named = [source for source in sources if str(source.path) in str(error)]
        named = named or _suspects(sources, error)
        if not named:
            raise
        is_text = "Invalid string encoding" not in str(error)
        if not is_text and named[0] in sources and not named[0].copied:
            raise NotText(named[0]) from None
        raise broken(named[0], error) from None


def _suspects(sources: list[Source], error: Exception) -> list[Source]:
    """The files that an error without a name may be about: those that are not our copies."""
    import duckdb
    import pyarrow as pa

    of_the_reader = (duckdb.Error, pa.ArrowInvalid, RuntimeError, UnicodeDecodeError)
    # While rows stream, DuckDB's errors arrive as Arrow's: an OSError without a number.
    streamed = isinstance(error, OSError) and error.errno is None
    if not isinstance(error, of_the_reader) and not streamed:
        return []
    of_the_system = isinstance(error, duckdb.IOException | duckdb.OutOfMemoryException)
    if of_the_system or str(error).startswith(("IO Error", "Out of Memory Error")):
        return []
    given = [source for source in sources if not source.copied]
    if len(given) < 2:
        return given
    return [replace(given[0], name=some([source.name for source in given]))]


def some(names: list[str]) -> str:
    """Up to three of the names, and how many more there are."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
