"""A checkpoint in diffusers' format, so that it loads there, whole or part by part.

    DiffusionPipeline.from_pretrained(checkpoint, trust_remote_code=True)
    UNet2DConditionModel.from_pretrained(checkpoint / "unet")
    DDIMScheduler.from_pretrained(checkpoint / "scheduler")

A pipeline's folder names its parts in model_index.json; the class that puts them together is a copy
of train/pipeline.py, so that a checkpoint draws as it did, whatever becomes of that file.

    python -m frenchcat.train.export CHECKPOINT...

repairs copies made when our modules were imported as `curate` and `train`: only the lines that
import them change. `frenchcat sample` and `evaluate` do so for the run they open.
"""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from frenchcat.curate.atomic import write_whole
from frenchcat.curate.errors import UserError
from frenchcat.curate.json_text import json_text
from frenchcat.train.settings import DiffusionSettings, TrainSettings

INDEX, CODE = "model_index.json", "pipeline.py"
_FORMER = re.compile(rb"^(\s*from )(?=(curate|train)\.)", re.MULTILINE)

_NAMES = {"linear": "linear", "scaled_linear": "scaled_linear", "cosine": "squaredcos_cap_v2"}
_TARGETS = {"eps": "epsilon", "x0": "sample", "v": "v_prediction"}


def scheduler_of(settings: DiffusionSettings, *, pixels: bool = True) -> Any:
    """A DDIMScheduler with our schedule; for flow the FlowMatchEulerDiscreteScheduler.

    With `pixels`, the predicted image is clipped to -1 … 1, as train.draw does; latents are not. A
    loop that passes `use_clipped_model_output=True` to `step` draws what train.draw draws with the
    sampler ddim, if the number of steps divides the schedule's. Combinations for which diffusers
    has no name (a flow target on another schedule, eps or v on the flow schedule) are exported as
    the nearest schedule, with a note in the folder. The pipeline turns a predicted image on the
    flow schedule into its velocity.
    """
    import diffusers

    made: Any
    if settings.schedule == "flow" or settings.target == "flow":
        made = diffusers.FlowMatchEulerDiscreteScheduler
        return made(num_train_timesteps=settings.steps)
    made = diffusers.DDIMScheduler
    scale = 1000 / settings.steps
    ends = (85e-5, 0.012) if settings.schedule == "scaled_linear" else (1e-4, 0.02)
    return made(
        num_train_timesteps=settings.steps,
        beta_schedule=_NAMES[settings.schedule],
        beta_start=scale * ends[0],
        beta_end=min(0.999, scale * ends[1]),
        prediction_type=_TARGETS[settings.target],
        rescale_betas_zero_snr=settings.zero_terminal,
        timestep_spacing="trailing",
        set_alpha_to_one=True,
        clip_sample=pixels,
    )


def write_pipeline(folder: Path, settings: TrainSettings, scheduler: Any) -> None:
    """Write into a checkpoint's folder what makes it a pipeline: its index and its class.

    Writes nothing if diffusers has no name for the process (see `scheduler_of`).
    """
    from importlib.metadata import version

    process = settings.diffusion
    flows, target = process.schedule == "flow", process.target
    if (flows and target not in ("flow", "x0")) or (not flows and target == "flow"):
        return
    flow_end = None
    if process.schedule == "flow":
        flow_end = 1.0 if process.zero_terminal else 1 - 0.5 / process.steps
    vae = settings.model.vae
    index = {
        "_class_name": [Path(CODE).stem, "FrenchcatPipeline"],
        "_diffusers_version": version("diffusers"),
        "unet": ["diffusers", "UNet2DConditionModel"],
        "scheduler": ["diffusers", type(scheduler).__name__],
        "vae": [None, None],
        "vae_path": None if vae is None else str(Path(vae).resolve()),
        "text_model": settings.text.model,
        "text_pretrained": settings.text.pretrained,
        "flow_end": flow_end,
        "flow_target": "x0" if flows and target == "x0" else "flow",
        "patch": settings.model.patch,
    }
    (folder / INDEX).write_text(json_text(index, indent=1) + "\n", encoding="utf-8")
    shutil.copyfile(Path(__file__).with_name(CODE), folder / CODE)


def renew_pipeline(folder: Path) -> bool:
    """Make a checkpoint's class import our modules by today's names; returns whether it changed.

    Raises `UserError` for a folder without the class, or one that cannot be written.
    """
    path = folder / CODE
    try:
        before = path.read_bytes()
        after = _FORMER.sub(rb"\1frenchcat.", before)
        if after == before:
            return False
        write_whole(path, after)
    except OSError as error:
        raise UserError(f"{path} cannot be brought up to date ({error.strerror})") from None
    return True


def main(folders: Sequence[str]) -> None:
    """Repair the class in each of these checkpoint folders."""
    try:
        for folder in folders:
            said = "repaired" if renew_pipeline(Path(folder)) else "up to date"
            print(f"{Path(folder) / CODE}: {said}")  # noqa: T201
    except UserError as error:
        raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    main(sys.argv[1:])
