"""Decoding in other processes: in order, with the failures named."""

import io
import multiprocessing
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from frenchcat.curate import tars
from frenchcat.curate.clip.preprocess import Preprocess
from frenchcat.curate.decode import AHEAD, DecodedBatch, Decoder
from tests.sample.pictures import encoded
from tests.sample.tars import write_tar

PREPROCESS = Preprocess(32, 32, "shortest", "bicubic")
BROKEN = {3: b"no picture", 4: b"", 7: encoded(1)[0][:60]}


@pytest.fixture(scope="module")
def files() -> list[bytes]:
    return [BROKEN.get(row, data) for row, data in enumerate(encoded(11))]


@pytest.fixture(scope="module")
def tar(files: list[bytes], tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("tars") / "00000.tar"
    return str(write_tar(path, [(f"{row:03d}.jpg", data) for row, data in enumerate(files)]))


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    with Decoder(PREPROCESS, 2) as decoder:
        yield decoder


def check(batches: list[DecodedBatch], files: list[bytes], size: int) -> None:
    assert all(len(batch.keys) + len(batch.failed) <= size for batch in batches)
    keys = [key for batch in batches for key in batch.keys]
    assert keys == [f"{row:03d}" for row in range(len(files)) if row not in BROKEN]
    failed = {key: reason for batch in batches for key, reason in batch.failed.items()}
    assert set(failed) == {f"{row:03d}" for row in BROKEN}
    assert all(reason.startswith("undecodable: ") for reason in failed.values())
    rows = [row for batch in batches if batch.pixels is not None for row in batch.pixels]
    for key, pixels in zip(keys, rows, strict=True):
        with Image.open(io.BytesIO(files[int(key)])) as picture:
            np.testing.assert_array_equal(pixels, np.asarray(PREPROCESS(picture)))


@pytest.mark.parametrize("size", [1, 2, 4, 11, 100])
def test_every_picture_under_its_key_in_order(
    decoder: Decoder, tar: str, files: list[bytes], size: int
) -> None:
    members = tars.members(tar)
    check(list(decoder.batches(tar, members, size)), files, size)


def test_a_batch_of_failures_only_has_no_pixels(decoder: Decoder, tar: str) -> None:
    (batch,) = decoder.batches(tar, tars.members(tar)[3:5], 4)
    assert batch.pixels is None
    assert set(batch.failed) == {"003", "004"}


def test_an_empty_tar_has_no_batches(decoder: Decoder, tar: str) -> None:
    assert list(decoder.batches(tar, [], 4)) == []


def test_several_shards_through_one_pool(decoder: Decoder, tar: str, files: list[bytes]) -> None:
    """Left half-way, then the next: nothing of the first comes with it."""
    members = tars.members(tar)
    next(iter(decoder.batches(tar, members, 2)))
    check(list(decoder.batches(tar, members, 3)), files, 3)


def test_few_pictures_are_decoded_here_and_more_of_them_elsewhere(
    tar: str, files: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("frenchcat.curate.decode.FEW", 20)
    members = tars.members(tar)
    before = set(multiprocessing.active_children())
    with Decoder(PREPROCESS) as decoder:
        check(list(decoder.batches(tar, members, 4)), files, 4)
        assert set(multiprocessing.active_children()) == before
        check(list(decoder.batches(tar, members, 4)), files, 4)
        assert set(multiprocessing.active_children()) > before


HELD = """
import multiprocessing, signal, sys
from frenchcat.curate import tars
from frenchcat.curate.clip.preprocess import Preprocess
from frenchcat.curate.decode import Decoder

if __name__ == "__main__":
    with Decoder(Preprocess(32, 32, "shortest", "bicubic"), 2) as decoder:
        list(decoder.batches(sys.argv[1], tars.members(sys.argv[1]), 11))
        print(*(child.pid for child in multiprocessing.active_children()), flush=True)
        signal.pause()
"""


def test_decoding_processes_end_with_their_parent(tar: str, tmp_path: Path) -> None:
    script = tmp_path / "held.py"
    script.write_text(HELD)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    parent = subprocess.Popen(
        [sys.executable, str(script), tar], env=environment, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    with parent.stdout as said:
        children = [int(pid) for pid in said.readline().split()]
        assert len(children) == 2
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        # Its output ends when the last process that holds it is gone: no clock is needed.
        ended, _, _ = select.select([said], [], [], 60)
        for child in children if not ended else ():
            os.kill(child, signal.SIGKILL)
        assert ended, "they outlive it"
        assert said.read() == ""


class Watched(list[tars.Member]):
    """Members that know how far they were read."""

    reached = 0

    def __getitem__(self, index: Any) -> Any:
        self.reached = max(self.reached, index.stop)
        return super().__getitem__(index)


def test_what_is_decoded_ahead_does_not_grow_with_the_shard(decoder: Decoder, tar: str) -> None:
    members = Watched(tars.members(tar)[:1] * 500)
    batches = decoder.batches(tar, members, 1)
    for _ in range(3):
        next(batches)
    assert members.reached <= 3 + AHEAD
