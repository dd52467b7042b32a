"""The stage `verdict`: the rules over each shard -> ``verdicts/00000.parquet``.

Reads the catalog (sidecars, scores, duplicates, rights), embeddings/failed/, the removal log and
the log of decisions; writes for every stored row, in key order::

    key      as everywhere
    keep     whether it is searched, selected and trained on
    reason   null where it is kept; else `removed`, `not_embedded:<why>`, `by_hand` (somebody has
             decided so, see curate/decisions.py), or the name of the first rule that drops it

The marker's counts say of each rule how many rows it dropped as the first, how many it would drop
alone, and for how many it is null (see rules.py). No model, no image: another rule costs seconds.
Cost: linear in rows, one shard in memory; every core on one shard after another.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from frenchcat.curate import files
from frenchcat.curate.catalog import Catalog
from frenchcat.curate.dataset import Dataset, digest_of
from frenchcat.curate.decisions import decided_by_shard
from frenchcat.curate.errors import UserError
from frenchcat.curate.markers import Counts, Inputs, Signature, outputs_of
from frenchcat.curate.parquets import text_array
from frenchcat.curate.run_stage import run_stage
from frenchcat.curate.stage import (
    Engine,
    Output,
    Progress,
    ShardFunction,
    StageReport,
)
from frenchcat.curate.verdict.dropped import not_embedded, reason_table, removed
from frenchcat.curate.verdict.rules import check_columns, check_rules, counts_sql, verdict_sql
from frenchcat.curate.verdict.settings import REMOVED, VerdictSettings, rules_of

if TYPE_CHECKING:
    import pyarrow as pa

STAGE = "verdict"
VERSION = 1
_DECIDED = "decided"
"""What a marker's inputs call the decisions about a shard's rows."""


@dataclass(frozen=True)
class VerdictStage:
    """The stage that `run_stage` runs."""

    rules: tuple[tuple[str, str], ...]  # name, condition; in order
    in_process: bool = True

    @property
    def signature(self) -> Signature:
        """The rules, in their order."""
        return Signature(STAGE, VERSION, {"rules": [list(rule) for rule in self.rules]})

    def inputs(self, dataset: Dataset, shard: str) -> Inputs:
        """What the catalog has of a shard, what was not embedded, what is removed."""
        wanted = {file.of(shard): file.stage for file in files.SHARD_FILES if file.judged}
        made = {stage: outputs_of(dataset, stage, shard) for stage in set(wanted.values())}
        found = {
            file: output.sha256
            for file, stage in wanted.items()
            if (output := made[stage].get(file)) is not None
        }
        found[REMOVED] = digest_of(removed(dataset, shard))
        # Only where there are some: without, shards that were judged before stay as they are.
        if by_hand := decided_by_shard(dataset).get(shard):
            found[_DECIDED] = digest_of(sorted(by_hand.items()))
        return found

    @contextlib.contextmanager
    def start(self, dataset: Dataset) -> Iterator[ShardFunction]:
        """Open the catalog; all rules are tried on its columns first."""
        rules = dict(self.rules)
        read = [folder for folder, file in files.joined().items() if file.judged]
        with Catalog(dataset, joined=read) as catalog:
            check_columns(catalog, rules)
            yield lambda shard, output: _judge(catalog, rules, shard, output)


def verdict(
    dataset: Dataset,
    settings: VerdictSettings | None = None,
    engine: Engine | None = None,
    progress: Progress | None = None,
    again: bool = False,
) -> StageReport:
    """Judge every shard whose verdicts are missing or out of date, or all; the lock is held.

    Raises `UserError` where nothing was downloaded, and for a rule that is not a condition over the
    catalog's columns; what was there before stays then.
    """
    rules = rules_of(settings or VerdictSettings())
    check_rules(rules)
    shards = dataset.require_shards()
    stage = VerdictStage(tuple(rules.items()))
    return run_stage(dataset, stage, shards, engine, progress, shards if again else ())


def judge_again(dataset: Dataset) -> StageReport:
    """Judge by the rules of the last time the shards whose rows were decided about since.

    The lock is held. Where nothing was judged before, there are no rules.
    """
    entry = dataset.manifest().entry(STAGE)
    rules = tuple((str(name), str(sql)) for name, sql in entry.setting("rules", []))
    return run_stage(dataset, VerdictStage(rules), dataset.shards("download"))


def _judge(catalog: Catalog, rules: Mapping[str, str], shard: str, output: Output) -> Counts:
    import pyarrow.parquet as pq

    duck = catalog.duck
    gone = dict.fromkeys(removed(catalog.dataset, shard), REMOVED)
    duck.register("removed", reason_table(gone))
    duck.register("failed", reason_table(not_embedded(catalog.dataset, shard)))
    duck.register("decided", _table(decided_by_shard(catalog.dataset).get(shard, {})))
    sql = verdict_sql(catalog.of_shard(shard), rules)
    try:
        found = catalog.run(sql, "a rule")
    except UserError:
        _blame(catalog, rules, shard)
        raise
    duck.register("verdict", found)
    counts = duck.sql(counts_sql(rules)).to_arrow_table().to_pylist()[0]
    written = duck.sql("SELECT key, reason IS NULL AS keep, reason FROM verdict").to_arrow_table()
    pq.write_table(written, output.path(files.VERDICTS.of(shard)), compression="zstd")
    output.advance(written.num_rows)
    return {name: int(number) for name, number in counts.items()}


def _blame(catalog: Catalog, rules: Mapping[str, str], shard: str) -> None:
    """Raise for the first rule that fails by itself, naming it."""
    for name, condition in rules.items():
        try:
            catalog.run(verdict_sql(catalog.of_shard(shard), {name: condition}), condition)
        except UserError as error:
            raise UserError(f"rule {name}: {error}") from None


def _table(decisions: Mapping[str, bool]) -> pa.Table:
    import pyarrow as pa

    keep = pa.array(list(decisions.values()), pa.bool_())
    return pa.table({"key": text_array(decisions), "keep": keep})
