"""clip-retrieval's folders: vectors and, row for row, their metadata -> shards without images.

Rows get new keys, 10,000 per shard; `image_path` is kept as `original_key`. The folder does not say
which CLIP model made its vectors: the user names it, or can search by vector only. A row whose
vector is zero or not a number stays a row; it counts as not embedded, with the reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from frenchcat.curate import embeddings
from frenchcat.curate.adopt import sources
from frenchcat.curate.adopt.left_out import LeftOut
from frenchcat.curate.adopt.schema import cast, distinct, sound, spelt, with_text
from frenchcat.curate.adopt.shards import READING, Vectors, VectorShard, write_rows
from frenchcat.curate.adopt.texts import ColumnNames, as_texts, with_texts
from frenchcat.curate.adopted import TEXT_VECTORS
from frenchcat.curate.config import as_dict
from frenchcat.curate.dataset import Dataset, digest_of
from frenchcat.curate.download.columns import uid_of
from frenchcat.curate.download.lists import in_tables_of
from frenchcat.curate.errors import UserError
from frenchcat.curate.failures import COLUMNS
from frenchcat.curate.keys import key_of
from frenchcat.curate.manifest import ADOPTED
from frenchcat.curate.markers import Signature, counts_of, record
from frenchcat.curate.promote import unified
from frenchcat.curate.system_errors import check_space

if TYPE_CHECKING:
    import pyarrow as pa

    from frenchcat.curate.clip.settings import ClipSettings
    from frenchcat.curate.stage import Progress

KIND = "clip-retrieval"
PER_SHARD = 10_000
UNKNOWN = "unknown"
"""The model's name if the user did not name one."""
ZERO, NOT_A_NUMBER = "zero_embedding", "nan_embedding"
"""Why a row has no vector."""
VERSION = 1
_OURS = ("key", "uid", "status", "error_message", "shard", "image_path", "original_key", *COLUMNS)
_UNUSABLE = "rows without a usable vector (zero, or not a number), not embedded"
_SOURCE = "frenchcat_source"  # the number of a row in the folder
_RENAMED = "columns with a name of ours, kept as list_<name>"


def is_clip_retrieval(folder: Path) -> bool:
    """Whether a folder has vectors as clip-retrieval leaves them."""
    return any((folder / name).exists() for name in ("img_emb", "image.index"))


class ClipRetrieval:
    """A folder of clip-retrieval; `write` makes a dataset of it."""

    kind = KIND

    def __init__(
        self, folder: Path, clip: ClipSettings | None, names: ColumnNames, left_out: LeftOut
    ) -> None:
        """Open vectors and metadata. Raises `UserError` where they do not fit together."""
        images, texts = sources.vectors(folder, "image"), sources.vectors(folder, "text")
        assert images is not None
        if texts is not None and (len(texts), texts.dimension) != (len(images), images.dimension):
            raise UserError(
                f"{folder} has {len(images)} vectors of images and {len(texts)} of captions; "
                "both must have the same number and length"
            )
        if not len(images):
            raise UserError(f"{folder} has no vectors; give the folder that contains them")
        rows, schemas = 0, []
        for table in sources.metadata(folder):
            rows += table.num_rows
            if (schema := distinct(table.schema)) not in schemas:
                schemas.append(schema)
        if rows != len(images):
            raise UserError(
                f"{folder} has {len(images)} vectors and {rows} rows of metadata; "
                "there must be as many, in the same order"
            )
        self._folder, self._clip, self._left_out = folder, clip, left_out
        self._images, self._texts = images, texts
        found = unified(schemas)
        self._url, self._caption = names.pick(found.names, str(folder))
        self._schema = with_text(found, self._url, self._caption)
        self._names, self._captions = names, names.reading.captions
        self._signatures = (
            Signature("download", VERSION, {ADOPTED: KIND}),
            Signature(embeddings.STAGE, VERSION, self._model()),
        )

    @property
    def notes(self) -> list[str]:
        """What the user should know."""
        said = self._left_out.notes()
        if self._texts is None:
            said.append("there are no vectors of captions: --by text compares with images, too")
        if not self._images.lossless:
            said.append("the vectors come from an index that keeps them in part: figures are near")
        if self._clip is None:
            said.append("no model was named: search by vector only; --config names one")
        said.append(
            "there are no images here: hits show their URL, and nothing can be embedded again"
        )
        return said

    def _model(self) -> dict[str, Any]:
        """What dataset.json says of the vectors."""
        said: dict[str, Any] = {"dimension": self._images.dimension, "precision": "fp16"}
        if self._texts is None:
            said[TEXT_VECTORS] = "image"
        if self._clip is None:
            return {"model": UNKNOWN, "weights": UNKNOWN, **said}
        from frenchcat.curate.clip.weights import find_weights

        weights = find_weights(self._clip)
        if weights.dimension != self._images.dimension:
            raise UserError(
                f"the vectors of {self._folder} have {self._images.dimension} numbers, those of "
                f"{weights.name} {weights.dimension}; name the model that made them"
            )
        return {"model": weights.name, "weights": weights.digest, **said}

    @property
    def digest(self) -> str:
        """Tells other vectors and rows from these: how many, how long, the first and the last."""
        ends = [self._images.rows(at, 1).tolist() for at in (0, len(self._images) - 1)]
        return digest_of([len(self._images), self._images.dimension, self._schema.names, ends])

    def write(self, dataset: Dataset, progress: Progress) -> int:
        """Publish the shards that are missing; gives the number of rows."""
        done, shards, written = set(dataset.shards(embeddings.STAGE)), [], 0
        inputs = {"source": self.digest, READING: self._names.digest}
        left = max(0, len(self._images) - len(done) * PER_SHARD)
        check_space(dataset.root, 2 * 2 * self._images.dimension * left, f"{left} rows of vectors")
        progress.begin("adopt", -(-len(self._images) // PER_SHARD) - len(done))
        for number, rows in enumerate(in_tables_of(PER_SHARD, self._tables())):
            name = f"{number:05d}"
            if name not in done:
                write_rows(dataset, self._shard(name, rows), self._signatures, inputs)
                progress.advance(rows.num_rows)
                progress.shard_done(name, {"embedded": rows.num_rows})
            shards.append(name)
            written += rows.num_rows
        progress.end()
        counts = (counts_of(dataset, embeddings.STAGE, name) for name in shards)
        if not sum(each.get("embedded", 0) for each in counts):
            raise UserError(
                f"none of the {written} vectors of {self._folder} is usable (each is zero, or not "
                "a number); see how they were made"
            )
        for signature in self._signatures:
            record(dataset, signature, shards)
        if self._clip is not None:
            dataset.update_manifest({"settings": {"clip": as_dict(self._clip)}})
        return written

    def _tables(self) -> Iterator[pa.Table]:
        """The metadata with captions as text, and the number of each row's vector."""
        import pyarrow as pa

        start = 0
        for table in sources.metadata(self._folder):
            where = f"from row {start}"
            rows = spelt(sound(table, self._left_out, where), self._schema)
            rows, numbers = with_texts(
                rows, self._url, self._caption, self._captions, self._left_out, where
            )
            rows = cast(rows, self._schema, self._left_out, where)
            yield rows.append_column(_SOURCE, pa.array(start + numbers))
            start += table.num_rows

    def _shard(self, name: str, rows: pa.Table) -> VectorShard:
        keys = [key_of(name, row) for row in range(rows.num_rows)]
        numbers = rows[_SOURCE].to_numpy()
        rows = rows.drop_columns([_SOURCE])
        images, unusable = unit(_taken(self._images, numbers))
        texts = images
        if self._texts is not None:
            texts, other = unit(_taken(self._texts, numbers))
            unusable = {**other, **unusable}
        for row in sorted(unusable):
            self._left_out.add(_UNUSABLE, keys[row])
        return VectorShard(name, keys, self._columns(rows, name), images, texts, unusable)

    def _columns(self, rows: pa.Table, shard: str) -> Mapping[str, Any]:
        """The folder's columns under our names: uid, caption and url first, then the others."""
        import pyarrow as pa

        found: dict[str, Any] = {}
        for name, given in (("caption", self._caption), ("url", self._url)):
            nothing = pa.nulls(len(rows), pa.string())
            found[name] = nothing if given is None else rows[given].combine_chunks()
        pairs = list(zip(found["url"].to_pylist(), found["caption"].to_pylist(), strict=True))
        found["uid"] = pa.array([uid_of(url or "", caption) for url, caption in pairs])
        taken = {name.lower() for name in rows.column_names}
        for name in rows.column_names:
            if name in (self._url, self._caption):
                continue
            if name.lower() == "image_path":
                found["original_key"] = as_texts(rows[name]).column
                continue
            new = name
            if name.lower() in (*_OURS, "caption", "url"):
                new = f"list_{name}"
                while new.lower() in taken:
                    new += "_1"
                if shard == "00000":
                    self._left_out.add(_RENAMED, name)
            found[new] = rows[name]
        return found


def _taken(vectors: sources.StoredVectorFiles | sources.Indexed, numbers: Any) -> Vectors:
    """(N, D) float32: the vectors of rows by their ascending numbers, some more than once."""
    first = int(numbers[0])
    found: Vectors = vectors.rows(first, int(numbers[-1]) + 1 - first)[numbers - first]
    return found


def unit(rows: Vectors) -> tuple[Vectors, dict[int, str]]:
    """Rows of length one, and row -> why for those that have no direction; these become zero."""
    with np.errstate(all="ignore"):
        wide = rows.astype(np.float64)
        largest = np.abs(wide).max(axis=1, keepdims=True)
        wide /= np.where(largest == 0, 1, largest)  # the square of 1e300 is infinite
        lengths = np.linalg.norm(wide, axis=1, keepdims=True)
        bad = ~np.isfinite(lengths[:, 0]) | (lengths[:, 0] == 0)
        made = np.asarray(wide / lengths, np.float32)
    made[bad] = 0
    why = {int(row): ZERO if lengths[row, 0] == 0 else NOT_A_NUMBER for row in np.flatnonzero(bad)}
    return made, why
