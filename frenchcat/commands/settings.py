"""The verb `settings`: prints every setting with its meaning, value and origin."""

from __future__ import annotations

from typing import Annotated

import typer

import frenchcat
from frenchcat.commands.build import Config, Json, Set


def settings(
    dataset: Annotated[
        str | None,
        typer.Argument(
            metavar="[DATASET]", help="A dataset's folder, to show the settings it remembers."
        ),
    ] = None,
    config: Config = None,
    set_: Set = None,
    for_: Annotated[
        str, typer.Option("--for", metavar="VERB", help="build, plan, report, serve or train.")
    ] = "build",
    json: Json = False,
) -> None:
    """Print every setting: its value, where the value comes from, and what it means.

    With a dataset: the values that its next build would use. Origins are default, preset NAME, a
    file's path, dataset (remembered from an earlier command) and --set.

    Example: frenchcat settings data/mine

    Example: frenchcat settings --config vit-b-32 --json
    """
    from frenchcat.curate.config import layered, read_layer, shown
    from frenchcat.curate.errors import UserError
    from frenchcat.described import class_of, described
    from frenchcat.terminal import say, say_json

    if dataset is not None:
        if for_ != "build":
            raise UserError(f"a dataset remembers no settings of {for_}; leave out {dataset}")
        found = frenchcat.open(dataset).settings(config=config, set=set_ or ())
    else:
        layers = [] if config is None else [read_layer(config)]
        found = described(layered(class_of(for_), layers, set_ or ()))
    if json:
        from dataclasses import asdict

        for one in found:
            say_json(asdict(one))
        return
    for one in found:
        say(f"{one.name} = {shown(one.value)}  ({one.origin})")
        say(f"    {one.meaning}")
