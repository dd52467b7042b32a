"""A folder of img2dataset or clip-retrieval -> a dataset.

Reads the folder and leaves it alone; writes a new dataset whose markers say that its stages were
adopted. The folder does not say which CLIP model made its vectors: whoever knows names it, or asks
by vector only. Killed, the same call goes on with the shards that are missing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frenchcat.curate import embed
from frenchcat.curate.adopt import sources
from frenchcat.curate.adopt.shards import PER_SHARD, link_shard, unit, write_rows
from frenchcat.curate.config import as_dict
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.errors import UserError
from frenchcat.curate.markers import Signature, record
from frenchcat.curate.stage import Progress, Silent

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

    from frenchcat.curate.clip.settings import ClipSettings

UNKNOWN = "unknown"
VERSION = 1  # of the signatures that stand for what other tools did


@dataclass(frozen=True)
class Adopted:
    """What was found, and made of it."""

    dataset: Dataset
    kind: str  # img2dataset | clip-retrieval
    rows: int
    notes: tuple[str, ...] = ()  # what a user should know

    @property
    def embedded(self) -> bool:
        """Whether there are vectors to index."""
        return self.kind == "clip-retrieval"


def adopt(
    folder: str | Path,
    out: str | Path,
    clip: ClipSettings | None = None,
    progress: Progress | None = None,
) -> Adopted:
    """Make a dataset at `out` of a folder; `clip` names the model that made its vectors.

    Raises `UserError` for a folder of no known kind, for vectors and metadata that do not match,
    and where the model's vectors have another length.
    """
    folder, progress = Path(folder).expanduser(), progress or Silent()
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    shards = sorted(path.stem for path in folder.glob("*.tar"))
    if not shards and not _is_clip_retrieval(folder):
        raise UserError(
            f"{folder} is neither of img2dataset (00000.tar, 00000.parquet) nor of clip-retrieval "
            "(img_emb/ or image.index, and metadata/)"
        )
    dataset = Dataset.create(out, folder.resolve().name)
    with dataset.lock():
        if shards:
            return _img2dataset(dataset, folder, shards, progress)
        return _clip_retrieval(dataset, folder, clip, progress)


def _is_clip_retrieval(folder: Path) -> bool:
    return any((folder / name).exists() for name in ("img_emb", "image.index"))


# -- img2dataset ---------------------------------------------------------------------------------


def _img2dataset(dataset: Dataset, folder: Path, shards: list[str], progress: Progress) -> Adopted:
    signature = Signature("download", VERSION, {"adopted": "img2dataset"})
    if lacking := [shard for shard in shards if not (folder / f"{shard}.parquet").exists()]:
        raise UserError(
            f"{folder / lacking[0]}.tar has no {lacking[0]}.parquet beside it; restore it, or "
            "download again with img2dataset"
        )
    done = set(dataset.shards("download"))
    progress.begin("adopt", len(shards) - len(done))
    for shard in shards:
        if shard not in done:
            counts = link_shard(dataset, folder, shard, signature)
            progress.advance(sum(counts.values()))
            progress.shard_done(shard, counts)
    progress.end()
    counts = record(dataset, signature, shards)
    return Adopted(dataset, "img2dataset", counts["downloaded"])


# -- clip-retrieval ------------------------------------------------------------------------------


def _clip_retrieval(
    dataset: Dataset, folder: Path, clip: ClipSettings | None, progress: Progress
) -> Adopted:
    pictures, texts = sources.vectors(folder, "image"), sources.vectors(folder, "text")
    assert pictures is not None
    if texts is not None and (len(texts), texts.dimension) != (len(pictures), pictures.dimension):
        raise UserError(
            f"{folder} has {len(pictures)} vectors of pictures and {len(texts)} of captions; "
            "they must be as many, and as long"
        )
    if (rows := _number(folder)) != len(pictures):
        raise UserError(
            f"{folder} has {len(pictures)} vectors and {rows} rows of metadata; "
            "they must be as many, in the same order"
        )
    notes = []
    if texts is None:
        notes.append("there are no vectors of captions: --by text compares with pictures, too")
    if not pictures.lossless:
        notes.append("the vectors come from an index that keeps them in part: figures are near")
    model = _model(folder, clip, pictures.dimension)
    if clip is None:
        notes.append("no model was named: search by vector only; --config names one")
    signatures = (
        Signature("download", VERSION, {"adopted": "clip-retrieval"}),
        Signature(embed.STAGE, VERSION, model),
    )
    shards = _write_all(dataset, folder, pictures, texts or pictures, signatures, progress)
    for signature in signatures:
        record(dataset, signature, shards)
    if clip is not None:
        dataset.update_manifest({"settings": {"clip": as_dict(clip)}})
    return Adopted(dataset, "clip-retrieval", len(pictures), tuple(notes))


def _model(folder: Path, clip: ClipSettings | None, dimension: int) -> dict[str, Any]:
    """What dataset.json says of the vectors."""
    said = {"dimension": dimension, "precision": "fp16"}
    if clip is None:
        return {"model": UNKNOWN, "weights": UNKNOWN, **said}
    from frenchcat.curate.clip.weights import find_weights

    weights = find_weights(clip)
    if weights.dimension != dimension:
        raise UserError(
            f"the vectors of {folder} have {dimension} numbers, those of {weights.name} "
            f"{weights.dimension}; name the model that made them"
        )
    return {"model": weights.name, "weights": weights.digest, **said}


def _write_all(
    dataset: Dataset,
    folder: Path,
    pictures: sources.StoredVectorFiles | sources.Indexed,
    texts: sources.StoredVectorFiles | sources.Indexed,
    signatures: tuple[Signature, Signature],
    progress: Progress,
) -> list[str]:
    done, shards, start = set(dataset.shards(embed.STAGE)), [], 0
    progress.begin("adopt", -(-len(pictures) // PER_SHARD))
    for number, rows in enumerate(_cut(sources.metadata(folder))):
        shard, count = f"{number:05d}", rows.num_rows
        if shard not in done:
            near = f"{folder}, rows from {start}"
            found = [unit(there.rows(start, count), near) for there in (pictures, texts)]
            write_rows(dataset, shard, rows, found[0], found[1], signatures)
        shards.append(shard)
        start += count
        progress.advance(count)
        progress.shard_done(shard, {"embedded": count})
    progress.end()
    return shards


def _number(folder: Path) -> int:
    return sum(table.num_rows for table in sources.metadata(folder))


def _cut(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """The rows of tables in tables of `PER_SHARD`, the last one shorter."""
    import pyarrow as pa

    held: list[pa.Table] = []
    size = 0
    for table in tables:
        held.append(table)
        size += table.num_rows
        while size >= PER_SHARD:
            whole = pa.concat_tables(held, promote_options="permissive")
            yield whole.slice(0, PER_SHARD)
            held, size = [whole.slice(PER_SHARD)], size - PER_SHARD
    if size:
        yield pa.concat_tables(held, promote_options="permissive")
