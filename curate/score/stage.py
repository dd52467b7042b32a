"""Shards -> scores, one row per stored image.

Reads ``shards/00000.tar .parquet`` and the shard's vectors, writes ``scores/00000.parquet``: key,
the hashes of the original and of the stored bytes, then the columns of each score, in key order.

The file's metadata keeps a digest a score, of its version, its settings and what it read. When a
shard is redone, columns whose digest still holds are taken over from the old file: a new concept
or another head costs a pass over the vectors, not the images again.
Cost: linear in images; one process per core, each with its own networks.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

from frenchcat.curate import files
from frenchcat.curate.adopted import TEXT_VECTORS, without_images
from frenchcat.curate.clip.settings import ClipSettings
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.embeddings import STAGE as EMBED
from frenchcat.curate.embeddings import model_of, require_same_model
from frenchcat.curate.markers import Inputs, Signature
from frenchcat.curate.run_stage import run_stage
from frenchcat.curate.score.builtin import SCORES
from frenchcat.curate.score.concept import Concept, with_direction
from frenchcat.curate.score.extra import load_extra
from frenchcat.curate.score.head import make_head
from frenchcat.curate.score.kinds import ImageScore, Measure, Score
from frenchcat.curate.score.settings import ScoreSettings
from frenchcat.curate.score.shard import inputs_of, score_shard
from frenchcat.curate.score.similarity import Similarity
from frenchcat.curate.stage import Engine, Progress, ShardFunction, StageReport, up_to_date

STAGE = "score"
VERSION = 1


@dataclass(frozen=True)
class ScoreStage:
    """The stage that `run_stage` runs."""

    scores: tuple[Score, ...]
    in_process: bool = False

    @property
    def signature(self) -> Signature:
        """Every score with its version and settings."""
        settings = {s.name: {"version": s.version, **s.settings()} for s in self.scores}
        return Signature(STAGE, VERSION, settings)

    def inputs(self, dataset: Dataset, shard: str) -> Inputs:
        """What the chosen scores read of a shard."""
        found: dict[str, str] = {}
        for score in self.scores:
            found |= inputs_of(dataset, score, shard)
        return found or inputs_of(dataset, None, shard)

    @contextlib.contextmanager
    def start(self, dataset: Dataset) -> Iterator[ShardFunction]:
        """Networks are loaded when the first image needs them."""
        loaded: dict[str, Measure] = {}
        yield lambda shard, output: score_shard(dataset, self.scores, loaded, shard, output)


def score(
    dataset: Dataset,
    settings: ScoreSettings,
    clip: ClipSettings | None = None,
    engine: Engine | None = None,
    progress: Progress | None = None,
) -> StageReport:
    """Score every shard whose scores are missing or out of date; the lock is held.

    `clip` is the dataset's model, needed for concepts. What needs images is left out, with a note,
    where the dataset was adopted without. Raises `UserError` where vectors are wanted and missing,
    a head does not fit, or `clip` is another model than the vectors'.
    """
    shards = dataset.require_shards()
    scores, notes = _possible(dataset, tuple(_chosen(dataset, settings)))
    stage = ScoreStage(scores)
    if not all(up_to_date(dataset, stage, shard) for shard in shards):
        stage = replace(stage, scores=_directed(dataset, stage.scores, clip))
    return replace(run_stage(dataset, stage, shards, engine, progress), notes=notes)


# -- which scores --------------------------------------------------------------------------------


def _chosen(dataset: Dataset, settings: ScoreSettings) -> Iterator[Score]:
    for name in settings.scores:
        yield SCORES[name]
    if settings.heads:
        model = model_of(dataset)
        for head in settings.heads:
            yield make_head(head, int(model["dimension"]), str(model["model"]))
    for concept, prompts in settings.concepts.items():
        yield Concept(concept, prompts)
    yield from load_extra(settings, _listed(dataset))


def _possible(
    dataset: Dataset, scores: tuple[Score, ...]
) -> tuple[tuple[Score, ...], tuple[str, ...]]:
    """The scores that the dataset has the input of, and a note about each kind of the others."""
    looking: list[str] = []
    comparing: list[str] = []
    if without_images(dataset):
        looking = [score.name for score in scores if isinstance(score, ImageScore)]
        if dataset.manifest().entry(EMBED).setting(TEXT_VECTORS) == "image":
            comparing = [score.name for score in scores if isinstance(score, Similarity)]
    notes = []
    if looking:
        notes.append(f"{', '.join(looking)}: not measured, the dataset was adopted without images")
    if comparing:
        notes.append(f"{comparing[0]}: not measured, it was adopted without vectors of captions")
    left = tuple(score for score in scores if score.name not in (*looking, *comparing))
    return left, tuple(notes)


def _listed(dataset: Dataset) -> list[str]:
    """The columns of the sidecars, the list's own among them."""
    import pyarrow.parquet as pq

    with dataset.as_local(files.SIDECAR.of(dataset.shards("download")[0])) as path:
        return list(pq.read_schema(path).names)


def _directed(
    dataset: Dataset, scores: tuple[Score, ...], clip: ClipSettings | None
) -> tuple[Score, ...]:
    """The scores, concepts with their prompts encoded: in this process, once."""
    if not any(isinstance(score, Concept) for score in scores):
        return scores
    from frenchcat.curate.clip.model import load_clip

    model = load_clip(clip or ClipSettings())
    require_same_model(dataset, model)
    return tuple(with_direction(s, model) if isinstance(s, Concept) else s for s in scores)
