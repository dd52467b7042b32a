"""One shard's scores: what still holds is taken over, the rest is computed and written.

Reads ``shards/00000.tar .parquet``, the shard's vectors and its present ``scores/00000.parquet``,
writes that file again. Its metadata keeps a digest per score, of its version, its settings and what
it read: columns whose digest still holds are not computed again. Columns of our scores that are
not asked for stay as they are, null for new rows.
Memory: one shard's vectors and one batch of images.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from frenchcat.curate import files
from frenchcat.curate.adopted import stores_images
from frenchcat.curate.command_text import shell_command
from frenchcat.curate.dataset import Dataset, digest_of
from frenchcat.curate.errors import UserError
from frenchcat.curate.markers import Counts, marker
from frenchcat.curate.parquets import read_parquet
from frenchcat.curate.promote import folded
from frenchcat.curate.score.builtin import COLUMNS
from frenchcat.curate.score.extra import Extra
from frenchcat.curate.score.kinds import Column, ImageScore, Measure, RowScore, Score, VectorScore
from frenchcat.curate.score.pictures import measured
from frenchcat.curate.score.settings import IDENTITY
from frenchcat.curate.stage import Output

if TYPE_CHECKING:
    import pyarrow as pa

_DIGESTS = b"frenchcat.scores"
_COLUMN = b"frenchcat.column"  # metadata of a field: the Column as JSON


def scores_path(shard: str) -> str:
    """Where a shard's scores lie."""
    return files.SCORES.of(shard)


def inputs_of(dataset: Dataset, score: Score | None, shard: str) -> dict[str, str]:
    """Relative path -> digest of what a score reads of a shard; the sidecar at least."""
    relatives = {files.SIDECAR.of(shard): "download"}
    if isinstance(score, ImageScore):
        relatives[files.TAR.of(shard)] = "download"
    if isinstance(score, VectorScore):
        emb = (files.IMG_EMB.of(shard), files.TEXT_EMB.of(shard), files.METADATA.of(shard))
        relatives |= dict.fromkeys(emb, "embed")
    found: dict[str, str] = {}
    for stage in sorted(set(relatives.values())):
        made = marker(dataset, stage, shard)
        if made is None:
            embed, fetch = shell_command("embed", dataset.root), dataset.fetch_command()
            raise UserError(
                f"shard {shard} of {dataset.root} has no {stage} yet, which the scores need; "
                f"first: {embed if stage == 'embed' else fetch}; or leave out the scores that read "
                "vectors"
            )
        wanted = [relative for relative, by in relatives.items() if by == stage]
        found |= {relative: made.outputs[relative].sha256 for relative in wanted}
    return found


def score_shard(
    dataset: Dataset,
    scores: Sequence[Score],
    loaded: dict[str, Measure],
    shard: str,
    output: Output,
) -> Counts:
    """Write a shard's scores; `loaded` keeps the networks from shard to shard."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = _stored_rows(dataset, shard)
    digests = {score.name: _digest(dataset, score, shard) for score in scores}
    columns, others = _kept(dataset, shard, scores, digests)
    todo = [score for score in scores if not columns.keys() >= set(_names(score))]
    for score in todo:
        if isinstance(score, RowScore):
            columns |= _typed(score, score.of_rows(rows))
    columns |= _of_vectors(dataset, shard, rows, [s for s in todo if isinstance(s, VectorScore)])
    looking = [s for s in todo if isinstance(s, ImageScore)]
    columns |= _of_pictures(dataset, shard, rows, looking, loaded, output)
    names = [name for score in scores for name in _names(score)]
    chosen = {**_identity(dataset, shard, rows), **{name: columns[name] for name in names}}
    table = _beside(_with_descriptions(pa.table(chosen), scores), others)
    kept = {_DIGESTS: json.dumps({**digests, **others.digests}, sort_keys=True).encode()}
    path = output.path(scores_path(shard))
    table = table.replace_schema_metadata(kept)
    pq.write_table(table, path, compression="zstd")
    return {"scored": rows.num_rows}


def _stored_rows(dataset: Dataset, shard: str) -> pa.Table:
    """The sidecar's rows of the stored images, in key order."""
    import pyarrow.compute as pc

    with dataset.as_local(files.SIDECAR.of(shard)) as path:
        rows = read_parquet(path)
    return rows.filter(pc.equal(rows["status"], "success")).sort_by("key")


def _digest(dataset: Dataset, score: Score, shard: str) -> str:
    return digest_of(
        {
            "score": score.name,
            "version": score.version,
            "settings": score.settings(),
            "inputs": inputs_of(dataset, score, shard),
        }
    )


def _kept(
    dataset: Dataset, shard: str, scores: Sequence[Score], digests: Mapping[str, str]
) -> tuple[dict[str, Any], _Others]:
    """The columns of the present file that would come out the same, and those of other scores.

    None of a damaged file.
    """
    import pyarrow as pa

    nothing = dict[str, Any](), _Others()
    if not dataset.exists(scores_path(shard)):
        return nothing
    try:
        with dataset.as_local(scores_path(shard)) as path:
            table = read_parquet(path)
    except (pa.ArrowException, OSError):
        return nothing
    had = json.loads((table.schema.metadata or {}).get(_DIGESTS, b"{}"))
    same = [score for score in scores if had.get(score.name) == digests[score.name]]
    columns = [column for score in same for column in _names(score)]
    kept = {name: table[name] for name in columns if name in table.column_names}
    return kept, _others_of(_stored_rows(dataset, shard), table, had, scores)


@dataclass(frozen=True)
class _Others:
    """What a file has of scores that are not asked for; it stays as it is."""

    table: pa.Table | None = None
    digests: Mapping[str, str] = field(default_factory=dict)


def _others_of(
    rows: pa.Table, table: pa.Table, digests: Mapping[str, str], scores: Sequence[Score]
) -> _Others:
    """Of our scores in a file those that are none of `scores`; null for rows that it lacks.

    Each keeps its digest, so that one whose images changed is made again when it is asked for. A
    head, a concept or a class of the user's own goes when the settings name it no more.
    """
    import pyarrow as pa

    taken = {folded(name) for score in scores for name in (score.name, *_names(score))}
    kept = [
        name
        for name in digests
        if name in COLUMNS
        and not taken & {name, *COLUMNS[name]}
        and set(COLUMNS[name]) <= set(table.column_names)
    ]
    place = {key: row for row, key in enumerate(table["key"].to_pylist())}
    wanted = pa.array([place.get(key) for key in rows["key"].to_pylist()], pa.int64())
    names = {column for name in kept for column in COLUMNS[name]}
    return _Others(
        table.select([name for name in table.column_names if name in names]).take(wanted),
        {name: digests[name] for name in kept},
    )


def _beside(table: pa.Table, others: _Others) -> pa.Table:
    """The table with the columns of others behind its own."""
    if others.table is not None:
        for column in others.table.schema:
            table = table.append_column(column, others.table[column.name])
    return table


def _identity(dataset: Dataset, shard: str, rows: pa.Table) -> dict[str, Any]:
    """Key and hashes: of the original bytes where the download kept it, of the stored ones."""
    import pyarrow as pa

    nothing = pa.nulls(rows.num_rows, pa.string())
    there = rows.column_names
    original = rows["sha256"] if "sha256" in there else nothing
    stored = rows["stored_sha256"] if "stored_sha256" in there else None
    if stored is None:
        stored = pa.array(_hashed(dataset, shard, rows["key"].to_pylist()), pa.string())
    return dict(zip(IDENTITY, (rows["key"], original, stored), strict=True))


def _hashed(dataset: Dataset, shard: str, keys: Sequence[str]) -> list[str | None]:
    from hashlib import sha256

    from frenchcat.curate.tars import image_members, read

    if not stores_images(dataset, shard) and not dataset.exists(files.TAR.of(shard)):
        return [None] * len(keys)  # adopted without images
    with dataset.as_local(files.TAR.of(shard)) as tar:
        found = {key: sha256(read(tar, at)).hexdigest() for key, at in image_members(tar).items()}
    return [found.get(key) for key in keys]


def _of_vectors(
    dataset: Dataset, shard: str, rows: pa.Table, scores: Sequence[VectorScore]
) -> dict[str, Any]:
    """Columns made of vectors; images that have none get None."""
    import pyarrow as pa

    if not scores:
        return {}
    with dataset.as_local(files.METADATA.of(shard)) as path:
        keys = read_parquet(path, columns=["image_path"])["image_path"].to_pylist()
    with dataset.as_local(files.IMG_EMB.of(shard)) as path:
        pictures = np.load(path).astype(np.float32)
    with dataset.as_local(files.TEXT_EMB.of(shard)) as path:
        texts = np.load(path).astype(np.float32)
    place = {key: row for row, key in enumerate(keys)}
    wanted = pa.array([place.get(key) for key in rows["key"].to_pylist()], pa.int64())
    columns: dict[str, Any] = {}
    for score in scores:
        made = _typed(score, score.of_vectors(pictures, texts))
        columns |= {name: column.take(wanted) for name, column in made.items()}
    return columns


def _of_pictures(
    dataset: Dataset,
    shard: str,
    rows: pa.Table,
    scores: Sequence[ImageScore],
    loaded: dict[str, Measure],
    output: Output,
) -> dict[str, Any]:
    """Columns made of pixels; images that do not decode get None."""
    if not scores:
        output.advance(rows.num_rows)
        return {}
    for score in scores:
        if score.name not in loaded:
            loaded[score.name] = score.load()
    with dataset.as_local(files.TAR.of(shard)) as tar:
        found = measured(tar, [loaded[score.name] for score in scores], output.advance)
    keys = rows["key"].to_pylist()
    columns: dict[str, Any] = {}
    for score in scores:
        made = {name: [found.get(key, {}).get(name) for key in keys] for name in _names(score)}
        columns |= _typed(score, made)
    return columns


def _typed(score: Score, made: Mapping[str, Any]) -> dict[str, Any]:
    import pyarrow as pa

    types = {column.name: pa.type_for_alias(column.type) for column in score.columns}
    return {name: pa.array(made[name], kind) for name, kind in types.items()}


def _names(score: Score) -> list[str]:
    return [column.name for column in score.columns]


def _with_descriptions(table: pa.Table, scores: Sequence[Score]) -> pa.Table:
    """The table; what code says of our columns, its fields say of those of the user's classes."""
    schema = table.schema
    for column in (column for s in scores if isinstance(s, Extra) for column in s.columns):
        at = schema.get_field_index(column.name)
        told = {_COLUMN: json.dumps(asdict(column), sort_keys=True).encode()}
        schema = schema.set(at, schema.field(at).with_metadata(told))
    return table.cast(schema)


def described(dataset: Dataset) -> dict[str, Column]:
    """Name -> column of the user's own scores, as the first file of scores describes them."""
    import pyarrow.parquet as pq

    scored = [name for name in dataset.files(files.SCORES.folder) if name.endswith(".parquet")]
    if not scored:
        return {}
    with dataset.as_local(f"{files.SCORES.folder}/{scored[0]}") as path:
        fields = [(field.name, field.metadata or {}) for field in pq.read_schema(path)]
    return {name: Column(**json.loads(told[_COLUMN])) for name, told in fields if _COLUMN in told}
