"""How a column of the URL list is called beside one of ours: what frenchcat measured has the name.

Reads at most one footer, writes nothing. A list may bring any column: `similarity`, `keep`, `id`,
`LANGUAGE`. Where frenchcat has a column of that name, in any case, the list's is called
``list_<name>`` wherever it is shown: in conditions, in hits, in reports. That holds whether or not
the score was made yet, so that a condition keeps its meaning. A list's own ``list_similarity``
becomes ``list_list_similarity``: a name depends on nothing but itself.

Sidecars keep the list's own names, but for those of img2dataset's columns, which are renamed when
the list is frozen (download/columns.py).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from frenchcat.curate import files
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.expression import CLOCKS
from frenchcat.curate.promote import folded
from frenchcat.curate.score_table import MEASURED
from frenchcat.curate.sidecar import NAMES

PREFIX = "list_"
PLACE = ("id", "key", "shard", "extension", "offset", "size")
"""What a hit says of where its image lies."""
KEY = "image_path"
"""The column with the keys of the metadata beside vectors, as clip-retrieval names it."""
_DUCKDB = ("filename", "file_row_number", "file_index", "rowid", *CLOCKS)
"""What DuckDB may take for the place of a row in a file, or for the time."""
_STORED = frozenset((*PLACE, KEY)) - frozenset(NAMES)
_FILES = (name for file in files.SHARD_FILES for name in file.columns)
OURS = frozenset((*PLACE, KEY, *_DUCKDB, *MEASURED, *files.DERIVED, *_FILES))


def beside(name: str) -> str:
    """What a list's column is called whose name is taken."""
    return PREFIX + name


def base_of(name: str) -> str:
    """A folded name without the prefixes: what it would be taken for."""
    name = folded(name)
    while name.startswith(PREFIX):
        name = name.removeprefix(PREFIX)
    return name


def score_columns(dataset: Dataset) -> frozenset[str]:
    """The columns (folded) that a dataset's scores have, as the first of their files says."""
    import pyarrow.parquet as pq

    names = dataset.files(files.SCORES.folder)
    if not (scored := [name for name in names if name.endswith(".parquet")]):
        return frozenset()
    with dataset.as_local(f"{files.SCORES.folder}/{scored[0]}") as path:
        return frozenset(map(folded, pq.read_schema(path).names))


def shown(name: str, measured: Collection[str]) -> str:
    """How a list's column is called, beside ours and the scores' columns `measured` (folded)."""
    base = base_of(name)
    taken = base in OURS or base in measured
    # A sidecar has the list's own column of one of its NAMES as list_<name> already.
    return beside(name) if taken and base not in NAMES else name


def shown_of_sidecar(names: Iterable[str], measured: Collection[str]) -> list[str]:
    """How each column of a sidecar is called.

    Names that differ in case alone, as adopted sidecars have them, are told apart by numbers.
    """
    names = list(names)
    found: dict[str, None] = dict.fromkeys(folded(name) for name in names if name in NAMES)
    called = []
    for name in names:
        new = name
        if name not in NAMES:
            new = beside(name) if folded(name) in NAMES else shown(name, measured)
            while folded(new) in found:
                new += "_1"
            found[folded(new)] = None
        called.append(new)
    return called


def stored(name: str) -> str:
    """How a list's column is called in the rows of an index, and in the metadata beside vectors.

    There, places have their names; such a column keeps the name that `shown_of_hit` then leaves.
    """
    return beside(name) if base_of(name) in _STORED else name


def shown_of_hit(names: Iterable[str], measured: Collection[str]) -> dict[str, str]:
    """Column of an index's rows -> how it is called: as in a sidecar."""
    names = list(names)
    there = [name for name in names if base_of(name) in _STORED]
    others = [name for name in names if base_of(name) not in _STORED]
    return dict(zip(others, shown_of_sidecar(others, measured), strict=True)) | dict(
        zip(there, there, strict=True)
    )


def told_apart(columns: Iterable[str], taken: Collection[str]) -> dict[str, str]:
    """Name -> how it is called in an answer that has fields of its own, `taken`."""
    return {name: beside(name) if base_of(name) in taken else name for name in columns}
