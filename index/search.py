"""Search: a text, a picture or a vector -> the k nearest rows of a dataset.

Reads index/ of a dataset and, for text and pictures, the CLIP model that made its vectors.
Exactly k hits come back whenever there are k rows. A hit's caption, url and picture are looked up
by key: in the memory-mapped rows, and in the tar by offset, so no URL needs to be alive.

Cost: exact search is linear in rows, about 10 ms for 100,000 rows of 512 on one core.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from curate.clip.settings import ClipSettings
from curate.config import resolve
from curate.dataset import Dataset
from curate.errors import UserError
from curate.remove.log import removed_keys
from index.build import MODALITIES, current, relative
from index.rows import PLACE, ROWS, Rows, id_of

if TYPE_CHECKING:
    from PIL.Image import Image

    from curate.clip.model import Clip

MAX_PIXELS = 100_000_000
"""Of a query picture: more than any camera has; what claims more is a decompression bomb."""


@dataclass(frozen=True)
class Hit:
    """One row found, and how near it is."""

    key: str
    similarity: float  # cosine, -1 to 1
    url: str | None
    caption: str | None
    columns: dict[str, Any] = field(default_factory=dict)  # the list's and the sidecar's others
    id: int = 0
    shard: str = ""
    extension: str = ""
    offset: int = 0  # of the picture's bytes in the shard's tar
    size: int = 0  # bytes

    def as_dict(self) -> dict[str, Any]:
        """Key, similarity, url, caption and the other columns, JSON-able."""
        first = {"key": self.key, "similarity": round(self.similarity, 6)}
        return {**first, "url": self.url, "caption": self.caption, **self.columns}


class Searcher:
    """A dataset's index, opened. Queries by text or picture load the model at the first one."""

    def __init__(self, dataset: Dataset, clip: Clip | None = None) -> None:
        """Open the index. Raises `UserError` where there is none or it is misaligned."""
        self.dataset = dataset
        self._clip = clip
        self._removed = (frozenset[str](), np.empty(0, np.int64))  # keys and their positions
        found = current(dataset)
        if found is None:
            raise UserError(f"{dataset.root} has no index; run: frenchcat index {dataset.root}")
        self.dimension = int(found["made_of"]["dimension"])
        self.rows = self._open_rows(found["rows"])
        self._indexes = {modality: self._open(modality, found["rows"]) for modality in MODALITIES}

    def __len__(self) -> int:
        return self.rows.count

    @property
    def clip(self) -> Clip:
        """The model that made the vectors. Raises `UserError` where it cannot be loaded."""
        if self._clip is None:
            from curate.clip.model import load_clip
            from curate.embed import require_same_model

            clip = load_clip(clip_settings(self.dataset))
            require_same_model(self.dataset, clip)
            self._clip = clip
        return self._clip

    def query(
        self,
        *,
        text: str | None = None,
        picture: str | Path | bytes | Image | None = None,
        vector: Sequence[float] | NDArray[np.floating[Any]] | None = None,
        k: int = 10,
        by: str = "image",
    ) -> list[Hit]:
        """The k rows nearest to a text, a picture or a vector, nearest first.

        `by` says what is compared: `image` (the pictures' vectors) or `text` (the captions').
        Raises `UserError` for a query of no kind or of two, a `k` below 1, an unreadable picture,
        a vector of another dimension or with NaN in it.
        """
        if k < 1:
            raise UserError(f"k is {k}; ask for one hit or more")
        if by not in MODALITIES:
            raise UserError(f"by is {by!r}; it is one of: {', '.join(MODALITIES)}")
        return self.nearest(self.encode(text=text, picture=picture, vector=vector), k, by)

    def encode(
        self,
        *,
        text: str | None = None,
        picture: str | Path | bytes | Image | None = None,
        vector: Sequence[float] | NDArray[np.floating[Any]] | None = None,
    ) -> NDArray[np.float32]:
        """A query as a (D,) float32 unit vector; see `query`."""
        if sum(part is not None for part in (text, picture, vector)) != 1:
            raise UserError("a query is one of: a text, a picture, a vector")
        if text is not None:
            if not text.strip():
                raise UserError('the query is empty; ask for something, such as "french cat"')
            (row,) = self.clip.encode_texts([text])
            return np.asarray(row)
        if picture is not None:
            opened = open_picture(picture)  # refused before a model is loaded for it
            (row,) = self.clip.encode_pictures([opened])
            return np.asarray(row)
        return unit(vector, self.dimension)

    def nearest(self, vector: NDArray[np.float32], k: int, by: str = "image") -> list[Hit]:
        """The k rows nearest to a (D,) unit vector, removed ones left out."""
        import faiss

        index, gone = self._indexes[by], self._gone()
        wanted = min(k, len(self) - len(gone))
        if wanted < 1:
            return []
        selector = faiss.IDSelectorNot(faiss.IDSelectorBatch(gone))
        parameters = faiss.SearchParameters(sel=selector) if len(gone) else None  # type: ignore[call-arg]
        similarities, positions = index.search(vector[None], wanted, params=parameters)
        found = zip(similarities[0], positions[0], strict=True)
        return [self.hit(int(at), float(similarity)) for similarity, at in found if at >= 0]

    def _gone(self) -> NDArray[np.int64]:
        """The positions of removed rows; a request counts from the moment it is logged."""
        keys = removed_keys(self.dataset)
        if self._removed[0] != keys:
            wanted = np.array([id_of(key) for key in keys], np.int64)
            self._removed = (keys, np.flatnonzero(np.isin(self.rows.ids(), wanted)))
        return self._removed[1]

    def hit(self, position: int, similarity: float) -> Hit:
        """The hit at a position of the index."""
        row = self.rows.row(position)
        place = {name: row.pop(name) for name in PLACE}
        first = {name: row.pop(name, None) for name in ("url", "caption")}
        return Hit(similarity=similarity, columns=row, **place, **first)

    def picture(self, hit: Hit) -> bytes:
        """The stored picture of a hit, as it lies in its shard's tar."""
        path = self.dataset.path(f"shards/{hit.shard}.tar")
        if not self.dataset.local:
            whole = self.dataset.fs.read_block(path, hit.offset, hit.size)
            return bytes(whole)
        with open(path, "rb") as tar:
            tar.seek(hit.offset)
            return tar.read(hit.size)

    def _open_rows(self, count: int) -> Rows:
        with self.dataset.as_local(ROWS) as path:
            rows = Rows.open(path)  # mapped: stays readable when a temporary copy is unlinked
        self._same(ROWS, rows.count, count)
        return rows

    def _open(self, modality: str, count: int) -> Any:
        import faiss

        name = relative(modality)
        try:
            with self.dataset.as_local(name) as path:
                index = faiss.read_index(str(path))
        except (RuntimeError, FileNotFoundError):
            raise UserError(
                f"{self.dataset.path(name)} cannot be read; run: frenchcat index "
                f"{self.dataset.root}"
            ) from None
        self._same(name, index.ntotal, count)
        return index

    def _same(self, name: str, count: int, expected: int) -> None:
        if count != expected:
            raise UserError(
                f"{self.dataset.path(name)} has {count} rows where index.json says {expected}; "
                f"delete {self.dataset.path('index')} and run: frenchcat index {self.dataset.root}"
            )


def clip_settings(dataset: Dataset) -> ClipSettings:
    """The settings of the model that a dataset was made with, as dataset.json keeps them."""
    kept = dataset.manifest().get("settings", {}).get("clip", {})
    return resolve(ClipSettings, kept, dataset.path("dataset.json"))


def unit(vector: Any, dimension: int) -> NDArray[np.float32]:
    """A vector as (D,) float32 of length 1. Raises `UserError` for another shape, NaN or zeros."""
    try:
        found = np.asarray(vector, np.float32)
    except (TypeError, ValueError):
        raise UserError(f"the query vector is no list of {dimension} numbers") from None
    if found.shape != (dimension,):
        said = f"{found.shape[0]} numbers" if found.ndim == 1 else f"the shape {found.shape}"
        raise UserError(f"the query vector has {said}; this index is of {dimension}")
    length = float(np.linalg.norm(found.astype(np.float64)))
    if not np.isfinite(length) or length == 0:
        raise UserError("the query vector is zero, infinite or not a number")
    return (found / length).astype(np.float32)


def open_picture(picture: str | Path | bytes | Image) -> Image:
    """A query picture, decoded, RGB. Raises `UserError` for what is missing, broken or a bomb."""
    import warnings

    from PIL import Image, UnidentifiedImageError

    if isinstance(picture, Image.Image):
        return picture.convert("RGB")
    name = "the picture" if isinstance(picture, bytes) else str(picture)
    source: Any = io.BytesIO(picture) if isinstance(picture, bytes) else picture
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            opened = Image.open(source)
        with opened:
            if opened.width * opened.height > MAX_PIXELS:
                raise UserError(
                    f"{name} claims {opened.width} x {opened.height} pixels; "
                    f"give one of at most {MAX_PIXELS:,}"
                )
            return opened.convert("RGB")
    except FileNotFoundError:
        raise UserError(f"{name}: no such file") from None
    except Image.DecompressionBombError:
        raise UserError(f"{name} claims too many pixels; give at most {MAX_PIXELS:,}") from None
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        reason = "it is no picture" if isinstance(error, UnidentifiedImageError) else str(error)
        raise UserError(f"{name} cannot be decoded ({reason}); give a jpg, png or webp") from None
