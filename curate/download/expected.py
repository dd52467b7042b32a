"""Images that are not those the list means: their bytes have another hash than the list says.

A list of last year names URLs; whoever owns a domain today decides what they answer (Carlini et al.
2023, 2302.10149: expired domains let anybody replace images of a published dataset). Where a list
brings hashes of its images, what answers with other bytes is not stored.

Reads the frozen rows' columns of the list's own sha256, md5 and pdq; writes nothing. Cost: a
digest per image, and for PDQ, which is asked only where the bytes differ, a decoding.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from frenchcat.curate.errors import UnreadableImage
from frenchcat.curate.failures import Failure
from frenchcat.curate.hashes import PDQ_DISTANCE, PDQ_QUALITY, pdq_and_quality
from frenchcat.curate.image import open_image
from frenchcat.curate.list_names import beside
from frenchcat.curate.promote import folded

if TYPE_CHECKING:
    import pyarrow as pa

HASH_MISMATCH = "hash_mismatch"
_COLUMNS = {"sha256": beside("sha256"), "md5": beside("md5"), "pdq": "pdq"}
"""Kind of hash -> the frozen column: a sidecar may have a sha256 and an md5 of its own."""
_DIGITS = {"sha256": 64, "md5": 32, "pdq": 64}
Hashes = Mapping[str, str]


class Expected:
    """What a shard's rows are to be; used from many threads."""

    def __init__(self, rows: pa.Table) -> None:
        """Take the frozen rows; a value that is not such a hash is not compared."""
        there = {folded(name): name for name in rows.column_names}
        found = {
            kind: rows[there[name]].to_pylist() for kind, name in _COLUMNS.items() if name in there
        }
        self._rows: list[Hashes] = [
            {
                kind: value.strip().lower()
                for kind, value in zip(found, values, strict=True)
                if _is(kind, value)
            }
            for values in zip(*found.values(), strict=True)
        ]

    def judge(self, row: int, body: bytes) -> Failure | None:
        """Why these bytes are not the row's; None where they are, or nothing is known of them.

        The listed bytes are right, and so are others whose PDQ hash is near enough that the image
        is the same, coded or sized anew.
        """
        expected = self._rows[row] if self._rows else {}
        why = ""
        for kind in ("sha256", "md5"):
            if kind in expected:
                found = hashlib.new(kind, body, usedforsecurity=False).hexdigest()
                if found == expected[kind]:
                    return None
                why = why or f"{kind} is {found[:12]}…, the list says {expected[kind][:12]}…"
        if "pdq" in expected and (distance := _distance(expected["pdq"], body)) is not None:
            if distance <= PDQ_DISTANCE:
                return None
            why = f"its PDQ hash is {distance} bits from the list's"
        return Failure(HASH_MISMATCH, detail=why) if why else None


def _is(kind: str, value: Any) -> bool:
    """Whether a list's value is a hash of this kind, in hex."""
    return isinstance(value, str) and bool(
        re.fullmatch(rf"\s*[0-9a-fA-F]{{{_DIGITS[kind]}}}\s*", value)
    )


def _distance(listed: str, body: bytes) -> int | None:
    """Bits between a listed PDQ hash and that of an image; None where it has none to speak of."""
    try:
        found, quality = pdq_and_quality(open_image(body))
    except UnreadableImage:  # the resizer says why
        return None
    if quality < PDQ_QUALITY:
        return None
    return (int.from_bytes(found, "big") ^ int(listed, 16)).bit_count()
