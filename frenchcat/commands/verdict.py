"""The verb `verdict`: applies rules to a dataset's rows and says what each rule did."""

from __future__ import annotations

from typing import Annotated

import typer

import frenchcat
from frenchcat.commands.build import Config, Folder, Json, Set, print_info, say_unused


def verdict(
    dataset: Folder,
    rules: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="A TOML file of rules, or a preset's name; replaces other rules."
        ),
    ] = None,
    config: Config = None,
    set_: Set = None,
    json: Json = False,
) -> None:
    """Keep or drop each row by named rules. No model runs, so a new rule takes seconds.

    Presets: datacomp-basic, laion-5b, re-laion.

    Example: frenchcat verdict data/mine --rules my-rules.toml

    Example: frenchcat verdict data/mine --set 'verdict.rules.small="width < 200"'
    """
    from frenchcat.progress import Bars

    how = {"config": config, "set": set_ or ()}
    say_unused("verdict", config)
    print_info(frenchcat.open(dataset).verdict(rules, progress=Bars(), **how), json)
