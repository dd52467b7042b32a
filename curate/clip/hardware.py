"""What this machine computes with: device, precision, and whether a compiler is there."""

from __future__ import annotations

import os
import shutil
import sys
from functools import cache
from pathlib import Path

from frenchcat.curate.errors import UserError


def device_of(wanted: str) -> str:
    """`auto` -> cuda or cpu; anything else as it is. Raises `UserError` where it is missing."""
    import torch

    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if wanted.startswith("cuda") and not torch.cuda.is_available():
        raise UserError(f"clip.device {wanted!r}: this machine has no CUDA device; use auto or cpu")
    return wanted


def precision_of(wanted: str, device: str) -> str:
    """`auto` -> bf16 where the processor has the instructions, else fp32."""
    import torch

    if wanted != "auto":
        return wanted
    if device.startswith("cuda"):
        return "bf16" if torch.cuda.is_bf16_supported() else "fp32"
    return "bf16" if device == "cpu" and _cpu_flags() & {"avx512_bf16", "amx_bf16"} else "fp32"


def can_compile(device: str) -> str | None:
    """None where torch.compile can work; else the reason, in words."""
    if device != "cpu":
        return None
    # torch runs $CXX, or else the system's usual compiler, and looks for no other.
    compiler = os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++")
    if shutil.which(compiler) is None:
        return f"there is no C++ compiler {compiler} (install one, or name it in CXX)"
    return None


@cache
def _cpu_flags() -> frozenset[str]:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return frozenset()
    flags = next((line for line in text.splitlines() if line.startswith(("flags", "Features"))), "")
    return frozenset(flags.partition(":")[2].split())
