"""Does a model draw the stamps of stock-photo agencies? They are searched for as in a dataset.

Reads drawings and training images, with the classifier behind the score `pwatermark`
(curate/score/watermark). The training images are looked at twice: whole, which gives the share in
the selection, and as the model saw them (seen.py), which says how well the classifier sees stamps
at that size, and how often it is wrong there. Cost: 20 ms per image, of at most SAMPLE training
images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from frenchcat.curate.statistics import binomial_tail
from frenchcat.train.permutation import key_of
from frenchcat.train.reader import Reader
from frenchcat.train.seen import view_of

if TYPE_CHECKING:
    from PIL.Image import Image

    from frenchcat.train.draw import SampleRequest
    from frenchcat.train.rows import TrainingRows
    from frenchcat.train.settings import DataSettings

LIMIT = 0.5
"""From which `pwatermark` an image counts as stamped."""
ERROR = 0.052
"""Of unstamped images that are called stamped at LIMIT (curate/score/watermark/README.md)."""
SIGNIFICANT = 0.01
SAMPLE = 500
"""Training images that are looked at."""
_BATCH = 32


@dataclass(frozen=True)
class Stamps:
    """How many drawings and training images carry a stamp."""

    drawings: int
    stamped_drawings: int
    prompts: int
    stamped_prompts: int  # of whose drawings at least half are stamped
    trained: int  # training images that were looked at
    stamped_trained: int  # whole
    still_seen: int  # of these, at the model's size
    error: float  # share of unstamped images that are called stamped, at most
    p_value: float  # of as many stamped prompts, if a prompt is called so by error alone
    note: str | None = None

    @property
    def share(self) -> float:
        """Of the drawings that carry a stamp."""
        return self.stamped_drawings / self.drawings

    @property
    def trained_share(self) -> float:
        """Of the training images that carry a stamp."""
        return self.stamped_trained / self.trained if self.trained else 0.0

    @property
    def stand_out(self) -> bool:
        """Whether there are more than the classifier's errors explain."""
        return self.p_value < SIGNIFICANT

    def line(self) -> str:
        """What was found, as one sentence."""
        said = "more" if self.stand_out else "not more"
        return (
            f"{self.stamped_drawings} of {self.drawings} drawings ({self.share:.1%}) look as if "
            f"they bore a stock-photo stamp, as do {self.stamped_trained} of {self.trained} "
            f"training images ({self.trained_share:.1%}): {said} than the classifier's errors "
            "explain"
        )


def stamps_of(
    data: DataSettings,
    rows: TrainingRows,
    requests: Sequence[SampleRequest],
    drawings: Sequence[Image],
    seed: int = 0,
) -> Stamps:
    """Search drawings for stamps, and some training images; `requests` are the drawings'."""
    from frenchcat.curate.score.watermark.network import Network

    network = Network()

    def stamped(pictures: Sequence[Image]) -> NDArray[np.bool_]:
        parts = [np.zeros(0, np.float32)]
        for start in range(0, len(pictures), _BATCH):
            some = pictures[start : start + _BATCH]
            parts.append(network([np.asarray(one.convert("RGB"), np.uint8) for one in some]))
        return np.asarray(np.concatenate(parts) >= LIMIT)

    held_out = set(rows.held_out)
    numbers = [n for n in range(len(rows)) if n not in held_out]
    numbers = sorted(sorted(numbers, key=lambda n: key_of(n, seed, "stamps"))[:SAMPLE])
    whole, small = [np.zeros(0, bool)], [np.zeros(0, bool)]
    reader, view = Reader(rows.folder), view_of(data)
    for start in range(0, len(numbers), _BATCH):
        samples = reader.sound(np.array(numbers[start : start + _BATCH], np.int64))
        whole.append(stamped([one.picture for one in samples]))
        small.append(stamped([view(one.picture) for one in samples]))
    trained, seen = np.concatenate(whole), np.concatenate(small)
    of_drawing = stamped(drawings)
    of_prompt: dict[str, list[bool]] = {}
    for one, is_stamped in zip(requests, of_drawing.tolist(), strict=True):
        of_prompt.setdefault(one.prompt, []).append(is_stamped)
    prompts = [sum(found) * 2 >= len(found) for found in of_prompt.values()]
    wrong = float(seen[~trained].mean()) if (~trained).any() else 0.0
    error = max(ERROR, wrong)
    return Stamps(
        len(drawings),
        int(of_drawing.sum()),
        len(prompts),
        sum(prompts),
        len(trained),
        int(trained.sum()),
        int(seen[trained].sum()),
        error,
        binomial_tail(sum(prompts), len(prompts), error),
        _note(int(trained.sum()), int(seen[trained].sum()), data.size),
    )


def _note(stamped: int, seen: int, size: int) -> str | None:
    """What the classifier cannot see at the model's size."""
    if stamped and seen < stamped / 2:
        return (
            f"at the model's {size} pixels only {seen} of {stamped} stamped training images are "
            "recognised, so stamps in drawings may be missed"
        )
    if not stamped and size < 96:
        return (
            f"at the model's {size} pixels most stamps are too coarse to be recognised "
            "(of the sample's, 1 of 15 at 64 pixels, 9 of 15 at 128)"
        )
    return None
