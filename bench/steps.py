"""Training steps a second: `frenchcat train` beside a plain diffusers loop; data wait.

    python -m bench.steps                    about ten minutes on 2 cores
    python -m bench.steps --gpu              images per second at 256 px, where there is a GPU

Makes, once, in .bench/ (git-ignored), pictures and captions, as a folder and as a tar of
img2dataset's kind. Each round runs both loops of bench/_steps.py, one after the other, in processes
of their own: the U-Net of train-demo at 32 px, the same batch, precision and number of loader
processes. No caption comes twice, so kept text states do not help. The first steps warm up.

    ratio         our steps/s over theirs, the middle of all rounds; goal: at least 1.3
    cpu_ratio     the same in processor time, which other programs disturb less
    wait_share    of our time, for the loader; goal: at most .02

With --gpu: images per second of `frenchcat train` at 256 px in pixels, and in the latents of an
autoencoder of random weights with Stable Diffusion's shape, beside the published 137/s of an A100
(MosaicML, precomputed latents). Writes .bench/results/steps.json, or steps-gpu.json; where there is
no GPU, --gpu writes nothing.
"""

from __future__ import annotations

import json
import shutil
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench import _common as common
from bench._common import BENCH, ROOT

GOALS = {"ratio": (">=", 1.3), "wait_share": ("<=", 0.02)}
GPU_GOALS = {"images_per_sec": (">=", 137.0), "wait_share": ("<=", 0.02)}
WARM = 5  # steps that are not counted


def main() -> None:
    """Time both, keep the figures."""
    parser = common.parser(__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=40, help="of a loop, the first 5 not counted")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--precision", choices=("auto", "fp32", "bf16"), default="auto")
    parser.add_argument("--gpu", action="store_true")
    given = parser.parse_args()
    if given.gpu:
        return on_gpu(given.steps)
    common.keep("steps", measure(given.rounds, given.steps, given.batch, given.precision), GOALS)


def measure(rounds: int, steps: int, batch: int, precision: str) -> dict[str, Any]:
    """Both loops in turn."""
    load, found = common.load(), []
    config = [f"data.batch={batch}", f"optimizer.steps={steps}", f"run.precision={precision}"]
    for number in range(rounds):
        run_out = BENCH / "steps-run"
        settings, folder = prepared([*config, f"run.out={json.dumps(str(run_out))}"], steps * batch)
        tools = ("frenchcat", "diffusers") if number % 2 else ("diffusers", "frenchcat")
        found.append({tool: loop(tool, settings, folder) for tool in tools})
    ratios = {name: [ratio(one, name) for one in found] for name in ("step_sec", "cpu_sec")}
    return {
        "ratio": common.median(ratios["step_sec"]),
        "cpu_ratio": common.median(ratios["cpu_sec"]),
        "wait_share": common.median([wait_share(one["frenchcat"]) for one in found]),
        "steps_per_sec": {
            tool: 1 / common.median([common.median(one[tool]["step_sec"]) for one in found])
            for tool in ("frenchcat", "diffusers")
        },
        "by_round": {"ratio": ratios["step_sec"], "cpu_ratio": ratios["cpu_sec"]},
        "batch": batch,
        "precision": precision,
        "threads": found[0]["frenchcat"]["threads"],
        "load_before": load,
        "versions": common.our_versions("torch", "torchvision", "diffusers"),
    }


def loop(tool: str, settings: Path, folder: Path) -> dict[str, Any]:
    """What one loop of bench/_steps.py took, without its first steps."""
    shutil.rmtree(BENCH / "steps-run", ignore_errors=True)
    command = [sys.executable, "-m", "bench._steps", tool, settings, folder]
    taken = common.json_of(common.run(command, f"steps-{tool}"))
    taken |= {name: values[WARM:] for name, values in taken.items() if name.endswith("_sec")}
    sec, cpu_sec = (common.median(taken[name]) for name in ("step_sec", "cpu_sec"))
    print(f"{tool:10} {sec:8.3f} s per step, {cpu_sec:.3f} s of processor time", flush=True)
    return taken


def ratio(one: dict[str, Any], name: str) -> float:
    """Their time per step over ours in a round."""
    return common.median(one["diffusers"][name]) / common.median(one["frenchcat"][name])


def wait_share(taken: dict[str, Any]) -> float:
    """Of a loop's time, the loader's."""
    return float(sum(taken["wait_sec"]) / sum(taken["step_sec"]))


# -- what is trained on ----------------------------------------------------------------------------


def prepared(changes: Sequence[str], rows: int) -> tuple[Path, Path]:
    """The settings as a file, and the folder of pictures, made where they are missing."""
    from frenchcat.curate.config import as_dict, load_settings
    from frenchcat.train.settings import TrainSettings

    folder = pictures(rows)
    more = [f"data.tars={json.dumps(str(folder / '00000.tar'))}", "run.held_out=0"]
    more += ["run.prompts=[]", "run.checkpoint_every=1000000", *changes]
    settings = load_settings(TrainSettings, str(ROOT / "configs" / "train-demo.toml"), more)
    path = BENCH / "steps.settings.json"
    path.write_text(json.dumps(as_dict(settings)), encoding="utf-8")
    return path, folder


def pictures(rows: int) -> Path:
    """Files and a tar of the same pictures, 256 px as img2dataset leaves them, with captions."""
    folder = BENCH / f"steps-{rows}"
    if folder.exists():
        return folder
    partial = folder.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    captions = [f"{common.caption(row)} {row}" for row in range(rows)]
    with tarfile.open(partial / "00000.tar", "w") as tar:
        for row, caption in enumerate(captions):
            common.picture(row).resize((256, 256)).save(partial / f"{row}.jpg", quality=90)
            (partial / "txt").write_text(caption, encoding="utf-8")
            tar.add(partial / f"{row}.jpg", f"{row:09d}.jpg")
            tar.add(partial / "txt", f"{row:09d}.txt")
    (partial / "captions.json").write_text(json.dumps(captions), encoding="utf-8")
    partial.rename(folder)
    return folder


# -- on a GPU --------------------------------------------------------------------------------------


def on_gpu(steps: int) -> None:
    """Images a second at 256 px, in pixels and in latents."""
    import torch

    if not torch.cuda.is_available():
        print("skipped: there is no GPU here")
        return
    channels = "model.channels=[128, 256, 384, 512]"
    wide = ["data.size=256", "data.batch=64", f"optimizer.steps={steps}", "data.workers=12"]
    wide += [f"run.out={json.dumps(str(BENCH / 'steps-run'))}", "run.compile=true", channels]
    result: dict[str, Any] = {"device": torch.cuda.get_device_name(), "by_space": {}}
    for name, more in (
        ("pixels", ["model.attention_from=2"]),
        ("latents", [f"model.vae={json.dumps(str(autoencoder()))}"]),
    ):
        settings, folder = prepared([*wide, *more], 64 * 64)
        taken = loop("frenchcat", settings, folder)
        rate = 64 / common.median(taken["step_sec"])
        result["by_space"][name] = {"images_per_sec": rate, "wait_share": wait_share(taken)}
    result |= result["by_space"]["latents"]
    result["versions"] = common.our_versions("torch", "diffusers")
    common.keep("steps-gpu", result, GPU_GOALS)


def autoencoder() -> Path:
    """An AutoencoderKL of Stable Diffusion's shape with random weights, as fast as trained ones."""
    import diffusers

    folder = BENCH / "autoencoder"
    if not folder.exists():
        kind: Any = diffusers.AutoencoderKL
        kind(
            block_out_channels=(128, 256, 512, 512),
            down_block_types=["DownEncoderBlock2D"] * 4,
            up_block_types=["UpDecoderBlock2D"] * 4,
            layers_per_block=2,
        ).save_pretrained(folder)
    return folder


if __name__ == "__main__":
    main()
