"""The rows of a plain folder of images, each with the text that belongs to it.

Reads metadata files, COCO captions and texts beside images, writes nothing but rows into a scratch
folder. A row's text comes from, in this order:

    metadata.jsonl, .csv or .parquet   Hugging Face's imagefolder: file_name and a caption column
    a JSON file of COCO captions       images and annotations, anywhere in the folder
    a.txt beside a.jpg                 the whole file (also a.caption)

Rows of the first two come in their order, the other images behind them, sorted. An image without a
text is a row without a caption; a text or a row without an image is named. Memory is the rows.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frenchcat.curate.adopt.image_tree import METADATA, UNKNOWN, Tree
from frenchcat.curate.adopt.left_out import LeftOut
from frenchcat.curate.adopt.schema import cast
from frenchcat.curate.adopt.texts import ColumnNames, chosen, further, several, text_of
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.download import lists
from frenchcat.curate.download.columns import uid_of
from frenchcat.curate.download.list_source import Captions
from frenchcat.curate.download.list_text import HALF, mended
from frenchcat.curate.parquets import read_parquet
from frenchcat.curate.promote import unified

if TYPE_CHECKING:
    import pyarrow as pa

FILE = "file_name"
"""The column with an image's place in the folder, as Hugging Face's imagefolder calls it."""
_LONE_TEXT = "left out, texts without an image"
_UNUSED_TEXT = "left out, texts of images that have a caption already"
_HALVES = f"texts with {HALF}"
_NOT_UTF8 = "texts that are not UTF-8, read as Latin-1"
_PER_SHARD = 1000  # of the scratch folder


def rows_of(tree: Tree, names: ColumnNames, scratch: Path, left_out: LeftOut) -> pa.Table:
    """A row per image and per row of metadata: `FILE`, caption, url, the metadata's own, uid.

    Raises `UserError` for metadata that cannot be read.
    """
    tables = [*_of_metadata(tree, names, scratch, left_out), *_of_coco(tree, names, left_out)]
    listed = {path for table in tables for path in table[FILE].to_pylist()}
    tables.append(_of_rest(tree, listed))
    return _with_texts(_joined(tables, left_out), tree, left_out)


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
        named = [os.path.normpath(name) if name else "" for name in table["url"].to_pylist()]
        listed = [prefix + name for name in named]
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

    dataset = Dataset.create(scratch, "metadata")
    reading = vars(names.reading) | {"url_column": FILE, "caption_column": names.caption}
    shape = lists.Shape(**reading, samples_per_shard=_PER_SHARD)
    shards = lists.freeze(dataset, [str(path)], shape)
    return pa.concat_tables(read_parquet(dataset.path(lists.relative(s))) for s in shards)


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
            left_out.add(UNKNOWN, path)
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

    captions: dict[str, list[str]] = {}
    for one in coco["annotations"]:
        if not isinstance(one, dict):
            continue
        given = one.get("caption")
        for value in several(given if isinstance(given, list) else [given]):
            text = _sound(text_of(value), path, left_out).strip()
            captions.setdefault(json.dumps(one.get("image_id")), []).append(text)
    places, used = _Places(tree, path), set[str]()
    rows: dict[str, list[Any]] = {FILE: [], "caption": [], "url": [], "coco_id": []}
    for image in coco["images"]:
        if not isinstance(image, dict):
            left_out.add("left out, entries of COCO's images that are not objects", path)
            continue
        number = json.dumps(image.get("id"))
        name = _sound(str(image.get("file_name")), path, left_out)
        used.add(number)
        texts: list[str | None] = list(captions.get(number, []))
        taken = chosen(texts or [None], rule)
        left_out.add(further(rule), name, max(0, len(texts) - len(taken)))
        for caption in taken:
            rows[FILE].append(places.of(name))
            rows["caption"].append(caption)
            url = image.get("coco_url") or image.get("flickr_url")
            rows["url"].append(_sound(url, path, left_out) if isinstance(url, str) else None)
            rows["coco_id"].append(image.get("id"))
    for number, lost in captions.items():
        if number not in used:
            kind = "left out, captions of no image of their file"
            left_out.add(kind, f"{path}: {number}", len(lost))
    types = [(FILE, pa.string()), ("caption", pa.string()), ("url", pa.string())]
    whole = all(type(n) is int and -(2**63) <= n < 2**63 for n in rows["coco_id"])
    ids = rows["coco_id"] if whole else [mended(str(number)) for number in rows["coco_id"]]
    schema = pa.schema([*types, ("coco_id", pa.int64() if whole else pa.string())])
    return pa.table({**rows, "coco_id": ids}, schema)


def _sound(text: str | None, path: str, left_out: LeftOut) -> str:
    """A text of a JSON file without halves of surrogate pairs, which are counted."""
    found = mended(text or "")
    left_out.add(_HALVES, path, found != (text or ""))
    return found


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


def _joined(tables: Sequence[pa.Table], left_out: LeftOut) -> pa.Table:
    import pyarrow as pa

    schema = unified(table.schema for table in tables)
    typed = [cast(table, schema, left_out, "the metadata") for table in tables]
    return pa.concat_tables(typed).combine_chunks()


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
