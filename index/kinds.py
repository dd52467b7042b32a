"""Which faiss index suits how many rows, and how it is built, opened and searched.

    up to 100,000       SQfp16: every stored number is compared; exact
    up to 10,000,000    RaBitQ with 2 bits per number; the nearest candidates are reranked exactly
    above               the same codes in lists (IVF; an HNSW graph finds lists), mapped from disk

or any faiss factory string, reranked as well. RaBitQ: Gao, Long: "RaBitQ: Quantizing
High-Dimensional Vectors with a Theoretical Error Bound" (SIGMOD 2024) and its multi-bit successor
(SIGMOD 2025), as implemented in faiss. Trade-off: 2 bits take twice the memory and time of 1 bit,
but text queries, which lie far from all images, need a fourth of the candidates.

Cost of building: linear in rows; the codes (about 150 bytes per row of 512) are in memory.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from frenchcat.curate.errors import UserError

Vectors = NDArray[np.float32]
EXACT = "SQfp16"
EXACT_UP_TO = 100_000  # rows
FLAT_UP_TO = 10_000_000
CODES = "RaBitQ2"
QUERY_BITS = 4  # per number of a query when codes are compared; 0 would be exact and 100 x slower
TRAIN_ROWS = 100_000


@dataclass(frozen=True)
class Kind:
    """A faiss factory string, and whether its results are exact without reranking."""

    factory: str
    exact: bool


def kind_of(rows: int, factory: str, tail: bool = False) -> Kind:
    """The kind for this many rows; `factory` is `auto` or a faiss factory string.

    A tail (rows added behind others) is exact while it is small, because it needs no training.
    """
    if factory != "auto" and not (tail and rows <= EXACT_UP_TO):
        return Kind(factory, factory in (EXACT, "Flat"))
    if rows <= EXACT_UP_TO:
        return Kind(EXACT, True)
    if rows <= FLAT_UP_TO:
        return Kind(CODES, False)
    lists = 2 ** round(np.log2(4 * rows**0.5))
    return Kind(f"IVF{lists}_HNSW32,{CODES}", False)


def code_bytes(kind: Kind, dimension: int) -> float:
    """Minimum bytes per vector in an index of this kind; 0 if unknown."""
    bytes_per_number = {"Flat": 4, "HNSW": 4, "SQfp16": 2, "SQ8": 1, "RaBitQ": 1 / 8, CODES: 1 / 4}
    code = kind.factory.rpartition(",")[2]
    code = "HNSW" if code.startswith("HNSW") else code
    return dimension * bytes_per_number.get(code, 0)


def train_rows(factory: str) -> int:
    """How many rows to train on: 64 per list, or what a mean needs."""
    if factory.startswith("IVF"):
        digits = factory[3:].split("_")[0].split(",")[0]
        return max(TRAIN_ROWS, 64 * int(digits)) if digits.isdigit() else TRAIN_ROWS
    return TRAIN_ROWS


def make_index(
    blocks: Iterable[Vectors],
    sample: Callable[[int], Vectors],
    dimension: int,
    rows: int,
    factory: str,
) -> Any:
    """A faiss index, by inner product, of the blocks' (n, D) rows in order.

    `sample(n)` returns at most n rows to train on. Raises `UserError` if faiss cannot build it.
    """
    import faiss

    try:
        index = faiss.index_factory(dimension, factory, faiss.METRIC_INNER_PRODUCT)
        if not index.is_trained:
            index.train(sample(train_rows(factory)))
    except RuntimeError as error:
        raise UserError(
            f"faiss cannot build the index {factory!r} of {rows} rows and {dimension} "
            f"dimensions ({_said(error)}); set index.factory to auto"
        ) from None
    for block in blocks:
        index.add(block)
    return index


def read_index(path: Path) -> Any:
    """An index file, opened with as little of it in memory as its kind allows."""
    import faiss

    try:
        # Codes and lists stay in the file if faiss can search them there.
        return faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
    except RuntimeError:
        return faiss.read_index(str(path))


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Let faiss use one thread in the calling thread; other threads keep their number.

    One query cannot be split over threads, and idle ones would spin beside the caller's.
    """
    import faiss

    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(threads)


def search(
    index: Any, vector: Vectors, k: int, bits: NDArray[np.uint8] | None, probes: int | None
) -> tuple[Vectors, NDArray[np.int64]]:
    """The k nearest of a (D,) vector: (n,) similarities and positions, n at most k.

    `bits` are the rows that may be found, eight per byte, the first in the lowest bit.
    """
    import faiss as library

    faiss: Any = library  # its type stubs lack the keywords
    options: dict[str, Any] = {}
    if bits is not None:
        options["sel"] = faiss.IDSelectorBitmap(bits)
    parameters = None
    if isinstance(index, faiss.IndexIVFRaBitQ):
        probes = min(probes or 1, index.nlist)
        parameters = faiss.IVFRaBitQSearchParameters(nprobe=probes, qb=QUERY_BITS, **options)
    elif isinstance(index, faiss.IndexIVF):
        parameters = faiss.SearchParametersIVF(nprobe=min(probes or 1, index.nlist), **options)
    elif isinstance(index, faiss.IndexRaBitQ):
        parameters = faiss.RaBitQSearchParameters(qb=QUERY_BITS, **options)
    elif isinstance(index, faiss.IndexHNSW):
        parameters = faiss.SearchParametersHNSW(efSearch=max(64, k), **options)
    elif options:
        parameters = faiss.SearchParameters(**options)
    try:
        with one_thread():
            similarities, positions = index.search(vector[None], k, params=parameters)
    except RuntimeError:
        if bits is None:
            raise
        # An index without selectors (PQ): ask for more hits and keep the allowed ones.
        similarities, positions = search(index, vector, min(8 * k, index.ntotal), None, probes)
        there = np.unpackbits(bits, bitorder="little")[positions] > 0
        return similarities[there][:k], positions[there][:k]
    there = positions[0] >= 0
    return similarities[0][there], positions[0][there]


def _said(error: RuntimeError) -> str:
    return str(error).strip().split("\n")[-1].split("Error: ")[-1][:120]


def write_index(index: Any, path: Path) -> None:
    """Write an index file."""
    import faiss

    faiss.write_index(index, str(path))
