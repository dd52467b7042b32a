"""Small ICC profiles (ICC.1:2010, version 2), written by hand: RGB, grey and CMYK."""

import itertools
import struct

import numpy as np
from numpy.typing import NDArray

D50 = (0.9642, 1.0, 0.8249)
SRGB_TO_D50 = np.array(
    [[0.4360, 0.3851, 0.1431], [0.2225, 0.7169, 0.0606], [0.0139, 0.0971, 0.7141]]
)
"""The colorants of sRGB adapted to D50, as its usual profile has them."""
WIDE_TO_D50 = np.array(
    [[0.5151, 0.2920, 0.1571], [0.2412, 0.6922, 0.0666], [-0.0011, 0.0419, 0.7841]]
)
"""Display P3's."""


def wide(gamma: float = 2.2) -> bytes:
    """An RGB profile with the primaries of Display P3."""
    colorants = zip((b"rXYZ", b"gXYZ", b"bXYZ"), WIDE_TO_D50.T, strict=True)
    tags = {name: _xyz(*column) for name, column in colorants}
    return _profile(
        b"RGB ", b"XYZ ", tags | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), _gamma(gamma))
    )


def grey(gamma: float) -> bytes:
    """A grey profile."""
    return _profile(b"GRAY", b"XYZ ", {b"kTRC": _gamma(gamma)})


def press() -> bytes:
    """A CMYK profile of two steps per ink: full cyan, magenta or yellow is a colour of its own."""
    table = bytearray()
    for inks in itertools.product((0, 1), repeat=4):
        cyan, magenta, yellow, black = inks
        light = 100 * (1 - black) * (1 - 0.45 * cyan) * (1 - 0.5 * magenta) * (1 - 0.1 * yellow)
        a, b = 75 * magenta - 35 * cyan, 90 * yellow - 50 * cyan
        colour = (light, a * (1 - black), b * (1 - black))
        table += bytes((round(colour[0] * 2.55), round(colour[1] + 128), round(colour[2] + 128)))
    ramp = bytes(range(256))
    matrix = b"".join(struct.pack(">i", 65536 * (n % 4 == 0)) for n in range(9))
    lut = b"mft1" + bytes(4) + bytes((4, 3, 2, 0)) + matrix + ramp * 4 + bytes(table) + ramp * 3
    return _profile(b"CMYK", b"Lab ", {b"A2B0": lut})


def wide_in_srgb(pixels: NDArray[np.uint8], gamma: float = 2.2) -> NDArray[np.float64]:
    """Pixels of the profile `wide` as levels of sRGB (IEC 61966-2-1), by the matrices alone."""
    linear = (pixels / 255) ** gamma @ (np.linalg.inv(SRGB_TO_D50) @ WIDE_TO_D50).T
    return encoded(linear)


def encoded(linear: NDArray[np.float64]) -> NDArray[np.float64]:
    """Linear light as levels of sRGB, 0 to 255."""
    linear = np.clip(linear, 0, 1)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def _profile(space: bytes, pcs: bytes, tags: dict[bytes, bytes]) -> bytes:
    tags = {b"desc": _text("test"), b"wtpt": _xyz(*D50), **tags}
    at, table, data = 132 + 12 * len(tags), b"", b""
    for name, content in tags.items():
        content += bytes(-len(content) % 4)
        table += struct.pack(">4sII", name, at + len(data), len(content))
        data += content
    kind = b"prtr" if space == b"CMYK" else b"mntr"
    head = struct.pack(
        ">I4sI4s4s4s12x4s", at + len(data), bytes(4), 0x02100000, kind, space, pcs, b"acsp"
    )
    head = head.ljust(68, b"\0") + _xyz(*D50)[8:]
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + data


def _xyz(*values: float) -> bytes:
    return b"XYZ " + bytes(4) + b"".join(struct.pack(">i", round(v * 65536)) for v in values)


def _gamma(value: float) -> bytes:
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(value * 256))


def _text(words: str) -> bytes:
    data = words.encode() + b"\0"
    return b"desc" + bytes(4) + struct.pack(">I", len(data)) + data + bytes(78)
