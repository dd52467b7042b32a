"""Prompts -> images: guidance and a sampler around a trained U-Net.

Reads the parts of a run, returns Pillow images. The same request gives the same image: the noise
depends on the seed alone and is drawn on the CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from frenchcat.curate.errors import Diverged, UserError
from frenchcat.curate.image import open_image
from frenchcat.curate.notices import say_once
from frenchcat.train.guidance import Guided
from frenchcat.train.image_vectors import mixed
from frenchcat.train.inpaint import known_of
from frenchcat.train.model import network_of
from frenchcat.train.permutation import key_of
from frenchcat.train.pictures import plain_sizes, squarest
from frenchcat.train.run import Parts
from frenchcat.train.sampler import Predict, karras_timesteps, sample, timesteps
from frenchcat.train.steering import Guide
from frenchcat.train.text import Condition

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image
    from torch import Tensor

Watch = Callable[[int, int], None]
"""Called after each step of the sampler with its number and the number of steps."""
AT_ONCE = 64
"""Images that are drawn together at most; memory grows with it."""
_POSITIONS = 2**16  # of x in images that are drawn together: 64 of 32 x 32, 4 of 128 x 128
_MARGIN = 2  # pixels between the images of a grid
_LETTERS = 14  # pixels below an image, for its prompt


class Stopped(Exception):
    """A drawing was stopped before its end."""


@dataclass(frozen=True)
class SampleRequest:
    """An image to draw."""

    prompt: str
    seed: int = 0
    negative: str = ""


def draw(
    parts: Parts,
    requests: Sequence[SampleRequest],
    *,
    steps: int = 20,
    guidance: float = 3.0,
    sampler: str = "dpm++",
    start: Image | None = None,
    strength: float = 1.0,
    mask: Image | None = None,
    image: NDArray[np.float32] | None = None,
    mix: float = 0.0,
    size: tuple[int, int] | None = None,
    rescale: float = 0.0,
    threshold: float | None = None,
    spacing: str = "even",
    guides: Sequence[Guide] = (),
    watch: Watch | None = None,
    stopped: Callable[[], bool] | None = None,
) -> list[Image]:
    """Draw one image per request.

    `start` with `strength` below 1 begins with a noised image (2108.01073). With a `mask` of the
    same size, only what is white there is drawn (inpaint.py). `image` is an image's CLIP vector,
    (D,), that is varied, moved by `mix` towards that of the prompt (image_vectors.py). `size` is
    (width, height) in pixels; None: that of the trained bucket nearest to a square. More than
    AT_ONCE requests are drawn in parts, and fewer at once if they are large. `rescale` and
    `threshold` are those of guidance.py; `spacing` of the sampler's times is `even` or `karras`.
    `guides` steer in addition to classifier-free guidance; `watch` is called after each step,
    `stopped` before each. Raises `Stopped` if that returns true, ValueError for steps or a strength
    out of range, `UserError` for a guide or a mask that does not fit, `Diverged` for a drawing
    that is not finite.
    """
    width, height = size or squarest(parts.settings.data)
    how = _How(
        (width, height),
        _shape(parts, width, height),
        steps,
        guidance,
        sampler,
        start,
        strength,
        mask,
        image,
        mix,
        rescale,
        threshold,
        spacing,
        tuple(guides),
        stopped,
    )
    at_once = max(1, min(AT_ONCE, _POSITIONS // (how.shape[1] * how.shape[2])))
    batches = [requests[n : n + at_once] for n in range(0, len(requests), at_once)]
    drawn = []
    for n, some in enumerate(batches):
        told = None if watch is None else _part_told(watch, n, len(batches))
        drawn += _drawn_together(parts, some, how, told)
    return drawn


@dataclass(frozen=True)
class _How:
    """How images are drawn: what `draw` was given."""

    size: tuple[int, int]  # width and height in pixels
    shape: tuple[int, int, int]  # of x
    steps: int
    guidance: float
    sampler: str
    start: Image | None
    strength: float
    mask: Image | None
    image: NDArray[np.float32] | None
    mix: float
    rescale: float
    threshold: float | None
    spacing: str
    guides: tuple[Guide, ...]
    stopped: Callable[[], bool] | None


def _drawn_together(
    parts: Parts, requests: Sequence[SampleRequest], how: _How, watch: Watch | None
) -> list[Image]:
    """Draw as many images as memory takes at once."""
    import torch

    shape = how.shape
    parts.family.check_size(shape[1:])
    device = next(parts.unet.parameters()).device
    _check_guidance(parts, how.rescale, how.threshold)
    times = _times(parts, how.steps, how.strength, how.spacing)
    noise = torch.stack([noise_of(wanted.seed, shape) for wanted in requests]).to(device)
    x = noise
    if how.start is not None:
        t = torch.full((len(requests),), times[0], device=device)
        x = parts.diffusion.noised(
            encoded(parts, how.start, how.size, device).expand_as(noise), t, noise
        )
    count = len(requests)
    condition = parts.text(
        [wanted.negative for wanted in requests] + [wanted.prompt for wanted in requests]
    ).to(device)
    if how.image is not None:
        condition = _varied(condition, how.image, how.mix, requests)
    condition = condition.sized(torch.tensor([plain_sizes(how.size)] * 2 * count))
    for wanted in parts.text.too_long([one.prompt for one in requests]):
        say_once(f"the prompt {wanted!r} is cut to the text tower's {parts.text.limit} tokens")
    null, prompts = condition.part(0, count), condition.part(count, 2 * count)
    predict: Predict = Guided(
        network_of(parts.unet, parts.family.answer),
        parts.diffusion,
        parts.settings.diffusion.target,
        prompts,
        null,
        how.guidance,
        [guide(parts, [wanted.prompt for wanted in requests], prompts) for guide in how.guides],
        None if parts.codec.vae is not None else 1.0,
        how.rescale,
        how.threshold,
    )

    known = None
    if how.mask is not None and how.start is not None:
        known = known_of(open_image(how.start), how.mask, how.size, parts.codec, noise)
        predict = known.within(predict, parts.diffusion)

    if watch is not None:
        predict = _watched(predict, watch, times)

    def step(x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        if how.stopped is not None and how.stopped():
            raise Stopped
        return predict(x, t)

    def fresh(n: int) -> Tensor:
        drawn = [noise_of(wanted.seed, shape, n + 1) for wanted in requests]
        return torch.stack(drawn).to(device)

    x_0 = sample(how.sampler, step, parts.diffusion, x, times, fresh)
    _check_finite(x_0, requests)
    pixels = parts.codec.decode(x_0)
    if known is not None:
        pixels = known.finished(pixels)
    return images_of(pixels)


def _check_finite(x_0: Tensor, requests: Sequence[SampleRequest]) -> None:
    """Raise `Diverged` for a drawing of numbers that are not finite, which would be black."""
    sound = x_0.isfinite().flatten(1).all(1).tolist()
    bad = [one.prompt for one, is_sound in zip(requests, sound, strict=True) if not is_sound]
    if bad:
        raise Diverged(
            f"the drawing of {bad[0]!r} is not finite ({len(bad)} of {len(requests)} are not): the "
            "model diverged, or guidance is too strong; lower guidance, or give another checkpoint"
        )


def _varied(
    condition: Condition, image: NDArray[np.float32], mix: float, requests: Sequence[SampleRequest]
) -> Condition:
    """Negative prompts, told of no image, and prompts told of an image, moved towards their text.

    Raises ValueError for a `mix` out of range, or with an empty prompt.
    """
    import torch

    if not 0 <= mix <= 1:
        raise ValueError(f"mix is {mix}; give 0 (the image) to 1 (the text)")
    if mix and not all(wanted.prompt for wanted in requests):
        raise ValueError(f"mix {mix} moves an image towards a prompt, and there is none; add one")
    assert condition.pooled is not None
    vector = torch.from_numpy(image).to(condition.pooled)
    texts = condition.pooled[len(requests) :, : len(vector)] / len(vector) ** 0.5
    told = mixed(vector, texts, mix) if mix else vector.expand(len(requests), -1)
    return condition.with_images(torch.cat([torch.zeros_like(told), told]))


def _watched(predict: Predict, watch: Watch, times: Sequence[int]) -> Predict:
    """A predictor that reports when the sampler reaches another time step; heun asks twice."""
    steps = {time: number for number, time in enumerate(times, 1)}
    seen: set[int] = set()

    def told(x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        found = predict(x, t)
        time = int(t[0])
        if time in steps and time not in seen:
            seen.add(time)
            watch(steps[time], len(times))
        return found

    return told


def noise_of(seed: int, shape: tuple[int, ...], turn: int = 0) -> Tensor:
    """Standard normal noise from a seed; `turn` counts the sampler's draws."""
    import torch

    generator = torch.Generator().manual_seed(key_of(seed, turn, "draw") >> 1)
    return torch.randn(*shape, generator=generator)


def grid(pictures: Sequence[Image], titles: Sequence[str], columns: int | None = None) -> Image:
    """Images side by side, each above its title; small ones are enlarged."""
    from PIL import Image as Images
    from PIL import ImageDraw, ImageFont

    scale = max(1, 128 // pictures[0].width)
    width, height = pictures[0].width * scale, pictures[0].height * scale
    columns = columns or min(len(pictures), 4)
    rows = -(-len(pictures) // columns)
    cell = width + _MARGIN, height + _MARGIN + _LETTERS
    sheet = Images.new("RGB", (columns * cell[0] + _MARGIN, rows * cell[1] + _MARGIN), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    for n, (picture, title) in enumerate(zip(pictures, titles, strict=True)):
        left, top = _MARGIN + n % columns * cell[0], _MARGIN + n // columns * cell[1]
        sheet.paste(picture.resize((width, height), Images.Resampling.NEAREST), (left, top))
        pen.text((left, top + height), _cut(title, width, font), "black", font)
    return sheet


def _cut(title: str, width: int, font: object) -> str:
    while title and font.getlength(title) > width:  # type: ignore[attr-defined]
        title = title[:-2].rstrip() + "…" if len(title) > 2 else ""
    return title


def _times(parts: Parts, steps: int, strength: float, spacing: str) -> list[int]:
    """The sampler's times. Raises ValueError for an unknown spacing or numbers out of range."""
    if spacing == "karras":
        return karras_timesteps(parts.diffusion, steps, strength)
    if spacing != "even":
        raise ValueError(f"unknown spacing {spacing!r}; known: even, karras")
    return timesteps(len(parts.diffusion), steps, strength)


def _check_guidance(parts: Parts, rescale: float, threshold: float | None) -> None:
    """Raise ValueError for numbers out of range, or a threshold without effect."""
    if not 0 <= rescale <= 1:
        raise ValueError(f"rescale is {rescale}; give 0 to 1, such as .7")
    if threshold is None:
        return
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold is {threshold}; give a quantile above 0, such as .995")
    if parts.codec.vae is not None:
        raise ValueError("a threshold is for pixels, and this run draws latents; leave it out")


def _part_told(watch: Watch, part: int, parts: int) -> Watch:
    """Steps of a part, reported as steps of the whole."""
    return lambda step, steps: watch(part * steps + step, parts * steps)


def _shape(parts: Parts, width: int, height: int) -> tuple[int, int, int]:
    """The shape of x for images of this many pixels. Raises `UserError` for a size that does not
    divide.
    """
    shrinks = parts.codec.shrinks
    if min(width, height) < shrinks or width % shrinks or height % shrinks:
        raise UserError(
            f"this model cannot draw a size of {width}x{height} pixels; give multiples of "
            f"{max(shrinks, 8)}, such as {shrinks * 8}x{shrinks * 8}"
        )
    return parts.codec.channels, height // shrinks, width // shrinks


def encoded(parts: Parts, picture: Image, size: tuple[int, int], device: torch.device) -> Tensor:
    """An image, cropped to (width, height) pixels, as x_0."""
    import torch
    from PIL import ImageOps

    fitted = np.asarray(ImageOps.fit(open_image(picture), size), np.uint8)
    pixels = torch.from_numpy(fitted.copy()).permute(2, 0, 1)[None]
    return parts.codec.encode(pixels.to(device))


def images_of(pixels: Tensor) -> list[Image]:
    """Pixels (B, 3, H, W) uint8, such as `Codec.decode` gives, as images."""
    from PIL import Image as Images

    return [Images.fromarray(one.permute(1, 2, 0).cpu().numpy()) for one in pixels]
