"""Scoring with what needs no network, and what comes of it."""

from typing import Any

import pyarrow.parquet as pq

from frenchcat.curate.config import resolve
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.score.kinds import DecodedImage
from frenchcat.curate.score.pictures import decode
from frenchcat.curate.score.settings import ScoreSettings
from frenchcat.curate.score.stage import score
from frenchcat.curate.stage import Engine, StageReport

QUICK = ("similarity", "language", "caption", "sharpness", "compression", "pdq", "hash")


def run(dataset: Dataset, engine: Engine | None = None, clip: Any = None, **s: Any) -> StageReport:
    """Score with these settings; without `scores`, all that need no network."""
    with dataset.lock():
        return score(dataset, settings(**s), clip, engine)


def settings(**named: Any) -> ScoreSettings:
    """Settings by name, checked."""
    return resolve(ScoreSettings, {"scores": QUICK, **named})


def scores(dataset: Dataset, shard: str = "00000") -> dict[str, dict[str, Any]]:
    """Key -> a row of scores, in the file's order."""
    rows = pq.read_table(dataset.path(f"scores/{shard}.parquet")).to_pylist()
    return {row["key"]: row for row in rows}


def stored(data: bytes) -> DecodedImage:
    """A file as a picture score sees it."""
    found = decode(data)
    assert found is not None
    return found
