"""The verbs of training: train, sample, evaluate, verify."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from frenchcat.commands.build import Set
from frenchcat.commands.signing import credentials_of
from frenchcat.curate.command_text import shell_command
from frenchcat.curate.errors import NotFound, UserError
from frenchcat.terminal import say, say_json
from frenchcat.train.sampler import SAMPLERS

if TYPE_CHECKING:
    from frenchcat.train.step_report import StepReport

_SAMPLERS = f"{', '.join(SAMPLERS)}."
Run = Annotated[Path, typer.Argument(metavar="RUN", help="The run's folder.")]


def train(
    config: Annotated[
        str, typer.Argument(metavar="CONFIG", help="Settings: a TOML file or a preset's name.")
    ],
    set_: Set = None,
    other_run: Annotated[
        bool,
        typer.Option(
            "--other-run", help="Resume from a checkpoint of another selection, model or seed."
        ),
    ] = False,
    plan: Annotated[
        bool, typer.Option("--plan", help="Predict memory, work and time; train nothing.")
    ] = False,
    ranks: Annotated[int, typer.Option(min=1, help="With --plan: the number of ranks.")] = 1,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object per step.")] = False,
) -> None:
    """Train a text-conditioned diffusion model on a selection. The same command resumes.

    Example: frenchcat train train-demo --set data.dataset=data/mine --set data.selection=cats

    Several GPUs: torchrun --nproc-per-node 8 -m frenchcat train train-sd-256-ddp
    """
    from dataclasses import asdict

    from frenchcat.curate.config import load_settings
    from frenchcat.progress import Steps
    from frenchcat.train.by_name import train_by_name
    from frenchcat.train.settings import TrainSettings

    settings = load_settings(TrainSettings, config, set_ or ())
    if plan:
        from frenchcat.train.forecast import forecast
        from frenchcat.train.start import with_start

        told = forecast(with_start(settings), ranks)
        if json:
            say_json(asdict(told))
        else:
            for line in told.lines():
                say(line)
        return
    with Steps(settings.optimizer.steps) as steps:

        def watch(report: StepReport) -> None:
            steps.step(report.step, report.loss, report.wait_sec)
            if json:
                say_json(asdict(report))

        folder = train_by_name(config, set=set_ or (), watch=watch, other_run=other_run)
    if not json and os.environ.get("RANK", "0") == "0":
        if settings.run.task == "classifier":
            steer = shell_command("sample", "RUN", "PROMPT", "--classifier", folder)
            say(f"trained; steer with: {steer}")
        else:
            say(f"trained; draw with: {shell_command('sample', folder, 'a cat')}")


def sample(
    given: Annotated[
        list[str],
        typer.Argument(metavar="[RUN] PROMPT...", help="A run's folder (optional), then prompts."),
    ],
    artist: Annotated[
        bool,
        typer.Option("--artist", help="Treat every argument as a prompt for the bundled artist."),
    ] = False,
    number: Annotated[int, typer.Option("-n", min=1, help="Images per prompt.")] = 4,
    guidance: Annotated[
        float,
        typer.Option(help="Weight of classifier-free guidance; 1: off, 0: ignore the prompt."),
    ] = 3.0,
    negative: Annotated[str, typer.Option(help="What not to draw.")] = "",
    classifier: Annotated[
        Path | None, typer.Option(metavar="RUN", help="Steer with this noise-aware classifier.")
    ] = None,
    label: Annotated[
        str | None, typer.Option(help="With --classifier: the class to steer towards.")
    ] = None,
    classifier_scale: Annotated[
        float, typer.Option(help="With --classifier: the weight of its gradient.")
    ] = 1.0,
    clip_guidance: Annotated[
        float | None, typer.Option(help="The weight of CLIP guidance; try 30.")
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Sampler steps.")] = 25,
    sampler: Annotated[str, typer.Option(help=_SAMPLERS)] = "dpm++",
    seed: Annotated[
        int, typer.Option(help="The first image's seed; the next image's is one higher.")
    ] = 0,
    image: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Start from this image, noised.")
    ] = None,
    strength: Annotated[
        float | None,
        typer.Option(help="With --image: how much noise to add, up to 1; .6, with --mask 1."),
    ] = None,
    mask: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="With --image: draw where it is white, keep the rest."),
    ] = None,
    vary: Annotated[
        str | None,
        typer.Option(
            metavar="KEY|FILE",
            help="Vary this image by its CLIP vector: a file, or a key of the run's dataset.",
        ),
    ] = None,
    mix: Annotated[
        float, typer.Option(help="With --vary: 0 is the image's vector, 1 the prompt's.")
    ] = 0.0,
    size: Annotated[
        str | None,
        typer.Option(metavar="WxH", help="Size in pixels, such as 96x64; by default as trained."),
    ] = None,
    rescale: Annotated[
        float, typer.Option(help="Rescale strong guidance to normal contrast, 0 to 1.")
    ] = 0.0,
    threshold: Annotated[
        float | None, typer.Option(help="Dynamic thresholding at this quantile, such as .995.")
    ] = None,
    spacing: Annotated[
        str, typer.Option(help="Spacing of the sampler's times: even or karras.")
    ] = "even",
    neighbours: Annotated[
        int, typer.Option(help="Nearest training images to list in each image's .json.")
    ] = 5,
    key: Annotated[
        Path | None,
        typer.Option(metavar="PEM", help="Sign with this key instead of a self-issued one."),
    ] = None,
    certificates: Annotated[
        Path | None, typer.Option(metavar="PEM", help="The key's certificates, the signer's first.")
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(metavar="NAME|FOLDER", help="The checkpoint; by default the run's best."),
    ] = None,
    refuse_copies: Annotated[
        bool,
        typer.Option("--refuse-copies", help="Draw near copies of training images again, or not."),
    ] = False,
    kind: Annotated[str, typer.Option("--format", help="png, jpeg or webp.")] = "png",
    mark: Annotated[
        bool, typer.Option("--mark", help="Add an invisible mark, which verify finds.")
    ] = False,
    lora_scale: Annotated[
        float | None,
        typer.Option(
            help="Leave the updates of model.lora unmerged, and count them so often: 0 to 1 and up."
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, or auto: a GPU if there is one.")] = (
        "auto"
    ),
    out: Annotated[
        Path | None, typer.Option(help="The output folder; by default RUN/drawn, or drawn.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object per file.")] = False,
) -> None:
    """Draw prompts with a run or the bundled artist: signed images with receipts, and a grid.

    Example: frenchcat sample "a french cat"

    With a run of your own: frenchcat sample run "a french cat" -n 4 --guidance 5
    """
    from frenchcat.api import sample as draw
    from frenchcat.drawing import Steering
    from frenchcat.progress import DrawingBar

    if vary is not None and len(given) == 1 and not artist and Path(given[0]).exists():
        given = [*given, ""]  # a variation needs no prompt
    run, prompts = (None, given) if artist else _run_and_prompts(given)
    credentials = credentials_of(key, certificates, "--key")
    with DrawingBar() as watch:
        paths = draw(
            run,
            prompts,
            out,
            number=number,
            guidance=guidance,
            negative=negative,
            steps=steps,
            sampler=sampler,
            seed=seed,
            image=image,
            strength=strength,
            mask=mask,
            vary=vary,
            mix=mix,
            size=size,
            rescale=rescale,
            threshold=threshold,
            spacing=spacing,
            neighbours=neighbours,
            credentials=credentials,
            steering=Steering(classifier, label, classifier_scale, clip_guidance),
            checkpoint=checkpoint,
            refuse_copies=refuse_copies,
            kind=kind,
            mark=mark,
            lora_scale=lora_scale,
            device=device,
            watch=watch,
        )
    for path in paths:
        if json:
            say_json({"picture": str(path)})
        else:
            say(path)


def _run_and_prompts(given: list[str]) -> tuple[Path | None, list[str]]:
    """The run, if one is named first, and the prompts.

    One argument is a prompt. Of several, the first is a run unless it contains blanks and is not a
    folder.
    """
    first, *others = given
    is_there = Path(first).exists()
    if not others and is_there:
        raise UserError(
            f"{first} is a run's folder, and there is no prompt; add one, or "
            "--artist to draw this word itself"
        )
    if not others or (" " in first and not is_there):
        return None, given
    if not is_there and os.sep not in first:
        raise NotFound(
            f"there is no folder {first}; name a run's folder before the prompts, or add "
            "--artist to draw each argument with the bundled artist"
        )
    return Path(first), others


def evaluate(
    run: Run,
    number: Annotated[int, typer.Option("-n", help="Number of captions to draw.")] = 64,
    guidance: Annotated[float, typer.Option(help="Weight of classifier-free guidance.")] = 3.0,
    steps: Annotated[int, typer.Option(help="Of the sampler.")] = 20,
    sampler: Annotated[str, typer.Option(help=_SAMPLERS)] = "dpm++",
    seed: Annotated[int, typer.Option(help="Decides the captions and their noise.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Measure a run: CLIP score, CMMD, FID, precision and recall, held-out loss by timestep.

    Example: frenchcat evaluate run -n 256 --guidance 3
    """
    from dataclasses import asdict
    from typing import Any

    from frenchcat.api import evaluate as measure
    from frenchcat.progress import DrawingBar
    from frenchcat.train.evaluate import FILE

    how: dict[str, Any] = {"guidance": guidance, "steps": steps, "sampler": sampler}
    with DrawingBar() as watch:
        found = measure(run, number=number, seed=seed, device=device, watch=watch, **how)
    if json:
        say_json(asdict(found))
        return
    for name, value in asdict(found).items():
        figures = value if isinstance(value, dict) else {None: value}
        for part, figure in figures.items():
            shown = f"{figure:.4g}" if isinstance(figure, float) else figure
            say(f"{name}: {shown}" if part is None else f"{name} {part}: {shown}")
    say(f"wrote {run / FILE}")


def verify(
    picture: Annotated[Path, typer.Argument(metavar="FILE", help="An image, or a statement.json.")],
    trust: Annotated[
        Path | None, typer.Option(metavar="PEM", help="Certificates of signers that you trust.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Show what an image says of its origin, or a statement's signature; was any byte changed?

    Of an image: Content Credentials, IPTC's digital source type and the invisible mark.

    Status 0: signed and unchanged; 1: changed, or nothing to verify; 2: it cannot be read.

    Example: frenchcat verify run/drawn/a-french-cat-0.png
    """
    from frenchcat.api import verify as verified

    found = verified(picture, trust)
    if json:
        say_json(found)
    for line in () if json else found["words"]:
        say(line)
    if not found["intact"]:
        raise typer.Exit(1)
