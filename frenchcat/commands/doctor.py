"""The verb `doctor`: what is installed and free here, and whether a dataset is healthy."""

from __future__ import annotations

from typing import Annotated

import typer

from frenchcat.commands.build import Json
from frenchcat.terminal import say, say_json, tell


def doctor(
    dataset: Annotated[
        str | None, typer.Argument(metavar="[DATASET]", help="A dataset's folder.")
    ] = None,
    every_byte: Annotated[
        bool, typer.Option("--every-byte", help="Compare the digest of every file.")
    ] = False,
    json: Json = False,
) -> None:
    """Examine installation, machine and a dataset: what is missing, full, damaged or out of date.

    Prints one finding per line, with what to run. Exits with 1 if there is a fault.

    Example: frenchcat doctor data/mine
    """
    from frenchcat.doctor import examine

    faults = 0
    for one in examine(dataset, every_byte=every_byte):
        faults += one.state == "fault"
        if json:
            say_json(one.as_dict())
        else:
            say(f"{one.state:<5}  {one.check}: {one.found}{f'; {one.cure}' if one.cure else ''}")
    if faults:
        tell(f"{faults} faults")
        raise typer.Exit(1)
