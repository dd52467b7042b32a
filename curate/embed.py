"""The stage `embed`: shards -> CLIP embeddings (embeddings.py says what is written).

Reads ``shards/00000.tar`` and its sidecar. A batch never crosses a shard, so a shard's vectors do
not depend on what ran before. The trade-off: a shard's last batch may be short. Cost: linear in
images; memory is a few batches and one shard's vectors.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from frenchcat.curate import files
from frenchcat.curate.clip.settings import ClipSettings
from frenchcat.curate.config import as_dict, differences
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.embeddings import STAGE, write_shard
from frenchcat.curate.errors import Damaged, UserError
from frenchcat.curate.markers import Counts, Inputs, Signature, counts_of, marker, record_entry
from frenchcat.curate.parquets import read_parquet
from frenchcat.curate.redo import Redo, redo_of
from frenchcat.curate.run_stage import run_stage
from frenchcat.curate.stage import (
    Engine,
    Output,
    Progress,
    ShardFunction,
    StageReport,
)

if TYPE_CHECKING:
    import pyarrow as pa

    from frenchcat.curate.clip.model import Clip
    from frenchcat.curate.clip.weights import ClipWeights
    from frenchcat.curate.decode import Decoder

VERSION = 2  # 2: the bundled model has towers of its own; vectors differ in float32's last digits
_SHAPING = ("clip.model", "clip.pretrained", "clip.precision")  # that shape vectors
_Found = tuple[list[str], NDArray[np.float32], dict[str, str]]


@dataclass(frozen=True)
class EmbedStage:
    """The stage that `run_stage` runs; holds its own decoding processes."""

    clip: ClipSettings
    weights: ClipWeights
    rows: int = field(compare=False)  # of the whole dataset, by which compiling is decided
    in_process: bool = True

    @property
    def signature(self) -> Signature:
        """What shapes the vectors: the model and its precision, not how fast it runs."""
        settings = {
            "model": self.weights.name,
            "weights": self.weights.digest,
            "dimension": self.weights.dimension,
            "precision": self.clip.precision,
        }
        return Signature(STAGE, VERSION, settings)

    def inputs(self, dataset: Dataset, shard: str) -> Inputs:
        """A shard's vectors depend on its tar and its sidecar."""
        found = marker(dataset, "download", shard)
        if found is None:
            raise UserError(
                f"shard {shard} of {dataset.root} is not downloaded; "
                f"first: {dataset.fetch_command()}"
            )
        relatives = (files.TAR.of(shard), files.SIDECAR.of(shard))
        if relatives[0] not in found.outputs:
            raise UserError(
                f"shard {shard} of {dataset.root} was adopted without images, so it cannot be "
                "embedded again; its vectors stay as they are"
            )
        return {relative: found.outputs[relative].sha256 for relative in relatives}

    def output_bytes(self, dataset: Dataset, shard: str) -> float:
        """Two float16 vectors per image."""
        rows = counts_of(dataset, "download", shard).get("downloaded", 0)
        return 2 * 2 * self.weights.dimension * rows

    @contextlib.contextmanager
    def start(self, dataset: Dataset) -> Iterator[ShardFunction]:
        """Load the model, start the decoding processes."""
        from frenchcat.curate.clip.model import Clip
        from frenchcat.curate.decode import Decoder

        clip = Clip(self.clip, self.weights, self.rows)
        with Decoder(clip.preprocess, self.clip.decode_workers) as decoder:
            yield lambda shard, output: _embed_shard(dataset, clip, decoder, shard, output)


def embed(
    dataset: Dataset,
    settings: ClipSettings,
    engine: Engine | None = None,
    progress: Progress | None = None,
) -> StageReport:
    """Embed every shard that has no vectors of this model yet; the lock is held.

    Raises `UserError` where the weights cannot be had, or a shard's tar is broken or was never
    there.
    """
    from frenchcat.curate.clip.weights import find_weights

    shards = dataset.require_shards()
    rows = sum(counts_of(dataset, "download", shard).get("downloaded", 0) for shard in shards)
    stage = EmbedStage(settings, find_weights(settings), rows)
    with _other_model_forgotten(dataset, stage, shards):
        return run_stage(dataset, stage, shards, engine, progress)


def redo(dataset: Dataset, settings: ClipSettings, before: Mapping[str, Any] | None) -> Redo | None:
    """What embedding with these settings would do again; `before` is the section as remembered.

    None where nothing is to be asked. Raises `UserError` where the weights cannot be had.
    """
    from frenchcat.curate.clip.weights import find_weights

    shards = [shard for shard in dataset.shards("download") if marker(dataset, STAGE, shard)]
    if not shards:
        return None
    asked = as_dict(settings)
    changes = differences(ClipSettings, before or asked, asked, "clip.")
    found = {name: changes[name] for name in _SHAPING if name in changes}
    stage = EmbedStage(settings, find_weights(settings), rows=0)
    names = {
        "model": "clip.model",
        "precision": "clip.precision",
        "weights": "weights of the model",
    }
    return redo_of(dataset, stage, shards, names, found)


@contextlib.contextmanager
def _other_model_forgotten(
    dataset: Dataset, stage: EmbedStage, shards: Sequence[str]
) -> Iterator[None]:
    """As `_forget_other_model`; where no shard was embedded anew, the model's name comes back."""
    before, digests = dataset.manifest().stages.get(STAGE), _digests(dataset, shards)
    _forget_other_model(dataset, stage.signature)
    try:
        yield
    except BaseException:  # also for a file that holds no weights: the vectors there are still good
        if before is not None and _digests(dataset, shards) == digests:
            record_entry(dataset, STAGE, before)
        raise


def _digests(dataset: Dataset, shards: Sequence[str]) -> list[str | None]:
    made = (marker(dataset, STAGE, shard) for shard in shards)
    return [None if one is None else one.digest for one in made]


def _forget_other_model(dataset: Dataset, signature: Signature) -> None:
    # While one model's vectors replace another's, dataset.json must name neither: a build that is
    # killed half-way would leave both under the first one's name.
    if dataset.manifest().entry(STAGE).settings != signature.settings:
        record_entry(dataset, STAGE, None)


def _embed_shard(
    dataset: Dataset, clip: Clip, decoder: Decoder, shard: str, output: Output
) -> Counts:
    sidecar = _sidecar(dataset, shard)
    keys, vectors, failed = _pictures(dataset, clip, decoder, shard, output)
    rows = _rows_of(dataset, sidecar, keys)
    texts = clip.encode_texts([caption or "" for caption in rows["caption"].to_pylist()])
    whole = np.isfinite(vectors).all(axis=1) & np.isfinite(texts).all(axis=1)
    failed |= {keys[row]: "nan_embedding" for row in np.flatnonzero(~whole)}
    write_shard(output, shard, vectors[whole], texts[whole], rows.filter(whole), failed)
    return {"embedded": int(whole.sum()), "failed": len(failed)}


def _pictures(dataset: Dataset, clip: Clip, decoder: Decoder, shard: str, output: Output) -> _Found:
    """Keys, vectors (N, D) and failures of a shard's images."""
    from frenchcat.curate.tars import image_members

    keys: list[str] = []
    parts = [np.empty((0, clip.dimension), np.float32)]
    failed: dict[str, str] = {}
    with dataset.as_local(files.TAR.of(shard)) as tar:
        found = sorted(image_members(tar).values(), key=lambda member: member.key)
        for batch in decoder.batches(str(tar), found, clip.batch_size):
            keys += batch.keys
            failed |= batch.failed
            if batch.pixels is not None:
                parts.append(clip.encode_images(batch.pixels))
            output.advance(len(batch.keys) + len(batch.failed))
    return keys, np.concatenate(parts), failed


def _sidecar(dataset: Dataset, shard: str) -> pa.Table:
    import pyarrow as pa

    try:
        with dataset.as_local(files.SIDECAR.of(shard)) as path:
            return read_parquet(path)
    except (pa.ArrowInvalid, FileNotFoundError) as error:
        raise Damaged(
            f"broken sidecar: {dataset.path(f'shards/{shard}.parquet')} "
            f"({str(error).splitlines()[0][:120]}); delete it and run: {dataset.fetch_command()}"
        ) from None


def _rows_of(dataset: Dataset, sidecar: pa.Table, keys: list[str]) -> pa.Table:
    """The sidecar's rows of these keys, in their order."""
    import pyarrow as pa

    place = {key: row for row, key in enumerate(sidecar["key"].to_pylist())}
    missing = next((key for key in keys if key not in place), None)
    if missing is not None:
        raise UserError(
            f"image {missing} is in the shard's tar but not in its sidecar; "
            f"delete that shard's tar and run: {dataset.fetch_command()}"
        )
    return sidecar.take(pa.array([place[key] for key in keys], pa.int64()))
