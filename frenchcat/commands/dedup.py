"""The verb `dedup`: finds a dataset's duplicates and counts them by kind."""

from __future__ import annotations

import frenchcat
from frenchcat.commands.build import Config, Folder, Json, Set, say_unused


def dedup(dataset: Folder, config: Config = None, set_: Set = None, json: Json = False) -> None:
    """Find duplicates: equal bytes or URLs, near-duplicates by appearance or by meaning.

    Example: frenchcat dedup data/mine --set dedup.semantic_cosine=0.97
    """
    from frenchcat.progress import Bars
    from frenchcat.terminal import say, say_json, tell

    say_unused("dedup", config)
    report = frenchcat.open(dataset).dedup(config=config, set=set_ or (), progress=Bars())
    for note in report.notes:
        tell(f"note: {note}")
    if json:
        from dataclasses import asdict

        say_json(asdict(report))
        return
    kinds = ", ".join(f"{number} {kind}" for kind, number in report.kinds.items()) or "none"
    say(f"{report.rows} images in {report.rows - report.duplicates} groups; duplicates: {kinds}")
    if report.contradicted:
        say(
            f"{report.contradicted} of them show an image that another row says something else of "
            "(contradicting > 0)"
        )
