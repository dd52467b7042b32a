"""What the operator's files say: aesthetic ratings, violence prompts, a safety head, words.

LAION published all three: rating vectors (a row for each of 0 to 9) that are added to a query,
two prompt vectors of which a violent image is nearer to the second, and heads that give how
unsafe an image is. Saved as .npy or .safetensors they are used as they are, without TensorFlow.
There are no prompts of our own: which of two texts an image is nearer to says little without
prompts tuned for the model (the bundled one takes a quarter to a half of harmless images for
violent, whatever the words), so without the file the filter does nothing. Words are those that no
query may hold.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from frenchcat.curate.config import resolve
from frenchcat.curate.errors import UserError
from frenchcat.curate.score.head import Layers, read_layers
from frenchcat.curate.score.settings import HeadSettings

if TYPE_CHECKING:
    from frenchcat.index.service.settings import ServeSettings

Rows = NDArray[np.float32]  # (n, D)

UNSAFE_FROM = 0.5  # of a head's output, as clip-retrieval has it


class ContentPolicy:
    """The operator's files, read once; None for those that were not given."""

    def __init__(self, settings: ServeSettings) -> None:
        self.ratings = _rows(settings.ratings, 10, "--ratings")
        self.violence = _rows(settings.violence, 2, "--violence")
        self.head = _head(settings.safety_head)
        self._words = _words(settings.refused_words)

    def refuses(self, text: str) -> bool:
        """Whether a query contains one of the refused words, as a whole word in any case."""
        return self._words is not None and self._words.search(text.casefold()) is not None

    def rated(self, query: Rows, score: int | None, weight: float | None) -> Rows:
        """A (D,) query moved towards images rated `score`; unchanged without ratings.

        clip-retrieval's formula: the rating's vector times the weight is added, and the result is
        scaled to length 1. Raises `UserError` for an unknown rating.
        """
        if score is None or weight is None or self.ratings is None:
            return query
        if not 0 <= score <= 9:
            raise UserError(f"aesthetic_score is {score}; it is 0 to 9")
        _same(self.ratings.shape[1], len(query), "--ratings")
        moved = query + self.ratings[score] * np.float32(weight)
        length = float(np.linalg.norm(moved))
        if not np.isfinite(length) or length < 1e-6:
            raise UserError(f"aesthetic_weight is {weight}; nothing is left of the query")
        return np.asarray(moved / length, np.float32)

    def unsafe(self, vectors: Rows) -> NDArray[np.bool_]:
        """Which of (n, D) vectors the head judges unsafe; none without a head."""
        if self.head is None:
            return np.zeros(len(vectors), bool)
        _same(self.head.dimension, vectors.shape[1], "--safety-head")
        return np.asarray(self.head(vectors) > UNSAFE_FROM)


def violent(vectors: Rows, prompts: Rows) -> NDArray[np.bool_]:
    """Which of (n, D) vectors are nearer to the second of the (2, D) prompts than to the first."""
    return np.asarray((vectors @ prompts.T).argmax(axis=1) == 1)


def _same(found: int, wanted: int, option: str) -> None:
    if found != wanted:
        raise UserError(
            f"the vectors of {option} have {found} numbers, those of the dataset {wanted}; "
            "start the service with a file made for its model"
        )


def _rows(file: str | None, rows: int, option: str) -> Rows | None:
    if file is None:
        return None
    try:
        found = np.asarray(_array(file), np.float32)
    except Exception as error:
        raise UserError(f"{option} {file} contains no vectors ({error})") from None
    if found.ndim != 2 or len(found) != rows or not np.isfinite(found).all():
        raise UserError(f"{option} {file} has the shape {found.shape}; it must be ({rows}, D)")
    return found


def _array(file: str) -> Any:
    if Path(file).suffix == ".npy":
        return np.load(file, allow_pickle=False)
    from safetensors.numpy import load_file

    tensors = load_file(file)
    if len(tensors) == 1:
        return next(iter(tensors.values()))
    # One tensor per rating: rating0 … rating9.
    return np.stack([tensors[name].reshape(-1) for name in sorted(tensors)])


def _words(file: str | None) -> re.Pattern[str] | None:
    if file is None:
        return None
    try:
        lines = Path(file).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--refused-words {file} cannot be read ({error})") from None
    words = [re.escape(line.strip().casefold()) for line in lines if line.strip()]
    if not words:
        raise UserError(f"--refused-words {file} contains no word; write one per line")
    return re.compile(rf"(?<!\w)(?:{'|'.join(words)})(?!\w)")


def _head(file: str | None) -> Layers | None:
    if file is None:
        return None
    values = {"name": "unsafe", "file": file, "activation": "relu", "output": "sigmoid"}
    return read_layers(resolve(HeadSettings, values))
