"""/v1/datasets/{name}/export: rows written out while they are read: JSON, CSV, Parquet, Arrow.

Which rows, the filters or a query say, as everywhere; their columns are those of the catalog, every
stage's with them, and of a query `similarity`. A selection is written out the same way. Cost: a
scan of the columns named; memory is that of a few thousand rows. The whole has `deadline_sec`: an
answer that ends too early has no proper end, which HTTP clients report.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Query, Request
from starlette.responses import Response, StreamingResponse

from frenchcat.curate import select
from frenchcat.curate.catalog import Catalog
from frenchcat.curate.errors import UnknownColumn
from frenchcat.curate.export import webdataset_tar
from frenchcat.curate.sql_text import quoted
from frenchcat.index.service.dataset_registry import check_address
from frenchcat.index.service.models.export import Export, ExportFormat, LinkedExport
from frenchcat.index.service.problems import Refused, documented
from frenchcat.index.service.search import Wanted
from frenchcat.index.service.tables import FORMATS

if TYPE_CHECKING:
    import pyarrow as pa

    from frenchcat.curate.dataset import Dataset
    from frenchcat.index.search import Positions
    from frenchcat.index.service.served_dataset import ServedDataset
    from frenchcat.index.service.service import Service

router = APIRouter(prefix="/v1/datasets/{name}", tags=["export"])
PART = 4096  # rows
TAR = "application/x-tar"
SelectionFormat = ExportFormat | Literal["tar"]
_FILES: dict[int | str, dict[str, Any]] = {
    200: {"content": {kind.partition(";")[0]: {} for kind, _ in FORMATS.values()}}
}


@router.get("/export", response_class=Response, responses={**documented(403, 404, 503), **_FILES})
async def export_link(
    request: Request, name: str, asked: Annotated[LinkedExport, Query()]
) -> Response:
    """Rows as a file, by an address that can be linked."""
    return await export(request, name, asked.export())


@router.post(
    "/export", response_class=Response, responses={**documented(403, 404, 413, 503), **_FILES}
)
async def export(request: Request, name: str, asked: Export) -> Response:
    """Rows as a file."""
    service: Service = request.app.state.service
    served = service.registry.get(name)
    check_address(name, asked.dataset)
    query = asked.query
    if query is None:
        wanted = service.wanted(asked, 1)
        keys = await service.conditions.within(served, service.work.disk, _keys, served, wanted)
        scores = None
    else:
        ranked = await service.nearest(served, query)
        keys = await service.work.disk(_keys_at, served, ranked.positions)
        scores = ranked.similarities
    rows = await service.work.disk(_Rows, served, keys, scores, asked.columns)
    return await _streamed(service, rows, asked.format, served.name)


@router.get(
    "/selections/{selection}/rows",
    response_class=Response,
    responses={**documented(404, 503), **_FILES},
)
async def selection_rows(
    request: Request, name: str, selection: str, format: SelectionFormat = "ndjson"
) -> Response:
    """The rows of a selection as a file, as training reads them; `tar` has their images, too.

    Rows without an image have no place in a tar; the header X-Rows-Left-Out says how many.
    """
    service: Service = request.app.state.service
    served = service.registry.get(name)
    found = await service.work.disk(select.open_selection, served.dataset, selection)
    if format == "tar":
        return await _streamed(service, _Tar(served.dataset, found), format, found.name)
    return await _streamed(service, _Table(found.table), format, found.name)


class _Table:
    """Rows that are there."""

    def __init__(self, table: pa.Table) -> None:
        self.schema, self._table = table.schema, table

    def batches(self) -> Iterator[pa.RecordBatch]:
        yield from self._table.to_batches(max_chunksize=PART)

    def close(self) -> None:
        """Nothing is held."""


class _Tar:
    """The samples of a selection as webdataset has them, read while they are written."""

    def __init__(self, dataset: Dataset, selection: select.Selection) -> None:
        """Raises `UserError` where no row has an image."""
        select.require_images(dataset, selection)
        self._dataset, self._selection = dataset, selection
        self.left_out = selection.table["size"].to_pylist().count(0)

    def written(self) -> Iterator[bytes]:
        """The file in parts."""
        return webdataset_tar(self._dataset, self._selection)

    def close(self) -> None:
        """Nothing is held."""


class _Rows:
    """Rows of a dataset's catalog, read while they are written."""

    def __init__(
        self,
        served: ServedDataset,
        keys: pa.Array,
        similarities: Any,
        columns: list[str] | None,
    ) -> None:
        """Open it. Raises `UnknownColumn`."""
        import pyarrow as pa

        self._catalog = Catalog(served.dataset)
        try:
            wanted = {"key": keys, "_order": pa.array(np.arange(len(keys)))}
            if similarities is not None:
                wanted["_similarity"] = pa.array(similarities)
            self._catalog.duck.register("wanted", pa.table(wanted))
            sql = self._sql(columns, similarities is not None)
            self._reader = self._catalog.duck.sql(sql).to_arrow_reader(PART)
        except BaseException:
            self._catalog.close()
            raise
        self.schema = self._reader.schema

    def _sql(self, columns: list[str] | None, ranked: bool) -> str:
        if columns is not None and "domain" in columns:
            self._catalog.add_domains()
        there = list(self._catalog.columns())
        # A hit's similarity is to the query; the score of that name is caption_similarity.
        scored = "similarity" in there
        there = [name for name in there if name != "similarity"]
        own = ["similarity"] if ranked else []
        if scored and not ranked and columns is not None:
            there.append("similarity")  # asked for by name, and there is no query
        chosen = [*own, *there] if columns is None else list(dict.fromkeys(["key", *columns]))
        if unknown := [name for name in chosen if name not in (*there, *own)]:
            raise UnknownColumn(
                f"there is no column {unknown[0]!r} to write out; there are: "
                + ", ".join([*own, *there, "domain"]),
                unknown[0],
            )
        said = [
            "wanted._similarity AS similarity" if name in own else f"samples.{quoted(name)}"
            for name in chosen
        ]
        # Without a query rows stay in the order of the shards, and none has to be held.
        order = " ORDER BY wanted._order" if ranked else ""
        return f"SELECT {', '.join(said)} FROM samples JOIN wanted USING (key){order}"

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows in parts."""
        yield from self._reader

    def close(self) -> None:
        """Close the catalog."""
        self._catalog.close()


async def _streamed(
    service: Service, rows: _Rows | _Table | _Tar, format: SelectionFormat, name: str
) -> Response:
    slots = service.exports
    if slots.locked():
        rows.close()
        raise Refused(
            503,
            f"{service.settings.exports} exports are written already (exports); ask again later",
            {"Retry-After": "10"},
        )

    async def parts() -> Any:
        async with slots:
            made = _written(rows, format)
            reading: asyncio.Future[bytes | None] | None = None
            try:
                while True:
                    reading = asyncio.ensure_future(service.work.disk(next, made, None))
                    if (part := await asyncio.shield(reading)) is None:
                        break
                    if part:
                        yield part
            finally:
                await asyncio.shield(asyncio.ensure_future(_closed(service, rows, reading)))

    headers = {"Content-Disposition": f'attachment; filename="{_plain(name)}.{format}"'}
    if isinstance(rows, _Tar) and rows.left_out:
        headers["X-Rows-Left-Out"] = str(rows.left_out)
    kind = TAR if format == "tar" else FORMATS[format][0]
    return StreamingResponse(parts(), media_type=kind, headers=headers)


def _written(rows: _Rows | _Table | _Tar, format: SelectionFormat) -> Iterator[bytes]:
    """A file in parts."""
    if isinstance(rows, _Tar):
        return rows.written()
    return FORMATS[format][1](rows.schema, rows.batches())


async def _closed(
    service: Service, rows: _Rows | _Table | _Tar, reading: asyncio.Future[bytes | None] | None
) -> None:
    """Close what is read, once no thread reads from it: its asker may have left meanwhile."""
    if reading is not None:
        await asyncio.wait({reading})
    await service.work.disk(rows.close)


def _plain(name: str) -> str:
    return "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in name)


def _keys(served: ServedDataset, wanted: Wanted) -> pa.Array:
    return _keys_at(served, served.allowed(wanted.view))


def _keys_at(served: ServedDataset, positions: Positions | None) -> pa.Array:
    return served.all_keys(positions)
