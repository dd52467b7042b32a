"""`frenchcat embed` against `clip-retrieval inference`: the same ViT-B-32, the same tars, this CPU.

    python -m bench.embed                 about ten minutes on 2 cores; nothing else should run

Makes, once, in .bench/ (git-ignored): a venv of its own for the peer, ViT-B-32 weights (random;
speed does not depend on their values), and a dataset of generated pictures with captions, fetched
by `frenchcat download` from a loopback server. Both commands read the same weights file and tars
and are timed whole, from start to exit: ours loads, compiles and embeds, theirs loads and embeds.
Theirs runs on the first shard alone, since it needs minutes for it.

Prints, and writes to bench/results/embed.json: pairs/s of both and their ratio; the lowest cosine
of our rows to the peer's, which are float32; and how much of the model's own rate on tensors that
are in memory (compiled picture tower and text tower) is left while embedding, start-up apart.
"""

from __future__ import annotations

import argparse
import functools
import http.server
import importlib.metadata
import json
import os
import platform
import random
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
BENCH = ROOT / ".bench"
RESULT = ROOT / "bench" / "results" / "embed.json"
PEER = BENCH / "clip-retrieval"
PEER_PINS = ("clip-retrieval==2.45.0", "setuptools==69.5.1")  # it imports pkg_resources
MODEL = "ViT-B-32"
WEIGHTS = BENCH / "vit-b-32.pt"
SHARD = 512  # pairs
GOALS = {"ratio": 5.0, "lowest_cosine": 0.9995, "share_of_model_rate": 0.8}
WORDS = (
    "a the of in with french cat dog red old small photo street window garden portrait vintage "
    "wooden table morning light blue car house sea mountain woman man child playing running "
    "asleep on under near market flowers bread coffee train city night rain snow summer poster"
).split()


def main() -> None:
    """Prepare what is missing, measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=_AsWritten)
    parser.add_argument("--pairs", type=int, default=4 * SHARD, help="that we embed")
    parser.add_argument("--rounds", type=int, default=1, help="ours, theirs, ours: so often")
    parser.add_argument("--prepare", action="store_true", help="install and generate, no more")
    parser.add_argument("--model-rate", metavar="DATASET", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.model_rate:
        print(json.dumps(measure_share(given.model_rate)))
        return
    prepare(given.pairs)
    if not given.prepare:
        report(measure(given.pairs, given.rounds))


# -- what is measured ----------------------------------------------------------------------------


def measure(pairs: int, rounds: int) -> dict[str, Any]:
    """Alternate the two commands; then the model alone."""
    ours, theirs = [], []
    first_load = os.getloadavg()[0]
    for _ in range(rounds):
        ours.append(run_ours(pairs))
        theirs.append(run_peer(pairs))
        ours.append(run_ours(pairs))
    our_rate, their_rate = pairs / min(ours), min(pairs, SHARD) / min(theirs)
    share = json.loads(_python(["--model-rate", str(dataset_of(pairs))]).splitlines()[-1])
    return {
        "command": " ".join(["python -m bench.embed", *sys.argv[1:]]),
        "pairs": {"frenchcat": pairs, "clip_retrieval": min(pairs, SHARD)},
        "sec": {"frenchcat": ours, "clip_retrieval": theirs},
        "pairs_per_sec": {"frenchcat": our_rate, "clip_retrieval": their_rate},
        "ratio": our_rate / their_rate,
        "lowest_cosine": lowest_cosine(pairs),
        **share,
        "goals": GOALS,
        "load_before": first_load,
        "machine": {"cpu": _cpu(), "cores": os.cpu_count()},
        "versions": {"python": platform.python_version(), **_versions()},
    }


def run_ours(pairs: int) -> float:
    """Seconds of `frenchcat embed` on a copy of the dataset without embeddings."""
    copy = BENCH / "ours"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(dataset_of(pairs), copy)
    sets = [f"clip.model={MODEL}", f"clip.pretrained={WEIGHTS}", "clip.compile=yes"]
    command = [sys.executable, "-m", "frenchcat", "embed", str(copy)]
    return _timed([*command, *(part for each in sets for part in ("--set", each))])


def run_peer(pairs: int) -> float:
    """Seconds of `clip-retrieval inference` on the first shard."""
    out = BENCH / "theirs"
    shutil.rmtree(out, ignore_errors=True)
    options = {
        "input_dataset": dataset_of(pairs) / "shards" / "00000.tar",
        "output_folder": out,
        "input_format": "webdataset",
        "clip_model": f"open_clip:{MODEL}/{WEIGHTS}",
        "num_prepro_workers": os.cpu_count(),
        "wds_number_file_per_input_file": min(pairs, SHARD),
    }
    command = [str(PEER / "bin" / "clip-retrieval"), "inference"]
    return _timed([*command, *(f"--{name}={value}" for name, value in options.items())])


def lowest_cosine(pairs: int) -> float:
    """Of our rows, pictures' and captions', to the peer's of the same key."""
    import pyarrow.parquet as pq

    lowest = 1.0
    embeddings = BENCH / "ours" / "embeddings"
    mine = pq.read_table(embeddings / "metadata" / "metadata_00000.parquet")
    (theirs_file,) = sorted((BENCH / "theirs" / "metadata").glob("*.parquet"))
    theirs = pq.read_table(theirs_file)["image_path"].to_pylist()
    place = {Path(key).stem: row for row, key in enumerate(theirs)}
    order = [place[key] for key in mine["image_path"].to_pylist()]
    assert len(order) == min(pairs, SHARD) == len(theirs), "not every pair was embedded by both"
    for kind in ("img_emb", "text_emb"):
        own = _unit(np.load(embeddings / kind / f"{kind}_00000.npy"))
        (file,) = sorted((BENCH / "theirs" / kind).glob("*.npy"))
        lowest = min(lowest, float((own * _unit(np.load(file))[order]).sum(axis=1).min()))
    return lowest


def measure_share(dataset: str) -> dict[str, float]:
    """The model's own pairs/s on tensors in memory, and the rate of embedding, in one process."""
    from curate.clip.model import load_clip
    from curate.clip.settings import ClipSettings
    from curate.config import resolve

    named = {"model": MODEL, "pretrained": str(WEIGHTS), "compile": "yes"}
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
    pixels = torch.randn(size, 3, 224, 224).to(clip.dtype)
    tokens = clip.tokenizer([caption(row) for row in range(size)])
    tokens = clip._text_tower.cut(tokens)
    with torch.inference_mode():
        for round_ in range(batches + 2):
            if round_ == 2:  # compiled, and warm
                start = time.perf_counter()
            clip._run(pixels)
            clip._text_tower(tokens)
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


def _embedding_rate(dataset: str, settings: Any) -> float:
    """Pairs/s of `embed` from the end of its first batch (loaded, compiled) to its end."""
    from curate.dataset import Dataset
    from curate.embed import embed

    copy = BENCH / "share"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(dataset, copy)
    opened, clock = Dataset.open(copy), _Clock()
    with opened.lock():
        embed(opened, settings, None, clock)
    (first, _), *rest = clock.marks
    return sum(rows for _, rows in rest) / (rest[-1][0] - first)


# -- what it is measured on ----------------------------------------------------------------------


def prepare(pairs: int) -> None:
    """The peer's venv, the weights and the dataset, where they are missing."""
    BENCH.mkdir(exist_ok=True)
    if not (PEER / "bin" / "clip-retrieval").exists():
        print("installing the peer into a venv of its own (minutes, once)", flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(PEER)], check=True)
        pip = [str(PEER / "bin" / "python"), "-m", "pip", "install", "-q"]
        subprocess.run([*pip, *PEER_PINS], check=True)
    if not WEIGHTS.exists():
        make_weights()
    if not dataset_of(pairs).exists():
        make_dataset(pairs)


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
    folder, made = BENCH / "site", BENCH / "made"
    for old in (folder, made):
        shutil.rmtree(old, ignore_errors=True)
    folder.mkdir()
    for row in range(pairs):
        picture(row).save(folder / f"{row}.jpg", quality=90)
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        host = f"127.0.0.1:{server.server_port}"
        lines = ["url\tcaption", *(f"http://{host}/{r}.jpg\t{caption(r)}" for r in range(pairs))]
        (BENCH / "urls.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
        command = [sys.executable, "-m", "frenchcat", "download", str(BENCH / "urls.tsv")]
        options = ["--config=demo", "--set", f"download.samples_per_shard={SHARD}"]
        _timed([*command, f"--out={made}", f"--allow-host={host}", *options])
        server.shutdown()
    made.rename(dataset_of(pairs))


def picture(row: int) -> Any:
    """A picture with large shapes and fine grain, about as hard to decode as a photograph."""
    from PIL import Image

    rng = np.random.default_rng(row)
    shapes = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    smooth = np.asarray(shapes.resize((400, 300), Image.Resampling.BICUBIC), np.int16)
    grain = rng.normal(0, 8, (300, 400, 1)).astype(np.int16)
    return Image.fromarray(np.clip(smooth + grain, 0, 255).astype(np.uint8))


def caption(row: int) -> str:
    """A caption of 4 to 18 words, as alt texts are."""
    rng = random.Random(row)
    return " ".join(rng.choices(WORDS, k=rng.randint(4, 18)))


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


# -- running and telling -------------------------------------------------------------------------


class _AsWritten(argparse.RawDescriptionHelpFormatter):
    pass


def report(result: dict[str, Any]) -> None:
    """Print the figures beside their goals and keep them."""
    rates = result["pairs_per_sec"]
    print(f"clip-retrieval inference  {rates['clip_retrieval']:7.2f} pairs/s")
    print(f"frenchcat embed           {rates['frenchcat']:7.2f} pairs/s")
    for name, goal in GOALS.items():
        print(f"{name:25} {result[name]:8.4f}  (goal: at least {goal})")
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def _timed(command: list[str]) -> float:
    """Seconds from start to exit; its output goes to .bench/log, and is shown when it fails."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    with open(BENCH / "log", "wb") as log:
        start = time.perf_counter()
        code = subprocess.run(command, env=environment, stdout=log, stderr=log).returncode
    if code:
        sys.exit(f"{' '.join(command)} ended with {code}:\n{(BENCH / 'log').read_text()[-3000:]}")
    return time.perf_counter() - start


def _python(arguments: list[str]) -> str:
    command = [sys.executable, __file__, *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    return subprocess.run(
        command, env=environment, check=True, stdout=subprocess.PIPE
    ).stdout.decode()


def _unit(rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    wide = rows.astype(np.float32)
    unit: np.ndarray[Any, Any] = wide / np.linalg.norm(wide, axis=1, keepdims=True)
    return unit


def _cpu() -> str:
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    names = [line for line in text.splitlines() if line.startswith("model name")]
    flags = [flag for flag in ("avx512_bf16", "amx_bf16") if flag in text]
    name = names[0].partition(":")[2].strip() if names else platform.machine()
    return f"{name} ({', '.join(flags) or 'no bfloat16 instructions'})"


def _versions() -> dict[str, Any]:
    ours = {name: importlib.metadata.version(name) for name in ("torch", "open_clip_torch")}
    listed = subprocess.run(
        [str(PEER / "bin" / "python"), "-m", "pip", "list", "--format=json"],
        check=True,
        stdout=subprocess.PIPE,
    )
    wanted = ("clip_retrieval", "torch", "open_clip_torch", "setuptools")
    theirs = {item["name"]: item["version"] for item in json.loads(listed.stdout)}
    return {"frenchcat": ours, "clip_retrieval": {n: theirs[n] for n in wanted if n in theirs}}


if __name__ == "__main__":
    main()
