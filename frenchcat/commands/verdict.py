"""The verb `verdict`: judges a dataset's rows by rules and says what each rule did."""

from __future__ import annotations

from typing import Annotated

import typer

from frenchcat.commands.build import Config, Folder, Json, Set


def verdict(
    dataset: Folder,
    rules: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="A TOML file of rules, or a preset's name; no others."),
    ] = None,
    config: Config = None,
    set_: Set = None,
    json: Json = False,
) -> None:
    """Keep or drop each row by named rules; no model runs, so another rule takes seconds.

    Presets: datacomp-basic, laion-5b, re-laion.

    Example: frenchcat verdict data/mine --rules my-rules.toml

    Example: frenchcat verdict data/mine --set 'verdict.rules.small="width < 200"'
    """
    from frenchcat import pipeline
    from frenchcat.commands.build import _print_info, _settings
    from frenchcat.curate.config import changed, resolve
    from frenchcat.curate.dataset import Dataset
    from frenchcat.curate.verdict.settings import VerdictSettings, read_rules
    from frenchcat.curate.verdict.stage import verdict as judge
    from frenchcat.progress import Bars

    opened = Dataset.open(dataset)
    settings = _settings(opened, config, set_)
    if rules is not None:
        only = resolve(VerdictSettings, {"rules": read_rules(rules)}, rules)
        settings = changed(settings, verdict=only)
    with opened.lock():
        judge(opened, settings.verdict, progress=Bars())
        pipeline.save_settings(opened, settings)
    _print_info(opened, json)
