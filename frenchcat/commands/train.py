"""The verbs of training: train, sample."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from frenchcat.commands.build import Set

if TYPE_CHECKING:
    from train.loop import StepReport

Run = Annotated[Path, typer.Argument(metavar="RUN", help="The run's folder.")]


def train(
    config: Annotated[
        str, typer.Argument(metavar="CONFIG", help="Settings: a TOML file or a preset's name.")
    ],
    set_: Set = None,
    other_run: Annotated[
        bool,
        typer.Option(
            "--other-run", help="Go on from a checkpoint of another selection, model or seed."
        ),
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="A JSON object a step on stdout.")] = False,
) -> None:
    """Train a text-conditioned diffusion model on a selection. The same command again goes on.

    Example: frenchcat train train-demo --set data.dataset=data/mine --set data.selection=cats

    Several GPUs: torchrun --nproc-per-node 8 -m frenchcat train train-sd-256-ddp
    """
    from curate.config import load_settings
    from frenchcat.progress import Steps
    from train.loop import train as run
    from train.settings import TrainSettings

    settings = load_settings(TrainSettings, config, set_ or ())
    with Steps(settings.optimizer.steps) as steps:

        def watch(report: StepReport) -> None:
            steps.step(report.step, report.loss, report.wait_sec)
            if json:
                _print_json(report)

        folder = run(settings, watch, other_run=other_run)
    if not json and os.environ.get("RANK", "0") == "0":
        print(f'trained; draw with: frenchcat sample {folder} "a cat"')


def sample(
    run: Run,
    prompt: Annotated[list[str], typer.Argument(metavar="PROMPT...", help="What to draw.")],
    number: Annotated[int, typer.Option("-n", min=1, help="Pictures a prompt.")] = 4,
    guidance: Annotated[
        float, typer.Option(help="Weight of classifier-free guidance; 1: none, 0: no prompt.")
    ] = 3.0,
    negative: Annotated[str, typer.Option(help="What not to draw.")] = "",
    steps: Annotated[int, typer.Option(min=1, help="Of the sampler.")] = 25,
    sampler: Annotated[str, typer.Option(help="dpm++, ddim, heun or ddpm.")] = "dpm++",
    seed: Annotated[int, typer.Option(help="Of the first picture; the next have the next.")] = 0,
    image: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Start from this picture, noised.")
    ] = None,
    strength: Annotated[
        float, typer.Option(help="With --image: how far to noise it, up to 1.")
    ] = 0.6,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the PNGs; by default RUN/drawn.")
    ] = None,
) -> None:
    """Draw prompts with a trained run: a PNG each, and a grid.

    Example: frenchcat sample run "a french cat" -n 4 --guidance 5
    """
    from frenchcat.drawing import draw_to_files

    paths = draw_to_files(
        run,
        prompt,
        out or run / "drawn",
        number=number,
        guidance=guidance,
        negative=negative,
        steps=steps,
        sampler=sampler,
        seed=seed,
        image=image,
        strength=strength,
    )
    for path in paths:
        print(path)


def _print_json(report: StepReport) -> None:
    import json
    from dataclasses import asdict

    print(json.dumps(asdict(report)), flush=True)
