"""Figures of a measurement that is made in parts: a part that was measured is not measured again.

Lies in .bench/<name>/, a JSON file per part, with the digest of the code that was measured.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Any

from bench import _common as common
from bench._common import BENCH


def kept(
    name: str, part: str, code: Sequence[str], measured: Callable[[], dict[str, Any]]
) -> dict[str, Any]:
    """The figures of a part, with the load before it; `code` are patterns of what it measures."""
    paths = sorted(path for pattern in code for path in common.ROOT.glob(pattern))
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()
    file = BENCH / name / f"{part}.json"
    if file.exists():
        before = json.loads(file.read_text("utf-8"))
        if before["code"] == digest:
            figures: dict[str, Any] = before["figures"]
            return figures
    figures = {"load_before": common.load(), **measured()}
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"code": digest, "figures": figures}, indent=1), "utf-8")
    return figures
