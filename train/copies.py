"""Which drawings are near copies of an image that was trained on.

Three signals per drawing, each large for a copy:

    cosine    to the nearest training image in CLIP space, both at the model's size (seen.py)
    pixels    minus the root mean square difference of thumbnails from the nearest one (seen.py)
    prompt    how far the prompt moves the network's first answer: the root mean square of
              f(x_T, prompt) - f(x_T, no prompt), before anything is drawn (2407.21720, equation 4)

The model itself says how large is too large: `limits_of` takes drawings of captions that
were not trained on (controls) and sets each limit so that at most a share of them exceeds any.
A drawing is called a copy where any signal exceeds its limit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from frenchcat.curate.command_text import shell_command
from frenchcat.curate.errors import UserError
from frenchcat.curate.notices import say_once
from frenchcat.curate.typed_json import loaded
from frenchcat.train.model import network_of
from frenchcat.train.permutation import key_of
from frenchcat.train.pictures import plain_sizes, squarest
from frenchcat.train.start import weights_digest

if TYPE_CHECKING:
    from PIL.Image import Image

    from frenchcat.train.draw import SampleRequest
    from frenchcat.train.receipts import Neighbour, Receipts
    from frenchcat.train.run import Parts

NAMES = ("cosine", "pixels", "prompt")
FILE = "audit.json"
TURNS = 3
"""How often a copy is drawn again."""


@dataclass(frozen=True)
class Limits:
    """What a signal of a drawing may reach."""

    cosine: float
    pixels: float
    prompt: float
    controls: int  # drawings of captions that were not trained on
    false_alarms: float  # the expected share of such drawings that are called copies

    def exceeded(self, signals: NDArray[np.float64]) -> NDArray[np.bool_]:
        """(N, 3) whether each of (N, 3) signals, in the order of NAMES, is above its limit."""
        return np.asarray(signals > np.array([self.cosine, self.pixels, self.prompt]))


def limits_of(controls: NDArray[np.float64], false_alarms: float = 0.01) -> Limits:
    """Limits that at most this share of drawings of untrained captions is expected to exceed.

    `controls` are their (N, 3) signals. Each signal gets a third of the share (the union bound);
    of N controls the k-th largest is exceeded by a new one with probability k / (N + 1), so that
    fewer than 3 / `false_alarms` controls cannot promise it: the limit is then the largest control,
    and the result's `false_alarms` says what that gives. Raises `UserError` without controls.
    """
    count = len(controls)
    if count == 0:
        raise UserError("there are no captions to compare with that were not trained on")
    rank = max(1, int(false_alarms / len(NAMES) * (count + 1)))
    largest = np.sort(controls, axis=0)[count - rank]
    expected = min(1.0, len(NAMES) * rank / (count + 1))
    cosine, pixels, prompt = map(float, largest)
    return Limits(cosine, pixels, prompt, count, expected)


def signals_of(
    parts: Parts, requests: Sequence[SampleRequest], receipts: Receipts
) -> NDArray[np.float64]:
    """(N, 3) the signals of drawings. Raises `UserError` where the receipts compared nothing."""
    if not receipts.by_pixels or not all(receipts.by_pixels):
        raise UserError(
            f"copies cannot be looked for ({receipts.note or 'no training image is left'})"
        )
    cosines = [near[0].similarity for near in receipts.neighbours]
    pixels = [-float(near[0].difference or 0.0) for near in receipts.by_pixels]
    return np.stack([cosines, pixels, prompt_effects(parts, requests)], axis=1).astype(np.float64)


def prompt_effects(parts: Parts, requests: Sequence[SampleRequest]) -> NDArray[np.float64]:
    """(N,) the root mean square of what each prompt changes in the network's first answer.

    2407.21720 averages the norm over the sampler's steps, and finds the first alone as telling.
    """
    import torch

    from frenchcat.train.draw import AT_ONCE, noise_of

    network = network_of(parts.unet, parts.family.answer)
    device = next(parts.unet.parameters()).device
    size = squarest(parts.settings.data)  # as it draws
    found: list[NDArray[np.float64]] = []
    for start in range(0, len(requests), AT_ONCE):
        some = requests[start : start + AT_ONCE]
        x = torch.stack([noise_of(one.seed, parts.shape) for one in some]).to(device)
        t = torch.full((len(some),), len(parts.diffusion) - 1, device=device)
        both = parts.text([""] * len(some) + [one.prompt for one in some]).to(device)
        both = both.sized(torch.tensor([plain_sizes(size)] * 2 * len(some)))
        plain = network(x, t, both.part(0, len(some)))
        told = network(x, t, both.part(len(some), 2 * len(some)))
        moved = (told - plain).float().square().flatten(1).mean(1).sqrt()
        found.append(moved.double().cpu().numpy())
    return np.concatenate(found)


def without_copies(
    parts: Parts,
    requests: Sequence[SampleRequest],
    limits: Limits,
    drawn: Callable[[Sequence[SampleRequest]], tuple[list[Image], Receipts]],
) -> tuple[list[SampleRequest], list[Image], Receipts]:
    """Draw requests; draw copies again with other seeds, TURNS times; leave out what stays one.

    The same requests give the same images. Each that is left out is named, with the image that it
    is a copy of and whose it is. Raises `UserError` if all of them are.
    """
    kept: dict[int, tuple[SampleRequest, Image, list[Neighbour], list[Neighbour]]] = {}
    left, told = dict(enumerate(requests)), None
    for turn in range(TURNS + 1):
        asked = {n: replace(one, seed=_other(one.seed, turn)) for n, one in left.items()}
        pictures, told = drawn(list(asked.values()))
        signals = signals_of(parts, list(asked.values()), told)
        over = [bool(row.any()) for row in limits.exceeded(signals)]
        for place, (n, one) in enumerate(asked.items()):
            near, alike = told.neighbours[place], told.by_pixels[place]
            if not over[place]:
                kept[n] = (one, pictures[place], near, alike)
                del left[n]
            elif turn == TURNS:
                say_once(_refused(one, alike[0]))
        if not left:
            break
    if not kept or told is None:
        raise UserError(
            f"all {len(requests)} drawings are near copies of training images; nothing was written"
        )
    found = [kept[n] for n in sorted(kept)]
    receipts = replace(told, neighbours=[o[2] for o in found], by_pixels=[o[3] for o in found])
    return [one[0] for one in found], [one[1] for one in found], receipts


def _other(seed: int, turn: int) -> int:
    return seed if turn == 0 else key_of(seed, turn, "not a copy") >> 33


def _refused(wanted: SampleRequest, near: Neighbour) -> str:
    whose = "".join(f", {part}" for part in (near.creator, near.licence, near.url) if part)
    return (
        f"{wanted.prompt!r} is left out: {TURNS + 1} drawings were near copies of the training "
        f"image {near.key}{whose}"
    )


def read_limits(run: Path, checkpoint: Path) -> Limits:
    """The limits that `frenchcat audit` found for a run's checkpoint. Raises `UserError`."""
    again = shell_command("audit", run)
    named = shell_command("audit", run, "--checkpoint", checkpoint)
    try:
        data = (run / FILE).read_bytes()
    except FileNotFoundError:
        raise UserError(
            f"{run} was not audited, so nothing says what a copy is; run: {again}"
        ) from None
    except OSError as error:
        raise UserError(f"{run / FILE} cannot be read ({error.strerror}); run: {again}") from None
    told = loaded(_Audited, data, str(run / FILE), f"run: {again}")
    if told.checkpoint != checkpoint.name:
        raise UserError(
            f"{run / FILE} is about checkpoint {told.checkpoint}, and {checkpoint.name} draws; "
            f"run: {named}"
        )
    if told.weights not in (None, weights_digest(checkpoint)):
        raise UserError(
            f"{run / FILE} is about other weights than those of {checkpoint.name}, which was "
            f"trained anew since; run: {named}"
        )
    return told.limits


@dataclass(frozen=True)
class _Audited:
    """What is read of an audit.json."""

    limits: Limits
    checkpoint: str
    weights: str | None = None  # their SHA-256; None: written by an older version
