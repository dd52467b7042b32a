"""TFRecord files of tf.train.Example, read without tensorflow.

Reads img2dataset's ``00000.tfrecord``, writes nothing. A record is its length (8 bytes, little
endian), the masked CRC-32C of the length, the data, the masked CRC of the data
(tensorflow.org/tutorials/load_data/tfrecord). The length's CRC is checked, which finds a file that
is none or was cut; the data's is not, since a CRC in Python costs more than everything else here.
An Example is a protocol buffer: features { feature { key, value { bytes_list | … } } }; only
features of bytes are read. Memory: one record.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

from frenchcat.curate.errors import Damaged

_POLYNOMIAL = 0x82F63B78  # CRC-32C (Castagnoli), reflected
_MASK = 0xA282EAD8
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5  # wire types


def examples(path: Path) -> Iterator[dict[str, bytes]]:
    """Feature -> its first value of bytes, for each Example of a file, in order.

    Raises `Damaged` where the file is none, or ends within a record.
    """
    with open(path, "rb") as file:
        number = 0
        while head := file.read(12):
            if len(head) < 12 or masked_crc(head[:8]) != struct.unpack("<I", head[8:])[0]:
                raise _broken(path, f"record {number} has no whole header")
            (length,) = struct.unpack("<Q", head[:8])
            data = file.read(length + 4)
            if len(data) < length + 4:
                raise _broken(path, f"it ends inside record {number}")
            try:
                yield _features(data[:length])
            except (ValueError, IndexError):
                raise _broken(path, f"record {number} is not a tf.train.Example") from None
            number += 1


def masked_crc(data: bytes) -> int:
    """CRC-32C as TFRecord stores it: turned by 15 bits, a constant added."""
    crc = crc32c(data)
    return (((crc >> 15) | (crc << 17)) + _MASK) & 0xFFFFFFFF


def crc32c(data: bytes) -> int:
    """CRC-32C, bit by bit: meant for the 8 bytes of a length."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (_POLYNOMIAL if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def _features(example: bytes) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for features in _fields(example, 1):
        for entry in _fields(features, 1):
            name = next(_fields(entry, 1), b"").decode()
            for value in _fields(entry, 2):
                for listed in _fields(value, 1):  # bytes_list
                    found[name] = next(_fields(listed, 1), b"")
    return found


def _fields(message: bytes, wanted: int) -> Iterator[bytes]:
    """The values of the length-delimited field of this number. Raises ValueError."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        number, kind = tag >> 3, tag & 7
        if kind == _VARINT:
            _, at = _varint(message, at)
        elif kind == _LENGTH:
            length, at = _varint(message, at)
            if at + length > len(message):
                raise ValueError("cut short")
            if number == wanted:
                yield message[at : at + length]
            at += length
        elif kind in (_FIXED64, _FIXED32):
            at += 8 if kind == _FIXED64 else 4
        else:
            raise ValueError(f"wire type {kind}")


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("a number of more than 64 bits")


def _broken(path: Path, why: str) -> Damaged:
    return Damaged(f"broken TFRecord file: {path} ({why}); restore it, or leave it out")
