"""What the trunk sees in stamped and unstamped pictures, once, so that fitting is quick.

Reads the packages below ``<work>/root`` (``apt-get download openclipart-png
tuxpaint-stamps-default mate-backgrounds``, each unpacked there with ``dpkg-deb -x``), writes
``<work>/watermark/train-00000.npz`` and so on: maps (N, 40, 28, 28) float16, marked, kind.
A part that is there is kept.

    python -m tools.watermark.features --work ~/.cache/watermark
"""

import argparse
import math
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch

from frenchcat.curate.score.watermark.network import inputs, load_trunk
from tools.watermark.pictures import make, pair, sources

PART = 64  # sources a file; each gives two pictures


SIDES = {  # name: (what makes its pictures, held out)
    "held": (make, True),
    "held_pairs": (pair, True),
    "train": (make, False),
    "train_pairs": (pair, False),
}


def part(work: Path, side: str, number: int) -> int:
    """Make one file; gives the number of pictures."""
    out = work / "watermark" / f"{side}-{number:05d}.npz"
    if out.exists():
        return 0
    torch.set_num_threads(1)
    maker, held = SIDES[side]
    made = [
        one
        for source in range(number * PART, (number + 1) * PART)
        for one in maker(work / "root", source, held)
    ]
    trunk = load_trunk()
    with torch.inference_mode():
        maps = [
            trunk(inputs([one.picture for one in made[start : start + 16]])).half().numpy()
            for start in range(0, len(made), 16)
        ]
    whole = out.with_name(f"{side}-{number}.partial")
    marked, kind = [one.marked for one in made], [one.kind for one in made]
    with whole.open("wb") as file:
        np.savez(file, maps=np.concatenate(maps), marked=marked, kind=kind)
    whole.rename(out)
    return len(made)


def main() -> None:
    """Held-out parts first: they are few. 83 parts of pairs are every drawing."""
    parser = argparse.ArgumentParser(description="Trunk features of stamped pictures.")
    parser.add_argument("--work", type=Path, default=Path("~/.cache/watermark"))
    parser.add_argument("--train", type=int, default=40, help=f"parts of {PART} sources")
    parser.add_argument("--held", type=int, default=6, help=f"parts of {PART} sources")
    parser.add_argument("--pairs", type=int, default=83, help=f"parts of {PART} drawings")
    parser.add_argument("--processes", type=int, help="default: one a core")
    given = parser.parse_args()
    work = given.work.expanduser()
    (work / "watermark").mkdir(parents=True, exist_ok=True)
    held_pairs = math.ceil(len(sources(work / "root", True).drawings) / PART)
    todo = [("held", number) for number in range(given.held)]
    todo += [("held_pairs", number) for number in range(held_pairs)]
    todo += [("train", number) for number in range(given.train)]
    todo += [("train_pairs", number) for number in range(given.pairs)]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(given.processes, mp_context=context) as pool:
        waiting = [pool.submit(part, work, side, number) for side, number in todo]
        print(f"{sum(each.result() for each in waiting)} pictures made")


if __name__ == "__main__":
    main()
