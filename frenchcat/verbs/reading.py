"""Reading an open dataset: counts, columns, rows, vectors, images, lineage."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from frenchcat.curate import files
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.errors import NotFound, UnknownColumn
from frenchcat.verbs.base import DatasetVerbs

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray
    from PIL.Image import Image

    from frenchcat.curate.costs import StageCosts
    from frenchcat.curate.info import Info
    from frenchcat.curate.lineage import Origin
    from frenchcat.curate.tars import Member


class ReadVerbs(DatasetVerbs):
    """Read what a dataset holds."""

    def __init__(self, dataset: Dataset, notes: Sequence[str] = ()) -> None:
        super().__init__(dataset, notes)
        self._members: dict[str, dict[str, Member]] = {}  # shard's tar's digest -> key -> image

    def info(self) -> Info:
        """Count rows by what became of them: failed, kept, dropped, each by reason."""
        from frenchcat.curate.info import info

        return info(self.dataset)

    def costs(self) -> list[StageCosts]:
        """What each stage cost when it ran: rows, time, processor time, bytes, memory.

        Without what ran before costs were kept, or through functions below this interface.
        """
        from frenchcat.curate.costs import costs_of

        return costs_of(self.dataset)

    def columns(self) -> dict[str, str]:
        """Name -> DuckDB type of every column that a condition may use."""
        from frenchcat.curate.catalog import Catalog

        with Catalog(self.dataset) as catalog:
            return {**catalog.columns(), "domain": "VARCHAR"}  # worked out where it is named

    def rows(self, columns: Sequence[str] | None = None, where: str | None = None) -> pa.Table:
        """The stored images' rows that meet a condition, as an Arrow table in key order.

        `columns` defaults to all. Removed rows are left out; dropped ones have ``keep = false``.
        Raises `UnknownColumn` and `BadCondition`.
        """
        from frenchcat.curate.catalog import Catalog

        with Catalog(self.dataset) as catalog:
            catalog.add_for(where, *(["domain"] if "domain" in (columns or ()) else []))
            known = catalog.columns()
            for name in columns or ():
                if name not in known:
                    raise UnknownColumn(f"no column {name!r}; known: {', '.join(known)}", name)
            return catalog.table("*" if columns is None else columns, where, order="key")

    def vectors(
        self, keys: Iterable[str] | None = None, by: str = "image"
    ) -> tuple[list[str], NDArray[np.float16]]:
        """Keys, and their CLIP vectors of images or captions: (N, D) float16 unit rows.

        Without `keys`: all stored vectors of rows that were not removed, in key order. Raises
        `NotFound` for a key without a vector.
        """
        import numpy as np

        from frenchcat.curate.embeddings import vectors_of_shard
        from frenchcat.curate.removals import removed_keys

        wanted = None if keys is None else list(keys)
        gone, found = removed_keys(self.dataset), dict[str, Any]()
        for shard in self.dataset.shards("embed"):
            if wanted is not None and not any(key.startswith(shard) for key in wanted):
                continue
            names, rows = vectors_of_shard(self.dataset, shard, by)
            there = zip(names, rows, strict=True)
            found |= {key: row for key, row in there if key not in gone}
        order = sorted(found) if wanted is None else wanted
        if missing := [key for key in order if key not in found]:
            raise NotFound(f"{self.root} has no vector of {missing[0]!r}")
        return order, np.array([found[key] for key in order], np.float16)

    def picture(self, key: str) -> Image:
        """The stored image of a row, upright, mode RGB.

        Raises `NotFound` for a key without an image, `UnreadableImage` if it is broken.
        """
        from frenchcat.curate.image import open_image

        return open_image(self.picture_bytes(key))

    def picture_bytes(self, key: str) -> bytes:
        """The stored image's bytes, as they are in the shard's tar. Raises `NotFound`."""
        from frenchcat.curate.keys import shard_of
        from frenchcat.curate.removals import removed_keys
        from frenchcat.curate.tars import read

        shard = shard_of(self.dataset, key)
        member = None if shard is None else self._pictures_of(shard).get(key)
        if shard is None or member is None or key in removed_keys(self.dataset):
            raise NotFound(f"{self.root} has no image of {key!r}")
        with self.dataset.as_local(files.TAR.of(shard)) as tar:
            return read(tar, member)

    def lineage(self, file: str) -> list[Origin]:
        """What made a file of the dataset, back to the URL list."""
        from frenchcat.curate.lineage import lineage

        return lineage(self.dataset, file)

    def _pictures_of(self, shard: str) -> dict[str, Member]:
        from frenchcat.curate.markers import output_sha256
        from frenchcat.curate.tars import image_members

        relative = files.TAR.of(shard)
        try:
            digest = output_sha256(self.dataset, "download", shard, relative)
        except KeyError:  # adopted without images
            return {}
        if digest not in self._members:
            with self.dataset.as_local(relative) as tar:
                self._members[digest] = image_members(tar)
        return self._members[digest]
