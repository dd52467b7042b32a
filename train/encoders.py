"""What encodes images and captions for a network, and what signs their encodings.

Reads the autoencoder and the text encoders that training settings name; writes nothing. The
signatures tell whether encodings that a dataset stores (latents.py, text_states.py) are those that
a run would make (stored_fit.py): they contain the digests of the weights, and the settings that
decide what is encoded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from frenchcat.curate.dataset import file_sha256
from frenchcat.curate.errors import UserError
from frenchcat.curate.markers import Signature
from frenchcat.train.model import Codec
from frenchcat.train.pictures import edges_of, shapes_of
from frenchcat.train.pipeline_text import PipelineText
from frenchcat.train.settings import DataSettings, TextSettings, TrainSettings
from frenchcat.train.start import Start, open_pipeline, start_of
from frenchcat.train.text import TextEncoder

LATENTS, TEXT_STATES = "latents", "text_states"
"""The stages."""
Precision = Literal["fp16", "fp32"]
PRECISIONS: tuple[Precision, ...] = ("fp16", "fp32")
_LATENTS_VERSION, _TEXT_VERSION = 1, 1
SETTING_NAMES = {
    "vae": "the autoencoder",
    "encoders": "the text encoders",
    "shapes": "the sizes in pixels",
    "edges": "data.aspects",
    "crop": "data.crop",
    "flip": "data.flip",
    "separator": "text.separator",
    "templates": "text.templates",
    "precision": "the precision",
}
"""What the settings of both signatures are called in messages."""


@dataclass(frozen=True)
class Encoders:
    """The autoencoder and the text encoders of training settings, with their digests."""

    codec: Codec
    text: TextEncoder | PipelineText
    vae_digest: str | None  # None: the network works on pixels
    text_digest: str

    def to(self, device: Any) -> Encoders:
        """The same on a device."""
        self.codec.to(device)
        self.text.to(device)
        return self


def open_encoders(settings: TrainSettings) -> Encoders:
    """Load them, for settings of `with_start`. Raises `UserError` where one does not load."""
    text: TextEncoder | PipelineText
    start = _pipeline_of(settings)
    if start is None:
        text = TextEncoder(settings.text)
        codec = Codec.load(settings.model.vae, settings.model.patch)
    else:
        family, codec = open_pipeline(start, settings)
        text = PipelineText(family, start.digest())
    return Encoders(codec, text, vae_digest(settings), text_digest(settings, text))


def vae_digest(settings: TrainSettings) -> str | None:
    """The SHA-256 over the autoencoder's weights and config; None without one."""
    start = _pipeline_of(settings)
    if start is not None:
        return _digest([start.folder / "vae"])
    return None if settings.model.vae is None else _digest([Path(settings.model.vae)])


def text_digest(settings: TrainSettings, text: TextEncoder | PipelineText) -> str:
    """The SHA-256 over what makes states of a caption: encoders, tokenizers, kind of pipeline."""
    start = _pipeline_of(settings)
    if start is None:
        return text.digest
    named = [*start.folder.glob("text_encoder*"), *start.folder.glob("tokenizer*")]
    folders = sorted(folder for folder in named if folder.is_dir())
    return hashlib.sha256(f"{start.family.pipeline} {_digest(folders)}".encode()).hexdigest()


def latents_signature(data: DataSettings, vae: str, precision: Precision) -> Signature:
    """The signature of the latents of images that are fitted as these settings say.

    Raises `UserError` for random crops, which differ in each epoch.
    """
    if data.crop == "random":
        raise UserError(
            "data.crop is random, and each epoch crops elsewhere, so latents cannot be stored; set "
            "data.crop to center or pad"
        )
    settings = {
        "vae": vae,
        "shapes": [list(shape) for shape in shapes_of(data)],
        "edges": edges_of(data.aspects),
        "crop": data.crop,
        "flip": data.flip,
        "precision": precision,
    }
    return Signature(LATENTS, _LATENTS_VERSION, settings)


def text_signature(text: TextSettings, encoders: str, precision: Precision) -> Signature:
    """The signature of captions' states, with the variants and templates of these settings."""
    settings = {
        "encoders": encoders,
        "separator": text.separator,
        "templates": list(text.templates),
        "precision": precision,
    }
    return Signature(TEXT_STATES, _TEXT_VERSION, settings)


def _pipeline_of(settings: TrainSettings) -> Start | None:
    """The pipeline that is started from, if it is one."""
    if settings.model.start is None:
        return None
    start = start_of(settings.model.start)
    return start if start.kind == "pipeline" else None


def _digest(folders: Sequence[Path]) -> str:
    """The digest of the files in some folders, by name."""
    files = [file for folder in folders for file in sorted(folder.rglob("*")) if file.is_file()]
    told = [f"{file.parent.name}/{file.name} {file_sha256(file)}" for file in files]
    return hashlib.sha256("\n".join(told).encode()).hexdigest()
