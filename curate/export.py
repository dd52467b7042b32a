"""A selection in the formats that others read: webdataset tars, DataComp uids, CSV, Croissant,
credits, a Lance table.

Reads a selection and the shards' tars, writes into a new or empty folder, under a temporary name
first, so that a folder that is there is whole. Every format has the weights and labels that were
chosen, or says that it leaves them out; weights become repeats only where the format means them so
(DataComp: a uid as often as its weight, rounded). A row that a format cannot hold is refused by
reason and counted. Cost: linear in rows; the tars are copied member by member, memory is one image.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import shutil
import tarfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from frenchcat.curate import files, tars
from frenchcat.curate.atomic import move_folder
from frenchcat.curate.command_text import shell_command
from frenchcat.curate.credits import Credits, credits_of, licence_counts, write_credits
from frenchcat.curate.croissant import described
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.errors import UserError
from frenchcat.curate.json_text import json_text
from frenchcat.curate.lance_table import require_lance, write_lance
from frenchcat.curate.outputs import check_folder_name, check_outside
from frenchcat.curate.safe_text import for_csv
from frenchcat.curate.select import LABEL, Selection, open_selection, require_images
from frenchcat.curate.system_errors import check_space, check_writable, writing

FORMATS = ("webdataset", "datacomp", "csv", "croissant", "credits", "lance")
_BY_ENDING = {".csv": "csv", ".npy": "datacomp", ".tar": "webdataset", ".html": "credits"}
"""What is meant by a folder that is named like a file of a format."""
SAMPLES_PER_TAR = 10_000
_CSV = ("key", "uid", "url", "caption", "width", "height", "weight")
_CREDIT = ("author", "licence", "licence_url")
"""Columns of Croissant's csv that say whose an image is."""
NO_IMAGE, NO_UID, NO_WEIGHT = "no_image", "no_uid", "weight_rounds_to_0"
"""Why a row is refused: no image in its tar; no uid of 32 hex digits; repeated zero times."""
Advance = Callable[[int], None]


@dataclass
class Exported:
    """What an export came to."""

    folder: Path
    format: str
    rows: int = 0  # of the selection that are in it
    bytes: int = 0  # of all files
    refused: Counter[str] = field(default_factory=Counter)  # reason -> rows
    left_out: list[str] = field(default_factory=list)  # what the format has no place for

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "folder": str(self.folder),
            "format": self.format,
            "rows": self.rows,
            "bytes": self.bytes,
            "refused": dict(self.refused),
            "left_out": self.left_out,
        }


def export(
    dataset: Dataset,
    name: str,
    to: str | Path,
    format: str = "webdataset",
    advance: Advance | None = None,
    told: Callable[[Exported], None] | None = None,
) -> Path:
    """Write a selection into the new or empty folder `to`; gives the folder.

    `advance` is told of rows as they are done, `told` what it came to. Raises `UserError` for an
    unknown selection or format, where `to` holds something, lies in a dataset or is named like a
    file, and where every row is refused.
    """
    if format not in FORMATS:
        raise UserError(f"no format {format!r}; there are: {', '.join(FORMATS)}")
    if format == "lance":
        require_lance()
    selection = open_selection(dataset, name)
    folder = Path(to)
    meant = _BY_ENDING.get(folder.suffix.lower(), format)
    words = ("export", dataset.root, name, "--to", folder.with_suffix(""), "--format", meant)
    check_folder_name(folder, "--to", shell_command(*words))
    made = Exported(folder, format)
    needed, what = _bytes(selection, format), f"{format} of {len(selection)} rows"
    with new_folder(to, needed, what) as partial:
        writer = _WRITERS[format]
        writer(dataset, selection, partial, made, advance or (lambda rows: None))
        made.rows = len(selection) - made.refused.total()
        if not made.rows:
            raise UserError(_all_refused(selection, made))
        made.bytes = sum(path.stat().st_size for path in partial.rglob("*") if path.is_file())
    if told is not None:
        told(made)
    return made.folder


@contextlib.contextmanager
def new_folder(to: str | Path, needed: int, what: str, option: str = "--to") -> Iterator[Path]:
    """A folder to write into, which becomes `to` when that was done; `to` is new or empty.

    Raises `UserError` where `to` holds something, and `NoSpace` where its disk cannot hold the
    `needed` bytes of `what`.
    """
    folder = Path(to)
    check_new(folder, option)
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    check_writable(folder.parent, f"folder with {option}")
    check_space(folder.parent, needed, what)
    try:
        with writing(folder, f"name another folder with {option}"):
            partial.mkdir(parents=True)
            yield partial
            if folder.exists():
                folder.rmdir()  # empty, as was seen above
            move_folder(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def check_new(folder: Path, option: str = "--to") -> None:
    """Raise `UserError` where a folder is not new or empty, lies in a dataset, or is named like a
    file.
    """
    if held := _held(folder):
        raise UserError(f"{folder} already exists and contains {held}; name a new folder")
    check_folder_name(folder, option)
    check_outside(folder, option)


_MEMBER = 512  # bytes of a tar before each member, and to which it is filled up


def _bytes(selection: Selection, format: str) -> int:
    """What an export will take at least."""
    import pyarrow.compute as pc

    rows = len(selection)
    if format == "webdataset":
        images = sum(size + _MEMBER for size in selection.table["size"].to_pylist())
        return int(images) + rows * 2 * _MEMBER  # its json
    if format == "lance":
        return int(sum(selection.table["size"].to_pylist()))  # images as they are, vectors beside
    if format == "datacomp":
        return 16 * rows
    texts = (selection.table[name] for name in ("key", "uid", "url", "caption"))
    lengths = (pc.sum(pc.binary_length(text)).as_py() or 0 for text in texts)
    return sum(lengths) + rows * len(_CSV)


def _held(folder: Path) -> str | None:
    """What lies where an export is to go; None where there is nothing."""
    if folder.is_dir():
        return next((f"{path.name!r}" for path in sorted(folder.iterdir())), None)
    return "a file" if folder.exists() or folder.is_symlink() else None


def _all_refused(selection: Selection, made: Exported) -> str:
    reasons = ", ".join(f"{reason} {number}" for reason, number in made.refused.items())
    return (
        f"{made.format} can hold no row of the selection {selection.name!r} ({reasons}); "
        "export it in another format, such as csv"
    )


def _weighted(selection: Selection) -> bool:
    """Whether some row has another weight than 1."""
    return any(weight != 1 for weight in selection.table["weight"].to_pylist())


def _labelled(selection: Selection) -> bool:
    return LABEL in selection.table.column_names


def _webdataset(
    dataset: Dataset, selection: Selection, folder: Path, made: Exported, advance: Advance
) -> None:
    """All members of the selected samples, in key order, in tars of SAMPLES_PER_TAR.

    The text is the selection's caption; json has its weight and label, where some were chosen.
    """
    require_images(dataset, selection)
    samples = _written_samples(dataset, selection)
    total = len(selection)
    for number, start in enumerate(range(0, total, SAMPLES_PER_TAR)):
        with tarfile.open(folder / f"{number:05d}.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
            for _ in range(min(SAMPLES_PER_TAR, total - start)):
                key, members = next(samples)
                for extension, data in members.items():
                    tars.add(tar, f"{key}.{extension}", data)
                made.refused[NO_IMAGE] += not members
                advance(1)


def webdataset_tar(dataset: Dataset, selection: Selection) -> Iterator[bytes]:
    """One tar of a selection's samples, as `webdataset` writes several, in parts as it is made.

    A row without an image is left out.
    """
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w|", format=tarfile.USTAR_FORMAT) as tar:
        for key, members in _written_samples(dataset, selection):
            for extension, data in members.items():
                tars.add(tar, f"{key}.{extension}", data)
            yield made.getvalue()
            made.seek(0)
            made.truncate()
    yield made.getvalue()


def _written_samples(
    dataset: Dataset, selection: Selection
) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Key, and extension -> bytes of each sample; no member where a row has no image."""
    chosen = [name for name, there in _chosen(selection).items() if there]
    rows = selection.table.select(["key", "caption", *chosen]).to_pylist()
    for row, found in zip(rows, _samples(dataset, selection), strict=True):
        pictured = any(member.extension in tars.IMAGE_EXTENSIONS for member, _ in found)
        yield row["key"], _said(row, chosen, found) if pictured else {}


def _chosen(selection: Selection) -> dict[str, bool]:
    """Weight and label: whether some were chosen."""
    return {"weight": _weighted(selection), LABEL: _labelled(selection)}


def _said(
    row: Mapping[str, Any], chosen: list[str], found: list[tuple[tars.Member, bytes]]
) -> dict[str, bytes]:
    """Extension -> bytes of a sample's members, with what the selection says of it."""
    members = {member.extension: data for member, data in found}
    if row["caption"] is not None:
        members["txt"] = row["caption"].encode("utf-8", "replace")
    if chosen:
        about = json.loads(members.get("json", b"{}"))
        about = about if isinstance(about, dict) else {"json": about}
        about |= {name: row[name] for name in chosen}
        members["json"] = json_text(about, indent=4).encode()
    return members


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


def _datacomp(
    dataset: Dataset, selection: Selection, folder: Path, made: Exported, advance: Advance
) -> None:
    """DataComp's subset file: the uids' halves as two uint64, sorted, repeated by weight."""
    pairs = []
    for row in selection.table.select(["uid", "weight"]).to_pylist():
        half, times = _halves(row["uid"]), round(row["weight"])
        if half is None:
            made.refused[NO_UID] += 1
        elif not times:
            made.refused[NO_WEIGHT] += 1
        else:
            pairs += [half] * times
        advance(1)
    if _labelled(selection):
        made.left_out.append("labels, for which DataComp's file has no place; csv has them")
    uids = np.array(pairs, np.dtype("u8,u8"))
    np.save(folder / f"{selection.name}.npy", np.sort(uids))


def _halves(uid: str | None) -> tuple[int, int] | None:
    """A uid of 32 hex digits as two numbers; None for another."""
    if uid is None or len(uid) != 32:
        return None
    try:
        return int(uid[:16], 16), int(uid[16:], 16)
    except ValueError:
        return None


def _columns(selection: Selection) -> list[str]:
    """Of the csv."""
    return [*_CSV, LABEL] if _labelled(selection) else list(_CSV)


def _csv(
    dataset: Dataset, selection: Selection, folder: Path, made: Exported, advance: Advance
) -> None:
    columns = _columns(selection)
    rows = selection.table.select(columns).to_pylist()
    _write_csv(folder / f"{selection.name}.csv", columns, rows, advance)


def _write_csv(
    path: Path, columns: list[str], rows: Iterable[Mapping[str, Any]], advance: Advance
) -> None:
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        for row in rows:
            writer.writerow({name: for_csv(value) for name, value in row.items()})
            advance(1)


def _croissant(
    dataset: Dataset, selection: Selection, folder: Path, made: Exported, advance: Advance
) -> None:
    """The CSV with each row's credit, and Croissant's metadata that describes it."""
    rows = {row.key: row for row in credits_of(dataset, _keys(selection))}
    columns = [*_CSV, *_CREDIT, *_columns(selection)[len(_CSV) :]]
    listed = folder / f"{selection.name}.csv"
    own = selection.table.select(_columns(selection)).to_pylist()
    told = ({**row, **{name: getattr(rows[row["key"]], name) for name in _CREDIT}} for row in own)
    _write_csv(listed, columns, told, advance)
    licences = licence_counts(row.licence for row in rows.values())
    about = described(dataset, selection, listed, columns, licences)
    (folder / "croissant.json").write_text(json_text(about, indent=1) + "\n", encoding="utf-8")


def _credits(
    dataset: Dataset, selection: Selection, folder: Path, made: Exported, advance: Advance
) -> None:
    rows = credits_of(dataset, _keys(selection))
    write_credits(Credits(selection.name, rows, about={"digest": selection.digest}), folder)
    advance(len(rows))


def _lance(
    dataset: Dataset, selection: Selection, folder: Path, made: Exported, advance: Advance
) -> None:
    require_images(dataset, selection)
    samples = _samples(dataset, selection)
    refused, left_out = write_lance(dataset, selection, samples, folder, advance)
    made.refused[NO_IMAGE] += refused
    made.left_out += left_out


def _keys(selection: Selection) -> dict[str, None]:
    return dict.fromkeys(selection.table["key"].to_pylist())


_WRITERS = {
    "webdataset": _webdataset,
    "datacomp": _datacomp,
    "csv": _csv,
    "croissant": _croissant,
    "credits": _credits,
    "lance": _lance,
}
