"""Does a model draw its training images again? Draws captions, and counts the copies among the
drawings and the stamps of stock-photo agencies (stamps.py).

Reads a run, its rows and its dataset; writes ``audit.json`` into the run, whose limits
`frenchcat sample --refuse-copies` uses. Half of the captions are those that were trained on most
often, where copies are likeliest (2301.13188); the others are drawn at random. The run's held-out
captions are the controls (copies.py). Cost: the drawings, and a CLIP pass for each of them and,
once, for each training image; and one of the stamps' classifier.

That no copy is found does not prove that none can be drawn: other captions, seeds or guidance may
draw one, and a copied part of an image has no near neighbour.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from frenchcat.curate.atomic import write_whole
from frenchcat.curate.errors import UserError
from frenchcat.curate.json_text import json_text
from frenchcat.curate.system_errors import check_writable
from frenchcat.train.copies import FILE, NAMES, Limits, limits_of, signals_of
from frenchcat.train.draw import SampleRequest, draw
from frenchcat.train.permutation import key_of
from frenchcat.train.receipts import Neighbour, check_comparable, receipts_of
from frenchcat.train.rows import TrainingRows, open_rows
from frenchcat.train.run import Parts, open_run
from frenchcat.train.sampler import check_sampler
from frenchcat.train.seen import LIMIT
from frenchcat.train.stamps import Stamps, stamps_of
from frenchcat.train.start import weights_digest
from frenchcat.train.text import variants_of

if TYPE_CHECKING:
    from PIL.Image import Image

    from frenchcat.train.checkpoint import State
    from frenchcat.train.draw import Watch

    Opened = tuple[Parts, State, Path]

SAID = (
    "A copy is a drawing that is nearer to a training image, or whose prompt moves the model more, "
    "than what the model makes of captions that it was not trained on; no copy found does not "
    "prove that none can be drawn"
)


@dataclass(frozen=True)
class Copy:
    """A drawing that was called a copy, and the training image that it is nearest to."""

    prompt: str
    seed: int
    signals: dict[str, float]
    exceeded: tuple[str, ...]  # which of the signals are above their limit
    key: str
    difference: float
    similarity: float
    url: str | None
    creator: str | None
    licence: str | None
    caption: str | None
    drawing: Image | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class CopyAudit:
    """What was found."""

    dataset: str
    checkpoint: str
    step: int
    selection: str
    prompts: int
    drawings: int
    compared: int  # training images
    limits: Limits
    copies: tuple[Copy, ...]
    stamps: Stamps
    steps: int
    guidance: float
    sampler: str
    seed: int
    notes: tuple[str, ...] = ()
    said: str = SAID
    weights: str | None = None  # SHA-256 of those that drew

    @property
    def share(self) -> float:
        """Of the drawings that were called copies."""
        return len(self.copies) / self.drawings

    def as_json(self) -> dict[str, Any]:
        """As it is written: without the drawings themselves."""
        told = {name: value for name, value in asdict(self).items() if name != "copies"}
        copies = [
            {name: value for name, value in vars(one).items() if name != "drawing"}
            for one in self.copies
        ]
        told["stamps"] |= {"share": self.stamps.share, "stand_out": self.stamps.stand_out}
        return told | {"share": self.share, "copies": copies}


def audit(
    run: Path,
    *,
    prompts: int = 64,
    number: int = 4,
    false_alarms: float = 0.01,
    captions: Sequence[str] | None = None,
    steps: int = 20,
    guidance: float = 3.0,
    sampler: str = "dpm++",
    seed: int = 0,
    checkpoint: Path | None = None,
    device: str = "cpu",
    opened: Opened | None = None,
    watch: Watch | None = None,
) -> CopyAudit:
    """Draw `number` images of each of `prompts` trained captions, or of `captions`, and compare.

    `false_alarms` is the share of drawings of untrained captions that may be called copies;
    `opened` is the run if it is open already, as open_run gives it; `watch` is called after each of
    the sampler's steps. Raises `UserError` for a folder that is not a run, a run that held out no
    image, images that are gone, and numbers out of range.
    """
    if prompts < 1 or number < 1 or not 0 < false_alarms < 1:
        raise UserError(
            f"{prompts} prompts, {number} drawings of each and false alarms of {false_alarms:g}; "
            "give at least 1 of each, and a share such as .01"
        )
    check_sampler(sampler)
    parts, state, found = opened or open_run(run, checkpoint, device)
    check_writable(run, "run: it holds the audit")
    check_comparable(parts.settings.data, run)
    assert parts.settings.data.dataset is not None
    rows = open_rows(run / "rows")
    assert rows is not None
    if not rows.held_out:
        raise UserError(
            f"{run} held out no image, so nothing says what it draws of captions that it was not "
            "trained on; train with run.held_out of 100 or more"
        )
    trained = _trained(parts, rows)
    asked = list(captions) if captions is not None else chosen_of(trained, prompts, seed)
    held_out = {_first(parts, row.caption) for row in rows.take(rows.held_out)}
    unseen = sorted(held_out - trained.keys() - {*asked})
    if not unseen:
        raise UserError(f"every caption that {run} held out was trained on, too; hold out others")
    wanted = [SampleRequest(text, seed + n) for text in asked for n in range(number)]
    spread = -(-len(wanted) // len(unseen))
    controls = [SampleRequest(text, seed + n) for text in unseen for n in range(spread)]
    requests = wanted + controls
    try:
        how: dict[str, Any] = {"steps": steps, "guidance": guidance, "sampler": sampler}
        pictures = draw(parts, requests, watch=watch, **how)
    except ValueError as error:
        raise UserError(str(error)) from None
    receipts = receipts_of(parts.settings.data, run / "rows", pictures, 1)
    signals = signals_of(parts, requests, receipts)
    limits = limits_of(signals[len(wanted) :], false_alarms)
    over = limits.exceeded(signals[: len(wanted)])
    copies = []
    for n in np.flatnonzero(over.any(1)).tolist():
        near = receipts.by_pixels[n][0]
        copies.append(_copy(wanted[n], signals[n], over[n], near, pictures[n]))
    stamps = stamps_of(parts.settings.data, rows, wanted, pictures[: len(wanted)], seed)
    made = CopyAudit(
        parts.settings.data.dataset,
        found.name,
        state.step,
        rows.digest,
        len(asked),
        len(wanted),
        receipts.compared,
        limits,
        tuple(copies),
        stamps,
        seed=seed,
        weights=weights_digest(found),
        notes=_notes(limits, false_alarms, receipts.note, stamps.note),
        **how,
    )
    write_whole(run / FILE, json_text(made.as_json(), indent=1) + "\n")
    return made


def chosen_of(trained: Counter[str], number: int, seed: int) -> list[str]:
    """Captions to draw: half of them the most frequent, if more than once; others at random."""
    often = [text for text, count in trained.most_common(number // 2) if count > 1]
    others = sorted(trained.keys() - {*often}, key=lambda text: key_of(text, seed, "audit"))
    return [*often, *others[: number - len(often)]]


def _trained(parts: Parts, rows: TrainingRows) -> Counter[str]:
    """How many rows that were trained on have each caption. Raises `UserError` for too many."""
    numbers = sorted(set(range(len(rows))) - set(rows.held_out))
    if len(numbers) > LIMIT:
        raise UserError(
            f"{len(numbers):,} images were trained on, and drawings are compared with {LIMIT:,} "
            "at most; audit a run on a smaller selection"
        )
    return Counter(_first(parts, row.caption) for row in rows.take(numbers))


def _first(parts: Parts, caption: str | None) -> str:
    """The first variant of a caption."""
    return variants_of(caption or "", parts.settings.text)[0]


def _copy(
    wanted: SampleRequest,
    signals: NDArray[np.float64],
    over: NDArray[np.bool_],
    near: Neighbour,
    drawing: Image,
) -> Copy:
    told = {name: round(float(value), 5) for name, value in zip(NAMES, signals, strict=True)}
    return Copy(
        wanted.prompt,
        wanted.seed,
        told,
        tuple(name for name, above in zip(NAMES, over, strict=True) if above),
        near.key,
        float(near.difference or 0.0),
        near.similarity,
        near.url,
        near.creator,
        near.licence,
        near.caption,
        drawing,
    )


def _notes(limits: Limits, wanted: float, *others: str | None) -> tuple[str, ...]:
    notes = [note for note in others if note is not None]
    if limits.false_alarms > wanted:
        notes.append(
            f"{limits.controls} drawings of untrained captions promise {limits.false_alarms:.1%} "
            f"false alarms at best, not {wanted:.1%}; hold out more images (run.held_out)"
        )
    return tuple(notes)
