"""Which rows may be found: removals, verdicts, safety, duplicates and a user's condition.

Reads the catalog (verdicts/, scores/, duplicates/) and the removal log, returns bitmaps over the
positions of an index; writes nothing. A row is hidden for the first of these reasons that applies:

    removed     a removal request names it
    where       the user's condition is not true of it
    selection   it is not in the selections asked for, or in one that shall be left out
    unsafe      `punsafe` is at least .5 (LAION's threshold), or a verdict drops it by a rule whose
                name begins with unsafe, punsafe, nsfw or violence; `safe=False` shows it
    dropped     a verdict drops it by another rule; `dropped=True` shows it
    duplicate   another row of its cluster represents it (the one that dedup keeps, or the first
                that is not hidden); `duplicates=True` shows all

A row that was not scored, judged or compared is not hidden for these reasons. Cost: one scan of the
columns used, at the first use and after a change; 1 byte per row for each cached bitmap.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from frenchcat.curate import files
from frenchcat.curate.catalog import Catalog
from frenchcat.curate.dataset import MANIFEST, Dataset, digest_of
from frenchcat.curate.removals import removed_keys
from frenchcat.curate.select import keys_of, version_of
from frenchcat.index.rows import IndexRows, Places, id_of

if TYPE_CHECKING:
    import pyarrow as pa

Mask = NDArray[np.bool_]  # (N,)
Positions = NDArray[np.int64]
UNSAFE = 0.5
UNSAFE_RULES = ("unsafe", "punsafe", "nsfw", "violence")
DUPLICATE_RULES = ("duplicate",)
REASONS = ("removed", "where", "selection", "unsafe", "dropped", "duplicate")
REMEMBERED_BYTES = 128_000_000
_COLUMNS = ("keep", "reason", "punsafe", "cluster", "duplicate_of")


class NotEvaluated(Exception):
    """A condition's bitmap is needed but may not be evaluated here; `where` is the condition."""

    def __init__(self, where: str) -> None:
        super().__init__(where)
        self.where = where


@dataclass(frozen=True)
class View:
    """Which rows a search may show."""

    where: str | None = None
    safe: bool = True
    duplicates: bool = False
    dropped: bool = False
    selections: tuple[str, ...] = ()
    """Frozen selections, of all of which a row is."""
    outside: tuple[str, ...] = ()
    """Frozen selections, of none of which a row is."""


@dataclass(frozen=True)
class _Facts:
    """What the dataset's files say about all rows."""

    unsafe: Mask
    dropped: Mask
    members: Positions  # of clusters of two rows and more
    clusters: NDArray[np.int64]  # by member, a number
    stays: Mask  # by member


class Visible:
    """The bitmaps of an open index; may be used from several threads."""

    def __init__(self, dataset: Dataset, rows: IndexRows, places: Places) -> None:
        self._dataset, self._rows, self._places = dataset, rows, places
        self.evaluate: Callable[[str], pa.Array] = lambda where: keys_meeting(dataset, where)
        """A condition -> the keys of rows that meet it; the service's raises `NotEvaluated`."""
        self._lock = Lock()
        self._making: dict[Hashable, Lock] = {}
        self._cached: OrderedDict[Hashable, Any] = OrderedDict()

    def mask(self, view: View) -> Mask | None:
        """(N,) the rows that may be found; None where all may.

        Raises `UserError` for `where`, and `NotFound` for a selection.
        """
        gone = removed_keys(self._dataset)
        stamp = (self._stamp(), self._selections_stamp(view))
        found: Mask | None = self._remember((view, gone, stamp), lambda: self._mask(view))
        return found

    def gone(self) -> Positions:
        """The positions of removed rows; a request counts from the moment it is logged."""
        keys = removed_keys(self._dataset)
        found: Positions = self._remember(("gone", keys), lambda: self._gone(keys))
        return found

    def reasons(self, positions: Positions, view: View) -> dict[str, int]:
        """How many of these rows are hidden, by reason; see the module's table."""
        left = np.asarray(positions)
        counts = {}
        for name, hides in zip(REASONS, self._hiding(view), strict=True):
            hidden = np.zeros(len(left), bool) if hides is None else hides[left]
            if hidden.any():
                counts[name] = int(hidden.sum())
            left = left[~hidden]
        return counts

    def cluster(self, position: int) -> Positions:
        """The positions of the rows in a row's cluster of duplicates, itself included, without
        removed ones.
        """
        facts = self._facts(self._stamp())
        if facts is None or position not in facts.members:
            return np.array([position], np.int64)
        number = facts.clusters[np.searchsorted(facts.members, position)]
        found = facts.members[facts.clusters == number]
        return np.asarray(found[~np.isin(found, self.gone())])

    def copies(self, positions: Positions) -> NDArray[np.int64]:
        """(n,) how many other rows are duplicates of each of these; removed ones do not count."""
        counts = np.zeros(len(positions), np.int64)
        facts = self._facts(self._stamp())
        if facts is None or not len(facts.members) or not len(positions):
            return counts
        there = ~np.isin(facts.members, self.gone())
        sizes = np.bincount(facts.clusters[there], minlength=int(facts.clusters.max()) + 1)
        places = np.minimum(np.searchsorted(facts.members, positions), len(facts.members) - 1)
        member = facts.members[places] == positions
        counts[member] = sizes[facts.clusters[places[member]]] - 1
        return counts

    def facts_version(self) -> Hashable:
        """Changes when verdicts, scores or duplicates do."""
        return self._stamp()

    def version_of(self, where: str) -> Hashable:
        """Identifies a condition and what its rows depend on: scores, verdicts, removals."""
        return ("where", where, self._stamp(), removed_keys(self._dataset))

    def evaluated(self, version: Hashable, keys: pa.Array) -> None:
        """Cache the keys of rows that meet a condition, as of an earlier `version_of`."""
        self._keep(version, ~self._among(keys))

    def groups(self) -> list[Positions]:
        """The positions of each cluster of two rows and more that are not removed; largest first.

        Of clusters of one size the earlier one comes first.
        """
        facts = self._facts(self._stamp())
        if facts is None or not len(facts.members):
            return []
        there = ~np.isin(facts.members, self.gone())
        members, clusters = facts.members[there], facts.clusters[there]
        order = np.argsort(clusters, kind="stable")
        starts = np.flatnonzero(np.diff(clusters[order], prepend=-1))
        groups = [one for one in np.split(members[order], starts[1:]) if len(one) > 1]
        return sorted(groups, key=lambda one: (-len(one), int(one[0])))

    def clusters(self) -> NDArray[np.int64] | None:
        """(N,) a number by position, equal for duplicates; None if there was no dedup."""
        stamp = self._stamp()
        facts = self._facts(stamp)
        if facts is None or not self._dataset.files("duplicates"):
            return None
        numbers = np.arange(self._rows.count)
        if len(facts.members):
            first = np.empty(int(facts.clusters.max()) + 1, np.int64)
            first[facts.clusters[::-1]] = facts.members[::-1]
            numbers[facts.members] = first[facts.clusters]
        return numbers

    # -- bitmaps -----------------------------------------------------------------------------------

    def _mask(self, view: View) -> Mask | None:
        hiding = [hides for hides in self._hiding(view) if hides is not None]
        return np.asarray(~np.logical_or.reduce(hiding)) if hiding else None

    def _hiding(self, view: View) -> list[Mask | None]:
        """For each of REASONS the rows that it hides; None: no rows."""
        stamp = self._stamp()
        removed = self._gone_mask()
        facts = self._facts(stamp)
        elsewhere = None
        if view.where is not None:
            where = view.where
            elsewhere = self._remember(self.version_of(where), lambda: ~self._meeting(where))
        unselected = self._unselected(view)
        unsafe = facts.unsafe if facts and view.safe else None
        dropped = facts.dropped if facts and not view.dropped else None
        first = (removed, elsewhere, unselected, unsafe, dropped)
        before = [hides for hides in first if hides is not None]
        double = None
        if facts and not view.duplicates and len(facts.members):
            double = self._doubles(facts, before)
        return [*first, double]

    def _unselected(self, view: View) -> Mask | None:
        """The rows that a view's selections leave out; None for none."""
        if not (view.selections or view.outside):
            return None
        hidden = np.zeros(self._rows.count, bool)
        for name in view.selections:
            hidden |= ~self._among(keys_of(self._dataset, name))
        for name in view.outside:
            hidden |= self._among(keys_of(self._dataset, name))
        return hidden

    def _selections_stamp(self, view: View) -> Hashable:
        """Changes when one of the selections of a view is another one."""
        names = (*view.selections, *view.outside)
        return tuple(version_of(self._dataset, name) for name in names)

    def _doubles(self, facts: _Facts, before: list[Mask]) -> Mask:
        """The members of clusters that another row represents."""
        there = np.ones(len(facts.members), bool)
        for hides in before:
            there &= ~hides[facts.members]
        stands = np.full(int(facts.clusters.max()) + 1, -1, np.int64)
        # Assigned last to first, so that the first wins; then those that dedup keeps.
        for chosen in (there, there & facts.stays):
            stands[facts.clusters[chosen][::-1]] = facts.members[chosen][::-1]
        hidden = np.zeros(self._rows.count, bool)
        hidden[facts.members] = stands[facts.clusters] != facts.members
        return hidden

    def _gone_mask(self) -> Mask | None:
        gone = self.gone()
        if not len(gone):
            return None
        mask = np.zeros(self._rows.count, bool)
        mask[gone] = True
        return mask

    def _gone(self, keys: frozenset[str]) -> Positions:
        found = self._places.of(np.array([id_of(key) for key in keys], np.int64))
        return np.sort(found[found >= 0])

    def _meeting(self, where: str) -> Mask:
        """The rows that meet a condition."""
        return self._among(self.evaluate(where))

    def _among(self, keys: pa.Array) -> Mask:
        import pyarrow.compute as pc

        return np.asarray(pc.is_in(self._rows.keys(), keys).to_numpy())

    def _facts(self, stamp: Hashable) -> _Facts | None:
        found: _Facts | None = self._remember(("facts", stamp), self._read_facts)
        return found

    def _read_facts(self) -> _Facts | None:
        if not any(self._dataset.files(folder) for folder in files.joined()):
            return None
        with Catalog(self._dataset) as catalog:
            columns = [name for name in _COLUMNS if name in catalog.columns()]
            if not columns:
                return None
            chosen = ", ".join(["key", *(_AS_NUMBER.get(name, name) for name in columns)])
            table = catalog.table(chosen, _NOTABLE.format(**_present(columns)))
        return self._facts_of(table)

    def _facts_of(self, table: pa.Table) -> _Facts:
        import pyarrow.compute as pc

        places = pc.index_in(table["key"].combine_chunks(), self._rows.keys())
        table = table.filter(pc.is_valid(places))
        at = places.drop_null().to_numpy().astype(np.int64)
        count = self._rows.count
        unsafe, dropped = np.zeros(count, bool), np.zeros(count, bool)
        columns = {name: table[name] for name in table.column_names}
        unsafe[at], dropped[at] = unsafe_and_dropped(columns)
        if "cluster" not in columns:
            nothing = np.empty(0, np.int64)
            return _Facts(unsafe, dropped, nothing, nothing, np.empty(0, bool))
        stays = np.asarray(pc.is_null(columns["duplicate_of"]).to_numpy())
        return _Facts(unsafe, dropped, *_members(at, columns["cluster"], stays))

    # -- what is remembered ------------------------------------------------------------------------

    def _stamp(self) -> Hashable:
        """Changes when verdicts, scores or duplicates do."""
        if not self._dataset.local:
            return digest_of(self._dataset.read_bytes(MANIFEST).decode())
        found = []
        for name in (MANIFEST, *files.joined()):
            try:
                status = os.stat(self._dataset.path(name))
            except FileNotFoundError:
                found.append((0, 0))
                continue
            found.append((status.st_mtime_ns, status.st_ino))
        return tuple(found)

    def _remember(self, key: Hashable, make: Any) -> Any:
        """The result of `make`, called once per key; meanwhile other keys are served."""
        with self._lock:
            if key in self._cached:
                self._cached.move_to_end(key)
                return self._cached[key]
            turn = self._making.setdefault(key, Lock())
        with turn:
            if key in self._cached:  # by the thread that held the lock before
                return self._cached[key]
            try:
                made = make()
            finally:
                with self._lock:
                    self._making.pop(key, None)
            self._keep(key, made)
            return made

    def _keep(self, key: Hashable, made: Any) -> None:
        limit = max(8, min(64, REMEMBERED_BYTES // max(1, self._rows.count)))
        with self._lock:
            self._cached[key] = made
            while len(self._cached) > limit:
                self._cached.popitem(last=False)


def unsafe_and_dropped(columns: Mapping[str, Any]) -> tuple[Mask, Mask]:
    """(n,) which rows are unsafe, and which a verdict drops for another reason than copies.

    `columns` are Arrow columns of n rows: those of `keep`, `reason` and `punsafe` that there are,
    one at least.
    """
    import pyarrow.compute as pc

    count = len(next(iter(columns.values())))
    unsafe, dropped = np.zeros(count, bool), np.zeros(count, bool)
    if "keep" in columns:
        out = ~np.asarray(pc.coalesce(columns["keep"], True).to_numpy())
        reasons = pc.coalesce(columns["reason"], "")
        is_unsafe, is_double = _begins(reasons, UNSAFE_RULES), _begins(reasons, DUPLICATE_RULES)
        unsafe = out & is_unsafe
        # A verdict on duplicates says the same as `cluster`, and is shown with duplicates.
        dropped = out & ~is_unsafe & ~is_double
    if "punsafe" in columns:
        scores = pc.coalesce(columns["punsafe"], 0.0).to_numpy()
        unsafe |= scores >= UNSAFE
    return unsafe, dropped


_AS_NUMBER = {"punsafe": "TRY_CAST(punsafe AS DOUBLE) AS punsafe"}
"""A score of the user's own may have that name and be a text."""


def keys_meeting(dataset: Dataset, where: str) -> pa.Array:
    """The keys of stored images that meet a condition. Raises `UserError` for a bad one."""
    with Catalog(dataset) as catalog:
        catalog.add_for(where)
        return catalog.table(["key"], where)["key"].combine_chunks()


_NOTABLE = "{keep} IS FALSE OR {punsafe} >= 0.5 OR {cluster}"
"""Only rows about which something is known; most datasets have few."""


def _present(columns: list[str]) -> dict[str, str]:
    clustered = "multiplicity > 1" if "cluster" in columns else "FALSE"
    return {
        "keep": "keep" if "keep" in columns else "TRUE",
        "punsafe": "TRY_CAST(punsafe AS DOUBLE)" if "punsafe" in columns else "0.0",
        "cluster": clustered,
    }


def _begins(reasons: Any, names: tuple[str, ...]) -> Mask:
    import pyarrow.compute as pc

    found = [pc.starts_with(reasons, name).to_numpy() for name in names]
    return np.asarray(np.logical_or.reduce(found))


def _members(
    at: Positions, clusters: Any, stays: Mask
) -> tuple[Positions, NDArray[np.int64], Mask]:
    """Members in order of position, the number of each one's cluster, and whether it stays."""
    order = np.argsort(at, kind="stable")
    codes = clusters.combine_chunks().dictionary_encode().indices
    numbers = codes.to_numpy().astype(np.int64)
    _, sizes_of, sizes = np.unique(numbers, return_inverse=True, return_counts=True)
    chosen = order[(sizes[sizes_of] > 1)[order]]
    return at[chosen], numbers[chosen], stays[chosen]
