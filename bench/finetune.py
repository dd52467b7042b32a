"""Fine-tuning the bundled artist on a selection: all of its weights, and updates of low rank.

    python -m bench.finetune                     some minutes on 2 cores; the same command resumes
    python -m bench.finetune --dataset data/mine --selection cats --start RUN

The bundled sample's drawings become a dataset, its flags the selection, unless others are named.
The artist (or another run of ours) is trained further on them twice: all weights, and with
`model.lora`. The same prompts are drawn with the same noise before and after: captions of the
selection that were held out, some that were trained on, and things that have nothing to do with it.

Figures: the loss on the held-out images, the CLIP score of the prompts of each kind, minutes of
training (of the log: what a step took, whatever interrupted the run), processor seconds per image,
and the bytes of what a training leaves behind. Prints them as a table for docs/fine-tune.md.

Writes .bench/results/finetune.json and .bench/finetune.png; with --publish bench/results/ and
docs/pictures/finetune.png.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import frenchcat
from bench import _common as common
from bench._common import BENCH, PUBLISH, ROOT
from bench._sample import ordinary_rows, sample_files, write_pair
from frenchcat.curate.errors import FrenchcatError
from frenchcat.train.start import ARTIST, start_of

if TYPE_CHECKING:
    from PIL.Image import Image

    from frenchcat.train.rows import TrainingRows
    from frenchcat.train.run import Parts

BEFORE, FULL, LORA = "before", "all weights", "LoRA"
WHERE = "caption ILIKE '%flag%'"
OTHERS = ("a cat", "a red apple", "a rose", "a guitar")
"""Prompts of things that the selection has not: are they forgotten?"""
SHOWN = 3  # prompts of each kind in the image
RANK = 8
GOALS = {"loss_ratio_full": ("<=", 1.0), "loss_ratio_lora": ("<=", 1.0)}


@dataclass(frozen=True)
class Asked:
    """The prompts, by kind."""

    held_out: Sequence[str]
    trained: Sequence[str]
    others: Sequence[str] = OTHERS

    @property
    def kinds(self) -> dict[str, Sequence[str]]:
        """Kind -> prompts."""
        return {"held_out": self.held_out, "trained": self.trained, "others": self.others}

    @property
    def shown(self) -> list[str]:
        """Those in the image."""
        return [prompt for kind in self.kinds.values() for prompt in kind[:SHOWN]]


def main() -> None:
    """Train twice, draw, measure, keep."""
    given = _parser().parse_args()
    start_of(given.start)  # before anything is made
    work = BENCH / "finetune"
    work.mkdir(parents=True, exist_ok=True)
    load = common.load()
    dataset, selection = given.dataset, given.selection
    if dataset is None:
        dataset, selection = sample_dataset(work), "flags"
    runs = {
        FULL: trained(work / "full", given, dataset, selection, given.rate),
        LORA: trained(work / "lora", given, dataset, selection, given.lora_rate, RANK),
    }
    rows = rows_of(runs[FULL])
    asked = prompts_of(rows, given.prompts)
    found: dict[str, Any] = {}
    shown: dict[str, list[Image]] = {}
    for name, run in ((BEFORE, None), *runs.items()):
        found[name], shown[name] = measured(opened(run, given.start), rows, asked, given)
        if run is not None:
            found[name] |= costs(run)
        print(f"{name}: {found[name]}", flush=True)
    sheet(shown, asked.shown).save(picture_path())
    print(table(found))
    before = found[BEFORE]["held_out_loss"]
    result = {
        "models": found,
        "loss_ratio_full": found[FULL]["held_out_loss"] / before,
        "loss_ratio_lora": found[LORA]["held_out_loss"] / before,
        "rows": len(rows),
        "held_out": len(rows.held_out),
        "start": given.start,
        "steps": given.steps,
        "batch": given.batch,
        "rank": RANK,
        "prompts": {kind: list(some) for kind, some in asked.kinds.items()},
        "load_before": load,
        "versions": common.our_versions("torch", "diffusers", "peft"),
    }
    common.keep("finetune", result, GOALS)


def _parser() -> argparse.ArgumentParser:
    parser = common.parser(__doc__)
    parser.add_argument("--start", default="artist", help="or the folder of a run of ours")
    parser.add_argument("--dataset", type=Path, help="by default the bundled sample")
    parser.add_argument("--selection", default="flags", help="of --dataset")
    parser.add_argument("--steps", type=int, default=300, help="of each training")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rate", type=float, default=2e-4)
    parser.add_argument("--lora-rate", type=float, default=1e-3)
    parser.add_argument("--prompts", type=int, default=16, help="of each kind")
    parser.add_argument("--guidance", type=float, default=3.0)
    parser.add_argument("--sampler-steps", type=int, default=25)
    parser.add_argument("--seed", type=int, default=0)
    return parser


def sample_dataset(work: Path) -> Path:
    """The bundled sample as a dataset with the selection `flags`; made once."""
    place = work / "dataset"
    folder = work / "folder"
    if not (place / "selections" / "flags.parquet").exists():
        folder.mkdir(exist_ok=True)
        files = sample_files()
        for n, row in enumerate(ordinary_rows()):
            write_pair(folder / f"{n:04d}", files, row, row["caption"])
        frenchcat.adopt(folder, place).select("flags", WHERE, replace=True)
    return place


def trained(
    out: Path, given: Any, dataset: Path, selection: str, rate: float, rank: int = 0
) -> Path:
    """A run that starts from `given.start`; one that is whole is left as it is."""
    return frenchcat.train(
        "train-artist",
        set=(
            f"data.dataset={dataset}",
            f"data.selection={selection}",
            f"data.batch={given.batch}",
            f"model.start={given.start}",
            f"model.lora={rank}",
            f"optimizer.rate={rate}",
            f"optimizer.steps={given.steps}",
            f"optimizer.warmup={min(20, given.steps)}",
            f"run.seed={given.seed}",
            f"run.sample_every={given.steps}",
            f"run.out={out}",
        ),
    )


def rows_of(run: Path) -> TrainingRows:
    """The rows of a run, which are those of the other."""
    from frenchcat.train.rows import open_rows

    found = open_rows(run / "rows")
    if found is None or not found.held_out:
        raise SystemExit(f"{run} has no rows, or held out none: the selection is too small")
    return found


def prompts_of(rows: TrainingRows, number: int) -> Asked:
    """The first captions of rows that were held out, and of those that were trained on."""
    held_out = {str(row.caption) for row in rows.take(rows.held_out)}
    others = [n for n in range(len(rows)) if n not in rows.held_out]
    trained = {str(row.caption) for row in rows.take(others)} - held_out
    return Asked(sorted(held_out)[:number], sorted(trained)[:number])


def opened(run: Path | None, start: str) -> Parts:
    """The parts of a run; None: of what both start from."""
    from frenchcat.train.artist import open_artist
    from frenchcat.train.checkpoint import newest
    from frenchcat.train.run import open_run

    if run is not None:
        return open_run(run, newest(run))[0]
    return open_artist()[0] if start == ARTIST else open_run(Path(start))[0]


def measured(
    parts: Parts, rows: TrainingRows, asked: Asked, given: Any
) -> tuple[dict[str, float], list[Image]]:
    """The held-out loss and the CLIP scores of a model, and its drawings of the shown prompts."""
    import torch

    from frenchcat.train.draw import SampleRequest, draw
    from frenchcat.train.held_out import held_out_loss
    from frenchcat.train.steering import clip_of

    loss = held_out_loss(parts, parts.unet, rows, torch.device("cpu"))
    assert loss is not None
    clip = clip_of(parts.settings.text)
    figures: dict[str, float] = {"held_out_loss": loss.mean}
    drawn: dict[str, Image] = {}
    for kind, prompts in asked.kinds.items():
        requests = [SampleRequest(prompt, given.seed + n) for n, prompt in enumerate(prompts)]
        pictures = draw(parts, requests, steps=given.sampler_steps, guidance=given.guidance)
        images, texts = clip.encode_images(pictures), clip.encode_texts(list(prompts))
        figures[f"clip_{kind}"] = float(np.einsum("nd,nd->n", images, texts).mean())
        drawn |= dict(zip(prompts, pictures, strict=True))
    return figures, [drawn[prompt] for prompt in asked.shown]


def costs(run: Path) -> dict[str, float]:
    """Minutes of training, processor time apart, and what is left behind."""
    from frenchcat.train.checkpoint import newest

    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    seconds = sum(value for line in lines for name, value in line.items() if name.endswith("_sec"))
    checkpoint = newest(run)
    assert checkpoint is not None
    kept = checkpoint / "lora"
    kept = kept if kept.is_dir() else checkpoint / "unet"
    size = sum(file.stat().st_size for file in kept.glob("*.safetensors"))
    return {"steps": len(lines), "minutes": seconds / 60, "megabytes": size / 1e6}


def table(found: Mapping[str, Mapping[str, float]]) -> str:
    """The figures in Markdown, as docs/fine-tune.md has them."""
    rows = ["| | held-out loss | CLIP score: held out | trained | other things | minutes | MB |"]
    rows.append("|---|---|---|---|---|---|---|")
    for name, one in found.items():
        scores = " | ".join(f"{one[f'clip_{kind}']:.3f}" for kind in Asked((), ()).kinds)
        spent = "-" if "minutes" not in one else f"{one['minutes']:.1f}"
        size = "-" if "megabytes" not in one else f"{one['megabytes']:.1f}"
        rows.append(f"| {name} | {one['held_out_loss']:.4f} | {scores} | {spent} | {size} |")
    return "\n".join(rows)


def sheet(shown: Mapping[str, Sequence[Image]], prompts: Sequence[str]) -> Image:
    """The drawings: a row for each model, a column for each prompt."""
    from frenchcat.train.draw import grid

    pictures = [picture for row in shown.values() for picture in row]
    titles = [f"{name}: {prompt}" for name in shown for prompt in prompts]
    return grid(pictures, titles, columns=len(prompts))


def picture_path() -> Path:
    """Where the image is written: never over the published one, but with --publish."""
    folder = ROOT / "docs" / "pictures" if PUBLISH in sys.argv[1:] else BENCH
    return folder / "finetune.png"


if __name__ == "__main__":
    try:
        main()
    except FrenchcatError as error:
        sys.exit(f"bench.finetune: {error}")
