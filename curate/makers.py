"""Which stage makes a column that a dataset lacks, and the commands that do it.

Reads which stages have run and what dataset.json remembers, writes nothing. A condition or a rule
that names such a column is told what to run instead of what else there is.
"""

from __future__ import annotations

from collections.abc import Collection

from frenchcat.curate import files
from frenchcat.curate.adopted import without_images
from frenchcat.curate.command_text import shell_command
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.promote import folded
from frenchcat.curate.score_table import BUILTIN

_EMBED = files.METADATA.stage
_AFTER = {
    files.SCORES.stage: (_EMBED,),
    files.DUPLICATES.stage: (_EMBED, files.SCORES.stage),
    files.VERDICTS.stage: (),
}
"""Stage -> the stages without which it does not run, as it is by default."""


def how_to_make(dataset: Dataset, columns: Collection[str]) -> str | None:
    """What to run, or to do, for the columns among `columns` that a stage makes.

    None if no stage makes any of them.
    """
    wanted = {folded(column) for column in columns}
    scores = [name for name in BUILTIN if wanted & _columns_of(name)]
    blind = [name for name in scores if BUILTIN[name].images and without_images(dataset)]
    scores = [name for name in scores if name not in blind]
    made = {file.stage: wanted & {*map(folded, file.columns)} for file in files.joined().values()}
    asked = [stage for stage in _AFTER if made[stage] or (stage == files.SCORES.stage and scores)]
    if not asked and blind:
        return "the dataset was adopted without images, so leave the rule or condition out"
    if not asked:
        return _without_ledger(wanted)
    before = [stage for one in asked for stage in _AFTER[one] if not dataset.shards(stage)]
    commands = [_command(dataset, stage, scores) for stage in dict.fromkeys((*before, *asked))]
    return f"run {', then '.join(commands)}"


def score_command(dataset: Dataset, scores: Collection[str]) -> str:
    """The command that makes these scores, whatever scores the dataset was made with."""
    settings = dataset.manifest().settings.get("score", {})
    chosen = settings.get("scores", scores)
    if set(scores) <= set(chosen):
        return shell_command("score", dataset.root)
    listed = ", ".join(f'"{one}"' for one in dict.fromkeys((*chosen, *scores)))
    return shell_command("score", dataset.root, "--set", f"score.scores=[{listed}]")


def _columns_of(score: str) -> set[str]:
    more = {files.CAPTION_SIMILARITY} if score == "similarity" else set()
    return {*BUILTIN[score].columns} | more


def _command(dataset: Dataset, stage: str, scores: Collection[str]) -> str:
    if stage == files.SCORES.stage:
        return score_command(dataset, scores)
    return shell_command(stage, dataset.root)


def _without_ledger(wanted: set[str]) -> str | None:
    if wanted & {"opted_out", "synthetic"}:
        return "the dataset has no ledger of rights, as a download makes one; leave it out"
    return None
