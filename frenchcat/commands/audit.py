"""`frenchcat audit`: does a model draw its training images again?"""

from pathlib import Path
from typing import Annotated

import typer

from frenchcat.terminal import say, say_json


def audit(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder.")],
    prompts: Annotated[int, typer.Option(help="Trained captions to draw.")] = 64,
    number: Annotated[int, typer.Option("-n", help="Images per caption.")] = 4,
    false_alarms: Annotated[
        float, typer.Option(help="Share of untrained captions' drawings that may be called copies.")
    ] = 0.01,
    guidance: Annotated[float, typer.Option(help="Weight of classifier-free guidance.")] = 3.0,
    steps: Annotated[int, typer.Option(help="Of the sampler.")] = 20,
    sampler: Annotated[str, typer.Option(help="As of frenchcat sample.")] = "dpm++",
    seed: Annotated[int, typer.Option(help="Decides the captions and their noise.")] = 0,
    checkpoint: Annotated[
        Path | None,
        typer.Option(metavar="NAME|FOLDER", help="The checkpoint; by default the run's best."),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    page: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The page; by default RUN/audit.html.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Look for copies of training images among a model's drawings: a page of pairs, and limits.

    Stamps of stock-photo agencies are counted, too. Status 0: there are no copies, and no more
    stamps than the classifier's errors explain; 1: there are; 2: it cannot be measured. The limits
    that are found are those of: frenchcat sample RUN PROMPT --refuse-copies

    Example: frenchcat audit run --prompts 100
    """
    from frenchcat.api import audit as audited
    from frenchcat.progress import DrawingBar

    with DrawingBar() as watch:
        found = audited(
            run,
            prompts=prompts,
            number=number,
            false_alarms=false_alarms,
            guidance=guidance,
            steps=steps,
            sampler=sampler,
            seed=seed,
            checkpoint=checkpoint,
            device=device,
            page=page,
            watch=watch,
        )
    if json:
        say_json(found.as_json())
    else:
        say(f"{len(found.copies)} of {found.drawings} drawings are near copies of training images")
        for copy in found.copies[:20]:
            who = "" if copy.creator is None else f" by {copy.creator}"
            say(f"  {copy.prompt!r}, seed {copy.seed}: {copy.key}{who}")
        say(found.stamps.line())
        for note in found.notes:
            say(note)
        say(f"wrote {page or run / 'audit.html'}")
    raise typer.Exit(1 if found.copies or found.stamps.stand_out else 0)
