"""The verb latents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

import frenchcat
from frenchcat.commands.build import Folder, Json, Set, agreed
from frenchcat.terminal import say, say_json

if TYPE_CHECKING:
    from frenchcat.train.encode_dataset import Encoded


def latents(
    dataset: Folder,
    config: Annotated[
        str | None,
        typer.Option(
            "--config", metavar="CONFIG", help="Training settings: a TOML file or a preset's name."
        ),
    ] = None,
    set_: Set = None,
    selection: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Encode this selection's rows only; by default all."),
    ] = None,
    precision: Annotated[
        str, typer.Option(help="fp16 or fp32: the numbers that are stored.")
    ] = "fp16",
    yes: Annotated[
        bool, typer.Option("--yes", help="Do not ask before other encodings are replaced.")
    ] = False,
    json: Json = False,
) -> None:
    """Encode images and captions once, for a training that then reads them.

    Takes the settings of the training; the same command resumes.

    Example: frenchcat latents data/mine --selection cats --config train-sd-256 --set model.start=sd
    """
    from dataclasses import asdict

    from frenchcat.progress import Bars

    opened = frenchcat.open(dataset)

    def encode(yes: bool) -> Encoded:
        return opened.latents(
            config,
            set=set_ or (),
            selection=selection,
            precision=precision,
            yes=yes,
            progress=Bars(),
        )

    found = agreed(yes, encode)
    if json:
        say_json(asdict(found))
        return
    for stage in found.stages:
        counted = ", ".join(f"{count} {name}" for name, count in stage.counts.items())
        say(f"{stage.stage}: {counted}; shards encoded {stage.done}, up to date {stage.skipped}")
    for reason, count in found.unreadable.items():
        say(f"images without latents: {count} {reason}")
    for note in found.notes:
        say(note)
