"""Datasets of chosen rows, with the files of the stages that a test wants."""

import io
import json
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from frenchcat.curate.dataset import Dataset
from tests.embedded import picture


@dataclass
class Row:
    """One row of a list and what became of it."""

    url: str = "http://example.org/a.png"
    caption: str | None = "a cat"
    error: str | None = None  # None: stored
    reason: str | None = None  # of the verdict; None: kept
    scores: dict[str, Any] = field(default_factory=dict)
    cluster: int | None = None  # the row's number that stays; None: alone
    signals: Sequence[tuple[str, str, str | None]] = ()  # signal, value, decision


def write(
    root: Path,
    *shards: Sequence[Row],
    rules: Sequence[str] | None = None,
    pictures: bool = True,
    only: Sequence[str] = ("scores", "duplicates", "rights"),
) -> Dataset:
    """A dataset; verdicts where `rules`, in their order, are given, and the folders of `only`."""
    dataset = Dataset.create(root, "chosen <b>rows</b>")
    for number, rows in enumerate(shards):
        _shard(dataset, f"{number:05d}", rows, rules is not None, pictures, only)
    if rules is not None:
        entry = {"settings": {"rules": [[name, f"{name} is bad"] for name in rules]}, "counts": {}}
        manifest = dataset.manifest()
        manifest["stages"]["verdict"] = entry
        dataset.write_json("dataset.json", manifest)
    return dataset


def _shard(
    dataset: Dataset,
    shard: str,
    rows: Sequence[Row],
    judged: bool,
    pictures: bool,
    only: Sequence[str],
) -> None:
    keyed = [(f"{shard}{number:04d}", row) for number, row in enumerate(rows)]
    stored = [(key, row) for key, row in keyed if row.error is None]
    tables: dict[str, list[dict[str, Any]]] = {"shards": [_sidecar(*pair) for pair in keyed]}
    if judged:
        tables["verdicts"] = [
            {"key": key, "keep": row.reason is None, "reason": row.reason} for key, row in stored
        ]
    if "scores" in only:
        names = sorted({name for _, row in stored for name in row.scores})
        tables["scores"] = [
            {"key": key, **{name: row.scores.get(name) for name in names}} for key, row in stored
        ]
    if "duplicates" in only:
        tables["duplicates"] = _duplicates(keyed)
    if "rights" in only:
        tables["rights"] = [
            {"key": key, "signal": signal, "value": value, "where": "http", "decision": decision}
            for key, row in keyed
            for signal, value, decision in row.signals
        ]
    with dataset.publish("test") as out:
        for folder, table in tables.items():
            schema = _SCHEMAS.get(folder, None if table else _KEYS)
            made = pa.Table.from_pylist(table, schema)
            pq.write_table(made, out.path(f"{folder}/{shard}.parquet"))
        if pictures:
            _tar(out.path(f"shards/{shard}.tar"), [key for key, _ in stored])
        out.path(f"stages/download/{shard}.json").write_text(json.dumps({"counts": {}}))


def _sidecar(key: str, row: Row) -> dict[str, Any]:
    return {
        "key": key,
        "url": row.url,
        "caption": row.caption,
        "status": "success" if row.error is None else "failed_to_download",
        "error_message": row.error,
        "original_width": 640 if row.error is None else None,
        "original_height": 480 if row.error is None else None,
    }


def _duplicates(keyed: Sequence[tuple[str, Row]]) -> list[dict[str, Any]]:
    stays = {key: key if row.cluster is None else keyed[row.cluster][0] for key, row in keyed}
    clusters = list(stays.values())
    return [
        {
            "key": key,
            "cluster": stays[key],
            "duplicate_of": None if stays[key] == key else stays[key],
            "kind": None if stays[key] == key else "exact",
            "multiplicity": clusters.count(stays[key]) if len(keyed) < 1000 else 1,
        }
        for key, row in keyed
        if row.error is None
    ]


def _tar(path: Path, keys: Sequence[str]) -> None:
    with tarfile.open(path, "w") as tar:
        for number, key in enumerate(keys):
            data = picture(number * 7)
            info = tarfile.TarInfo(f"{key}.png")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


_KEYS = pa.schema([("key", pa.string())])
_TEXT = ("key", "url", "caption", "status", "error_message")
_SIDES = ("original_width", "original_height")
_SCHEMAS = {
    "shards": pa.schema([(n, pa.string()) for n in _TEXT] + [(n, pa.int32()) for n in _SIDES]),
    "verdicts": pa.schema([("key", pa.string()), ("keep", pa.bool_()), ("reason", pa.string())]),
    "duplicates": pa.schema(
        [(name, pa.string()) for name in ("key", "cluster", "duplicate_of", "kind")]
        + [("multiplicity", pa.int32())]
    ),
    "rights": pa.schema(
        [(name, pa.string()) for name in ("key", "signal", "value", "where", "decision")]
    ),
}
