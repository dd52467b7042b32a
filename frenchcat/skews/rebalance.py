"""From an audit to a selection whose weights undo what stands out.

Reads a report of the audit and a selection, writes a selection of the same rows with other weights.
Each share of a query's results that stands out becomes a margin: among those results that are rows
of the selection, the attribute shall have its base rate of the weight. Raking (raking.py) finds the
weights, within bounds. Training draws rows by their weights (train/plan.py), so nothing else
changes: no row is added, removed or altered.

Concepts have no margins: which single image the classifier is wrong about is not known.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from frenchcat.curate.dataset import Dataset
from frenchcat.curate.errors import UserError
from frenchcat.curate.select import chosen, open_selection, reweighted
from frenchcat.skews.raking import Margin, rake, shares_of
from frenchcat.skews.report import RESULTS, Rebalanced, Rebalancing, Share, SkewReport

if TYPE_CHECKING:
    from numpy.typing import NDArray

BOUND = 5.0


def rebalanced(
    dataset: Dataset,
    report: SkewReport,
    name: str,
    source: str | None = None,
    bound: float = BOUND,
    overwrite: bool = False,
) -> SkewReport:
    """The report with what became of a selection's shares; the lock is held.

    Writes the selection `name`: the rows of the selection `source`, or every kept row. A weight
    stays within 1/bound to bound times what it was. Raises `UserError` for a bound of 1 or less,
    `NotFound` for an unknown source, and `AlreadyThere` where the name is another selection's,
    unless `overwrite` is true.
    """
    check_rebalance(dataset, source, bound)
    old = chosen(dataset, name) if source is None else open_selection(dataset, source)
    place = {key: at for at, key in enumerate(old.table["key"].to_pylist())}
    wanted = [one for one in report.flagged if one.shown == RESULTS and one.kind != "concept"]
    margins, shares = _margins(report, wanted, place)
    weights = np.asarray(old.table["weight"].to_pylist(), np.float64)
    before = shares_of(weights, margins)
    found = rake(weights, margins, bound)
    said = f"{len(margins)} margins of frenchcat skews, bound {bound:g}, from {old.digest}"
    reweighted(dataset, name, old, found.weights.tolist(), said, overwrite)
    made = tuple(
        Rebalanced(
            query=share.query,
            kind=share.kind,
            name=share.name,
            rows=len(margin.group),
            before=float(first),
            target=share.base,
            after=float(last),
        )
        for share, margin, first, last in zip(shares, margins, before, found.reached, strict=True)
    )
    about = Rebalancing(name, source or "every kept row", len(old), bound, found.effective, made)
    return replace(report, rebalancing=about)


def check_rebalance(dataset: Dataset, source: str | None, bound: float) -> None:
    """Raise what `rebalanced` raises of its arguments, before anything is measured."""
    if not 1 < bound < math.inf:
        raise UserError(f"the bound is {bound:g}; weights need room, such as --bound 5")
    if source is not None:
        open_selection(dataset, source)


def _margins(
    report: SkewReport, wanted: Sequence[Share], place: dict[str, int]
) -> tuple[list[Margin], list[Share]]:
    """Margins over the rows of a selection, and what share each is of; empty groups have none."""
    column = {(a.kind, a.name): at for at, a in enumerate(report.base.attributes)}
    margins, shares = [], []
    for share in wanted:
        results = report.results[share.query]
        rows = np.array([place.get(report.base.keys[at], -1) for at in results], np.int64)
        there = rows >= 0
        if not there.any():
            continue
        members: NDArray[np.bool_] = report.base.members[results, column[share.kind, share.name]]
        margins.append(Margin(rows[there], members[there], share.base))
        shares.append(share)
    return margins, shares
