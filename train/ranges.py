"""Reads many byte ranges of few files: sorted by offset, neighbours merged.

Local files are read with `pread`; addresses by fsspec's `cat_ranges`, which requests ranges
concurrently. Two ranges whose gap is at most `GAP` become one read: a seek, or a request, costs
more than the bytes between. A file that ends early gives the bytes it has. Cost: memory for the
bytes requested at once, and for the gaps.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

GAP_LOCAL = 16 * 1024  # bytes
GAP_REMOTE = 4 * 1024
"""Smaller: gaps are paid for, and requests run concurrently."""


@dataclass(frozen=True, slots=True)
class Range:
    """Bytes of a file."""

    path: str  # or an fsspec address
    offset: int
    size: int


def read_ranges(ranges: Sequence[Range]) -> list[bytes | OSError]:
    """The bytes of each range, in order; shorter if the file ends, an OSError if reading fails."""
    found: list[bytes | OSError] = [b""] * len(ranges)
    order = sorted(range(len(ranges)), key=lambda n: (ranges[n].path, ranges[n].offset))
    runs = _runs(ranges, order)
    wholes = _read([_spanning([ranges[n] for n in run]) for run in runs])
    for run, whole in zip(runs, wholes, strict=True):
        start = ranges[run[0]].offset
        for n in run:
            offset, size = ranges[n].offset - start, ranges[n].size
            found[n] = whole if isinstance(whole, OSError) else whole[offset : offset + size]
    return found


def _spanning(run: Sequence[Range]) -> Range:
    start = run[0].offset
    return Range(run[0].path, start, max(map(_end, run)) - start)


def _runs(ranges: Sequence[Range], order: Iterable[int]) -> list[list[int]]:
    """Neighbours in `order` that one read covers."""
    runs: list[list[int]] = []
    path, end = "", 0
    for n in order:
        gap = GAP_REMOTE if "://" in ranges[n].path else GAP_LOCAL
        if runs and ranges[n].path == path and ranges[n].offset - end <= gap:
            runs[-1].append(n)
            end = max(end, _end(ranges[n]))
        else:
            runs.append([n])
            path, end = ranges[n].path, _end(ranges[n])
    return runs


def _end(one: Range) -> int:
    return one.offset + one.size


def _read(wanted: Sequence[Range]) -> list[bytes | OSError]:
    """Read each range, those of one file one after the other."""
    remote = [n for n, one in enumerate(wanted) if "://" in one.path]
    there = dict(zip(remote, _remote([wanted[n] for n in remote]), strict=True))
    local = [n for n in range(len(wanted)) if n not in there]
    for path, numbers in itertools.groupby(local, key=lambda n: wanted[n].path):
        chosen = list(numbers)
        there |= zip(chosen, _local(path, [wanted[n] for n in chosen]), strict=True)
    return [there[n] for n in range(len(wanted))]


def _local(path: str, wanted: Sequence[Range]) -> list[bytes | OSError]:
    """Read the ranges of one local file."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError as error:
        return [error] * len(wanted)
    try:
        return [_part(descriptor, one) for one in wanted]
    finally:
        os.close(descriptor)


def _part(descriptor: int, one: Range) -> bytes | OSError:
    try:
        return os.pread(descriptor, one.size, one.offset)
    except OSError as error:
        return error


def _remote(wanted: Sequence[Range]) -> list[bytes | OSError]:
    """Read the ranges of one file system, concurrently."""
    if not wanted:
        return []
    import fsspec

    fs, _ = fsspec.core.url_to_fs(wanted[0].path)
    paths = [fs._strip_protocol(one.path) for one in wanted]
    starts, ends = [one.offset for one in wanted], [_end(one) for one in wanted]
    found = fs.cat_ranges(paths, starts, ends, on_error="return")
    return [_as_error(data) if isinstance(data, Exception) else bytes(data) for data in found]


def _as_error(error: Exception) -> OSError:
    return error if isinstance(error, OSError) else OSError(f"{type(error).__name__}: {error}")
