"""`run_stage`: a stage over many shards, on an engine; what is up to date is skipped.

It owns resume and progress; where the shards run is the engine's (engines.py). Cost: one small file
read per shard to find that there is nothing to do.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from frenchcat.curate.dataset import Dataset
from frenchcat.curate.engines import run_local, run_ray
from frenchcat.curate.markers import record
from frenchcat.curate.stage import (
    Engine,
    Progress,
    Silent,
    SizedStage,
    Stage,
    StageReport,
    up_to_date,
)
from frenchcat.curate.system_errors import check_space


def run_stage(
    dataset: Dataset,
    stage: Stage,
    shards: Sequence[str],
    engine: Engine | None = None,
    progress: Progress | None = None,
    again: Collection[str] = (),
) -> StageReport:
    """Run a stage over the shards whose output is missing or out of date; the lock is held.

    Those named in `again` are worked on in any case.

    Raises what the stage raises, after the shards already at work have ended; what they published
    stays, so the same call again goes on. Raises `UserError` where Ray is asked for and missing,
    `NoSpace` where the disk cannot hold what the stage expects to write.
    """
    engine, progress = engine or Engine(), progress or Silent()
    signature, redo = stage.signature, frozenset(again)
    todo = [shard for shard in shards if shard in redo or not up_to_date(dataset, stage, shard)]
    if isinstance(stage, SizedStage):
        needed = sum(stage.output_bytes(dataset, shard) for shard in todo)
        check_space(dataset.root, needed, f"{signature.name} of {len(todo)} shards")
    progress.begin(signature.name, len(todo))
    try:
        if todo:
            run = run_ray if engine.kind == "ray" else run_local
            run(dataset, stage, todo, engine, progress)
    finally:
        progress.end()
    counts = record(dataset, signature, shards)
    return StageReport(signature.name, len(todo), len(shards) - len(todo), counts)
