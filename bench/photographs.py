"""`frenchcat download` beside `img2dataset` on photographs of 1, 4 and 12 megapixels.

    python -m bench.photographs              about half an hour on 2 cores

As bench.download, with photographs (`_photographs`: a natural spectrum, a phone's EXIF) instead of
small drawings: the same loopback server, resize settings (`bench.download.RESIZE`, 256 px) and
settings of the fetch, in paired rounds. Some lie on their side, as a phone's do; img2dataset stores
those lying. A list for each number of megapixels, shorter the larger they are.

Writes .bench/results/photographs.json: for each number of megapixels images/s and processor seconds
of both, their ratios, peaks of memory, and how near the stored photographs are to ours without
`download.decode_margin` (PSNR in dB, of the stored JPEGs; the least and the median). Then both
read a panorama of 30,000 x 3,000 pixels, for the peak of memory.
"""

from __future__ import annotations

import functools
import io
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench import _common as common
from bench import download
from bench._common import BENCH
from bench._photographs import SIZES, photograph

DISTINCT = {1: 24, 4: 12, 12: 6}  # photographs that the server has
ROWS = {1: 2000, 4: 1000, 12: 400}
SHARDS = 4
LYING = 4  # one in so many
PANORAMA = (30_000, 3_000)
_WHITE = 250  # levels of 255
GOALS = {
    "ratio_4": (">=", 2.5),
    "ratio_12": (">=", 2.5),
    "ratio_1": (">=", 1.2),
    "cpu_ratio_least": (">=", 1.0),
    "least_psnr": (">=", 40.0),
}


def main() -> None:
    """Install the peer, alternate, keep."""
    parser = common.parser(__doc__)
    parser.add_argument("--share", type=float, default=1.0, help="of the rows")
    parser.add_argument("--rounds", type=int, default=5, help="ours and theirs in turn: so often")
    given = parser.parse_args()
    command = common.peer("img2dataset", *download.PEER) / "img2dataset"
    load = common.load()
    found = {
        size: measure(command, size, max(SHARDS, round(ROWS[size] * given.share)), given.rounds)
        for size in SIZES
    }
    result: dict[str, Any] = {f"ratio_{size}": one["ratio"] for size, one in found.items()}
    result["cpu_ratio_least"] = min(one["cpu_ratio"] for one in found.values())
    result["least_psnr"] = min(one["psnr_least"] for one in found.values())
    result["megapixels"] = {str(size): one for size, one in found.items()}
    result["panorama_peak_mb"] = panorama(command)
    result |= {"resize": download.RESIZE, "load_before": load}
    result["versions"] = common.our_versions(
        "aiohttp", "img2dataset", "opencv-python-headless", "pillow"
    )
    common.keep("photographs", result, GOALS)


def measure(command: Path, megapixels: int, rows: int, rounds: int) -> dict[str, Any]:
    """Pairs of runs over a list of photographs of one size."""
    bodies = photographs(megapixels)
    with download.serve(bodies) as host:
        list_ = download.urls(host, rows)
        shard = -(-rows // SHARDS)
        pairs = []
        for number in range(rounds):
            ours = download.run_ours(list_, host, shard)
            pairs.append((ours, download.run_peer(command, list_, shard)))
            rates = [rows / run.sec for run in pairs[-1]]
            print(
                f"{megapixels} megapixels, round {number + 1}: "
                f"{rates[0]:.1f} and img2dataset {rates[1]:.1f} images/s"
            )
        download.compare(rows)
        shrunk = stored(rows)
        download.run_ours(list_, host, shard, {"download.decode_margin": "none"})
        psnr = [decibels(shrunk[key], whole) for key, whole in stored(rows).items()]
    return {**download.figures(pairs, rows), **common_bytes(bodies), **nearness(psnr)}


def common_bytes(bodies: Sequence[bytes]) -> dict[str, float]:
    """How large the photographs are."""
    return {"mean_file_mb": sum(map(len, bodies)) / len(bodies) / 1e6}


def nearness(psnr: Sequence[float]) -> dict[str, float]:
    """The least and the median."""
    return {"psnr_least": min(psnr), "psnr_median": common.median(psnr)}


@functools.cache
def photographs(megapixels: int) -> list[bytes]:
    """The photographs of one size, some of them on their side; made once."""
    folder = BENCH / "photographs"
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for row in range(DISTINCT[megapixels]):
        path = folder / f"{megapixels}-{row}.jpg"
        if not path.exists():
            partial = path.with_suffix(".partial")
            lies = 6 if row % LYING == LYING - 1 else 1
            partial.write_bytes(photograph(*SIZES[megapixels], row, lies))
            partial.rename(path)
        found.append(path.read_bytes())
    return found


def stored(rows: int) -> dict[str, bytes]:
    """Key -> stored image of our last run; the first of each photograph would do."""
    from frenchcat.curate import tars

    found = {}
    for tar in sorted((BENCH / "download-ours" / "shards").glob("*.tar")):
        for member in tars.members(tar):
            if member.extension == "jpg" and len(found) < min(rows, max(DISTINCT.values())):
                found[member.key] = tars.read(tar, member)
    return found


def decibels(first: bytes, second: bytes) -> float:
    """PSNR of two images of one size without the white of their borders."""
    from PIL import Image

    ours, other = (np.asarray(Image.open(io.BytesIO(one)), float) for one in (first, second))
    seen = np.minimum(ours, other).min(axis=-1) < _WHITE
    return common.psnr(ours[seen], other[seen])


def panorama(command: Path) -> dict[str, float]:
    """The peak of memory of both while they store one, in MB."""
    from PIL import Image

    out = io.BytesIO()
    small = Image.open(io.BytesIO(photographs(1)[0]))
    small.resize(PANORAMA, Image.Resampling.BILINEAR).save(out, "JPEG", quality=90)
    with download.serve([out.getvalue()]) as host:
        list_ = download.urls(host, 1)
        runs = (download.run_ours(list_, host, 1), download.run_peer(command, list_, 1))
    shutil.rmtree(BENCH / "download-theirs", ignore_errors=True)
    named: dict[str, float] = download.named([run.peak_bytes / 1e6 for run in runs])
    return named


if __name__ == "__main__":
    main()
