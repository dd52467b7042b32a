"""Rows -> a shard's files and markers, as the stages lay them out.

A part is written where a row says something of it, or where it is asked for by name::

    tar         shards/00000.tar: picture, json, txt of each stored row, in the rows' order
    sidecar     shards/00000.parquet, every row
    rights      rights/00000.parquet, a line a signal
    vectors     embeddings/: of the stored rows that have one
    unembedded  embeddings/failed/
    scores      scores/00000.parquet, of the stored rows that have some
    duplicates  duplicates/00000.parquet, every stored row
    verdicts    verdicts/00000.parquet, every stored row

A stage's marker names the files' sizes and digests, those that it wrote before with them.
"""

import contextlib
import json
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from frenchcat.curate import files
from frenchcat.curate.dataset import Dataset, digest_of
from frenchcat.curate.failures import COLUMNS
from frenchcat.curate.keys import key_of
from frenchcat.curate.manifest import StageEntry
from frenchcat.curate.markers import Marker, OutputFile, outputs_of, put_marker, record_entry
from tests.sample.row import Row
from tests.sample.tars import write_tar

MODEL = {"model": "synthetic", "weights": "0" * 64, "dimension": 16, "precision": "fp32"}
Keyed = Mapping[str, Row]
Where = Callable[[str], Path]
_KEEP = {"keep": pa.bool_()}  # of a verdict: a list may have a column of that name and any type


def write(
    dataset: Dataset, shard: str, rows: Sequence[Row], parts: Collection[str] | None = None
) -> list[str]:
    """Publish a shard's rows, stage by stage; gives their keys."""
    keyed = {key_of(shard, number): row for number, row in enumerate(rows)}
    chosen = _said(rows) if parts is None else parts
    for stage, writers in _STAGES.items():
        if own := [writer for part, writer in writers.items() if part in chosen]:
            with publishing(dataset, stage, shard) as path:
                for writer in own:
                    writer(path, shard, keyed)
    if "vectors" in chosen:
        dimensions = {len(row.vector) for row in rows if row.vector is not None}
        settings = {**MODEL, "dimension": min(dimensions, default=MODEL["dimension"])}
        record_entry(dataset, "embed", StageEntry(settings=settings))
    return list(keyed)


@contextlib.contextmanager
def publishing(dataset: Dataset, stage: str, shard: str) -> Iterator[Where]:
    """Write files of a stage through what this gives, with its marker."""
    before = outputs_of(dataset, stage, shard)
    with dataset.publish(f"{stage}-{shard}") as out:
        yield out.path
        made = {name: OutputFile.of(out.folder / name) for name in out.relatives}
        outputs = {**before, **made}
        digest = digest_of({name: output.sha256 for name, output in outputs.items()})
        put_marker(out, stage, shard, Marker(digest, {}, outputs, {}))


def _said(rows: Sequence[Row]) -> set[str]:
    """The parts of which some row says something."""
    said = {
        "tar": any(row.picture is not None for row in rows),
        "sidecar": True,
        "rights": any(row.signals for row in rows),
        "vectors": any(row.vector is not None for row in rows),
        "unembedded": any(row.unembedded for row in rows),
        "scores": any(row.scores is not None for row in rows),
        "duplicates": any(row.copy_of is not None for row in rows),
        "verdicts": any(row.reason for row in rows),
    }
    return {part for part, there in said.items() if there}


def _stored(keyed: Keyed) -> dict[str, Row]:
    return {key: row for key, row in keyed.items() if row.stored}


# -- the download's -------------------------------------------------------------------------------


def tar(path: Where, shard: str, keyed: Keyed) -> None:
    """The stored pictures with what is beside each."""

    def members() -> Iterator[tuple[str, bytes]]:
        for key, row in _stored(keyed).items():
            assert row.picture is not None
            yield f"{key}.{row.ending}", row.picture
            yield f"{key}.json", json.dumps({"key": key}).encode()
            yield f"{key}.txt", (row.caption or "").encode()

    write_tar(path(f"shards/{shard}.tar"), members())


def sidecar(path: Where, shard: str, keyed: Keyed) -> None:
    """Every row of the list."""
    own = ("uid", "key", "url", "caption", "status", "error_message", "width", "height")
    rows = [_listed(key, row) for key, row in keyed.items()]
    _table(path(f"shards/{shard}.parquet"), rows, own)


def _listed(key: str, row: Row) -> dict[str, Any]:
    return {
        "uid": f"{int(key):032x}",
        "key": key,
        "url": f"http://example.org/{key}.{row.ending}" if row.url is None else row.url,
        "caption": row.caption,
        "status": "success" if row.stored else "failed_to_download",
        "error_message": row.failed,
        "width": None,
        "height": None,
        **row.columns,
    }


def rights(path: Where, shard: str, keyed: Keyed) -> None:
    """What was said of the use of each."""
    own = ("key", "signal", "value", "where", "decision")
    said = [
        dict(zip(own, (key, signal, value, "http", decision), strict=True))
        for key, row in keyed.items()
        for signal, value, decision in row.signals
    ]
    _table(path(f"rights/{shard}.parquet"), said, own)


# -- the embedding's ------------------------------------------------------------------------------


def vectors(path: Where, shard: str, keyed: Keyed) -> None:
    """Pictures' and captions' vectors, and the sidecar's columns of their rows."""
    there = {key: row for key, row in _stored(keyed).items() if row.vector is not None}
    pictures = [row.vector for row in there.values()]
    texts = [row.vector if row.text is None else row.text for row in there.values()]
    for file, made in ((files.IMG_EMB, pictures), (files.TEXT_EMB, texts)):
        width = len(made[0]) if made and made[0] is not None else MODEL["dimension"]
        np.save(path(file.of(shard)), np.array(made, np.float16).reshape(len(made), width))
    left_out = ("key", "image_path", "status", "error_message", *COLUMNS)
    rows = [
        {"image_path": key, **{n: v for n, v in _listed(key, row).items() if n not in left_out}}
        for key, row in there.items()
    ]
    _table(path(files.METADATA.of(shard)), rows, ("image_path", "caption"))


def unembedded(path: Where, shard: str, keyed: Keyed) -> None:
    """The stored rows without a vector."""
    failed = [{"key": k, "reason": row.unembedded} for k, row in keyed.items() if row.unembedded]
    _table(path(f"embeddings/failed/failed_{shard}.parquet"), failed, ("key", "reason"))


# -- the others' ----------------------------------------------------------------------------------


def scores(path: Where, shard: str, keyed: Keyed) -> None:
    """Numbers of the rows that have some, with the digests by which they are told apart."""
    rows = [
        {"key": key, **row.scores} for key, row in _stored(keyed).items() if row.scores is not None
    ]
    names = sorted({name for row in keyed.values() for name in row.scores or {}}) or _SCORES
    digests = {name: digest_of([repr(row.get(name)) for row in rows]) for name in names}
    metadata = {b"frenchcat.scores": json.dumps(digests).encode()}
    _table(path(f"scores/{shard}.parquet"), rows, ("key", *names), metadata)


def duplicates(path: Where, shard: str, keyed: Keyed) -> None:
    """The cluster of each stored row."""
    stays = {
        key: key if row.copy_of is None else key_of(shard, row.copy_of)
        for key, row in keyed.items()
    }
    sizes = Counter(stays.values())
    rows = [
        {
            "key": key,
            "cluster": stays[key],
            "duplicate_of": None if stays[key] == key else stays[key],
            "kind": None if stays[key] == key else "exact",
            "multiplicity": sizes[stays[key]],
        }
        for key in _stored(keyed)
    ]
    own = ("key", "cluster", "duplicate_of", "kind", "multiplicity")
    _table(path(f"duplicates/{shard}.parquet"), rows, own)


def verdicts(path: Where, shard: str, keyed: Keyed) -> None:
    """Whether each stored row is kept."""
    rows = [
        {"key": key, "keep": row.reason is None, "reason": row.reason}
        for key, row in _stored(keyed).items()
    ]
    _table(path(f"verdicts/{shard}.parquet"), rows, ("key", "keep", "reason"), types=_KEEP)


_SCORES = ["pdq", "pdq_quality", "similarity"]  # what a file without rows is of
_STAGES: dict[str, dict[str, Callable[[Where, str, Keyed], None]]] = {
    "download": {"tar": tar, "sidecar": sidecar, "rights": rights},
    "embed": {"vectors": vectors, "unembedded": unembedded},
    "score": {"scores": scores},
    "dedup": {"duplicates": duplicates},
    "verdict": {"verdicts": verdicts},
}
_TYPES = {
    **dict.fromkeys(("width", "height", "original_width", "original_height"), pa.int32()),
    **dict.fromkeys(("similarity", "punsafe"), pa.float32()),
    "multiplicity": pa.int32(),
}


def _table(
    path: Path,
    rows: Sequence[Mapping[str, Any]],
    first: Sequence[str],
    metadata: Mapping[bytes, bytes] | None = None,
    types: Mapping[str, pa.DataType] | None = None,
) -> None:
    """A parquet file of these columns first, then the others; text where a column says nothing."""
    names = dict.fromkeys([*first, *(name for row in rows for name in row)])
    columns = {name: [row.get(name) for row in rows] for name in names}
    known = {**_TYPES, **(types or {})}
    arrays = {name: pa.array(values, known.get(name)) for name, values in columns.items()}
    table = {n: a.cast(pa.string()) if pa.types.is_null(a.type) else a for n, a in arrays.items()}
    pq.write_table(pa.table(table).replace_schema_metadata(metadata), path)
