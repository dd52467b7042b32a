"""A plain folder of images -> rows: what each is called, and the text that belongs to it.

Reads the folder and all folders in it, writes nothing but rows into a scratch folder. A row's text
comes from, in this order:

    metadata.jsonl, .csv or .parquet   Hugging Face's imagefolder: file_name and a caption column
    a JSON file of COCO captions       images and annotations, anywhere in the folder
    a.txt beside a.jpg                 the whole file (also a.caption)

Rows of the first two come in their order, the other images behind them, sorted. An image without a
text is a row without a caption; a text or a row without an image is named. Images are kept byte for
byte (kept.py). Cost: one pass over the folder's names, then over the files; memory is the rows.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frenchcat.curate import files
from frenchcat.curate.adopt.kept import IMAGE_ENDINGS, KeptImage, NotKept, kept
from frenchcat.curate.adopt.left_out import LeftOut
from frenchcat.curate.adopt.schema import cast
from frenchcat.curate.adopt.shards import (
    MISSING_FILE,
    READING,
    Sample,
    publish_images,
    with_failures,
    write_tar,
)
from frenchcat.curate.adopt.texts import ColumnNames, chosen, further
from frenchcat.curate.dataset import Dataset, digest_of
from frenchcat.curate.download import lists
from frenchcat.curate.download.columns import uid_of
from frenchcat.curate.download.list_source import Captions
from frenchcat.curate.download.shards import NOT_RESIZED, SUCCESS, jsonable
from frenchcat.curate.failures import COLUMNS, Failure
from frenchcat.curate.keys import key_of
from frenchcat.curate.markers import Signature
from frenchcat.curate.promote import unified

if TYPE_CHECKING:
    import pyarrow as pa

KIND = "a folder of images"
PER_SHARD = 1000
FILE = "file_name"
"""The column with an image's place in the folder, as Hugging Face's imagefolder calls it."""
METADATA = ("metadata.jsonl", "metadata.csv", "metadata.parquet")
_TEXTS = (".txt", ".caption")
_UNKNOWN = "left out, files of no known kind"
_HIDDEN = "left out, hidden files"
_CLOSED = "left out, folders that cannot be read"
_NAMES = "left out, files whose names are not UTF-8"
_NOT_FILES = "left out, links to nothing and other things that are not files"
_LONE_TEXT = "left out, texts without an image"
_UNUSED_TEXT = "left out, texts of images that have a caption already"
_NO_TEXT = "kept without a caption, images without a text"
_NO_FILE = "rows whose file is not in the folder, kept as failed (missing_file)"
_NOT_IMAGES = "rows whose file is no image or damaged, kept as failed"
_CONVERTED = "images converted to PNG (all others are kept byte for byte)"
_NOT_UTF8 = "texts that are not UTF-8, read as Latin-1"


class Tree:
    """The files of a folder by what they are, paths relative with ``/`` between the parts."""

    def __init__(self, folder: Path, left_out: LeftOut) -> None:
        """Walk the folder."""
        self.folder = folder
        self.images: list[str] = []
        self.texts: dict[str, str] = {}  # path without its ending -> path
        self.metadata: list[str] = []
        self.json: list[str] = []
        for path in _walk(folder, lambda error: left_out.add(_CLOSED, str(error.filename))):
            name = path.rpartition("/")[2]
            ending = Path(name).suffix.lower()
            if name.startswith("."):
                left_out.add(_HIDDEN, path)
            elif not _is_utf8(path):
                left_out.add(_NAMES, path)
            elif not os.path.isfile(folder / path):
                left_out.add(_NOT_FILES, path)
            elif ending[1:] in IMAGE_ENDINGS:
                self.images.append(path)
            elif ending in _TEXTS:
                self.texts.setdefault(path[: -len(ending)], path)
            elif name in METADATA:
                self.metadata.append(path)
            elif ending == ".json":
                self.json.append(path)
            else:
                left_out.add(_UNKNOWN, path)

    @classmethod
    def holds_images(cls, folder: Path) -> bool:
        """Whether there is an image anywhere in a folder."""
        return any(Path(path).suffix.lower()[1:] in IMAGE_ENDINGS for path in _walk(folder))


def _is_utf8(name: str) -> bool:
    """Whether a file's name is text: other bytes come as surrogates, which no table holds."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _walk(folder: Path, closed: Callable[[OSError], None] | None = None) -> Iterator[str]:
    """Every file, sorted within its folder; a folder that links lead back to is entered once.

    `closed` is told of each folder that cannot be read.
    """
    entered: set[str] = set()
    for place, inside, names in os.walk(folder, onerror=closed, followlinks=True):
        real = os.path.realpath(place)
        if real in entered:
            inside.clear()
            continue
        entered.add(real)
        inside.sort()
        for name in sorted(names):
            yield os.path.relpath(os.path.join(place, name), folder).replace(os.sep, "/")


class ImageFolder:
    """A folder of images; `write` makes the dataset's shards of it."""

    kind = KIND

    def __init__(self, folder: Path, names: ColumnNames, scratch: Path, left_out: LeftOut) -> None:
        """Find the images and their texts. Raises `UserError` for metadata that cannot be read."""
        self._folder, self._left_out, self._reading = folder, left_out, names.digest
        tree = Tree(folder, left_out)
        tables = [*_of_metadata(tree, names, scratch, left_out), *_of_coco(tree, names, left_out)]
        listed = {path for table in tables for path in table[FILE].to_pylist()}
        tables.append(_of_rest(tree, listed))
        self._table = _with_texts(_joined(tables), tree, left_out)
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
        return sum((self._folder / path).stat().st_size for path in found)

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


# -- the texts -----------------------------------------------------------------------------------


def _of_metadata(
    tree: Tree, names: ColumnNames, scratch: Path, left_out: LeftOut
) -> Iterator[pa.Table]:
    """The rows of each folder's metadata file; file_name from the top of the whole folder."""
    import pyarrow as pa

    ruled: set[str] = set()
    order = {name: place for place, name in enumerate(METADATA)}
    for path in sorted(
        tree.metadata, key=lambda p: (p.rpartition("/")[0], order[p.rpartition("/")[2]])
    ):
        within = path.rpartition("/")[0]
        if within in ruled:
            left_out.add("left out, metadata files beside another", path)
            continue
        ruled.add(within)
        table = _frozen(tree.folder / path, names, scratch / str(len(ruled)))
        prefix = f"{within}/" if within else ""
        listed = [prefix + os.path.normpath(name or "") for name in table["url"].to_pylist()]
        own = next((n for n in table.column_names if n in ("list_url", "list.url")), None)
        urls = (
            pa.nulls(table.num_rows, pa.string()) if own is None else table[own].cast(pa.string())
        )
        others = [n for n in table.column_names if n not in ("uid", "url", "caption", own)]
        yield pa.table(
            {
                FILE: listed,
                "caption": table["caption"],
                "url": urls,
                **{n: table[n] for n in others},
            }
        )


def _frozen(path: Path, names: ColumnNames, scratch: Path) -> pa.Table:
    """The rows of a metadata file, read as a URL list is: `url` has the file's name."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    dataset = Dataset.create(scratch, "metadata")
    reading = vars(names.reading) | {"url_column": FILE, "caption_column": names.caption}
    shape = lists.Shape(**reading, samples_per_shard=PER_SHARD)
    shards = lists.freeze(dataset, [str(path)], shape)
    return pa.concat_tables(pq.read_table(dataset.path(lists.relative(s))) for s in shards)


def _of_coco(tree: Tree, names: ColumnNames, left_out: LeftOut) -> Iterator[pa.Table]:
    """The rows of files of COCO captions; other JSON files are left out."""
    named = [path for path in tree.json if "caption" in path.rpartition("/")[2].lower()]
    found: dict[str, Mapping[str, Any]] = {}
    for paths in (named, [path for path in tree.json if path not in named]):
        for path in paths if not found or paths is named else ():
            if (coco := _captions_of(tree.folder / path)) is not None:
                found[path] = coco
    for path in tree.json:
        if path not in found:
            left_out.add(_UNKNOWN, path)
    for path, coco in found.items():
        yield _coco_rows(tree, path, coco, names.reading.captions, left_out)


def _captions_of(path: Path) -> Mapping[str, Any] | None:
    """The value of a JSON file of COCO captions; None for another."""
    try:
        value = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict) or not isinstance(value.get("images"), list):
        return None
    annotations = value.get("annotations")
    has_captions = isinstance(annotations, list) and any(
        isinstance(one, dict) and "caption" in one and "image_id" in one for one in annotations
    )
    return value if has_captions else None


def _coco_rows(
    tree: Tree, path: str, coco: Mapping[str, Any], rule: Captions, left_out: LeftOut
) -> pa.Table:
    import pyarrow as pa

    captions: dict[Any, list[str]] = {}
    for one in coco["annotations"]:
        if isinstance(one, dict) and (text := str(one.get("caption") or "").strip()):
            captions.setdefault(one.get("image_id"), []).append(text)
    places = _Places(tree, path)
    rows: dict[str, list[Any]] = {FILE: [], "caption": [], "url": [], "coco_id": []}
    for image in coco["images"]:
        texts = captions.pop(image.get("id"), [])
        taken = chosen(texts or [None], rule)
        if len(taken) < len(texts):
            left_out.add(further(rule), str(image.get("file_name")), len(texts) - len(taken))
        for text in taken:
            rows[FILE].append(places.of(str(image.get("file_name"))))
            rows["caption"].append(text)
            rows["url"].append(image.get("coco_url") or image.get("flickr_url"))
            rows["coco_id"].append(image.get("id"))
    for number, texts in captions.items():
        left_out.add(
            "left out, captions of no image of their file", f"{path}: {number}", len(texts)
        )
    types = [(FILE, pa.string()), ("caption", pa.string()), ("url", pa.string())]
    whole = all(isinstance(number, int) for number in rows["coco_id"])
    ids = rows["coco_id"] if whole else [str(number) for number in rows["coco_id"]]
    schema = pa.schema([*types, ("coco_id", pa.int64() if whole else pa.string())])
    return pa.table({**rows, "coco_id": ids}, schema)


class _Places:
    """Where a file that COCO names lies: beside it, in the folder, or anywhere under its name."""

    def __init__(self, tree: Tree, path: str) -> None:
        self._within = path.rpartition("/")[0]
        self._about = path.rpartition("/")[2]
        self._there = set(tree.images)
        self._by_name: dict[str, list[str]] = {}
        for image in tree.images:
            self._by_name.setdefault(image.rpartition("/")[2], []).append(image)

    def of(self, name: str) -> str:
        """The image's path in the folder; `name` where there is none, or more than one."""
        for path in (f"{self._within}/{name}" if self._within else name, name):
            if os.path.normpath(path) in self._there:
                return os.path.normpath(path)
        found = self._by_name.get(name.rpartition("/")[2], [])
        # captions_val2017.json means val2017/, where two folders have a file of the name.
        near = [path for path in found if path.split("/")[-2:][0] in self._about]
        chosen = found if len(found) == 1 else near
        return chosen[0] if len(chosen) == 1 else name


def _of_rest(tree: Tree, listed: set[str]) -> pa.Table:
    import pyarrow as pa

    rest = [path for path in tree.images if path not in listed]
    schema = pa.schema([(FILE, pa.string()), ("caption", pa.string()), ("url", pa.string())])
    nothing = [None] * len(rest)
    return pa.table({FILE: rest, "caption": nothing, "url": nothing}, schema)


def _joined(tables: Sequence[pa.Table]) -> pa.Table:
    import pyarrow as pa

    schema = unified(table.schema for table in tables)
    return pa.concat_tables([cast(table, schema) for table in tables]).combine_chunks()


def _with_texts(table: pa.Table, tree: Tree, left_out: LeftOut) -> pa.Table:
    """The rows with the texts beside their files where they have no caption, and their uids."""
    import pyarrow as pa

    captions, used = [], Counter[str]()
    for path, caption in zip(table[FILE].to_pylist(), table["caption"].to_pylist(), strict=True):
        stem = os.path.splitext(path)[0]
        beside = tree.texts.get(stem) or tree.texts.get(path)  # a.txt or a.jpg.txt
        if beside is not None:
            used[beside] += 1
            if caption is None:
                caption = _read_text(tree.folder / beside, beside, left_out)
            elif used[beside] == 1:
                left_out.add(_UNUSED_TEXT, beside)
        captions.append(caption or None)
    for text in tree.texts.values():
        if text not in used:
            left_out.add(_LONE_TEXT, text)
    names = zip(table[FILE].to_pylist(), table["url"].to_pylist(), captions, strict=True)
    uids = [uid_of(url or path, caption) for path, url, caption in names]
    at = table.schema.get_field_index("caption")
    table = table.set_column(at, "caption", pa.array(captions, pa.string()))
    return table.append_column("uid", pa.array(uids, pa.string()))


def _read_text(path: Path, name: str, left_out: LeftOut) -> str:
    data = path.read_bytes()
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "replace").strip()
    try:
        return data.decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        left_out.add(_NOT_UTF8, name)
        return data.decode("latin-1").strip()
