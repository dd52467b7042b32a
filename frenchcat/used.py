"""In which rows, selections and training runs an image is: what `OpenDataset.used` returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from frenchcat.curate.catalog import Catalog
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.errors import NotFound, UserError
from frenchcat.curate.licence import CREATORS
from frenchcat.curate.remove import Match, RemovalQuery
from frenchcat.curate.select import names, open_selection
from frenchcat.curate.sql_text import literal, quoted
from frenchcat.train.used import Use, check_trained_on, runs_of, use_of

_CREATORS = (*CREATORS, "photographer")
"""Columns of a list, and signals of the ledger, that name who made an image."""


@dataclass(frozen=True)
class Uses:
    """What became of the rows that were asked about."""

    asked: tuple[str, str]  # url, domain, … or creator; and its value
    matches: list[Match]
    selections: dict[str, int]  # name -> how many of the rows it has
    runs: list[Use]

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        rows = [
            {"key": one.key, "url": one.url, "caption": one.caption, "why": one.why}
            for one in self.matches
        ]
        return {
            "rows": rows,
            "selections": self.selections,
            "runs": [use.as_dict() for use in self.runs],
        }


def uses_of(
    dataset: Dataset,
    asked: tuple[str, str],
    matches: list[Match],
    runs: Sequence[Path] | None,
    checkpoint: str | None = None,
) -> Uses:
    """Look the rows up in every selection and in runs; None: the runs beside the dataset.

    Raises `NotFound` for a folder that is not a run, or a run without that `checkpoint`, and
    `UserError` for a run on other data.
    """
    for run in runs or ():
        check_trained_on(run, Path(dataset.root))
    keys = {one.key for one in matches}
    selections = {
        name: len(keys & set(open_selection(dataset, name).table["key"].to_pylist()))
        for name in names(dataset)
    }
    if runs is None:
        runs = runs_of(Path(dataset.root)) if dataset.local else []
    if checkpoint is not None and not runs:
        raise NotFound(
            f"no run beside {dataset.root} was trained on it, so there is no checkpoint "
            f"{checkpoint!r}; name the run's folder with --run"
        )
    return Uses(
        asked,
        matches,
        {name: rows for name, rows in selections.items() if rows},
        [use_of(run, keys, checkpoint) for run in runs] if keys or checkpoint else [],
    )


def removal_of(uses: Uses, near: bool) -> RemovalQuery:
    """The query whose removal takes out the rows that were found.

    Raises `UserError` if a creator has no row: there is nothing that a later crawl could leave out.
    """
    by, value = uses.asked
    if by != "creator":
        return RemovalQuery(by, value, near)
    if not uses.matches:
        raise UserError(f"no row names {value!r} as its creator, so there is nothing to remove")
    first, *others = [one.key for one in uses.matches]
    return RemovalQuery("key", first, near, tuple(others))


def by_creator(dataset: Dataset, name: str) -> list[Match]:
    """The rows whose list, file or site names this creator, in any case, in key order."""
    wanted = literal(name.strip().lower())
    with Catalog(dataset) as catalog:
        there = [one for one in catalog.columns() if one.lower() in _CREATORS]
        said = [f"lower(trim({quoted(one)}::VARCHAR)) = {wanted}" for one in there]
        if catalog.has_rights:
            signals = ", ".join(map(literal, _CREATORS))
            said.append(
                f"key IN (SELECT key FROM rights WHERE signal IN ({signals}) "
                f"AND lower(trim(value)) = {wanted})"
            )
        if not said:
            return []
        known = ("key", "url", "caption", "uid", "sha256", "stored_sha256", "pdq")
        columns = [name for name in known if name in catalog.columns()]
        table = catalog.run(
            f"SELECT {', '.join(columns)} FROM samples WHERE {' OR '.join(said)} ORDER BY key"
        )
    return [_match(row) for row in table.to_pylist()]


def _match(row: dict[str, Any]) -> Match:
    columns = {name: row.get(name) for name in ("uid", "sha256", "stored_sha256", "pdq")}
    return Match(row["key"], row["url"], row["caption"], "creator", columns)
