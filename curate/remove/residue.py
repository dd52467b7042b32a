"""The proof that removed rows are gone: every file of a dataset searched by key, hash and vector.

Reads everything below the dataset's folder but the log itself (which holds hashes, no content).
Tars by member and by the bytes of each image, parquet and Arrow files by every text value,
vectors and faiss codes by the digest of each row, other files by the keys as text. Cost: one read
of all bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from frenchcat.curate import tars
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.parquets import read_parquet
from frenchcat.curate.removals import FOLDER, Removed, hash_of, removed, url_hash
from frenchcat.curate.vector_stores.published import left_published


@dataclass(frozen=True)
class Residue:
    """Something of a removed row that is still there."""

    file: str  # relative to the dataset, or the address of a database
    what: str


def residue(dataset: Dataset) -> list[Residue]:
    """What is left of removed rows; empty is the proof.

    Looks into the databases to which the dataset was published, too; raises `Unreachable` for one
    that does not answer.
    """
    gone = removed(dataset)
    if not gone:
        return []
    here = [
        Residue(relative, what)
        for relative in _files(dataset)
        for what in sorted(set(_search(dataset, relative, gone)))
    ]
    there = [Residue(address, f"key {key}") for address, key in left_published(dataset, gone.keys)]
    return here + there


def vector_hash(row: Any) -> str:
    """The digest of a vector as it is stored: float16, little-endian."""
    return hashlib.sha256(np.ascontiguousarray(row, "<f2").tobytes()).hexdigest()


def _files(dataset: Dataset) -> list[str]:
    root = dataset.path("")
    if dataset.local:
        base = Path(root)
        found = [p.relative_to(base).as_posix() for p in base.rglob("*") if p.is_file()]
    else:
        fs = dataset.fs
        prefix = fs._strip_protocol(root).rstrip("/") + "/"
        found = [str(name).removeprefix(prefix) for name in fs.find(root)]
    return sorted(name for name in found if not name.startswith((f"{FOLDER}/", ".lock")))


def _search(dataset: Dataset, relative: str, gone: Removed) -> Iterator[str]:
    with dataset.as_local(relative) as path:
        if relative.endswith(".tar"):
            yield from _in_tar(path, gone)
        elif relative.endswith((".parquet", ".arrow")):
            yield from _in_table(path, gone)
        elif relative.endswith(".npy"):
            yield from _in_vectors(np.load(path), gone)
        elif relative.endswith(".index"):
            yield from _in_index(path, gone)
        else:
            text = path.read_bytes().decode("utf-8", errors="replace")
            yield from (f"key {key}" for key in gone.keys if f'"{key}"' in text)


def _in_tar(path: Path, gone: Removed) -> Iterator[str]:
    for member in tars.members(path):
        if member.key in gone.keys:
            yield f"key {member.key}"
        if gone.sha256:
            digest = hashlib.sha256(tars.read(path, member)).hexdigest()
            if digest in gone.sha256:
                yield f"bytes {digest[:16]}"


def _in_table(path: Path, gone: Removed) -> Iterator[str]:
    import pyarrow as pa

    table = read_parquet(path) if path.suffix == ".parquet" else _arrow(path)
    for column in table.column_names:
        kind = table.schema.field(column).type
        if pa.types.is_dictionary(kind):
            kind = kind.value_type
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            continue
        for value in table[column].unique().to_pylist():
            if value is not None:
                yield from _in_value(column, value, gone)


def _arrow(path: Path) -> Any:
    import pyarrow as pa

    with pa.OSFile(str(path)) as source:
        return pa.ipc.open_file(source).read_all()


def _in_value(column: str, value: str, gone: Removed) -> Iterator[str]:
    if value in gone.keys:
        yield f"key {value} in {column}"
    if value in gone.sha256:
        yield f"hash {value[:16]} in {column}"
    if value in gone.pdq:
        yield f"perceptual hash {value[:16]} in {column}"
    if column == "uid" and hash_of(value) in gone.uid_hashes:
        yield f"uid {value}"
    if "://" in value[:12] and url_hash(value) in gone.url_hashes:
        yield f"url {value}"


def _in_vectors(rows: Any, gone: Removed) -> Iterator[str]:
    if rows.ndim == 2 and gone.vectors:
        for row in rows:
            if (digest := vector_hash(row)) in gone.vectors:
                yield f"vector {digest[:16]}"


def _in_index(path: Path, gone: Removed) -> Iterator[str]:
    """The rows of a faiss index that can give them back; others hold no row as it was."""
    import faiss

    index = faiss.read_index(str(path))
    try:
        rows = index.reconstruct_n(0, index.ntotal)
    except RuntimeError:
        return
    yield from _in_vectors(rows, gone)
