"""Prompts -> signed images with receipts, in memory, by a trained run or the bundled artist."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frenchcat.curate.dataset import file_sha256
from frenchcat.curate.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

    from frenchcat.train.checkpoint import State
    from frenchcat.train.copies import Limits
    from frenchcat.train.credentials import Credentials
    from frenchcat.train.draw import SampleRequest, Watch
    from frenchcat.train.receipts import Receipts
    from frenchcat.train.run import Parts
    from frenchcat.train.steering import Guide

    Opened = tuple[Parts, State, Path]  # as train.run.open_run gives


NEIGHBOURS = 5


@dataclass(frozen=True)
class Steering:
    """What steers the drawing besides the prompt; None for whatever is not used."""

    classifier: Path | None = None  # the run of a noise-aware classifier
    label: str | None = None  # of its classes
    classifier_scale: float = 1.0
    clip: float | None = None  # weight of CLIP guidance


NO_STEERING = Steering()

ENDINGS = {"png": ".png", "jpeg": ".jpg", "webp": ".webp"}
"""Formats that drawings are written in, and the endings of their files."""

USUAL: dict[str, Any] = {"size": None, "rescale": 0.0, "threshold": None, "spacing": "even"}
"""Defaults of train.draw: a manifest names only values that differ from these."""

STRENGTH = 0.6
"""How much an image is noised by default; with a mask it is 1."""


@dataclass(frozen=True)
class SignedDrawing:
    """A drawn image as a signed file, and what is known about it."""

    wanted: SampleRequest
    picture: Image
    file: bytes
    made: Mapping[str, Any]
    """The facts in its manifest: the model, checkpoint, selection, prompt, seed and settings."""
    receipt: Mapping[str, Any]
    """JSON-able: made, nearest, nearest_by_pixels, compared, note, about."""


def draw_signed(
    run: Path | None,
    prompts: Sequence[str],
    *,
    number: int = 4,
    seed: int = 0,
    negative: str = "",
    image: Path | None = None,
    strength: float | None = None,
    mask: Path | None = None,
    vary: str | None = None,
    mix: float = 0.0,
    neighbours: int = NEIGHBOURS,
    credentials: Credentials | None = None,
    steering: Steering = NO_STEERING,
    checkpoint: Path | None = None,
    refuse_copies: bool = False,
    kind: str = "png",
    mark: bool = False,
    lora_scale: float | None = None,
    device: str = "cpu",
    opened: Opened | None = None,
    watch: Watch | None = None,
    stopped: Callable[[], bool] | None = None,
    **how: Any,
) -> tuple[list[SignedDrawing], dict[str, Any]]:
    """Draw `number` images per prompt; returns them, and the facts that all of them share.

    A `run` of None is the bundled artist. Each image is signed (train/provenance.py), with the
    user's self-issued key unless `credentials` are given, and has a receipt of its nearest training
    images (train/receipts.py). `vary` is an image file or a key of the run's dataset, and `mix` how
    far it is moved towards the prompt. `checkpoint` is a checkpoint's folder, by default the best;
    `opened` is the run if it is open already; `watch`, `stopped` and `how` are passed to
    train.draw. With `refuse_copies`, a near copy of a training image (train/copies.py) is drawn
    again with other seeds, and left out with a line if it stays one. `kind` is the files' format,
    png, jpeg or webp; with `mark` they carry the invisible mark of train/mark.py. `lora_scale`
    leaves a run's updates of low rank unmerged, and counts them so many times; it changes `opened`.
    Raises `UserError` for a folder that is not a run, an unreadable image, numbers out of range, a
    run that was not audited, a clock outside the certificate's validity, and if every drawing is
    refused.
    """
    _check(number, neighbours, kind, how)
    _check_steering(steering)
    from frenchcat.train.copies import without_copies
    from frenchcat.train.credentials import own_credentials
    from frenchcat.train.draw import SampleRequest, draw
    from frenchcat.train.mark import check_size, marked
    from frenchcat.train.provenance import signed, with_source_type
    from frenchcat.train.receipts import artist_receipts, receipts_of
    from frenchcat.train.signatures import check_clock

    parts, state, folder = _opened(run, checkpoint, device, opened, lora_scale)
    if mark:
        check_size(*(how.get("size") or [parts.settings.data.size] * 2))
    guides, steered_by = _guides(steering, parts)
    start = _Start.of(parts, image, strength, mask, vary, mix)
    limits = _limits(run, folder, parts) if refuse_copies else None
    credentials = credentials or own_credentials()
    check_clock(credentials, datetime.now(UTC))
    requests = [SampleRequest(p, seed + n, negative) for p in prompts for n in range(number)]
    given = {**start.given(), "guides": guides, "watch": watch, "stopped": stopped}

    def drawn(some: Sequence[SampleRequest]) -> tuple[list[Image], Receipts]:
        try:
            pictures = draw(parts, some, **given, **how)
        except ValueError as error:
            raise UserError(str(error)) from None
        if run is None:
            return pictures, artist_receipts(folder, parts, pictures, neighbours)
        return pictures, receipts_of(parts.settings.data, run / "rows", pictures, neighbours)

    if limits is None:
        pictures, receipts = drawn(requests)
    else:
        requests, pictures, receipts = without_copies(parts, requests, limits, drawn)
    about = made_by(run, state, folder) | _told_of(how) | steered_by
    if lora_scale is not None:
        about["lora_scale"] = lora_scale
    if mark:
        about["invisible_mark"] = True
        pictures = [marked(picture) for picture in pictures]
    about |= start.facts()
    facts_of = {wanted: about | _wished(wanted) for wanted in requests}
    nearest = _nearest(receipts)
    drawings = []
    for wanted, picture, near in zip(requests, pictures, nearest, strict=True):
        made = facts_of[wanted]
        file = signed(with_source_type(picture, kind), made, credentials, kind)
        drawings.append(SignedDrawing(wanted, picture, file, made, {"made": made, **near}))
    return drawings, about


@dataclass(frozen=True)
class _Start:
    """What drawings start from besides their prompts: an image, a mask, an image to vary."""

    image: Path | None
    mask: Path | None
    vary: str | None
    mix: float
    strength: float
    opened: Image | None
    inside: Image | None
    vector: NDArray[np.float32] | None

    @classmethod
    def of(
        cls,
        parts: Parts,
        image: Path | None,
        strength: float | None,
        mask: Path | None,
        vary: str | None,
        mix: float,
    ) -> _Start:
        """Open the files. Raises `UserError` for one that is unreadable, or needs another."""
        from frenchcat.curate.image import open_image
        from frenchcat.train.image_vectors import vector_of

        opened = None if image is None else open_image(image)
        if mask is not None and opened is None:
            raise UserError(f"the mask {mask} says where an image is drawn anew; add --image FILE")
        if strength is not None and opened is None:
            raise UserError(
                f"--strength {strength:g} says how much an image is noised; add --image FILE"
            )
        inside = None if mask is None else open_image(mask)
        usual = STRENGTH if opened is not None and mask is None else 1.0
        if mix and vary is None:
            raise UserError(f"--mix {mix:g} mixes the prompt with an image; add --vary KEY or FILE")
        vector = None if vary is None else vector_of(vary, parts)
        noised = usual if strength is None else strength
        return cls(image, mask, vary, mix, noised, opened, inside, vector)

    def given(self) -> dict[str, Any]:
        """As train.draw takes it."""
        return {
            "start": self.opened,
            "strength": self.strength,
            "mask": self.inside,
            "image": self.vector,
            "mix": self.mix,
        }

    def facts(self) -> dict[str, Any]:
        """What a manifest says of it."""
        facts: dict[str, Any] = {}
        if self.image is not None:
            facts |= {"start": self.image.name, "strength": self.strength}
            facts |= {"start_sha256": file_sha256(self.image)}
        if self.mask is not None:
            facts |= {"mask": self.mask.name, "mask_sha256": file_sha256(self.mask)}
        if self.vary is not None:
            facts |= {"vary": Path(self.vary).name, "mix": self.mix}
            facts |= {"vary_sha256": file_sha256(self.vary)} if Path(self.vary).is_file() else {}
        return facts


def _opened(
    run: Path | None,
    checkpoint: Path | None,
    device: str,
    opened: Opened | None,
    lora_scale: float | None,
) -> Opened:
    """The run or the bundled artist, with updates of low rank as they are to be counted."""
    from frenchcat.train.artist import open_artist
    from frenchcat.train.run import open_run

    if run is None and checkpoint is not None:
        raise UserError(f"the bundled artist has no checkpoint {checkpoint}; leave it out")
    if opened is None:
        opened = open_artist(device) if run is None else open_run(run, checkpoint, device)
    if lora_scale is not None:
        from frenchcat.train.lora import unmerge

        if not math.isfinite(lora_scale):
            raise UserError(f"--lora-scale is {lora_scale}; give a number, such as .7")
        unmerge(*opened, lora_scale)
    return opened


def _limits(run: Path | None, folder: Path, parts: Parts) -> Limits:
    """From where on a drawing is refused as a copy. Raises `UserError` without an audit, and where
    drawings cannot be compared.
    """
    from frenchcat.train.copies import read_limits
    from frenchcat.train.receipts import check_comparable

    if run is None:
        raise UserError("the bundled artist was not audited; name a run with --refuse-copies")
    limits = read_limits(run, folder)
    check_comparable(parts.settings.data, run)
    return limits


def _nearest(receipts: Receipts) -> Iterator[dict[str, Any]]:
    """What each image's receipt says of its nearest training images."""
    by_pixels = receipts.by_pixels or [[] for _ in receipts.neighbours]
    for near, alike in zip(receipts.neighbours, by_pixels, strict=True):
        yield {
            "nearest": [asdict(one) for one in near],
            "nearest_by_pixels": [asdict(one) for one in alike],
            "compared": receipts.compared,
            "note": receipts.note,
            "about": receipts.said,
        }


def _told_of(how: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that a manifest names: those that are not as usual."""
    told = {name: value for name, value in how.items() if name not in USUAL or value != USUAL[name]}
    return told | ({"size": "x".join(map(str, told["size"]))} if "size" in told else {})


def made_by(run: Path | None, state: State, checkpoint: Path) -> dict[str, Any]:
    """What a manifest says about the model: the run's name, and identifying digests.

    Without a run it is the bundled artist, whose weights lie directly in its folder.
    """
    from frenchcat.train.artist import WEIGHTS
    from frenchcat.train.start import weights_digest

    return {
        "model": "frenchcat artist" if run is None else run.resolve().name,
        # What lies beside the artist's weights is about its training images.
        "checkpoint": file_sha256(checkpoint / WEIGHTS)
        if run is None
        else weights_digest(checkpoint),
        "step": state.step,
        "selection": state.identity["selection"],
        "selection_name": state.settings.get("data", {}).get("selection"),
    }


def _wished(wanted: SampleRequest) -> dict[str, Any]:
    wished: dict[str, Any] = {"prompt": wanted.prompt, "seed": wanted.seed}
    return wished | ({"negative": wanted.negative} if wanted.negative else {})


def _check(number: int, neighbours: int, kind: str, how: Mapping[str, Any]) -> None:
    from frenchcat.train.sampler import SAMPLERS, check_sampler

    guidance = how.get("guidance", 1.0)
    if number < 1 or neighbours < 1:
        raise UserError(f"{number} images, {neighbours} neighbours; give at least 1 of each")
    check_sampler(how.get("sampler", next(iter(SAMPLERS))))
    if not math.isfinite(guidance):
        raise UserError(f"guidance is {guidance}; give a number, such as 3")
    if kind not in ENDINGS:
        raise UserError(f"drawings are not written as {kind!r}; known: {', '.join(ENDINGS)}")


def size_of(text: str) -> tuple[int, int]:
    """(width, height) in pixels from `96x64`, or from `64` for a square. Raises `UserError`
    otherwise.
    """
    sides = text.lower().split("x")
    if not all(side.isdigit() and int(side) for side in sides) or len(sides) > 2:
        raise UserError(f"{text!r} is not a size; give width x height in pixels, such as 96x64")
    return int(sides[0]), int(sides[-1])


def _check_steering(steering: Steering) -> None:
    if steering.label is not None and steering.classifier is None:
        raise UserError(
            f"label {steering.label!r} needs the classifier that knows it; add --classifier RUN"
        )
    for name, value in (("scale", steering.classifier_scale), ("CLIP's weight", steering.clip)):
        if value is not None and not math.isfinite(value):
            raise UserError(f"guidance {name} is {value}; give a number, such as 2")


def _guides(steering: Steering, parts: Parts) -> tuple[list[Guide], dict[str, Any]]:
    """The guides, and what an image's manifest says about them."""
    from frenchcat.train.steering import classifier_guide, clip_guide, clip_of

    guides: list[Guide] = []
    told: dict[str, Any] = {}
    if steering.classifier is not None:
        from frenchcat.train.classifier import open_classifier

        trained = open_classifier(steering.classifier)
        if steering.label is None:
            known = ", ".join(trained.classes)
            raise UserError(f"the classifier {trained.run} needs a label to steer to: {known}")
        guides.append(classifier_guide(trained, steering.label, steering.classifier_scale))
        told |= {"classifier": trained.run.resolve().name, "classifier_checkpoint": trained.digest}
        told |= {"label": steering.label, "classifier_scale": steering.classifier_scale}
    if steering.clip is not None:
        clip = clip_of(parts.settings.text)
        guides.append(clip_guide(clip, steering.clip))
        told |= {"clip_guidance": steering.clip, "clip": clip.name, "clip_weights": clip.digest}
    return guides, told
