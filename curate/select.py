"""Selections: a condition over the catalog, frozen as sorted rows with a digest.

Reads the catalog and the shards' tars (headers only), writes ``selections/<name>.parquet``: key,
uid, shard, offset and size of the image in the shard's tar, caption, url, width, height, weight,
stored_sha256, and a `label` where one was asked for; in key order, with the SQL, the settings and
the digest in the schema's metadata.
Training, export and the service's filter read that file; its digest names the set ever after.

Dropped and removed rows are never selected. Cost: linear in rows; one header read per image of the
shards that are touched.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from frenchcat.curate import files, tars
from frenchcat.curate.adopted import stores_images
from frenchcat.curate.catalog import Catalog
from frenchcat.curate.command_text import shell_command
from frenchcat.curate.dataset import Dataset, digest_of
from frenchcat.curate.errors import AlreadyThere, NotFound, UserError
from frenchcat.curate.expression import checked
from frenchcat.curate.json_text import json_text
from frenchcat.curate.licence import licence_condition
from frenchcat.curate.markers import outputs_of
from frenchcat.curate.parquets import free, read_parquet
from frenchcat.curate.removals import removed_keys
from frenchcat.curate.sql_text import quoted
from frenchcat.curate.verdict.settings import REMOVED

if TYPE_CHECKING:
    import pyarrow as pa

FOLDER = "selections"
COLUMNS = ("key", "uid", "shard", "caption", "url", "width", "height")
NAMED = ("key", "caption", "stored_sha256", "weight")
"""The columns that a digest is of: which images, with which words, how often."""
LABEL = "label"
"""The column of a selection with labels, part of its digest; null: no label."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_METADATA = b"frenchcat"


@dataclass(frozen=True)
class Choice:
    """What a selection was asked for."""

    where: str | None = None  # a condition over the catalog; None: every kept row
    limit: int | None = None  # at most so many rows
    balance: str | None = None  # a column, or `domain`: as many rows of each value as can be
    weight: str | None = None  # an expression; None: every row once
    seed: int = 0  # which rows a limit keeps
    label: str | None = None  # an expression, what a classifier is to learn; None: no such column
    weighted_by: str | None = None  # what gave the weights in place of `weight` (`reweighted`)


@dataclass(frozen=True)
class Selection:
    """A frozen selection: its name, digest, how it was asked for and its rows."""

    name: str
    digest: str
    sql: str
    choice: Choice
    table: pa.Table

    def __len__(self) -> int:
        return int(self.table.num_rows)


def both_conditions(first: str | None, second: str | None) -> str | None:
    """The condition that two conditions hold; None: every row. Raises `BadCondition`."""
    if first is None or second is None:
        return second if first is None else first
    return f"{checked(first)} AND {checked(second)}"


def of_licences(where: str | None, licences: Sequence[str]) -> str | None:
    """The condition of the rows that meet `where` and state one of these licences.

    `where` as it is without any. Raises `UserError` for an empty licence, and `BadCondition`.
    """
    if not licences:
        return where
    only = licence_condition(licences)
    return only if where is None else f"{checked(where)} AND {only}"


def select(
    dataset: Dataset, name: str, choice: Choice | None = None, replace: bool = True
) -> Selection:
    """Choose rows and freeze them as `name`; the lock is held.

    Raises `UserError` for a bad name, condition, column or limit, or where no row meets it, and
    `AlreadyThere` where the name is another selection's and `replace` is False, as it is for what
    users ask.
    """
    made = chosen(dataset, name, choice)
    _put(dataset, made, replace)
    return made


def reweighted(
    dataset: Dataset,
    name: str,
    source: Selection,
    weights: Sequence[float],
    weighted_by: str,
    replace: bool = True,
) -> Selection:
    """Freeze the rows of `source` as `name` with other weights, one per row; the lock is held.

    `weighted_by` says in the file what gave them. Raises `UserError` for weights that are negative
    or not finite, and `AlreadyThere` as `select` does.
    """
    import pyarrow as pa

    at = source.table.schema.get_field_index("weight")
    table = source.table.set_column(at, "weight", pa.array(weights, pa.float64()))
    choice = dataclasses.replace(source.choice, weight=None, weighted_by=weighted_by)
    _check_weights(table, choice)
    made = Selection(name, _digest(table), source.sql, choice, table)
    _put(dataset, made, replace)
    return made


def chosen(dataset: Dataset, name: str, choice: Choice | None = None) -> Selection:
    """What `select` freezes, not written. Raises `UserError` as it does."""
    choice = choice or Choice()
    if not _NAME.fullmatch(name):
        raise UserError(
            f"{name!r} is not a name for a selection; use letters, digits, '.', '_' and '-'"
        )
    if choice.limit is not None and choice.limit < 1:
        raise UserError(f"the limit is {choice.limit}; give at least 1")
    if choice.balance is not None and choice.limit is None:
        raise UserError(
            f"--balance {choice.balance} spreads a number of rows over its values; "
            "say how many: --limit 10000"
        )
    with Catalog(dataset) as catalog:
        catalog.add_for(choice.where, choice.weight, choice.label)
        sql = sql_of(catalog, choice)
        rows = catalog.run(
            sql, " and ".join(filter(None, (choice.where, choice.weight, choice.label)))
        )
        if not rows.num_rows:
            raise UserError(_why_empty(catalog, choice.where))
    table = _placed(dataset, rows)
    _check_weights(table, choice)
    _check_labels(table, choice)
    return Selection(name, _digest(table), sql, choice, table)


def _put(dataset: Dataset, made: Selection, replace: bool) -> None:
    """Write a selection, over another of its name only if `replace` is true."""
    if not replace and made.name in names(dataset):
        _require_same(dataset, open_selection(dataset, made.name), made)
    _publish(dataset, made)


def _require_same(dataset: Dataset, there: Selection, made: Selection) -> None:
    """Raise `AlreadyThere` where two selections differ in their rows or in what was asked for."""
    if (there.digest, there.choice) == (made.digest, made.choice):
        return
    asked = "all kept rows" if there.choice.where is None else repr(there.choice.where)
    raise AlreadyThere(
        f"{dataset.root} has a selection {there.name!r} already, of {len(there)} rows ({asked}, "
        f"digest {there.digest[:16]}), and this one differs ({len(made)} rows, digest "
        f"{made.digest[:16]}); give another name, or replace that one (--replace)"
    )


def open_selection(dataset: Dataset, name: str) -> Selection:
    """A frozen selection. Raises `NotFound` where there is none of that name."""
    with dataset.as_local(_existing(dataset, name)) as path:
        table = read_parquet(path)
    about = json.loads(table.schema.metadata[_METADATA])
    table, digest = _present(dataset, table.replace_schema_metadata(), about)
    return Selection(name, digest, about["sql"], Choice(**about["choice"]), table)


def keys_of(dataset: Dataset, name: str) -> pa.Array:
    """The keys of a frozen selection, sorted; removed rows are absent. Raises `NotFound`."""
    import pyarrow as pa
    import pyarrow.compute as pc

    with dataset.as_local(_existing(dataset, name)) as path:
        keys = read_parquet(path, columns=["key"])["key"].combine_chunks()
    gone = pa.array(sorted(removed_keys(dataset)), keys.type)
    return keys.filter(pc.invert(pc.is_in(keys, gone)))


def version_of(dataset: Dataset, name: str) -> str:
    """Another one where another selection has taken the name. Raises `NotFound`."""
    import pyarrow.parquet as pq

    with dataset.as_local(_existing(dataset, name)) as path:
        digest: str = json.loads(pq.read_schema(path).metadata[_METADATA])["digest"]
    return digest


def compare(dataset: Dataset, one: str, other: str) -> tuple[int, int, int]:
    """How many rows are only in one selection, only in the other, in both. Raises `NotFound`."""
    import pyarrow.compute as pc

    ours, theirs = keys_of(dataset, one), keys_of(dataset, other)
    both = int(pc.sum(pc.is_in(ours, theirs)).as_py() or 0)
    return len(ours) - both, len(theirs) - both, both


def _existing(dataset: Dataset, name: str) -> str:
    """Where a selection lies. Raises `NotFound`."""
    relative = f"{FOLDER}/{name}.parquet"
    if not _NAME.fullmatch(name) or not dataset.exists(relative):
        known = ", ".join(names(dataset)) or "none yet"
        raise NotFound(f"{dataset.root} has no selection {name!r}; there are: {known}")
    return relative


def delete_selection(dataset: Dataset, name: str) -> Selection:
    """Delete a selection, and give what it was; the lock is held. Raises `NotFound`."""
    found = open_selection(dataset, name)
    dataset.remove(f"{FOLDER}/{name}.parquet")
    return found


def rename_selection(dataset: Dataset, name: str, new: str) -> Selection:
    """Give a selection another name; the lock is held. Its digest stays.

    Raises `NotFound`, `UserError` for a bad name, and `AlreadyThere` where the name is taken.
    """
    found = open_selection(dataset, name)
    if not _NAME.fullmatch(new):
        raise UserError(
            f"{new!r} cannot be a name; use letters, digits, dots, dashes and underscores"
        )
    if new in names(dataset):
        raise AlreadyThere(f"{dataset.root} has a selection {new!r} already; give another name")
    renamed = dataclasses.replace(found, name=new)
    _publish(dataset, renamed)
    dataset.remove(f"{FOLDER}/{name}.parquet")
    return renamed


def require_images(dataset: Dataset, selection: Selection) -> None:
    """Raise `UserError` where a selection's rows have no images: adopted with vectors alone."""
    if not any(selection.table["size"].to_pylist()):
        raise UserError(
            f"{dataset.root} was adopted without images, so the selection {selection.name!r} has "
            "none; export it as csv, croissant or datacomp, or build a dataset of its URLs"
        )


def purge(dataset: Dataset) -> None:
    """Rewrite the selections that hold removed rows, or whose images lie elsewhere now."""
    for name in names(dataset):
        with dataset.as_local(f"{FOLDER}/{name}.parquet") as path:
            before = read_parquet(path)
        found = open_selection(dataset, name)
        if not before.replace_schema_metadata().equals(found.table):
            _publish(dataset, found)


def _present(dataset: Dataset, table: pa.Table, about: dict[str, Any]) -> tuple[pa.Table, str]:
    """Without removed rows, and with the places of images in tars that were rewritten since.

    The digest names the rows that are left: a set that lost a row is another set.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    digest: str = about["digest"]
    removed = pa.array(sorted(removed_keys(dataset)), pa.string())
    gone = pc.is_in(table["key"], removed)
    if pc.any(gone).as_py():
        table = table.filter(pc.invert(gone))
        digest = _digest(table)
    here = {shard: tar for shard, tar in about["tars"].items() if shard in set(_shards(table))}
    if here != _tars(dataset, table):
        table = _placed(dataset, table)
    return table, digest


def _shards(table: pa.Table) -> list[str]:
    return sorted(set(table["shard"].to_pylist()))


def _tars(dataset: Dataset, table: pa.Table) -> dict[str, str]:
    """Shard -> digest of its tar, by which offsets are known to hold."""
    found = {}
    for shard in _shards(table):
        tar = outputs_of(dataset, "download", shard).get(files.TAR.of(shard))
        found[shard] = "" if tar is None else tar.sha256
    return found


def _digest(table: pa.Table) -> str:
    labels = (LABEL,) if LABEL in table.column_names else ()
    return digest_of([table[name].to_pylist() for name in (*NAMED, *labels)])


def names(dataset: Dataset) -> list[str]:
    """The selections of a dataset."""
    found = dataset.files(FOLDER)
    return [name.removesuffix(".parquet") for name in found if name.endswith(".parquet")]


def sql_of(catalog: Catalog, choice: Choice) -> str:
    """The whole query, as it is kept beside the rows. Raises `UserError` for a bad part."""
    there = catalog.columns()
    conditions = []
    if choice.where is not None:
        conditions.append(checked(choice.where))
    if catalog.judged:
        conditions.append("keep IS NOT FALSE")
    weight = "1.0" if choice.weight is None else checked(choice.weight)
    columns = [quoted(name) if name in there else f"NULL AS {name}" for name in COLUMNS]
    stored = "stored_sha256" if "stored_sha256" in there else "NULL::VARCHAR"
    columns.append(f"{stored} AS stored_sha256")
    columns.append(f"({weight})::DOUBLE AS weight")
    if choice.label is not None:
        columns.append(f"({checked(choice.label)})::VARCHAR AS {LABEL}")
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    chosen = ", ".join(columns)
    if choice.limit is None:
        return f"SELECT {chosen} FROM samples{where} ORDER BY key"
    # A row's turn depends on its key and the seed alone: the same rows whatever the threads.
    turn = f"md5(key || ':{int(choice.seed)}')"
    group = "1" if choice.balance is None else _group(catalog, choice.balance)
    ranking = f"row_number() OVER (PARTITION BY {group} ORDER BY {turn})"
    place, by_turn = quoted(free("place", there)), quoted(free("turn", there))
    ranked = f"SELECT *, {ranking} AS {place}, {turn} AS {by_turn} FROM samples{where}"
    taken = f"SELECT * FROM ({ranked}) ORDER BY {place}, {by_turn} LIMIT {int(choice.limit)}"
    return f"SELECT {chosen} FROM ({taken}) ORDER BY key"


def _why_empty(catalog: Catalog, where: str | None) -> str:
    """Who left nothing over: the condition, or the verdict's rules, each with its rows."""
    met, root = catalog.count(where), catalog.dataset.root
    said = "" if where is None else f" that meet {where!r}"
    if not met and where is None:
        return f"{root} has no stored row to select; see: {shell_command('info', root)}"
    if not met:
        return f"no row meets {where!r}: 0 of {catalog.count()} stored rows; loosen the condition"
    condition = "" if where is None else f" WHERE {checked(where)}"
    sql = (
        f"SELECT reason, count(*) AS n FROM samples{condition} GROUP BY reason ORDER BY -n, reason"
    )
    dropped = ", ".join(f"{row['reason']} {row['n']}" for row in catalog.run(sql).to_pylist())
    return f"the {met} rows{said} were dropped by verdicts: {dropped}; {_cure(root, dropped)}"


def _cure(root: str, dropped: str) -> str:
    """How rows of the commonest reason come back, as far as a rule dropped them."""
    reason = dropped.split(" ")[0]
    if reason == REMOVED or not reason.isidentifier():
        return f"see: {shell_command('info', root)}"
    off = shell_command("verdict", root, "--set", f"verdict.rules.{reason}=false")
    return f"to switch that rule off: {off}"


def _group(catalog: Catalog, column: str) -> str:
    if column == "domain":
        catalog.add_domains()
    elif column not in catalog.columns():
        known = ", ".join(("domain", *catalog.columns()))
        raise UserError(f"no column {column!r} to balance by; known: {known}")
    return quoted(column)


def _placed(dataset: Dataset, rows: pa.Table) -> pa.Table:
    """The rows with extension, offset and size of their image in its tar; 0 where it has none."""
    import pyarrow as pa

    places: dict[str, tars.Member] = {}
    told = zip(rows["key"].to_pylist(), rows["shard"].to_pylist(), strict=True)
    without: set[str] = set()
    for shard in sorted(set(rows["shard"].to_pylist())):
        relative = files.TAR.of(shard)
        if not stores_images(dataset, shard) and not dataset.exists(relative):
            without.add(shard)  # adopted without images
            continue
        with dataset.as_local(relative) as path:
            places |= tars.image_members(path)
    nowhere = tars.Member("", "", 0, 0)
    members: Sequence[tars.Member] = [
        nowhere if shard in without else places[key] for key, shard in told
    ]
    columns: dict[str, Any] = {name: rows[name] for name in ("key", "uid", "shard")}
    columns["extension"] = pa.array([member.extension for member in members])
    columns["offset"] = pa.array([member.offset for member in members], pa.int64())
    columns["size"] = pa.array([member.size for member in members], pa.int64())
    rest = ["caption", "url", "width", "height", "weight", "stored_sha256"]
    rest += [LABEL] if LABEL in rows.column_names else []
    return pa.table(columns | {name: rows[name] for name in rest})


def _check_weights(table: pa.Table, choice: Choice) -> None:
    import pyarrow.compute as pc

    good = pc.and_(pc.is_finite(table["weight"]), pc.greater_equal(table["weight"], 0))
    if table["weight"].null_count or not pc.all(good).as_py():
        raise UserError(
            f"the weight {choice.weight!r} is missing, negative or infinite for some row; "
            "give a number of at least 0 for each, e.g. coalesce(multiplicity, 1)"
        )


def _check_labels(table: pa.Table, choice: Choice) -> None:
    if choice.label is not None and table[LABEL].null_count == len(table):
        raise UserError(
            f"the label {choice.label!r} is null for all {len(table)} rows; give a text for some, "
            "e.g. CASE WHEN caption ILIKE '%flag%' THEN 'flag' ELSE 'other' END"
        )


def _publish(dataset: Dataset, made: Selection) -> None:
    import pyarrow.parquet as pq

    about: dict[str, Any] = {"sql": made.sql, "digest": made.digest, "choice": asdict(made.choice)}
    if made.choice.label is None:
        del about["choice"]["label"]  # a selection without labels is the file it always was
    if made.choice.weighted_by is None:
        del about["choice"]["weighted_by"]
    about["tars"] = _tars(dataset, made.table)
    metadata = {_METADATA: json_text(about, sort_keys=True)}
    with dataset.publish(f"selection-{made.name}") as publication:
        path = publication.path(f"{FOLDER}/{made.name}.parquet")
        pq.write_table(made.table.replace_schema_metadata(metadata), path, compression="zstd")
