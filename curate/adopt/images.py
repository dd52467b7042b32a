"""A plain folder of images -> shards, each image with the text that belongs to it.

Reads the images, writes the dataset's shards. image_tree.py finds the files of the folder, and
image_texts.py the text of each image. Images are kept byte for byte (kept.py). Memory is the rows,
and one image.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from frenchcat.curate import files
from frenchcat.curate.adopt.image_texts import FILE, rows_of
from frenchcat.curate.adopt.image_tree import Tree
from frenchcat.curate.adopt.kept import KeptImage, NotKept, kept
from frenchcat.curate.adopt.left_out import LeftOut
from frenchcat.curate.adopt.shards import (
    MISSING_FILE,
    READING,
    Sample,
    publish_images,
    with_failures,
    write_tar,
)
from frenchcat.curate.adopt.texts import ColumnNames
from frenchcat.curate.dataset import Dataset, digest_of
from frenchcat.curate.download.shards import NOT_RESIZED, SUCCESS, jsonable
from frenchcat.curate.failures import COLUMNS, Failure
from frenchcat.curate.keys import key_of
from frenchcat.curate.markers import Signature

if TYPE_CHECKING:
    import pyarrow as pa

KIND = "a folder of images"
PER_SHARD = 1000
_NO_TEXT = "kept without a caption, images without a text"
_NO_FILE = "rows whose file is not in the folder, kept as failed (missing_file)"
_NOT_IMAGES = "rows whose file is not an image or is damaged, kept as failed"
_CONVERTED = "images converted to PNG (all others are kept byte for byte)"


class ImageFolder:
    """A folder of images; `write` makes the dataset's shards of it."""

    kind = KIND

    def __init__(self, folder: Path, names: ColumnNames, scratch: Path, left_out: LeftOut) -> None:
        """Find the images and their texts. Raises `UserError` for metadata that cannot be read."""
        self._folder, self._left_out, self._reading = folder, left_out, names.digest
        tree = Tree(folder, left_out)
        self._table = rows_of(tree, names, scratch, left_out)
        there = set(tree.images)
        self._there = [path in there for path in self._table[FILE].to_pylist()]
        captions = self._table["caption"].to_pylist()
        for path, is_there, caption in zip(self._files, self._there, captions, strict=True):
            if not is_there:
                left_out.add(_NO_FILE, path)
            elif caption is None:
                left_out.add(_NO_TEXT, path)

    @property
    def _files(self) -> list[str]:
        found: list[str] = self._table[FILE].to_pylist()
        return found

    @property
    def notes(self) -> list[str]:
        """What the user should know."""
        return self._left_out.notes()

    def names(self) -> list[str]:
        """The shards as the dataset calls them."""
        return [f"{number:05d}" for number in range(-(-self._table.num_rows // PER_SHARD))]

    def digest(self, number: int) -> str:
        """Tells a shard's rows and files from others of their place: their texts and sizes."""
        rows, start = self._slice(number), number * PER_SHARD
        there = self._there[start : start + PER_SHARD]
        sizes = [
            (self._folder / path).stat().st_size if is_there else None
            for path, is_there in zip(rows[FILE].to_pylist(), there, strict=True)
        ]
        return digest_of([[rows[name].to_pylist() for name in (FILE, "caption", "url")], sizes])

    def output_bytes(self, number: int, dataset: Dataset) -> float:
        """What a shard will take at least."""
        start = number * PER_SHARD
        there = self._there[start : start + PER_SHARD]
        paths = self._slice(number)[FILE].to_pylist()
        found = (path for path, is_there in zip(paths, there, strict=True) if is_there)
        return float(sum((self._folder / path).stat().st_size for path in found))

    def write(
        self, dataset: Dataset, name: str, number: int, signature: Signature
    ) -> dict[str, int]:
        """Publish shard `number` under its name; gives its counts."""
        import pyarrow.parquet as pq

        rows, start = self._slice(number), number * PER_SHARD
        shard = _Shard(
            name, self._folder, rows, self._there[start : start + PER_SHARD], self._left_out
        )
        inputs = {"source": self.digest(number), READING: self._reading}
        with dataset.publish(f"adopt-{name}") as publication:
            write_tar(publication.path(files.TAR.of(name)), shard.samples())
            sidecar = shard.sidecar()
            path = publication.path(files.SIDECAR.of(name))
            pq.write_table(sidecar, path, compression="zstd")
            return publish_images(publication, signature, name, inputs, sidecar)

    def _slice(self, number: int) -> pa.Table:
        return self._table.slice(number * PER_SHARD, PER_SHARD)


class _Shard:
    """One shard's images on their way into a tar."""

    def __init__(
        self, name: str, folder: Path, rows: pa.Table, there: Sequence[bool], left_out: LeftOut
    ) -> None:
        self._folder, self._there, self._left_out = folder, there, left_out
        self._table, self._rows = rows, rows.to_pylist()
        self._keys = [key_of(name, row) for row in range(rows.num_rows)]
        self._kept: list[KeptImage | None] = [None] * rows.num_rows
        self._stored_sha256: list[str | None] = [None] * rows.num_rows
        self._failed: dict[int, Failure] = {}

    def samples(self) -> Iterator[Sample]:
        """Key, and the members of each image that can be read: image, json, txt."""
        for number, (key, row) in enumerate(zip(self._keys, self._rows, strict=True)):
            found = self._image(number, row[FILE])
            if found is None:
                continue
            said = {"key": key, **row, "width": found.width, "height": found.height}
            text = json.dumps({name: jsonable(value) for name, value in said.items()}, indent=4)
            sample = {found.extension: found.data, "json": text.encode()}
            if row["caption"] is not None:
                sample["txt"] = row["caption"].encode("utf-8", "replace")
            yield key, sample

    def _image(self, number: int, path: str) -> KeptImage | None:
        if not self._there[number]:
            self._failed[number] = Failure(MISSING_FILE, detail=path)
            return None
        try:
            found = kept((self._folder / path).read_bytes())
        except NotKept as error:
            self._left_out.add(_NOT_IMAGES, f"{path}: {error.failure.reason}")
            self._failed[number] = error.failure
            return None
        except OSError as error:
            self._left_out.add(_NOT_IMAGES, f"{path}: {error.strerror}")
            self._failed[number] = Failure(MISSING_FILE, detail=error.strerror)
            return None
        if found.converted:
            self._left_out.add(_CONVERTED, path)
        self._kept[number] = replace(found, data=b"")  # the tar has its bytes
        self._stored_sha256[number] = hashlib.sha256(found.data).hexdigest()
        return found

    def sidecar(self) -> pa.Table:
        """The rows with what became of them, in the columns of a download's sidecar."""
        import pyarrow as pa

        text, number = pa.string(), pa.int32()
        sizes = {
            name: pa.array([None if k is None else getattr(k, name) for k in self._kept], number)
            for name in ("width", "height")
        }
        nothing = pa.nulls(len(self._keys), text)
        digests = [None if k is None else k.sha256 for k in self._kept]
        named = ("uid", "url", "caption")
        columns = {n: self._table[n] for n in self._table.column_names if n not in named}
        columns |= {"caption": self._table["caption"], "url": self._table["url"]}
        columns |= {
            "key": pa.array(self._keys, text),
            "status": pa.array([SUCCESS] * len(self._keys)),
        }
        columns |= {"error_message": nothing, **sizes}
        columns |= {f"original_{name}": values for name, values in sizes.items()}
        columns |= {"exif": nothing, "sha256": pa.array(digests, text), "uid": self._table["uid"]}
        columns |= {"stored_sha256": pa.array(self._stored_sha256, text)}
        columns |= dict.fromkeys(COLUMNS, nothing)
        return with_failures(pa.table(columns), self._failed, NOT_RESIZED)
