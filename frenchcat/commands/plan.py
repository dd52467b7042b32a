"""The verb `plan`: what a list would take on several machines."""

from __future__ import annotations

from typing import Annotated

import typer

from frenchcat.commands.build import Config, Json, Set


def plan(
    lists: Annotated[
        list[str],
        typer.Argument(
            metavar="LIST", help="Lists of URLs, as for build; or a number of rows, such as 5e9."
        ),
    ],
    machines: Annotated[
        int | None,
        typer.Option("--machines", metavar="N", help="How many machines; 1 if not said."),
    ] = None,
    within: Annotated[
        float | None,
        typer.Option("--within", metavar="DAYS", help="Find the fewest machines for this time."),
    ] = None,
    costs: Annotated[
        list[str] | None,
        typer.Option(
            "--costs",
            metavar="DATASET",
            help="A dataset whose measured costs count; repeatable, of different sizes.",
        ),
    ] = None,
    config: Config = None,
    set_: Set = None,
    json: Json = False,
) -> None:
    """Plan a list on several machines: time, machine hours, storage, traffic and money.

    Costs are those that `frenchcat info --costs` prints of datasets built on such machines. Prices
    are settings; without them, no money is named.

    Example: frenchcat plan 5e9 --costs data/sample --machines 20 --set prices.machine_hour=0.5

    Example: frenchcat plan my-urls.parquet --costs data/sample --within 7
    """
    from frenchcat.api import scale_plan
    from frenchcat.scale.table import print_scale_plan
    from frenchcat.terminal import say_json

    planned = scale_plan(
        lists,
        costs=costs or (),
        machines=machines,
        within_days=within,
        config=config,
        set=set_ or (),
    )
    if json:
        say_json(planned.as_dict())
    else:
        print_scale_plan(planned)
