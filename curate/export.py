"""A selection in the formats that others read: webdataset tars, DataComp uids, CSV, Croissant.

Reads a selection and the shards' tars, writes into a new folder, under a temporary name first, so
that a folder that is there is whole. Weights become repeats only where the format means them so
(DataComp: a uid as often as its weight, rounded). Cost: linear in rows; the tars are copied member
by member, memory is one picture.
"""

from __future__ import annotations

import csv
import shutil
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from frenchcat.curate import files, tars
from frenchcat.curate.atomic import move_folder
from frenchcat.curate.dataset import Dataset, file_sha256
from frenchcat.curate.errors import UserError
from frenchcat.curate.json_text import json_text
from frenchcat.curate.safe_text import for_csv
from frenchcat.curate.select import Selection, open_selection
from frenchcat.curate.system_errors import check_space, check_writable, writing

FORMATS = ("webdataset", "datacomp", "csv", "croissant")
SAMPLES_PER_TAR = 10_000
_CSV = ("key", "uid", "url", "caption", "width", "height", "weight")


def export(
    dataset: Dataset,
    name: str,
    to: str | Path,
    format: str = "webdataset",
    advance: Callable[[int], None] | None = None,
) -> Path:
    """Write a selection into the new folder `to`; gives the folder.

    Raises `UserError` for an unknown selection or format, or where `to` is there already.
    """
    if format not in FORMATS:
        raise UserError(f"no format {format!r}; there are: {', '.join(FORMATS)}")
    selection = open_selection(dataset, name)
    folder = Path(to)
    if folder.exists():
        raise UserError(f"{folder} is there already; name a new folder")
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    check_writable(folder.parent, "folder with --to")
    if format == "webdataset":
        sizes = selection.table["size"].to_pylist()
        check_space(folder.parent, sum(sizes), f"{len(sizes)} pictures")
    try:
        with writing(folder, "name another folder with --to"):
            partial.mkdir(parents=True)
            _WRITERS[format](dataset, selection, partial, advance or (lambda rows: None))
            move_folder(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def _webdataset(
    dataset: Dataset, selection: Selection, folder: Path, advance: Callable[[int], None]
) -> None:
    """All members of the selected samples, in key order, in tars of SAMPLES_PER_TAR."""
    keys = selection.table["key"].to_pylist()
    samples = _samples(dataset, selection)
    for number, start in enumerate(range(0, len(keys), SAMPLES_PER_TAR)):
        with tarfile.open(folder / f"{number:05d}.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
            for _ in range(min(SAMPLES_PER_TAR, len(keys) - start)):
                for member, data in next(samples):
                    _add(tar, f"{member.key}.{member.extension}", data)
                advance(1)


def _samples(dataset: Dataset, selection: Selection) -> Iterator[list[tuple[tars.Member, bytes]]]:
    """The members of each selected sample with their bytes, in the selection's order."""
    by_shard: dict[str, list[str]] = {}
    for row in selection.table.select(["key", "shard"]).to_pylist():
        by_shard.setdefault(row["shard"], []).append(row["key"])
    for shard, keys in by_shard.items():
        with dataset.as_local(files.TAR.of(shard)) as path:
            found: dict[str, list[tars.Member]] = {key: [] for key in keys}
            for member in tars.members(path):
                if member.key in found:
                    found[member.key].append(member)
            for key in keys:
                yield [(member, tars.read(path, member)) for member in found[key]]


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    import io

    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


def _datacomp(
    dataset: Dataset, selection: Selection, folder: Path, advance: Callable[[int], None]
) -> None:
    """DataComp's subset file: the uids' halves as two uint64, sorted, repeated by weight."""
    import numpy as np

    pairs = []
    for row in selection.table.select(["uid", "weight"]).to_pylist():
        if not row["uid"] or len(row["uid"]) != 32:
            raise UserError(f"uid {row['uid']!r} is not 32 hex digits, as DataComp has them")
        half = (int(row["uid"][:16], 16), int(row["uid"][16:], 16))
        pairs += [half] * round(row["weight"])
        advance(1)
    uids = np.array(pairs, np.dtype("u8,u8"))
    np.save(folder / f"{selection.name}.npy", np.sort(uids))


def _csv(
    dataset: Dataset, selection: Selection, folder: Path, advance: Callable[[int], None]
) -> None:
    with open(folder / f"{selection.name}.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, _CSV)
        writer.writeheader()
        for row in selection.table.select(list(_CSV)).to_pylist():
            writer.writerow({name: for_csv(value) for name, value in row.items()})
            advance(1)


def _croissant(
    dataset: Dataset, selection: Selection, folder: Path, advance: Callable[[int], None]
) -> None:
    """The CSV, and Croissant 1.0 metadata (mlcommons.org/croissant) that describes it."""
    _csv(dataset, selection, folder, advance)
    listed = folder / f"{selection.name}.csv"
    (folder / "croissant.json").write_text(
        json_text(_description(selection, listed), indent=1) + "\n",
        encoding="utf-8",
    )


def _description(selection: Selection, listed: Path) -> dict[str, Any]:
    types = {"width": "sc:Integer", "height": "sc:Integer", "weight": "sc:Float", "url": "sc:URL"}
    fields = [
        {
            "@type": "cr:Field",
            "@id": f"rows/{name}",
            "name": name,
            "dataType": types.get(name, "sc:Text"),
            "source": {"fileObject": {"@id": listed.name}, "extract": {"column": name}},
        }
        for name in _CSV
    ]
    return {
        "@context": {
            "@language": "en",
            "@vocab": "https://schema.org/",
            "sc": "https://schema.org/",
            "cr": "http://mlcommons.org/croissant/",
            "dct": "http://purl.org/dc/terms/",
            "conformsTo": "dct:conformsTo",
            "column": "cr:column",
            "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
            "extract": "cr:extract",
            "field": "cr:field",
            "fileObject": "cr:fileObject",
            "recordSet": "cr:recordSet",
            "source": "cr:source",
        },
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": selection.name,
        "description": f"{len(selection)} image-caption pairs chosen by: {selection.sql}",
        "version": selection.digest[:16],
        "distribution": [
            {
                "@type": "cr:FileObject",
                "@id": listed.name,
                "name": listed.name,
                "contentUrl": listed.name,
                "encodingFormat": "text/csv",
                "contentSize": f"{listed.stat().st_size} B",
                "sha256": file_sha256(listed),
            }
        ],
        "recordSet": [{"@type": "cr:RecordSet", "@id": "rows", "name": "rows", "field": fields}],
    }


_WRITERS = {
    "webdataset": _webdataset,
    "datacomp": _datacomp,
    "csv": _csv,
    "croissant": _croissant,
}
