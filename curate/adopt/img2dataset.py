"""img2dataset's folders -> shards of a dataset, whatever their layout (source_shards.py).

A tar whose members are named as ours are is linked, and so is a sidecar that has our columns; the
others are written anew. Keys stay, unless they do not begin with their shard's name, or captions
become rows of their own: then all rows get new ones, and `original_key` has the old. Memory: one
shard's rows, and of parquet its images.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frenchcat.curate import files, tars
from frenchcat.curate.adopt.kept import IMAGE_ENDINGS, NotKept, kept
from frenchcat.curate.adopt.left_out import LeftOut
from frenchcat.curate.adopt.schema import cast, spelt, with_text
from frenchcat.curate.adopt.shards import (
    MISSING_FILE,
    READING,
    Sample,
    link,
    publish_images,
    with_failures,
    write_tar,
)
from frenchcat.curate.adopt.source_shards import SourceShard, members_of
from frenchcat.curate.adopt.texts import (
    ColumnNames,
    as_texts,
    text_of,
    with_texts,
)
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.download.columns import is_uid, uid_of
from frenchcat.curate.download.shards import SUCCESS, jsonable
from frenchcat.curate.errors import UserError
from frenchcat.curate.failures import Failure
from frenchcat.curate.keys import ROW_DIGITS
from frenchcat.curate.markers import Signature
from frenchcat.curate.parquets import read_parquet
from frenchcat.curate.promote import folded, plain, unified

if TYPE_CHECKING:
    import pyarrow as pa

KIND = "img2dataset"
_NO_IMAGE = "rows without their image, now failed (missing_file)"
_EXTRA_IMAGE = "left out, images of no stored row"
_CONVERTED = "images converted to PNG"
_SECOND_IMAGE = "left out, further images of a sample"
_LONG_NAME = "left out, files of a sample whose names are too long for a tar"
_MAX_NAME = 100  # bytes; what a tar's header holds (POSIX.1-1988)
_PLAIN = re.compile(r"[A-Za-z0-9_-]{1,60}")
"""Keys and names of shards that are safe as file names, in a tar and in SQL globs."""


# -- the rows ------------------------------------------------------------------------------------


class Img2dataset:
    """A folder of img2dataset; `write` makes the dataset's shards of it."""

    kind = KIND

    def __init__(
        self, folder: Path, shards: list[SourceShard], names: ColumnNames, left_out: LeftOut
    ) -> None:
        """Look at every shard's columns and keys; `UserError` if they cannot be adopted."""
        self.shards, self._left_out = shards, left_out
        listed = unified(shard.schema for shard in shards)
        self._url, self._caption = names.pick(listed.names, str(folder))
        needed = ("key", self._url or "url", "status")
        for shard in shards:
            if lacking := [name for name in needed if name not in shard.schema.names]:
                cure = "restore the file"
                if lacking[0] == "url":
                    cure = f"name the URL's with --set download.url_column=NAME, or {cure}"
                raise UserError(
                    f"{shard.sidecar} has no column {lacking[0]!r}, which img2dataset writes; "
                    f"{cure}"
                )
        self._schema = with_text(listed, self._url, self._caption)
        self._names, self._captions = names, names.reading.captions
        self._keys_fit = _own_keys(shards)
        self._new_keys = not self._keys_fit or self._has_several()

    @property
    def notes(self) -> list[str]:
        """What the user should know."""
        said = self._left_out.notes()
        if self._caption is None:
            said.append("there is no caption column: rows have the captions of their .txt, or none")
        elif self._caption.lower() != "caption":
            said.append(f"the captions are those of the column {self._caption!r}")
        if self._new_keys:
            why = "captions are rows of their own"
            if not self._keys_fit:
                why = "keys do not begin with their shard's name, or cannot be file names"
            said.append(f"{why}: rows have new keys, and original_key has the old ones")
        return said

    def _has_several(self) -> bool:
        """Whether captions become rows of their own."""
        import pyarrow as pa

        kinds = [kind for shard in self.shards for kind in self._caption_types(shard)]
        return self._captions == "all" and any(pa.types.is_list(kind) for kind in kinds)

    def _caption_types(self, shard: SourceShard) -> list[pa.DataType]:
        """The type of the shard's captions, where it has some."""
        name = folded(self._caption or "")
        return [plain(field.type) for field in shard.schema if folded(field.name) == name]

    def names(self) -> list[str]:
        """The shards as the dataset calls them."""
        if not self._new_keys:
            return [shard.name for shard in self.shards]
        return [f"{number:05d}" for number in range(len(self.shards))]

    def write(
        self, dataset: Dataset, name: str, number: int, signature: Signature
    ) -> dict[str, int]:
        """Publish shard `number` under its name; gives its counts."""
        shard = self.shards[number]
        rows, renamed = self._rows(shard, name)
        inputs = {"source": shard.digest, READING: self._names.digest}
        with dataset.publish(f"adopt-{name}") as publication:
            tar = publication.path(files.TAR.of(name))
            sidecar = publication.path(files.SIDECAR.of(name))
            if shard.layout == "webdataset" and not self._new_keys and self._is_ours(shard, rows):
                link(shard.content, tar)
            else:
                rows = self._write_tar(tar, shard, rows, renamed)
            self._write_sidecar(shard, rows, sidecar)
            stats = shard.sidecar.with_name(f"{shard.name}_stats.json")
            if stats.exists() and not self._new_keys:
                link(stats, publication.path(files.STATS.of(name)))
            return publish_images(publication, signature, name, inputs, rows)

    def output_bytes(self, number: int, dataset: Dataset) -> float:
        """What a shard will take at least: nothing where its tar may be linked."""
        content = self.shards[number].content
        if self.shards[number].layout == "webdataset":
            same = dataset.local and os.stat(dataset.root).st_dev == content.stat().st_dev
            return 0.0 if same else content.stat().st_size
        return self.shards[number].size

    def digest(self, number: int) -> str:
        """Tells a shard's files from others of their names."""
        return self.shards[number].digest

    def _rows(self, shard: SourceShard, name: str) -> tuple[pa.Table, dict[str, list[str]]]:
        """The sidecar with our columns, and old key -> those that its rows have now."""
        import pyarrow as pa

        rows = spelt(shard.rows(self._left_out), self._schema)
        where = f"{shard.name}.parquet"
        rows, _ = with_texts(rows, self._url, self._caption, self._captions, self._left_out, where)
        table = cast(rows, self._schema, self._left_out, where)
        columns = {new: table[old] for old, new in self._renamed().items()}
        for text in ("caption", "url"):
            columns[text] = columns.get(text, pa.nulls(table.num_rows, pa.string()))
        old = [text_of(key) or "" for key in columns["key"].to_pylist()]
        keys = old
        if self._new_keys:
            digits = max(ROW_DIGITS, len(str(len(old))))
            keys = [f"{name}{row:0{digits}d}" for row in range(len(old))]
            columns["original_key"] = pa.array(old, pa.string())
        columns["key"] = pa.array(keys, pa.string())
        columns["status"] = as_texts(columns["status"]).column
        errors = columns.get("error_message", pa.nulls(len(old), pa.string()))
        columns["error_message"] = as_texts(errors).column
        columns |= _uids(columns)
        renamed: dict[str, list[str]] = {}
        for before, key in zip(old, keys, strict=True):
            renamed.setdefault(before, []).append(key)
        return pa.table(columns), renamed

    def _renamed(self) -> dict[str, str]:
        """The folder's columns -> what the dataset calls them, in order."""
        chosen = {self._url: "url", self._caption: "caption"}
        found: dict[str, str] = {}
        for name in self._schema.names:
            new = chosen.get(name, name)
            if name not in chosen and name in chosen.values():
                new = f"list_{name}"  # another column was chosen for it
            found[name] = new
        return found

    def _is_ours(self, shard: SourceShard, rows: pa.Table) -> bool:
        """Whether a tar can be linked as it is: plain names, and an image for each stored row."""
        import pyarrow as pa

        if self._caption not in (None, "caption"):
            return False  # its texts are other ones
        if not all(pa.types.is_string(kind) for kind in self._caption_types(shard)):
            return False  # img2dataset writes a list's or bytes' Python form: ['a cat'], b'a cat'
        members = members_of(shard.content)
        if self._caption is None and any(member.extension == "txt" for member in members):
            return False  # captions to be read
        images = [member.key for member in members if member.extension in tars.IMAGE_EXTENSIONS]
        told = zip(rows["key"].to_pylist(), rows["status"].to_pylist(), strict=True)
        stored = [key for key, status in told if status == SUCCESS]
        plain = {member.key for member in members} <= set(stored)
        return plain and sorted(images) == sorted(stored)

    def _write_tar(
        self, path: Path, shard: SourceShard, rows: pa.Table, renamed: Mapping[str, list[str]]
    ) -> pa.Table:
        """Write a tar of the stored rows' samples; gives the rows with what became of them."""
        taken = _Samples(self._left_out, shard, rows, renamed, captions=self._caption is None)
        write_tar(path, taken.run())
        return taken.rows()

    def _write_sidecar(self, shard: SourceShard, rows: pa.Table, path: Path) -> None:
        import pyarrow.parquet as pq

        if shard.layout != "parquet" and shard.schema.names == rows.schema.names:
            before = read_parquet(shard.sidecar)
            if before.replace_schema_metadata().equals(rows.replace_schema_metadata()):
                link(shard.sidecar, path)
                return
        pq.write_table(rows, path, compression="zstd")


def _uids(columns: Mapping[str, Any]) -> dict[str, Any]:
    """The rows' uids: the folder's where they are some, else made of URL and caption.

    What the folder has in their place is kept as `list_uid`.
    """
    import pyarrow as pa

    given = columns["uid"].to_pylist() if "uid" in columns else []
    if given and all(isinstance(uid, str) and is_uid(uid) for uid in given):
        return {}
    pairs = zip(columns["url"].to_pylist(), columns["caption"].to_pylist(), strict=True)
    made = pa.array([uid_of(url or "", caption) for url, caption in pairs], pa.string())
    return {"uid": made} | ({"list_uid": columns["uid"]} if given else {})


class _Samples:
    """One shard's samples on their way into a tar: which rows got an image, which caption."""

    def __init__(
        self,
        left_out: LeftOut,
        shard: SourceShard,
        rows: pa.Table,
        renamed: Mapping[str, list[str]],
        captions: bool,
    ) -> None:
        self._left_out, self._shard, self._renamed = left_out, shard, renamed
        self._table, self._captions = rows, captions
        self._rows: list[dict[str, Any]] = rows.to_pylist()
        self._place = {row["key"]: number for number, row in enumerate(self._rows)}
        self._had: set[int] = set()
        self._failed: dict[int, Failure] = {}

    def run(self) -> Iterator[Sample]:
        """The samples under their keys, each with its image first, then json, txt and others."""
        for old, members in self._shard.samples():
            image = _image_of(members)
            keys = self._keys_of(old)
            numbers = [self._place[key] for key in keys]
            if not numbers or any(
                self._rows[number]["status"] != SUCCESS or number in self._had for number in numbers
            ):
                self._left_out.add(_EXTRA_IMAGE, f"{self._shard.content.name}: {old}")
                continue
            if image is None:
                continue
            for key, number in zip(keys, numbers, strict=True):
                made = self._stored(number, image, members[image])
                if made is not None:
                    self._had.add(number)
                    yield key, made | self._beside(number, key != old, members, image)

    def _keys_of(self, old: str) -> list[str]:
        """The keys of a sample's rows; where keys became numbers, they lost their zeros."""
        found = self._renamed.get(old, [])
        return found or (self._renamed.get(str(int(old)), []) if old.isdecimal() else [])

    def _stored(self, number: int, extension: str, data: bytes) -> dict[str, bytes] | None:
        if extension in tars.IMAGE_EXTENSIONS:
            return {extension: data}
        try:
            found = kept(data)
        except NotKept as error:
            self._failed[number] = error.failure
            return None
        if found.converted:
            self._left_out.add(_CONVERTED, f"{self._rows[number]['key']}.{extension}")
        return {found.extension: found.data}

    def _beside(
        self, number: int, rekeyed: bool, members: Mapping[str, bytes], image: str
    ) -> dict[str, bytes]:
        row, key = self._rows[number], self._rows[number]["key"]
        if self._captions and "txt" in members:
            row["caption"] = members["txt"].decode("utf-8", "replace")
        meta = members.get("json")
        if meta is None or rekeyed:
            meta = json.dumps(
                {name: jsonable(value) for name, value in row.items()}, indent=4
            ).encode()
        beside = {"json": meta}
        if row["caption"] is not None:
            beside["txt"] = row["caption"].encode("utf-8", "replace")
        for extension, data in members.items():
            if extension in (image, "json", "txt"):
                continue
            kind = _unfit(key, extension)
            if kind is None:
                beside[extension] = data
            else:
                self._left_out.add(kind, f"{key}.{extension}")
        return beside

    def rows(self) -> pa.Table:
        """The sidecar now: rows whose image did not come failed."""
        import pyarrow as pa

        table = self._table
        if self._captions:
            at = table.schema.get_field_index("caption")
            captions = pa.array([row["caption"] for row in self._rows], pa.string())
            table = table.set_column(at, "caption", captions)
        failures = dict(self._failed)
        for number, row in enumerate(self._rows):
            if row["status"] == SUCCESS and number not in self._had and number not in failures:
                self._left_out.add(_NO_IMAGE, str(row["key"]))
                failures[number] = Failure(MISSING_FILE, detail=self._shard.content.name)
        return with_failures(table, failures)


def _image_of(members: Mapping[str, bytes]) -> str | None:
    """The extension of a sample's image: one that tars have, else whatever is not text or JSON."""
    own = next((e for e in members if e in tars.IMAGE_EXTENSIONS), None)
    if own is not None:
        return own
    return next((e for e in members if e.lower() in IMAGE_ENDINGS), None)


def _unfit(key: str, extension: str) -> str | None:
    """Why a further file of a sample is left out; None: it is taken."""
    if extension in tars.IMAGE_EXTENSIONS:
        return _SECOND_IMAGE
    return _LONG_NAME if len(f"{key}.{extension}".encode(errors="replace")) > _MAX_NAME else None


def _own_keys(shards: list[SourceShard]) -> bool:
    """Whether keys begin with their shard's name and are such as ours: short, of plain characters.

    Names of shards have to be of one length then. Raises `UserError` where a key is there twice.
    """
    if len({len(shard.name) for shard in shards}) > 1:
        return False
    for shard in shards:
        keys = [
            text_of(k) or ""
            for k in read_parquet(shard.sidecar, columns=["key"])["key"].to_pylist()
        ]
        if len(set(keys)) < len(keys):
            twice = next(key for key in keys if keys.count(key) > 1)
            raise UserError(f"{shard.sidecar} has the key {twice!r} twice; a row's key is its own")
        if not _PLAIN.fullmatch(shard.name):
            return False
        begins = all(key.startswith(shard.name) and len(key) > len(shard.name) for key in keys)
        if not begins or not all(map(_PLAIN.fullmatch, keys)):
            return False
    return True
