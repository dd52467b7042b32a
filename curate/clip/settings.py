"""Settings of the CLIP model. Imports nothing heavy."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from frenchcat.curate.config import settings

_DEVICE = re.compile(r"auto|cpu|mps|(cuda|xpu)(:\d{1,3})?")


def _device(name: str) -> str:
    # A device that is only missing here is told when it is used: a dataset may move.
    if not _DEVICE.fullmatch(name):
        raise ValueError("a device is auto, cpu, cuda, cuda:1, mps or xpu")
    return name


@settings
class ClipSettings:
    """Which CLIP model, and how it runs."""

    model: str = "mini"
    """`mini` (bundled), an open_clip architecture (`ViT-B-32`), `hf-hub:org/name` or
    `local-dir:/folder`."""
    pretrained: str | None = None
    """For an architecture: open_clip's tag of the weights (`laion2b_s34b_b79k`), or a file."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Of the weights; auto: bf16 where the processor computes with it, else fp32."""
    device: Annotated[str, AfterValidator(_device)] = "auto"
    """auto (a GPU where there is one), cpu, cuda, cuda:1, mps."""
    compile: Literal["auto", "yes", "no"] = "auto"
    """torch.compile; auto: where a dataset is long enough to pay for compiling."""
    batch_size: int = Field(64, ge=1, le=65536)
    """Images or texts that are encoded together (count)."""
    decode_workers: int | None = Field(None, ge=1)
    """Processes that decode images; None: one per core, and none for 256 images or fewer."""
