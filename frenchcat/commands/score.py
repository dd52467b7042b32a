"""The verb `score`: measures images and captions, one or more columns per score."""

from __future__ import annotations

import frenchcat
from frenchcat.commands.build import (
    Config,
    EngineOption,
    Folder,
    Json,
    Log,
    Metrics,
    Set,
    Workers,
    say_unused,
)


def score(
    dataset: Folder,
    config: Config = None,
    set_: Set = None,
    engine: EngineOption = "local",
    workers: Workers = None,
    log: Log = None,
    metrics: Metrics = None,
    json: Json = False,
) -> None:
    """Score images and captions: similarity, punsafe, pwatermark, language, sharpness and more.

    Columns whose score and input did not change are kept, so a new concept takes no image again.

    Example: frenchcat score data/mine

    Example: frenchcat score data/mine --set 'score.concepts.violence=["a picture of violence",
    "a peaceful picture"]'
    """
    from frenchcat.terminal import say, say_json, tell
    from frenchcat.watch import watched

    how = {"config": config, "set": set_ or (), "engine": engine, "workers": workers}
    say_unused("score", config)
    with watched(log, metrics) as progress:
        report = frenchcat.open(dataset).score(progress=progress, **how)
    for note in report.notes:
        tell(f"note: {note}")
    if json:
        from dataclasses import asdict

        say_json(asdict(report))
        return
    say(
        f"{report.counts.get('scored', 0)} images scored; "
        f"{report.done} shards now, {report.skipped} were up to date"
    )
