"""A run's checkpoint as the bundled artist: weights in 16 bit, and its training pictures.

Reads a run of the preset train-artist and its dataset; writes ``frenchcat/artist/`` (see
frenchcat.train.artist) and says in ``about.json`` how long it trained.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from frenchcat.curate.atomic import write_whole
from frenchcat.curate.json_text import json_text
from frenchcat.index.rows import id_of
from frenchcat.train.artist import artist_folder, export_artist, write_seen
from frenchcat.train.rows import open_rows
from frenchcat.train.run import open_run
from frenchcat.train.seen import seen_of
from frenchcat.train.settings import TextSettings
from frenchcat.train.steering import clip_of
from frenchcat.train.text import variants_of

ABOUT = "about.json"


def export(run: Path, folder: Path | None = None, which: Path | None = None) -> dict[str, Any]:
    """Write the artist from a run's newest checkpoint, or `which`; gives what about.json says.

    Raises `UserError` where the run has no checkpoint, or its dataset is gone.
    """
    from frenchcat.curate.dataset import Dataset
    from frenchcat.index.search import Searcher
    from frenchcat.train import checkpoint

    folder = artist_folder() if folder is None else folder
    parts, state, found = open_run(run, which or checkpoint.newest(run))
    digest = export_artist(parts.unet, state, folder)
    rows, data = open_rows(run / "rows"), parts.settings.data
    assert rows is not None
    assert data.dataset is not None
    seen = seen_of(rows, data, clip_of(parts.settings.text))
    searcher = Searcher(Dataset.open(data.dataset))
    columns = ["caption", "source", "creator", "license"]
    told = searcher.metadata([id_of(key) for key in seen.keys], columns)
    write_seen(folder, seen, [_about(row or {}, parts.settings.text) for row in told])
    about = {
        "checkpoint": found.name,
        "step": state.step,
        "images_seen": state.planned,
        "training_images": len(seen),
        "selection": state.identity["selection"],
        "sha256": digest,
        **hours_of(run, state.step),
    }
    write_whole(folder / ABOUT, json_text(about, indent=1) + "\n")
    return about


def hours_of(run: Path, step: int) -> dict[str, float]:
    """Hours of the run's log up to a step, in which it computed; other work on a machine counts."""
    computing = 0.0
    with (run / "log.jsonl").open(encoding="utf-8") as lines:
        for line in lines:
            entry = json.loads(line)
            if entry["step"] <= step:
                computing += entry["compute_sec"]
    return {"hours": round(computing / 3600, 2)}


def _about(row: dict[str, Any], text: TextSettings) -> dict[str, str | None]:
    """What a receipt says of a training picture; its address is its collection's."""
    return {
        "caption": variants_of(row.get("caption") or "", text)[0],
        "url": row.get("source"),
        "creator": row.get("creator"),
        "licence": row.get("license"),
    }
