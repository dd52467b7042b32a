"""Search: texts, images, vectors and sums of them -> the k nearest rows of a dataset.

Reads index/ of a dataset and, for texts and images, the CLIP model that made its vectors. Exactly k
hits are returned whenever k rows may be shown: removals, safety, duplicates and conditions are
bitmaps that the search itself obeys (index/visible.py). A hit's caption and url are looked up in
the memory-mapped rows, its image in the tar by offset, so no URL needs to be alive.

A searcher does not change, except that removals and verdicts count at once; it may be used from
several threads. `index_version` is a cheap way to see whether there is a newer index.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from frenchcat.curate import files, tars
from frenchcat.curate.clip.settings import ClipSettings
from frenchcat.curate.command_text import shell_command
from frenchcat.curate.config import resolve
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.embeddings import STAGE as EMBED
from frenchcat.curate.embeddings import require_same_model
from frenchcat.curate.errors import NotFound, UserError
from frenchcat.curate.image import open_image
from frenchcat.curate.list_names import PLACE, score_columns, shown_of_hit
from frenchcat.index.build import JSON, MODALITIES, current, entries, index_version
from frenchcat.index.check import check_files
from frenchcat.index.hit import Hit, Positions, Ranked, hit_of
from frenchcat.index.part import IndexPart, open_rows
from frenchcat.index.rows import Places
from frenchcat.index.terms import (
    QueryImage,
    Term,
    Terms,
    Text,
    Unit,
    Vector,
    one_query,
    summed,
    unit,
    worded,
)
from frenchcat.index.visible import Mask, View, Visible
from frenchcat.index.words import DEPTH, Words, joined, words_of

if TYPE_CHECKING:
    from PIL.Image import Image

    from frenchcat.curate.clip.model import Clip

__all__ = [
    "Hit",
    "Positions",
    "Ranked",
    "Searcher",
    "View",
    "check",
    "clip_of",
    "clip_settings",
    "unit",
]

_TRIES = 20
_HEADER = 512  # bytes of a tar member's header


class Searcher:
    """A dataset's index, open. The model is loaded at the first query by text or image."""

    def __init__(self, dataset: Dataset, clip: Clip | None = None) -> None:
        """Open the index. Raises `UserError` if there is none or it is misaligned."""
        self.dataset = dataset
        self._clip, self._clip_lock = clip, Lock()
        self._open_anew()

    def __len__(self) -> int:
        return self.rows.count

    # -- queries -----------------------------------------------------------------------------------

    def query(
        self,
        *,
        text: str | None = None,
        picture: str | Path | bytes | Image | None = None,
        vector: Sequence[float] | NDArray[np.floating[Any]] | None = None,
        terms: Terms | None = None,
        k: int = 10,
        by: str = "image",
        where: str | None = None,
        safe: bool = True,
        duplicates: bool = False,
        dropped: bool = False,
        hybrid: bool = False,
        min_similarity: float | None = None,
    ) -> list[Hit]:
        """The k rows nearest to a text, an image, a vector or weighted terms, nearest first.

        `terms` are summed: ``[(1, Text("cat")), (1, QueryImage("beret.jpg")), (-1,
        Text("comic"))]``. `by` selects the vectors to compare: `image` or `text` (captions).
        `where` is a condition over the catalog; `safe`, `duplicates` and `dropped` select what is
        shown (visible.py). If k exceeds the number of rows, all are returned. Hits whose cosine to
        the query is below `min_similarity` are left out. `hybrid` joins in rows whose captions
        contain the text's words (words.py); hits are then in the joined order, not by similarity.

        Raises `UserError` unless there is exactly one kind of query, for a `k` below 1, an
        unreadable image, a bad condition, and a vector of another dimension or with NaN.
        """
        check(k, by, min_similarity)
        asked = one_query(text, picture, vector, terms)
        view = View(where, safe, duplicates, dropped)
        self.visible.mask(view)  # refuse a bad condition before the model is loaded
        (found,) = self.encode_many([asked])
        if hybrid:
            said = " ".join(term.value for w, term in asked if isinstance(term, Text) and w > 0)
            ranked = self.hybrid(said, found, k, by, view)
        else:
            ranked = self.ranked(found, k, by, view)
        return self.hits(ranked.at_least(min_similarity))

    def encode(
        self,
        *,
        text: str | None = None,
        picture: str | Path | bytes | Image | None = None,
        vector: Sequence[float] | NDArray[np.floating[Any]] | None = None,
        terms: Terms | None = None,
    ) -> Unit:
        """A query as a (D,) float32 unit vector; see `query`."""
        (found,) = self.encode_many([one_query(text, picture, vector, terms)])
        return found

    def encode_many(self, queries: Sequence[Terms]) -> list[Unit]:
        """Queries, each of weighted terms, as unit vectors; the model runs once per kind of
        term.
        """
        terms = [term for query in queries for _, term in query]
        vectors = iter(self._encoded(terms))
        return [
            summed([next(vectors) for _ in query], [weight for weight, _ in query])
            for query in queries
        ]

    def nearest(
        self,
        vector: Unit,
        k: int,
        by: str = "image",
        where: str | None = None,
        safe: bool = True,
        duplicates: bool = False,
        dropped: bool = False,
    ) -> list[Hit]:
        """The k rows nearest to a (D,) unit vector; see `query`."""
        check(k, by)
        return self.hits(self.ranked(vector, k, by, View(where, safe, duplicates, dropped)))

    def ranked(self, vector: Unit, k: int, by: str = "image", view: View | None = None) -> Ranked:
        """The k rows nearest to a (D,) unit vector, as positions: cheap even for thousands of
        rows.
        """
        return self._ranked(vector, k, by, self.visible.mask(view or View()))

    def hybrid(
        self, text: str, vector: Unit, k: int, by: str = "image", view: View | None = None
    ) -> Ranked:
        """The k best of CLIP's ranking and BM25's over captions, joined; similarities are CLIP's.

        Raises `UserError` for a text without words.
        """
        if not words_of(text):
            raise UserError(f"{text!r} contains no word to look for in captions")
        allowed, depth = self.visible.mask(view or View()), max(DEPTH, k)
        near = self._ranked(vector, depth, by, allowed).positions
        positions = joined([near, self.words.ranked(text, depth, allowed)], k)
        return Ranked(positions, self.vectors(positions, by) @ vector)

    def shown(self, positions: Positions, view: View) -> NDArray[np.bool_]:
        """(n,) whether each of these rows may be found."""
        mask = self.visible.mask(view)
        return np.ones(len(positions), bool) if mask is None else mask[positions]

    def hidden(
        self, vector: Unit, k: int, by: str = "image", view: View | None = None
    ) -> dict[str, int]:
        """How many of the k nearest rows are not shown, by reason (visible.REASONS)."""
        return self.visible.reasons(self._ranked(vector, k, by, None).positions, view or View())

    def _ranked(self, vector: Unit, k: int, by: str, allowed: Mask | None) -> Ranked:
        found = []
        for part, start in zip(self._parts[by], self._starts, strict=True):
            here = None if allowed is None else allowed[start : start + len(part)]
            similarities, positions = part.search(vector, k, here)
            found.append((similarities, positions + start))
        if len(found) == 1:
            return Ranked(found[0][1], found[0][0])
        similarities = np.concatenate([part[0] for part in found])
        positions = np.concatenate([part[1] for part in found])
        best = np.argsort(-similarities, kind="stable")[:k]
        return Ranked(positions[best], similarities[best])

    # -- rows --------------------------------------------------------------------------------------

    @property
    def column_names(self) -> list[str]:
        """The columns of a hit, named as in a condition."""
        return list(self._names.values())

    def hits(self, ranked: Ranked) -> list[Hit]:
        """The rows of a ranking."""
        rows = self.rows.take(ranked.positions)
        found = zip(rows, ranked.similarities.tolist(), strict=True)
        return [hit_of(row, similarity, self._names) for row, similarity in found]

    def hit(self, position: int, similarity: float = 1.0) -> Hit:
        """The row at a position."""
        return hit_of(self.rows.row(position), similarity, self._names)

    def ids(self, positions: Positions) -> NDArray[np.int64]:
        """(n,) the ids of rows at positions."""
        return self._ids[positions]

    def positions(self, ids: Sequence[int] | NDArray[np.int64]) -> Positions:
        """(n,) the positions of ids; -1 for one that is unknown or removed."""
        found = self.places.of(ids)
        return np.where(np.isin(found, self.visible.gone()), -1, found)

    def metadata(
        self, ids: Sequence[int], columns: Sequence[str] | None = None
    ) -> list[dict[str, Any] | None]:
        """Each id's row, column -> value; None for one that is unknown or removed.

        Columns are named as in a condition.
        """
        at = self.positions(ids)
        there = at >= 0
        stored = {called: name for name, called in self._names.items()}
        wanted = None if columns is None else [stored.get(name, name) for name in columns]
        rows = iter(self.rows.take(at[there], wanted))
        return [self._called(next(rows)) if known else None for known in there]

    def _called(self, row: dict[str, Any]) -> dict[str, Any]:
        return {self._names.get(name, name): value for name, value in row.items()}

    def reconstruct(
        self, ids: Sequence[int] | NDArray[np.int64], by: str = "image"
    ) -> NDArray[np.float32]:
        """(n, D) float32, the stored vectors of ids. Raises `UserError` for an unknown id."""
        at = self.positions(ids)
        if (unknown := np.flatnonzero(at < 0)).size:
            raise UserError(f"{self.dataset.root} has no row with the id {ids[int(unknown[0])]}")
        return self.vectors(at, by)

    def vectors(self, positions: Positions, by: str = "image") -> NDArray[np.float32]:
        """(n, D) float32, the stored vectors at positions."""
        found = np.empty((len(positions), self.dimension), np.float32)
        for part, start in zip(self._parts[by], self._starts, strict=True):
            here = (positions >= start) & (positions < start + len(part))
            if here.any():
                found[here] = part.vectors(positions[here] - start)
        return found

    def picture(self, hit: Hit) -> bytes:
        """The stored image of a hit, as it is in its shard's tar.

        Raises `UserError` if the dataset was adopted without images.
        """
        if not hit.size:
            raise NotFound(f"{self.dataset.root} has no image of {hit.key}; see its url")
        relative = files.TAR.of(hit.shard)
        data = self._member(relative, hit.key, hit.extension, hit.offset, hit.size)
        if data is None:  # a compaction has rewritten the tar but not yet the index
            with self.dataset.as_local(relative) as path:
                member = tars.image_members(path).get(hit.key)
                data = None if member is None else tars.read(path, member)
        if data is None:
            raise NotFound(f"{self.dataset.root} no longer has an image of {hit.key}")
        return data

    def _member(
        self, relative: str, key: str, extension: str, offset: int, size: int
    ) -> bytes | None:
        """The bytes at a place in a tar; None if the header before them names another row."""
        path, start = self.dataset.path(relative), max(0, offset - _HEADER)
        if self.dataset.local:
            with open(path, "rb") as tar:
                tar.seek(start)
                whole = tar.read(offset - start + size)
        else:
            whole = bytes(self.dataset.fs.read_block(path, start, offset - start + size))
        name = whole[:_HEADER].split(b"\0", 1)[0]
        data = whole[offset - start :]
        return data if len(data) == size and name == f"{key}.{extension}".encode()[:100] else None

    # -- the model ---------------------------------------------------------------------------------

    @property
    def clip(self) -> Clip:
        """The model that made the vectors. Raises `UserError` if it cannot be loaded."""
        with self._clip_lock:
            if self._clip is None:
                self._clip = self._load_clip()
            return self._clip

    def _load_clip(self) -> Clip:
        return clip_of(self.dataset)

    def loaded_clip(self) -> Clip | None:
        """The model if it is already loaded: for the searcher of a newer index."""
        return self._clip

    def _encoded(self, terms: Sequence[Term]) -> list[Unit]:
        """Each term's unit vector; faulty terms are reported before the model is loaded."""
        texts = [worded(term.value) for term in terms if isinstance(term, Text)]
        opened = [open_image(term.value) for term in terms if isinstance(term, QueryImage)]
        given = [unit(term.value, self.dimension) for term in terms if isinstance(term, Vector)]
        rows = {
            Text: iter(self.clip.encode_texts(texts) if texts else ()),
            QueryImage: iter(self.clip.encode_images(opened) if opened else ()),
            Vector: iter(given),
        }
        return [np.asarray(next(rows[type(term)]), np.float32) for term in terms]

    # -- opening -----------------------------------------------------------------------------------

    def _open_anew(self) -> None:
        for attempt in range(_TRIES):
            version = index_version(self.dataset)
            try:
                self._open()
            except FileNotFoundError as error:
                # A build replaced the index after we read index.json and before we read its files.
                if index_version(self.dataset) == version and attempt > 1:
                    raise UserError(
                        f"{error.filename or error} is missing; run: "
                        f"{shell_command('index', self.dataset.root)}"
                    ) from None
                time.sleep(0.05)
                continue
            self.version = version
            return
        raise UserError(f"{self.dataset.path(JSON)} changes too fast; try again")

    def _open(self) -> None:
        found = current(self.dataset)
        if found is None:
            raise NotFound(
                f"{self.dataset.root} has no index; run: {_index_commands(self.dataset)}"
            )
        self.dimension = int(found["made_of"]["dimension"])
        listed = entries(found)
        for entry in listed:
            check_files(self.dataset, entry)
        self.rows = open_rows(self.dataset, listed)
        self._starts = np.cumsum([0] + [entry.rows for entry in listed])[:-1].tolist()
        self._parts = {
            modality: [IndexPart(self.dataset, entry, modality, self.dimension) for entry in listed]
            for modality in MODALITIES
        }
        self._ids = self.rows.ids()
        others = [name for name in self.rows.schema.names if name not in PLACE]
        self._names = shown_of_hit(others, score_columns(self.dataset))
        self.places = Places(self._ids)
        self.visible = Visible(self.dataset, self.rows, self.places)
        self.words = Words(self.rows)


def _index_commands(dataset: Dataset) -> str:
    """All commands that are missing for an index, in order."""
    if not dataset.shards("download"):
        return shell_command("build", "URLS", "--out", dataset.root)
    last = shell_command("index", dataset.root)
    if dataset.manifest().entry(EMBED).settings is not None:
        return last
    return f"{shell_command('embed', dataset.root)}, then {last}"


def check(k: int, by: str, min_similarity: float | None = None) -> None:
    """Raise `UserError` for a k below 1, an unknown `by`, or a cosine outside -1 to 1."""
    if min_similarity is not None and not -1 <= min_similarity <= 1:
        raise UserError(
            f"min_similarity is {min_similarity}; a hit's similarity is a cosine, from -1 to 1"
        )
    if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or k < 1:
        raise UserError(f"k is {k}; ask for at least one hit")
    if by not in MODALITIES:
        raise UserError(f"by is {by!r}; it is one of: {', '.join(MODALITIES)}")


def clip_of(dataset: Dataset) -> Clip:
    """Load the model that made a dataset's vectors.

    Raises `UserError` where it cannot be had, `ModelMismatch` where its name stands for others now.
    """
    from frenchcat.curate.clip.model import load_clip

    clip = load_clip(clip_settings(dataset))
    require_same_model(dataset, clip)
    return clip


def clip_settings(dataset: Dataset) -> ClipSettings:
    """The settings of the model that a dataset was made with, as in dataset.json."""
    kept = dataset.manifest().settings.get("clip", {})
    return resolve(ClipSettings, kept, dataset.path("dataset.json"))
