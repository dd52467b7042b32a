"""A removal query -> the stored rows that it names, with why, shown before anything is done.

Reads the catalog, and for near copies scores/ (PDQ) and embeddings/. Cost: one pass over the
catalog; near copies add a pass over hashes and vectors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from frenchcat.curate import embeddings, files
from frenchcat.curate.catalog import Catalog
from frenchcat.curate.dataset import Dataset, file_sha256
from frenchcat.curate.dedup.detectors import NEAR_COSINE
from frenchcat.curate.errors import UserError
from frenchcat.curate.hashes import PDQ_DISTANCE, pdq
from frenchcat.curate.keys import by_shard
from frenchcat.curate.parquets import read_parquet
from frenchcat.curate.removals import url_hash
from frenchcat.curate.remove.residue import vector_hash
from frenchcat.curate.urls import domain_of, host_of, named_host

if TYPE_CHECKING:
    import pyarrow as pa

KINDS = ("url", "domain", "sha256", "uid", "key", "like")


@dataclass(frozen=True)
class RemovalQuery:
    """What to remove: exactly one of `KINDS`, and whether near copies are removed with it."""

    by: str
    value: str  # the URL, domain, digest, uid or key; for `like`, an image's path
    near: bool = False
    keys: tuple[str, ...] = ()  # of `key`: further ones


@dataclass(frozen=True)
class Match:
    """A row that a query names."""

    key: str
    url: str | None
    caption: str | None
    why: str  # url, domain, …, or "perceptual 12 bits", "semantic 0.981"
    columns: dict[str, Any] = field(default_factory=dict)  # uid, sha256, stored_sha256, pdq


def matches(
    dataset: Dataset,
    asked_for: RemovalQuery,
    encode: Callable[[Path], NDArray[np.float32]] | None = None,
) -> list[Match]:
    """The stored rows that a query names, exact ones first, in key order.

    `encode` gives an image's (D,) unit vector by the dataset's model; without it `like` compares
    bytes and perceptual hashes only. Raises `UserError` for a kind, domain or file there is not.
    """
    if asked_for.by not in KINDS:
        raise UserError(f"rows are removed by one of {', '.join(KINDS)}, not by {asked_for.by!r}")
    if not asked_for.value.strip():
        raise UserError(f"--{asked_for.by} is empty; say which rows to remove")
    with Catalog(dataset) as catalog:
        rows = _rows(catalog)
    exact = _exact(rows, asked_for)
    found = {row["key"]: _match(row, asked_for.by) for row in exact}
    if asked_for.by == "like" or asked_for.near:
        hashes = [row["pdq"] for row in exact if row["pdq"]]
        vectors = _vectors_of(dataset, {row["key"] for row in exact})
        if asked_for.by == "like":
            hashes += _hash_of_file(Path(asked_for.value))
            if encode is not None:
                vectors = [*vectors, encode(Path(asked_for.value))]
        for match in [*_perceptual(rows, hashes), *_semantic(dataset, rows, vectors)]:
            found.setdefault(match.key, match)
    return sorted(found.values(), key=lambda match: (match.why != asked_for.by, match.key))


def _rows(catalog: Catalog) -> list[dict[str, Any]]:
    there = catalog.columns()
    wanted = ("key", "url", "caption", "uid", "sha256", "stored_sha256", "pdq")
    table: pa.Table = catalog.table([name for name in wanted if name in there], order="key")
    return [{**dict.fromkeys(wanted), **row} for row in table.to_pylist()]


def _exact(rows: list[dict[str, Any]], asked_for: RemovalQuery) -> list[dict[str, Any]]:
    value = asked_for.value.strip()
    if asked_for.by == "url":
        wanted = url_hash(value)
        return [row for row in rows if row["url"] and url_hash(row["url"]) == wanted]
    if asked_for.by == "domain":
        name = named_domain(value)
        return [row for row in rows if name in (domain_of(row["url"]), host_of(row["url"]))]
    if asked_for.by == "sha256":
        digest = _digest(value)
        return [row for row in rows if digest in (row["sha256"], row["stored_sha256"])]
    if asked_for.by == "like":
        return _same_bytes(rows, Path(asked_for.value))
    wanted_values = {value, *asked_for.keys} if asked_for.by == "key" else {value}
    return [row for row in rows if row[asked_for.by] in wanted_values]


def named_domain(value: str) -> str:
    """The domain or host that a query names, in its plain form. Raises `UserError`."""
    try:
        return named_host(value)
    except ValueError as error:
        raise UserError(str(error)) from None


def _digest(value: str) -> str:
    digest = value.lower()
    if len(digest) != 64 or set(digest) - set("0123456789abcdef"):
        raise UserError(f"{value!r} is not an SHA-256; it has 64 hex digits")
    return digest


def _same_bytes(rows: list[dict[str, Any]], path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        raise UserError(f"{path}: no such image")
    digest = file_sha256(path)
    return [row for row in rows if digest in (row["sha256"], row["stored_sha256"])]


def _match(row: dict[str, Any], why: str) -> Match:
    columns = {name: row[name] for name in ("uid", "sha256", "stored_sha256", "pdq")}
    return Match(row["key"], row["url"], row["caption"], why, columns)


def _hash_of_file(path: Path) -> list[str]:
    from frenchcat.curate.image import open_image

    return [pdq(open_image(path)).hex()]


def _perceptual(rows: list[dict[str, Any]], hashes: list[str]) -> list[Match]:
    hashed = [row for row in rows if row["pdq"]]
    if not hashes or not hashed:
        return []
    stored = np.frombuffer(bytes.fromhex("".join(r["pdq"] for r in hashed)), np.uint8)
    stored = stored.reshape(len(hashed), -1)
    out = []
    nearest = np.full(len(hashed), 256)
    for text in hashes:
        query = np.frombuffer(bytes.fromhex(text), np.uint8)
        distances = np.bitwise_count(stored ^ query).sum(axis=1, dtype=np.int64)
        nearest = np.minimum(nearest, distances)
    for at in np.flatnonzero(nearest <= PDQ_DISTANCE):
        out.append(_match(hashed[at], f"perceptual {nearest[at]} bits"))
    return out


def _vectors_of(dataset: Dataset, keys: set[str]) -> list[NDArray[np.float32]]:
    found = []
    for shard_keys, vectors in _embedded(dataset, set(by_shard(dataset, keys))):
        wanted = [at for at, key in enumerate(shard_keys) if key in keys]
        found += list(vectors[wanted].astype(np.float32))
    return found


def _semantic(
    dataset: Dataset, rows: list[dict[str, Any]], queries: list[NDArray[np.float32]]
) -> list[Match]:
    if not queries:
        return []
    by_key = {row["key"]: row for row in rows}
    stack = np.stack(queries).astype(np.float32)
    out = []
    for keys, vectors in _embedded(dataset):
        nearest = (vectors.astype(np.float32) @ stack.T).max(axis=1)
        for at in np.flatnonzero(nearest >= NEAR_COSINE):
            if keys[at] in by_key:
                out.append(_match(by_key[keys[at]], f"semantic {nearest[at]:.3f}"))
    return out


def vector_hashes(dataset: Dataset, keys: set[str]) -> list[str]:
    """The digests of images' stored vectors, see residue.py; a caption's is often shared."""
    return [vector_hash(vector) for vector in _vectors_of(dataset, keys)]


def _embedded(
    dataset: Dataset, shards: set[str] | None = None
) -> Iterator[tuple[list[str], NDArray[np.float16]]]:
    """Keys and (N, D) vectors, mapped, of the embedded shards; of those named alone."""
    for shard in dataset.shards(embeddings.STAGE):
        if shards is not None and shard not in shards:
            continue
        with dataset.as_local(files.METADATA.of(shard)) as path:
            keys = read_parquet(path, columns=["image_path"])["image_path"].to_pylist()
        with dataset.as_local(files.IMG_EMB.of(shard)) as path:
            yield keys, np.load(path, mmap_mode="r")
