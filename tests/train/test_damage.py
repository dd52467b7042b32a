"""Every kind of damage: exactly the damaged are lost, each is named, and the counts reconcile."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from frenchcat.curate.errors import UserError
from frenchcat.curate.tars import Member, members
from frenchcat.train.layout import rows_of_tars
from frenchcat.train.loader import Batches
from frenchcat.train.loop import train
from tests.sample.tars import overwrite
from tests.train.runs import settings
from tests.train.tars import write_tar

Damage = Callable[[Path, dict[tuple[str, str], Member]], None]
BAD = "000000027"


def truncated(tar: Path, found: dict[tuple[str, str], Member]) -> None:
    tar.write_bytes(tar.read_bytes()[: found[BAD, "png"].offset + 5])


def missing(tar: Path, found: dict[tuple[str, str], Member]) -> None:
    tar.unlink()


def bit_flip(tar: Path, found: dict[tuple[str, str], Member]) -> None:
    member = found[BAD, "png"]
    byte = tar.read_bytes()[member.offset + member.size // 2]
    overwrite(tar, member.offset + member.size // 2, bytes([byte ^ 16]))


def html(tar: Path, found: dict[tuple[str, str], Member]) -> None:
    member = found[BAD, "png"]
    overwrite(tar, member.offset, b"<html>not found</html>".ljust(member.size))


def empty_caption(tar: Path, found: dict[tuple[str, str], Member]) -> None:
    member = found[BAD, "txt"]
    overwrite(tar, member.offset, b" " * member.size)


def header(tar: Path, found: dict[tuple[str, str], Member]) -> None:
    overwrite(tar, found[BAD, "png"].offset - 512, b"\xff" * 512)


@pytest.mark.parametrize(
    ("damage", "lost", "reason"),
    [
        (truncated, range(27, 40), "truncated"),
        (missing, range(20, 40), "unreadable"),
        (bit_flip, [27], "undecodable"),
        (html, [27], "undecodable"),
        (empty_caption, [27], "empty_caption"),
        (header, [], ""),  # once it is indexed, a header is no longer needed
    ],
)
def test_planned_is_trained_and_substituted(
    damage: Damage, lost: list[int], reason: str, tmp_path: Path
) -> None:
    tars = [write_tar(tmp_path / f"{n}.tar", range(n * 20, n * 20 + 20)) for n in range(3)]
    laid, _ = rows_of_tars(list(map(str, tars)), tmp_path / "rows")
    damage(tars[1], {(m.key, m.extension): m for m in members(tars[1])})
    batches = Batches(laid.folder, settings(tmp_path, tmp_path))
    planned, trained, losses = [], [], []
    for k in range(batches.plan.batches(0)):
        planned += [row.key for row in laid.take(batches.plan.at(0, k).rows)]
        loaded = batches[0, k]
        trained += loaded.keys
        losses += loaded.losses
    bad = {f"{n:09d}" for n in lost}
    assert {loss.key for loss in losses} == bad
    assert {loss.reason.split(":")[0] for loss in losses} == ({reason} if bad else set())
    own = sum(one == other for one, other in zip(planned, trained, strict=True))
    assert len(planned) == len(set(planned)) == 60 == own + len(losses)
    assert not bad & set(trained)


def test_a_header_that_is_bad_before_indexing_is_named_and_not_planned(tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "a.tar", range(20, 40))
    header(tar, {(m.key, m.extension): m for m in members(tar)})
    laid, troubles = rows_of_tars([str(tar)], tmp_path / "rows")
    assert len(laid) == 19
    assert BAD not in set(laid.keys())
    assert any("no sound header" in trouble for trouble in troubles)


@pytest.mark.parametrize("world", [1, 2, 3, 4])
def test_any_number_of_ranks_has_the_same_samples_and_chances(world: int, tmp_path: Path) -> None:
    assert epoch_of(tmp_path / "one", 1, 0) == epoch_of(tmp_path / "many", world, 0)


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # there may be fewer cores
@pytest.mark.parametrize("workers", [1, 3])
def test_so_has_any_number_of_workers(workers: int, tmp_path: Path) -> None:
    assert epoch_of(tmp_path / "one", 1, 0) == epoch_of(tmp_path / "many", 2, workers)


def epoch_of(folder: Path, world: int, workers: int) -> list[tuple[object, ...]]:
    """Key, caption, timestep, noise and pixels of an epoch's samples, in the global order."""
    from frenchcat.train.loader import load

    folder.mkdir()
    tar = write_tar(folder / "a.tar", range(48))
    laid, _ = rows_of_tars([str(tar)], folder / "rows")
    chosen = settings(tar, folder, data={"crop": "random"})
    places = [(0, k) for k in range(4)]
    parts = []
    for rank in range(world):
        batches = Batches(laid.folder, chosen, rank, world)
        parts.append(list(load(batches, places, workers if rank == world - 1 else 0)))
    found = []
    for together in zip(*parts, strict=True):
        for n in range(len(together[0].keys)):
            for one in together:
                pixels = np.asarray(one.pixels[n]).tobytes()
                found.append(
                    (one.keys[n], one.captions[n], int(one.times[n]), one.noise_seeds[n], pixels)
                )
    return found


def test_tars_of_nothing_but_damage_are_one_line_with_their_path(tmp_path: Path) -> None:
    """The worker's own traceback, which torch would add, is none of a user's business."""
    tar = write_tar(tmp_path / "0.tar", range(20))
    made = settings(tar, tmp_path / "run", data={"workers": 1})
    rows_of_tars([str(tar)], tmp_path / "run" / "rows", made.run.held_out)
    for member in members(tar):
        overwrite(tar, member.offset, b"\0" * member.size)
    with pytest.raises(UserError) as caught:
        train(made)
    assert "\n" not in str(caught.value)
    assert f"of {tar} is damaged (undecodable" in str(caught.value)
