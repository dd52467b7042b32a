"""`frenchcat embed` against `clip-retrieval inference`: the same ViT-B-32, the same tars, this CPU.

    python -m bench.embed                 about ten minutes on 2 cores; nothing else should run

Makes, once, in .bench/ (git-ignored): a venv of its own for the peer, ViT-B-32 weights (random;
speed does not depend on their values), and a dataset of generated pictures with captions, fetched
by `frenchcat download` from a loopback server. Both commands read the same weights file and tars,
work in batches of 64 and are timed whole, from start to exit: ours loads, compiles and embeds,
theirs loads, warms up and embeds. Theirs runs on the first pairs alone, since it needs minutes for
them. No other program should run meanwhile: the load averages kept tell whether one did, and
`cpu_ratio` compares the processor time of both, which others disturb less.

Prints, and writes to .bench/results/embed.json: pairs/s of both and their ratio in each round; the
lowest cosine of our rows to the peer's, which are float32; and how much of the model's own rate on
tensors that are in memory (compiled picture tower and text tower) is left while embedding, start-up
apart.
"""

from __future__ import annotations

import json
import shutil
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from bench import _common as common
from bench._common import BENCH, Run

# Two steps: torch says that it needs a newer setuptools than the one with the pkg_resources that
# clip-retrieval imports; it runs with the older one.
PEER = (("clip-retrieval==2.45.0", *common.TORCH), ("setuptools==69.5.1",))
MODEL = "ViT-B-32"
WEIGHTS = BENCH / "vit-b-32.pt"
SHARD = 512  # pairs
BATCH = 64  # pairs; the peer's own default of 256 makes its warm-up as long as its work here
GOALS = {
    "ratio": (">=", 5.0),
    "lowest_cosine": (">=", 0.9995),
    "share_of_model_rate": (">=", 0.8),
}


def main() -> None:
    """Prepare what is missing, measure, print, keep."""
    parser = common.parser(__doc__)
    parser.add_argument("--pairs", type=int, default=4 * SHARD, help="that we embed")
    parser.add_argument("--peer-pairs", type=int, default=256, help="that the peer embeds")
    parser.add_argument("--rounds", type=int, default=1, help="ours and theirs in turn: so often")
    parser.add_argument("--prepare", action="store_true", help="install and generate, no more")
    parser.add_argument("--share", action="store_true", help="the last figure alone, as JSON")
    given = parser.parse_args()
    if given.share:
        print(json.dumps(measure_share(dataset_of(given.pairs))))
        return
    command = prepare(given.pairs)
    if not given.prepare:
        common.keep("embed", measure(command, given.pairs, given.peer_pairs, given.rounds), GOALS)


# -- what is measured ----------------------------------------------------------------------------


def measure(command: Path, pairs: int, few: int, rounds: int) -> dict[str, Any]:
    """Alternate the two commands, the peer's on a `few` pairs; then the model alone."""
    load, tar = common.load(), first_pairs(pairs, few)
    runs: list[tuple[Run, Run]] = []
    for number in range(rounds):
        runs.append((run_ours(pairs), run_peer(command, tar, few)))
        own, theirs = pairs / runs[-1][0].sec, few / runs[-1][1].sec
        print(f"round {number + 1}: {own:.2f} and clip-retrieval {theirs:.2f} pairs/s", flush=True)
    share = [sys.executable, "-m", "bench.embed", "--share", f"--pairs={pairs}"]
    ratios = [(pairs / mine.sec) / (few / peer.sec) for mine, peer in runs]
    cpu_ratios = [(pairs / mine.cpu_sec) / (few / peer.cpu_sec) for mine, peer in runs]
    names = ("torch", "open_clip_torch", "clip_retrieval", "setuptools")
    return {
        "pairs": {"frenchcat": pairs, "clip_retrieval": few},
        "sec": _by_tool([[run.sec for run in side] for side in zip(*runs, strict=True)]),
        "cpu_sec": _by_tool([[run.cpu_sec for run in side] for side in zip(*runs, strict=True)]),
        "pairs_per_sec": {
            "frenchcat": pairs / common.median([mine.sec for mine, _ in runs]),
            "clip_retrieval": few / common.median([peer.sec for _, peer in runs]),
        },
        "ratio": common.median(ratios),
        "ratio_by_round": ratios,
        "cpu_ratio": common.median(cpu_ratios),
        "lowest_cosine": lowest_cosine(few),
        **common.json_of(common.run(share, "share")),
        "load_before": load,
        "versions": {
            "frenchcat": common.our_versions("torch", "open_clip_torch"),
            "clip_retrieval": common.versions_of(command.parent / "python", names),
        },
    }


def _by_tool(both: list[Any]) -> dict[str, Any]:
    return dict(zip(("frenchcat", "clip_retrieval"), both, strict=True))


def run_ours(pairs: int) -> Run:
    """`frenchcat embed` on a copy of the dataset without embeddings."""
    copy = BENCH / "ours"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(dataset_of(pairs), copy)
    sets = [f"clip.model={MODEL}", f"clip.pretrained={WEIGHTS}", f"clip.batch_size={BATCH}"]
    sets += ["clip.compile=yes"]
    return common.ours("embed", copy, *(part for each in sets for part in ("--set", each)))


def run_peer(command: Path, tar: Path, pairs: int) -> Run:
    """`clip-retrieval inference` on a tar of so many pairs."""
    out = BENCH / "theirs"
    shutil.rmtree(out, ignore_errors=True)
    options = {
        "input_dataset": tar,
        "output_folder": out,
        "input_format": "webdataset",
        "clip_model": f"open_clip:{MODEL}/{WEIGHTS}",
        "batch_size": BATCH,
        "num_prepro_workers": 1,  # more than tars, and it never ends; one decodes fast enough
        "wds_number_file_per_input_file": pairs,
    }
    words = [command, "inference", *(f"--{name}={value}" for name, value in options.items())]
    return common.run(words, "clip-retrieval")


def lowest_cosine(pairs: int) -> float:
    """Of our first rows, pictures' and captions', to the peer's of the same key."""
    import pyarrow.parquet as pq

    lowest = 1.0
    embeddings = BENCH / "ours" / "embeddings"
    mine = pq.read_table(embeddings / "metadata" / "metadata_00000.parquet")
    (theirs_file,) = sorted((BENCH / "theirs" / "metadata").glob("*.parquet"))
    theirs = pq.read_table(theirs_file)["image_path"].to_pylist()
    place = {Path(key).stem: row for row, key in enumerate(theirs)}
    order = [place[key] for key in mine["image_path"].to_pylist()[:pairs]]
    assert len(order) == pairs == len(theirs), "not every pair was embedded by both"
    for kind in ("img_emb", "text_emb"):
        own = _unit(np.load(embeddings / kind / f"{kind}_00000.npy"))[:pairs]
        (file,) = sorted((BENCH / "theirs" / kind).glob("*.npy"))
        lowest = min(lowest, float((own * _unit(np.load(file))[order]).sum(axis=1).min()))
    return lowest


def measure_share(dataset: Path) -> dict[str, float]:
    """The model's own pairs/s on tensors in memory, and the rate of embedding, in one process."""
    from frenchcat.curate.clip.model import load_clip
    from frenchcat.curate.clip.settings import ClipSettings
    from frenchcat.curate.config import resolve

    named = {"model": MODEL, "pretrained": str(WEIGHTS), "compile": "yes", "batch_size": BATCH}
    settings = resolve(ClipSettings, named)
    own = _model_rate(load_clip(settings))
    return {
        "model_pairs_per_sec": own,
        "embedding_pairs_per_sec": (steady := _embedding_rate(dataset, settings)),
        "share_of_model_rate": steady / own,
    }


def _model_rate(clip: Any, batches: int = 12) -> float:
    """Both towers on tensors of their own dtype, nothing else: normalised pixels, cut tokens."""
    import torch

    size = clip.batch_size
    pixels = torch.randn(size, 3, 224, 224).to(clip.images.dtype)
    tokenizer, text_tower = clip.text_tower()
    tokens = text_tower.cut(tokenizer([common.caption(row) for row in range(size)]))
    with torch.inference_mode():
        for round_ in range(batches + 2):
            if round_ == 2:  # compiled, and warm
                start = time.perf_counter()
            clip.images.tower(pixels)
            text_tower(tokens)
    sec: float = time.perf_counter() - start
    return batches * size / sec


class _Clock:
    """Progress that keeps when how many rows were done."""

    def __init__(self) -> None:
        self.marks: list[tuple[float, int]] = []

    def begin(self, stage: str, shards: int) -> None:
        pass

    def advance(self, rows: int) -> None:
        self.marks.append((time.perf_counter(), rows))

    def shard_done(self, shard: str, counts: Any) -> None:
        pass

    def end(self) -> None:
        self.marks.append((time.perf_counter(), 0))


def _embedding_rate(dataset: Path, settings: Any) -> float:
    """Pairs/s of `embed` from the end of its first batch (loaded, compiled) to its end."""
    from frenchcat.curate.dataset import Dataset
    from frenchcat.curate.embed import embed

    copy = BENCH / "share"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(dataset, copy)
    opened, clock = Dataset.open(copy), _Clock()
    with opened.lock():
        embed(opened, settings, None, clock)
    (first, _), *rest = clock.marks
    return sum(rows for _, rows in rest) / (rest[-1][0] - first)


# -- what it is measured on ----------------------------------------------------------------------


def prepare(pairs: int) -> Path:
    """The peer's command; its venv, the weights and the dataset made where they are missing."""
    command = common.peer("clip-retrieval", *PEER) / "clip-retrieval"
    if not WEIGHTS.exists():
        make_weights()
    if not dataset_of(pairs).exists():
        make_dataset(pairs)
    return command


def make_weights() -> None:
    """ViT-B-32 with random weights, in the form in which both can load it."""
    import open_clip
    import torch

    torch.manual_seed(0)
    partial = WEIGHTS.with_suffix(".partial")
    torch.save(open_clip.create_model(MODEL).state_dict(), partial)
    partial.rename(WEIGHTS)


def dataset_of(pairs: int) -> Path:
    """Where the dataset of so many pairs lies."""
    return BENCH / f"pictures-{pairs}"


def make_dataset(pairs: int) -> None:
    """Generate pictures and download them with our own command."""
    folder, made = common.picture_folder(pairs), BENCH / "made"
    shutil.rmtree(made, ignore_errors=True)
    with common.serve(folder) as host:
        rows = [f"http://{host}/{row}.jpg\t{common.caption(row)}" for row in range(pairs)]
        urls = BENCH / "urls.tsv"
        urls.write_text("\n".join(["url\tcaption", *rows]) + "\n", encoding="utf-8")
        options = ["--config=demo", "--set", f"download.samples_per_shard={SHARD}"]
        common.ours("download", urls, f"--out={made}", f"--allow-host={host}", *options)
    made.rename(dataset_of(pairs))


def first_pairs(pairs: int, few: int) -> Path:
    """A tar of the first pairs of the first shard."""
    if not 0 < few <= min(pairs, SHARD):
        raise SystemExit(f"--peer-pairs is {few}; the first shard has {min(pairs, SHARD)}")
    path = BENCH / "first-pairs.tar"
    with (
        tarfile.open(dataset_of(pairs) / "shards" / "00000.tar") as source,
        tarfile.open(path, "w") as out,
    ):
        keys: set[str] = set()
        for member in source:
            keys.add(member.name.partition(".")[0])
            if len(keys) > few:
                break
            out.addfile(member, source.extractfile(member))
    return path


def _unit(rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    wide = rows.astype(np.float32)
    unit: np.ndarray[Any, Any] = wide / np.linalg.norm(wide, axis=1, keepdims=True)
    return unit


if __name__ == "__main__":
    main()
