"""A folder that other tools or people made -> a dataset; the folder is left as it is.

Reads the folder, writes a new dataset whose markers say that its stages were adopted. Faults of a
folder that are cheap to find are found before the dataset is made; an adoption that is refused
later deletes what it made. After an interruption the same call continues with the missing shards.
A dataset that holds something else is never written into.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from frenchcat.curate.adopt import clip_retrieval, images, img2dataset, source_shards
from frenchcat.curate.adopt.image_tree import Tree
from frenchcat.curate.adopt.left_out import LeftOut
from frenchcat.curate.adopt.shards import READING
from frenchcat.curate.adopt.texts import ColumnNames
from frenchcat.curate.command_text import shell_command
from frenchcat.curate.dataset import MANIFEST, Dataset
from frenchcat.curate.errors import FrenchcatError, UserError
from frenchcat.curate.manifest import ADOPTED
from frenchcat.curate.markers import Signature, counts_of, marker, record
from frenchcat.curate.stage import Progress, Silent
from frenchcat.curate.system_errors import check_space

if TYPE_CHECKING:
    from frenchcat.curate.clip.settings import ClipSettings

_LISTS = (".parquet", ".csv", ".tsv", ".jsonl", ".json", ".txt")
VERSION = 1  # of the signatures that stand for what other tools did


@dataclass(frozen=True)
class Adopted:
    """What was found, and made of it."""

    dataset: Dataset
    kind: str  # img2dataset | clip-retrieval | a folder of images
    rows: int  # stored
    notes: tuple[str, ...] = ()  # what a user should know

    @property
    def embedded(self) -> bool:
        """Whether there are vectors to index."""
        return self.kind == clip_retrieval.KIND


def has_vectors(folder: str | Path) -> bool:
    """Whether a folder brings its vectors, so that no model is needed to adopt it."""
    return clip_retrieval.is_clip_retrieval(Path(folder).expanduser())


def adopt(
    folder: str | Path,
    out: str | Path,
    clip: ClipSettings | None = None,
    progress: Progress | None = None,
    columns: ColumnNames | None = None,
) -> Adopted:
    """Make a dataset at `out` of a folder; `clip` names the model that made its vectors.

    `columns` names the columns of URLs and captions where they have no usual name. Raises
    `UserError` for a folder of no known kind, for files that are broken or do not fit together,
    where the model's vectors have another length, and where `out` holds something else; nothing is
    left behind then.
    """
    folder, progress = Path(folder).expanduser(), progress or Silent()
    names, left_out = columns or ColumnNames(), LeftOut()
    if folder.exists() and not folder.is_dir():
        raise UserError(
            f"{folder} is a file; give the folder that contains it; if it is a URL list: "
            f"{shell_command('build', folder)}"
        )
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; check the path")
    if (folder / MANIFEST).is_file() and (folder / "stages").is_dir():
        raise UserError(
            f"{folder} is a dataset of frenchcat already; nothing is to be adopted: "
            f"{shell_command('info', folder)}"
        )
    with tempfile.TemporaryDirectory(prefix="frenchcat-adopt-") as scratch:
        if clip_retrieval.is_clip_retrieval(folder):
            vectors = clip_retrieval.ClipRetrieval(folder, clip, names, left_out)
            with _dataset(out, folder, vectors.kind) as dataset:
                digests = dict.fromkeys(dataset.shards("download"), vectors.digest)
                _check_source(dataset, digests, names.digest)
                rows = vectors.write(dataset, progress)
            return Adopted(dataset, vectors.kind, rows, tuple(vectors.notes))
        found = _with_images(folder, names, Path(scratch), left_out)
        with _dataset(out, folder, found.kind) as dataset:
            rows = _write(dataset, found, names, progress)
        return Adopted(dataset, found.kind, rows, tuple(found.notes))


def _with_images(
    folder: Path, names: ColumnNames, scratch: Path, left_out: LeftOut
) -> img2dataset.Img2dataset | images.ImageFolder:
    if shards := source_shards.find(folder, left_out):
        return img2dataset.Img2dataset(folder, shards, names, left_out)
    if Tree.holds_images(folder):
        return images.ImageFolder(folder, names, scratch, left_out)
    inside = [path for path in sorted(folder.iterdir()) if path.is_dir()]
    near = next((p for p in inside if _known(p)), None)
    hint = f"; did you mean {near}?" if near else ""
    if not hint and any(path.suffix in _LISTS for path in folder.iterdir()):
        hint = "; if it holds URL lists, or parquet files with images: "
        hint += shell_command("build", folder)
    raise UserError(
        f"{folder} is not a folder of img2dataset (00000.tar, 00000.parquet) or clip-retrieval "
        f"(img_emb/ or image.index, and metadata/), and contains no image{hint}"
    )


def _known(folder: Path) -> bool:
    with contextlib.suppress(UserError, OSError):
        found = clip_retrieval.is_clip_retrieval(folder)
        return found or bool(source_shards.find(folder, LeftOut()))
    return False


def _write(
    dataset: Dataset,
    found: img2dataset.Img2dataset | images.ImageFolder,
    columns: ColumnNames,
    progress: Progress,
) -> int:
    """Publish the shards that are missing; gives the number of rows stored."""
    signature = Signature("download", VERSION, {ADOPTED: found.kind})
    names = found.names()
    digests = {name: found.digest(number) for number, name in enumerate(names)}
    _check_source(dataset, digests, columns.digest)
    done = set(dataset.shards("download"))
    todo = [number for number, name in enumerate(names) if name not in done]
    needed = sum(found.output_bytes(number, dataset) for number in todo)
    check_space(dataset.root, needed, f"adoption of {len(todo)} shards")
    progress.begin("adopt", len(todo))
    try:
        for number, name in enumerate(names):
            if name not in done:
                counts = found.write(dataset, name, number, signature)
                progress.advance(sum(counts.values()))
                progress.shard_done(name, counts)
    finally:
        progress.end()
    stored = sum(counts_of(dataset, "download", name).get("downloaded", 0) for name in names)
    if not stored:
        raise UserError(
            f"no image of this folder can be adopted ({'; '.join(found.notes) or 'it has none'}); "
            "see what it holds"
        )
    record(dataset, signature, names)
    return stored


def _check_source(dataset: Dataset, digests: dict[str, str], reading: str) -> None:
    """Raise `UserError` where a shard that is there was made of other files or columns."""
    for name in dataset.shards("download"):
        made = marker(dataset, "download", name)
        inputs = {} if made is None else made.inputs
        if inputs.get(READING, reading) != reading:  # older markers lack it
            raise UserError(
                f"{dataset.root} was adopted with other columns or captions; give the same "
                "options as then, or --out a new folder"
            )
        before = inputs.get("source")
        if name not in digests or (before is not None and before != digests[name]):
            raise UserError(
                f"{dataset.root} was adopted from other files (its shard {name} differs); "
                "give --out a new folder"
            )


@contextlib.contextmanager
def _dataset(out: str | Path, folder: Path, kind: str) -> Iterator[Dataset]:
    """The dataset at `out`, locked: a new one, or one that an adoption of this kind began.

    What was made is taken away again where the block raises a `FrenchcatError`.
    """
    fresh = not Dataset(str(out)).exists(MANIFEST)
    if fresh and "://" not in str(out) and _inside(out, folder):
        raise UserError(
            f"{out} is inside {folder}, which an adoption leaves as it is; give --out a folder "
            "outside it"
        )
    first = _first_missing(str(out))
    dataset = Dataset.create(out, folder.resolve().name)
    try:
        held = dataset.manifest().adopted_from
        done = dataset.manifest().entry("download").settings is not None
        if dataset.shards("lists") or (done and held != kind):
            what = "a URL list" if held is None else held
            raise UserError(
                f"{dataset.root} is a dataset made from {what}; give --out a new folder"
            )
        with dataset.lock():
            yield dataset
    except FrenchcatError:
        if fresh:
            _take_away(dataset, first)
        raise


def _inside(out: str | Path, folder: Path) -> bool:
    """Whether a local place lies in a folder, by whatever links."""
    place, around = os.path.realpath(os.path.expanduser(out)), os.path.realpath(folder)
    return os.path.commonpath([place, around]) == around != place


def _first_missing(out: str) -> Path | None:
    """The topmost folder that making `out` will make; None where it is there, or remote."""
    path = Path(os.path.abspath(os.path.expanduser(out)))
    if "://" in out or path.exists():
        return None
    return [p for p in (path, *path.parents) if not p.exists()][-1]


def _take_away(dataset: Dataset, first: Path | None) -> None:
    if not dataset.local:
        dataset.fs.rm(dataset.root, recursive=True)
    elif first is not None:
        shutil.rmtree(first)
    else:  # an empty folder was there
        for name in os.listdir(dataset.root):
            path = Path(dataset.path(name))
            shutil.rmtree(path) if path.is_dir() else path.unlink()
