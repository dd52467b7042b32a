"""Images out of a shard's tar, decoded and preprocessed in other processes than the model's.

Reads a tar, gives batches of pixels in key order; writes nothing. Processes are spawned once and
serve every shard. They import the image libraries only when the first batch reaches them, and
end with their parent. The first `FEW` images are decoded in this process, since spawning others
takes as long. Memory: `AHEAD` batches of pixels, whatever the shard's length.
"""

from __future__ import annotations

import multiprocessing
import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from frenchcat.curate.clip.preprocess import Preprocess
from frenchcat.curate.errors import UnreadableImage
from frenchcat.curate.tars import Member

if TYPE_CHECKING:
    from frenchcat.curate.clip.model import Pixels

AHEAD = 4  # batches in flight
FEW = 256  # images; 1 to 2 s of one core, as is the start of two processes


@dataclass(frozen=True)
class DecodedBatch:
    """Decoded images of one batch, and what could not be decoded."""

    keys: list[str]
    pixels: Pixels | None  # (len(keys), H, W, 3) uint8; None where no image was left
    failed: dict[str, str]  # key -> reason


class Decoder:
    """A pool of decoding processes; use it as a context manager.

    With `workers`, all is decoded in so many of them; by default small datasets start none.
    """

    def __init__(self, preprocess: Preprocess, workers: int | None = None) -> None:
        from frenchcat.curate.engines import follow_parent

        self._here = FEW if workers is None else 0  # images that may be decoded in this process
        self._workers = workers or os.cpu_count() or 1
        self._pool = ProcessPoolExecutor(
            self._workers,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=follow_parent,
            initargs=(os.getpid(),),
        )
        self._preprocess = preprocess

    def __enter__(self) -> Decoder:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def batches(self, tar: str, members: Sequence[Member], size: int) -> Iterator[DecodedBatch]:
        """The members' images, `size` a batch, in the order given."""
        if len(members) <= self._here:
            self._here -= len(members)
            for first in range(0, len(members), size):
                yield decode(self._preprocess, tar, members[first : first + size])
            return
        waiting: deque[list[Future[DecodedBatch]]] = deque()
        starts = iter(range(0, len(members), size))
        # A batch is split so that its decoding is spread over all processes.
        part = max(1, -(-size // self._workers))
        while True:
            while len(waiting) < AHEAD and (start := next(starts, None)) is not None:
                chosen = members[start : start + size]
                waiting.append(
                    [
                        self._pool.submit(decode, self._preprocess, tar, chosen[i : i + part])
                        for i in range(0, len(chosen), part)
                    ]
                )
            if not waiting:
                return
            yield _joined([future.result() for future in waiting.popleft()])


def decode(preprocess: Preprocess, tar: str, members: Sequence[Member]) -> DecodedBatch:
    """Decode members of a tar; runs in a pool's process."""
    from frenchcat.curate.image import open_image

    keys, arrays, failed = [], [], {}
    with open(tar, "rb") as file:
        for member in members:
            file.seek(member.offset)
            data = file.read(member.size)
            try:
                arrays.append(np.asarray(preprocess(open_image(data)), np.uint8))
                keys.append(member.key)
            except UnreadableImage as error:
                failed[member.key] = f"undecodable: {error.reason}"
            except Exception as error:  # out of memory, a side of no pixels: the row is named
                failed[member.key] = f"undecodable: {type(error).__name__}"
    return DecodedBatch(keys, np.stack(arrays) if arrays else None, failed)


def _joined(parts: list[DecodedBatch]) -> DecodedBatch:
    pixels = [part.pixels for part in parts if part.pixels is not None]
    return DecodedBatch(
        [key for part in parts for key in part.keys],
        np.concatenate(pixels) if pixels else None,
        {key: reason for part in parts for key, reason in part.failed.items()},
    )
