"""A selection as a Lance table: images, vectors and columns of each row in one place.

Reads the selection, the catalog, embeddings/ and the samples that the caller gives; writes
``<name>.lance`` into a folder, which `lancedb.connect(folder)` opens. Needs the package `pylance`.
Lance names its files at random, so two exports are equal in rows and not in bytes. Cost: linear in
rows; memory is one shard's vectors and columns, and `BATCH` images.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from frenchcat.curate import embeddings, tars
from frenchcat.curate.catalog import Catalog
from frenchcat.curate.command_text import shell_command
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.errors import UserError
from frenchcat.curate.extras import how_to_install
from frenchcat.curate.json_text import json_text
from frenchcat.curate.promote import folded
from frenchcat.curate.select import LABEL, Selection

if TYPE_CHECKING:
    import pyarrow as pa

BATCH = 256  # rows
VECTORS = {"vector": "image", "text_vector": "text"}
"""Column -> of what; lancedb searches `vector` unless told otherwise."""
IMAGE, EXTENSION = "image", "extension"
_CHOSEN = ("key", "uid", "url", "caption", "width", "height", "weight")
_OWN = (*_CHOSEN, LABEL, EXTENSION, IMAGE, *VECTORS)
_TYPES = {
    "BOOLEAN": "bool_",
    "FLOAT": "float32",
    "DOUBLE": "float64",
    "VARCHAR": "string",
    **{
        sign + name: (sign + kind).lower()
        for name, kind in {
            "TINYINT": "int8",
            "SMALLINT": "int16",
            "INTEGER": "int32",
            "BIGINT": "int64",
        }.items()
        for sign in ("", "U")
    },
}
"""DuckDB's name of a type -> pyarrow's."""
Sample = list[tuple[tars.Member, bytes]]
_FULL = os.strerror(errno.ENOSPC)


def require_lance() -> None:
    """Raise `UserError` where the package is not installed."""
    try:
        import lance  # noqa: F401  # only whether it is there
    except ImportError:
        raise UserError(
            f"--format lance needs the package pylance; {how_to_install('lance')}"
        ) from None


def write_lance(
    dataset: Dataset,
    selection: Selection,
    samples: Iterator[Sample],
    folder: Path,
    advance: Callable[[int], None],
) -> tuple[int, list[str]]:
    """Write the table; gives how many rows have no image, and what it has no place for.

    `samples` are the members of each selected row, in the selection's order. Raises `UserError`
    without the package.
    """
    require_lance()
    import lance
    import pyarrow as pa

    with Catalog(dataset) as catalog:
        rows = _LanceRows(dataset, selection, catalog, samples, advance)
        reader = pa.RecordBatchReader.from_batches(rows.schema, rows.batches())
        try:
            lance.write_dataset(reader, str(folder / f"{selection.name}.lance"))
        except OSError as error:  # Lance's own, which has no number, and a traceback in its text
            if rows.failed is not None:
                raise rows.failed from None
            if _FULL in str(error):
                raise OSError(errno.ENOSPC, _FULL) from None
            raise
    return rows.without_image, rows.left_out


class _LanceRows:
    """The rows of a selection as batches."""

    def __init__(
        self,
        dataset: Dataset,
        selection: Selection,
        catalog: Catalog,
        samples: Iterator[Sample],
        advance: Callable[[int], None],
    ) -> None:
        import pyarrow as pa

        self._dataset, self._catalog = dataset, catalog
        self._samples, self._advance = samples, advance
        self.without_image, self.left_out = 0, list[str]()
        self.failed: BaseException | None = None  # what ended `batches`
        self._chosen = [n for n in (*_CHOSEN, LABEL) if n in selection.table.column_names]
        self._rows = selection.table.select([*self._chosen, "shard"])
        self._columns = self._of_the_catalog()
        fields = [self._rows.schema.field(name) for name in self._chosen]
        fields += [pa.field(name, kind) for name, kind in self._columns.items()]
        fields += [pa.field(EXTENSION, pa.string()), pa.field(IMAGE, pa.large_binary())]
        self._dimension = self._model_dimension()
        if self._dimension is not None:
            kind = pa.list_(pa.float16(), self._dimension)
            fields += [pa.field(name, kind) for name in VECTORS]
        about = {"selection": selection.name, "digest": selection.digest, "sql": selection.sql}
        if self._dimension is not None:
            about["model"] = str(embeddings.model_of(dataset)["model"])
            about["weights"] = str(embeddings.model_of(dataset)["weights"])
        self.schema = pa.schema(fields, {"frenchcat": json_text(about)})

    def _model_dimension(self) -> int | None:
        if self._dataset.manifest().entry(embeddings.STAGE).settings is None:
            first = shell_command("embed", self._dataset.root)
            self.left_out.append(f"vectors, since nothing is embedded; first: {first}")
            return None
        return int(embeddings.model_of(self._dataset)["dimension"])

    def _of_the_catalog(self) -> dict[str, Any]:
        """Name -> type of the columns beside those of the selection."""
        import pyarrow as pa

        taken, found = {folded(name) for name in _OWN}, dict[str, Any]()
        for name, kind in self._catalog.columns().items():
            if folded(name) in taken:
                if name not in self._chosen:
                    self.left_out.append(f"the column {name}, whose name is the table's own")
            elif kind not in _TYPES:
                self.left_out.append(f"the column {name}, which is of type {kind}")
            elif "." in name or not name:
                self.left_out.append(f"the column {name!r}, since Lance takes no name with a dot")
            else:
                found[name] = getattr(pa, _TYPES[kind])()
        return found

    def batches(self) -> Iterator[pa.RecordBatch]:
        """`BATCH` rows at a time, in the selection's order, without those that have no image."""
        start = 0
        try:
            for shard, group in groupby(self._rows["shard"].to_pylist()):
                count = len(list(group))
                yield from self._of_shard(shard, self._rows.slice(start, count))
                start += count
        except (Exception, KeyboardInterrupt) as error:
            self.failed = error
            raise

    def _of_shard(self, shard: str, rows: pa.Table) -> Iterator[pa.RecordBatch]:
        keys = rows["key"].to_pylist()
        columns = self._catalog_columns(shard, keys)
        vectors = {name: self._vectors(shard, keys, by) for name, by in self._by()}
        for start in range(0, rows.num_rows, BATCH):
            end = min(rows.num_rows, start + BATCH)
            images = [self._image(next(self._samples)) for _ in range(start, end)]
            there = [at for at, image in enumerate(images, start) if image is not None]
            self.without_image += end - start - len(there)
            self._advance(end - start)
            if there:
                kept = [image for image in images if image is not None]
                yield self._batch(rows, columns, vectors, there, kept)

    def _by(self) -> Sequence[tuple[str, str]]:
        return [] if self._dimension is None else list(VECTORS.items())

    def _batch(
        self,
        rows: pa.Table,
        columns: dict[str, Any],
        vectors: dict[str, Any],
        at: list[int],
        images: list[tuple[str, bytes]],
    ) -> pa.RecordBatch:
        import pyarrow as pa

        values = {name: rows[name].combine_chunks().take(at) for name in self._chosen}
        values |= {name: column.take(at) for name, column in columns.items()}
        values[EXTENSION] = pa.array([extension for extension, _ in images], pa.string())
        values[IMAGE] = pa.array([data for _, data in images], pa.large_binary())
        values |= {name: column.take(at) for name, column in vectors.items()}
        return pa.RecordBatch.from_arrays(
            [values[name] for name in self.schema.names], schema=self.schema
        )

    def _image(self, sample: Sample) -> tuple[str, bytes] | None:
        found = ((m.extension, data) for m, data in sample if m.extension in tars.IMAGE_EXTENSIONS)
        return next(found, None)

    def _catalog_columns(self, shard: str, keys: list[str]) -> dict[str, Any]:
        import pyarrow as pa
        import pyarrow.compute as pc

        found = self._catalog.run(f"SELECT * FROM ({self._catalog.of_shard(shard)})")
        there = {folded(name): name for name in found.column_names}
        at = pc.index_in(pa.array(keys, pa.string()), found["key"].combine_chunks())
        columns = {}
        for name, kind in self._columns.items():
            source = there.get(folded(name))
            if source is None:
                columns[name] = pa.nulls(len(keys), kind)
            else:
                columns[name] = pc.cast(found[source].combine_chunks().take(at), kind)
        return columns

    def _vectors(self, shard: str, keys: list[str], by: str) -> Any:
        """A shard's vectors of these rows; null where a row has none."""
        import pyarrow as pa

        dimension = self._dimension or 0
        try:
            embedded, vectors = embeddings.vectors_of_shard(self._dataset, shard, by)
        except FileNotFoundError:  # the shard is not embedded yet
            embedded, vectors = [], np.empty((0, dimension), np.float16)
        place = {key: at for at, key in enumerate(embedded)}
        at = pa.array([place.get(key) for key in keys], pa.int64())
        flat = pa.array(np.ascontiguousarray(vectors, np.float16).reshape(-1), pa.float16())
        return pa.FixedSizeListArray.from_arrays(flat, dimension).take(at)
