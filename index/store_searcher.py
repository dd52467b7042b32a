"""Search in a vector database to which a dataset was published, as in its folder.

Reads the database (curate/vector_stores), the model that its contents name, and images from the
dataset's place where that can be reached. A position is here a row's id. The database obeys the
rules of index/visible.py itself, so that exactly k rows come back where k may be shown. What needs
all rows at once is refused: words of captions, selections.
"""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from frenchcat.curate.clip.settings import ClipSettings
from frenchcat.curate.command_text import shell_command
from frenchcat.curate.config import resolve
from frenchcat.curate.dataset import Dataset, digest_of
from frenchcat.curate.errors import ModelMismatch, NotFound, UserError
from frenchcat.curate.vector_stores import Contents, RowFilter, VectorDatabase, open_store
from frenchcat.curate.vector_stores.store import EVERYTHING, PLACE
from frenchcat.index.hit import Hit, Positions, Ranked, hit_of
from frenchcat.index.search import Searcher
from frenchcat.index.terms import Unit
from frenchcat.index.visible import View

if TYPE_CHECKING:
    from frenchcat.curate.clip.model import Clip


class StoreSearcher(Searcher):
    """What was published at an address, open. May be used from several threads."""

    def __init__(self, address: str | VectorDatabase, clip: Clip | None = None) -> None:
        """Connect, or use what is. Raises `NotFound` where nothing is published; `Unreachable`."""
        self.store = open_store(address) if isinstance(address, str) else address
        try:
            found = contents_of(self.store)
        except BaseException:
            if isinstance(address, str):  # another one is the caller's to close
                self.store.close()
            raise
        self.contents = found
        self.dataset = Dataset(found.root)
        self._clip, self._clip_lock = clip, Lock()
        self.dimension = found.dimension
        self._names = {name: name for name in found.hit_columns}
        self.rows = _StoreRows(self.store, found)  # type: ignore[assignment]  # ids are its positions
        self.visible = _Visible(self.store)  # type: ignore[assignment]
        self.version = digest_of(found.as_dict())

    def __len__(self) -> int:
        return self.store.count()

    def close(self) -> None:
        """End the connections."""
        self.store.close()

    # -- queries -----------------------------------------------------------------------------------

    def ranked(self, vector: Unit, k: int, by: str = "image", view: View | None = None) -> Ranked:
        """The k rows nearest to a (D,) unit vector, as ids."""
        return Ranked(*self.store.nearest(vector, k, by, filter_of(view or View())))

    def hybrid(
        self, text: str, vector: Unit, k: int, by: str = "image", view: View | None = None
    ) -> Ranked:
        """Raise `UserError`: a database does not rank captions as the local index does."""
        raise UserError(
            f"words of captions cannot be looked for at {self.store.address}; leave out --hybrid, "
            "or search the dataset's folder"
        )

    def shown(self, positions: Positions, view: View) -> NDArray[np.bool_]:
        """(n,) whether each of these rows may be found."""
        return self.store.among(np.asarray(positions, np.int64), filter_of(view))

    def hidden(
        self, vector: Unit, k: int, by: str = "image", view: View | None = None
    ) -> dict[str, int]:
        """How many of the k nearest rows are not shown, by reason (visible.REASONS)."""
        left, _ = self.store.nearest(vector, k, by, EVERYTHING)
        whole = filter_of(view or View())
        counts = {}
        steps = {
            "where": RowFilter(whole.where, False, True, True),
            "unsafe": RowFilter(whole.where, whole.safe, True, True),
            "dropped": RowFilter(whole.where, whole.safe, whole.dropped, True),
            "duplicate": whole,
        }
        before = EVERYTHING
        for reason, shown in steps.items():
            if shown != before and len(left):
                there = self.store.among(left, shown)
                if not there.all():
                    counts[reason] = int((~there).sum())
                left = left[there]
            before = shown
        return counts

    # -- rows --------------------------------------------------------------------------------------

    def hits(self, ranked: Ranked) -> list[Hit]:
        """The rows of a ranking, without those that were removed meanwhile."""
        found = zip(self.rows.take(ranked.positions), ranked.similarities.tolist(), strict=True)
        return [hit_of(row, cosine, self._names) for row, cosine in found if row]

    def hit(self, position: int, similarity: float = 1.0) -> Hit:
        """The row of an id. Raises `NotFound`."""
        found = self.hits(Ranked(np.array([position]), np.array([similarity], np.float32)))
        if not found:
            raise NotFound(f"{self.store.address} has no row with the id {position}")
        return found[0]

    def ids(self, positions: Positions) -> NDArray[np.int64]:
        """(n,) the same: a position is an id here."""
        return np.asarray(positions, np.int64)

    def positions(self, ids: Sequence[int] | NDArray[np.int64]) -> Positions:
        """(n,) the ids; -1 for one that is unknown or removed."""
        wanted = np.asarray(ids, np.int64)
        return np.where(self.store.among(wanted, EVERYTHING), wanted, -1)

    def vectors(self, positions: Positions, by: str = "image") -> NDArray[np.float32]:
        """(n, D) float32, the vectors of rows."""
        return self.store.vectors(np.asarray(positions, np.int64), by)

    def picture(self, hit: Hit) -> bytes:
        """The stored image of a hit, from the dataset's place. Raises `NotFound`."""
        try:
            return super().picture(hit)
        except (OSError, KeyError):
            raise NotFound(
                f"the images of {self.store.address} lie at {self.contents.root}, which cannot be "
                "read here"
            ) from None

    def _load_clip(self) -> Clip:
        from frenchcat.curate.clip.model import load_clip

        where = str(self.store.address)
        clip = load_clip(resolve(ClipSettings, self.contents.clip, where))
        if clip.digest != self.contents.weights:
            raise ModelMismatch(
                f"the vectors at {where} were made by {self.contents.model}, not by the "
                f"{clip.name} of this machine; use the weights that made them"
            )
        return clip


def contents_of(store: VectorDatabase) -> Contents:
    """What is published in a database. Raises `NotFound` where nothing is."""
    found = store.contents()
    if found is None:
        raise NotFound(
            f"nothing is published at {store.address}; first: "
            + shell_command("publish", "DATASET", "--to", store.address)
        )
    return found


def filter_of(view: View) -> RowFilter:
    """What a database is asked for a view. Raises `UserError` for selections."""
    if view.selections or view.outside:
        name = (*view.selections, *view.outside)[0]
        raise UserError(f"the selection {name!r} is in the dataset's folder only; search there")
    return RowFilter(view.where, view.safe, view.dropped, view.duplicates)


class _StoreRows:
    """Rows by id."""

    def __init__(self, store: VectorDatabase, contents: Contents) -> None:
        self._store = store
        first = [name for name in ("url", "caption") if name in contents.columns]
        self._columns = [*PLACE, *first, *contents.hit_columns]

    @property
    def count(self) -> int:
        return self._store.count()

    def row(self, position: int) -> dict[str, Any]:
        """One row: column -> value."""
        return dict(self.take(np.array([position]))[0])

    def take(self, positions: Positions, columns: Sequence[str] | None = None) -> list[Any]:
        """The rows of ids, in their order, {} for one that is gone; all columns of a hit."""
        rows = self._store.rows(positions, self._columns if columns is None else columns)
        return [{} if row is None else row for row in rows]


class _Visible:
    """Which rows may be found: asked in the database, so there is no bitmap.

    What lists all rows of the local index is not here.
    """

    def __init__(self, store: VectorDatabase) -> None:
        self._store = store

    def mask(self, view: View) -> None:
        """Raise `UserError` for what cannot be asked."""
        self._store.check(filter_of(view))

    def groups(self) -> list[Positions]:
        """Raise `UserError`: all clusters are listed from the dataset's folder only."""
        raise UserError(
            f"clusters of duplicates are not listed from {self._store.address}; serve the "
            "dataset's folder for that"
        )
