"""A whole dataset, built by every stage from a site of this machine, with marked rows."""

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from frenchcat import pipeline
from frenchcat.curate.clip.settings import ClipSettings
from frenchcat.curate.clip.weights import find_weights
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.dedup import DedupSettings, dedup
from frenchcat.curate.download import download
from frenchcat.curate.embed import embed
from frenchcat.curate.run_stage import run_stage
from frenchcat.curate.score.settings import ScoreSettings
from frenchcat.curate.score.stage import score
from frenchcat.curate.select import Choice, select
from frenchcat.curate.stage import Engine
from frenchcat.curate.verdict import VerdictSettings, verdict
from frenchcat.index.build import build_index
from tests.curate.download.loopback import Site, jpeg, serve
from tests.sample.stages import Chosen
from tests.sample.vectors import unit_rows

ONE = Engine(workers=1)
ROWS, PER_SHARD = 24, 8
UNEMBEDDED, DROPPED, MISSING = 2, 10, 3
"""The rows without a vector, with a verdict against it; in each shard, the one that failed."""
DIMENSION = 512  # of the model in whose name the vectors stand


def answer(number: int) -> tuple[int, bytes]:
    """Pictures, but each shard's fourth is not there, and the sixth of all is the second again."""
    if number % PER_SHARD == MISSING:
        return 404, b""
    return 200, jpeg(1 if number == 5 else number)


PICTURES, TEXTS = (unit_rows(ROWS, DIMENSION, seed) for seed in range(2))


@dataclass(frozen=True)
class ByNumber(Chosen):
    """Vectors by chance, and a picture that has none."""

    def choose(self, row: Mapping[str, Any]) -> tuple[NDArray[Any], NDArray[Any]] | str:
        """By the row's number in the list."""
        number = int(row["key"][-4:]) + PER_SHARD * int(row["key"][:5])
        if number == UNEMBEDDED:
            return "undecodable: it was cut"
        return PICTURES[number], TEXTS[number]


def marks(number: int) -> list[str]:
    """Texts that stand in a row's URL, caption and own column, and nowhere else."""
    return [f"{name}{number:03d}" for name in ("okapi", "quagga", "tapir")]


@dataclass(frozen=True)
class Built:
    """A dataset that a test may change, and how it was made."""

    dataset: Dataset
    site: Site
    settings: pipeline.BuildSettings
    urls: Path

    def key(self, number: int) -> str:
        """The key of a row of the list."""
        return f"{number // PER_SHARD:05d}{number % PER_SHARD:04d}"


def run_all(built: Built) -> dict[str, int]:
    """Every stage again, in the order of a build; stage -> shards that were worked on."""
    dataset, settings = built.dataset, built.settings
    with dataset.lock():
        done = {
            "download": download(dataset, str(built.urls), settings.download, ONE).done,
            "embed": embed(dataset, settings.clip, ONE).done,
            "score": score(dataset, settings.score, settings.clip, ONE).done,
            "dedup": int(not dedup(dataset, settings.dedup).skipped),
            "verdict": verdict(dataset, settings.verdict, ONE).done,
        }
        build_index(dataset, settings.index)
    return done


@pytest.fixture(scope="session")
def site() -> Iterator[Site]:
    """Serves the pictures."""
    with serve(answer) as running:
        yield running


@pytest.fixture(scope="session")
def original(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The dataset, not to be changed."""
    root = tmp_path_factory.mktemp("built")
    rows = [(f"{site.url(n)}?{marks(n)[0]}", *marks(n)[1:]) for n in range(ROWS)]
    table = pa.table(
        {
            "url": [url for url, _, _ in rows],
            "caption": [f"a {words} in the grass" for _, words, _ in rows],
            "keeper": [keeper for _, _, keeper in rows],
            "grade": [int(number == DROPPED) for number in range(ROWS)],
            "license": ["https://creativecommons.org/licenses/by/4.0/"] * ROWS,
        }
    )
    pq.write_table(table, root / "urls.parquet")
    settings = pipeline.BuildSettings(
        download=site.settings(per_shard=PER_SHARD),
        clip=ClipSettings(model="mini", compile="no", decode_workers=1),
        score=ScoreSettings(scores=("similarity", "caption", "pdq")),
        dedup=DedupSettings(),
        verdict=VerdictSettings(rules={"marked": "grade = 1"}),
    )
    dataset = Dataset.create(root / "d", "built")
    built = Built(dataset, site, settings, root / "urls.parquet")
    with dataset.lock():
        pipeline.save_settings(dataset, settings)
        download(dataset, str(built.urls), settings.download, ONE)
        stage = ByNumber(settings.clip, find_weights(settings.clip), ROWS)
        run_stage(dataset, stage, dataset.shards())
    run_all(built)
    with dataset.lock():
        select(dataset, "all")
        select(dataset, "some", Choice(where="caption LIKE '%00%'", weight="2.0"))
    return built


@pytest.fixture
def built(original: Built, tmp_path: Path) -> Built:
    """A copy of it."""
    shutil.copytree(original.dataset.root, tmp_path / "d")
    return replace(original, dataset=Dataset.open(tmp_path / "d"))
