"""What a build would do: stages, rows, and roughly how long and how large.

Reads the URL lists, a dataset's markers and dataset.json. Writes only to a temporary folder, in
which the lists are frozen beside copies of the dataset's frozen rows: nothing else tells which rows
are new. Costs one pass over the lists and a few small file reads per shard.

Durations are rows divided by rates measured on two cores (bench/results), scaled by this machine's
cores; slow networks and sites that limit crawlers add to them. Sizes are estimated from the
dataset's own shards, else from the settings.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frenchcat.curate import files
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.download import DownloadSettings, check_lists
from frenchcat.curate.download.block import read_block
from frenchcat.curate.download.crawl import shape_of
from frenchcat.curate.download.lists import freeze
from frenchcat.curate.download.stage import DownloadStage
from frenchcat.curate.markers import Signature, counts_of, marker, outputs_of
from frenchcat.curate.redo import Redo
from frenchcat.curate.stage import up_to_date
from frenchcat.curate.system_errors import sized
from frenchcat.pipeline import existing, redone, refused_rows, saved_settings
from frenchcat.progress import lasting

if TYPE_CHECKING:
    from frenchcat.pipeline import BuildSettings

STAGES = ("download", "embed", "score", "dedup", "verdict", "index")
RATES: Mapping[str, float] = {
    "download": 197.0,  # bench/results/download.json
    "embed": 24.0,  # ViT-B-32: bench/results/embed.json
    "dedup": 15_700.0,  # bench/results/dedup.json
    "verdict": 141_000.0,  # bench/results/verdict.json
    "index": 12_100.0,  # bench/results/knn.json
}
"""Rows per second on two cores."""
SCORES: Mapping[str, float] = {
    "punsafe": 90.0,
    "pwatermark": 110.0,
    "pdq": 1570.0,
    "sharpness": 4660.0,
}
"""Images per second on two cores, for the scores that cost most (bench/results/score.json)."""
DIMENSION = 512  # of vectors whose model is not asked
BYTES_PER_PIXEL = 0.4  # of a photograph as jpg of quality 95
SHORTER_SIDE = 0.75  # of the longer one: most images are 4:3


@dataclass(frozen=True)
class PlannedStage:
    """What a stage would do. Rows are an upper bound: only the download knows which fail."""

    stage: str
    rows: int  # to work on; 0: up to date
    sec: float  # roughly
    bytes: int  # roughly, that would be added
    why: str = ""  # where something is done again


@dataclass(frozen=True)
class BuildPlan:
    """What a build would do."""

    rows: int  # of the lists
    new: int  # of them that the dataset does not have
    stages: tuple[PlannedStage, ...]
    free_bytes: int | None  # where the dataset is or would be; None: not known
    confirm: tuple[str, ...] = ()  # what --yes would have to agree to

    @property
    def sec(self) -> float:
        """Seconds for all stages, roughly."""
        return sum(stage.sec for stage in self.stages)

    @property
    def bytes(self) -> int:
        """Bytes added, roughly."""
        return sum(stage.bytes for stage in self.stages)

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {**asdict(self), "sec": self.sec, "bytes": self.bytes}

    def lines(self) -> list[str]:
        """The plan for people, one line per stage."""
        said = [f"{self.rows} rows in the list, {self.new} of them new"]
        for stage in self.stages:
            if stage.rows:
                why = f"; {stage.why}" if stage.why else ""
                size = f", {sized(stage.bytes)}" if stage.bytes else ""
                said.append(
                    f"{stage.stage}: {stage.rows} rows, about {lasting(stage.sec)}{size}{why}"
                )
            else:
                said.append(f"{stage.stage}: up to date")
        free = "" if self.free_bytes is None else f" ({sized(self.free_bytes)} are free)"
        said.append(f"all: about {lasting(self.sec)}, {sized(self.bytes)}{free}")
        said += [f"will ask first, or needs --yes: {one}" for one in self.confirm]
        return [*said, "nothing was done"]


def plan_of(out: str | Path, urls: Sequence[str], settings: BuildSettings) -> BuildPlan:
    """What `pipeline.build` would do. Raises `UserError` for a list or a setting as `build`
    does.
    """
    dataset = existing(out)
    check_lists(urls, settings.download)
    listed, new = _rows_of(dataset, urls, settings.download)
    asked = [] if dataset is None else redone(dataset, settings, "download", "clip")
    todo = _todo(dataset, settings, new, asked)
    stages = [
        PlannedStage(
            stage,
            rows,
            _sec(stage, rows, settings),
            _bytes(dataset, stage, rows, settings),
            next((one.words for one in asked if one.stage == stage), ""),
        )
        for stage, rows in todo.items()
    ]
    return BuildPlan(listed, new, tuple(stages), _free(str(out)), tuple(one.words for one in asked))


def _rows_of(
    dataset: Dataset | None, urls: Sequence[str], settings: DownloadSettings
) -> tuple[int, int]:
    """Rows of the lists, and those that the dataset does not have."""
    listed = rows_of_lists(urls, settings)
    if dataset is None:
        return listed, listed
    with tempfile.TemporaryDirectory(prefix="frenchcat-") as folder:
        beside = Dataset.create(Path(folder) / "beside", "plan")
        before = _copy_lists(dataset, beside)
        shards = freeze(beside, urls, shape_of(settings))
        return listed, sum(counts_of(beside, "lists", s)["rows"] for s in shards if s not in before)


def rows_of_lists(urls: Sequence[str], settings: DownloadSettings) -> int:
    """Rows of lists, by reading them whole. Raises `UserError` as a build does."""
    with tempfile.TemporaryDirectory(prefix="frenchcat-") as folder:
        alone = Dataset.create(Path(folder) / "alone", "plan")
        shards = freeze(alone, urls, shape_of(settings))
        return sum(counts_of(alone, "lists", shard)["rows"] for shard in shards)


def _copy_lists(dataset: Dataset, to: Dataset) -> set[str]:
    """Copy what freezing reads of a dataset; returns its shards."""
    shards = dataset.shards("lists")
    names = [
        f"{folder}/{name}"
        for folder in ("removals", "stages/lists")
        for name in dataset.files(folder)
    ]
    for relative in ["dataset.json", *names, *(files.LIST.of(shard) for shard in shards)]:
        target = Path(to.path(relative))
        target.parent.mkdir(parents=True, exist_ok=True)
        with dataset.as_local(relative) as path:
            shutil.copyfile(path, target)
    return set(shards)


def _todo(
    dataset: Dataset | None, settings: BuildSettings, new: int, asked: Sequence[Redo]
) -> dict[str, int]:
    """Stage -> rows to process."""
    if dataset is None:
        return dict.fromkeys(STAGES, new)
    again = {one.stage for one in asked}
    shards = dataset.shards("lists") or dataset.shards("download")
    late = _late(dataset, settings, shards)
    listed = sum(_listed(dataset, shard) for shard in late["download"])
    found = {"download": new + listed + refused_rows(dataset, settings)}
    for stage in ("embed", "score"):
        there = sum(
            _stored(dataset, shard) for shard in late[stage] if shard not in late["download"]
        )
        found[stage] = found["download"] + there
    if "download" in again:
        found["embed"] = found["score"] = found["download"]
    whole = found["download"] + sum(
        _stored(dataset, s) for s in shards if s not in late["download"]
    )
    for stage in STAGES[3:]:
        changed = found["embed"] or found["score"] or stage not in dataset.manifest().stages
        found[stage] = whole if changed or _other(dataset, settings, stage) else 0
    return found


def _late(dataset: Dataset, settings: BuildSettings, shards: Sequence[str]) -> dict[str, list[str]]:
    """Stage -> shards that differ from what it would make now."""
    download = DownloadStage(settings.download, block=read_block(dataset, settings.download.block))
    late = {
        "download": [
            s for s in shards if not _adopted(dataset, s) and not up_to_date(dataset, download, s)
        ]
    }
    for stage, section in (("embed", "clip"), ("score", "score")):
        other = _other(dataset, settings, stage, section)
        late[stage] = [s for s in shards if other or not _made(dataset, stage, s)]
    return late


def _adopted(dataset: Dataset, shard: str) -> bool:
    return marker(dataset, "lists", shard) is None


def _other(dataset: Dataset, settings: BuildSettings, stage: str, section: str = "") -> bool:
    """Whether a stage's settings differ from those that the dataset remembers."""
    name = section or stage
    return bool(getattr(saved_settings(dataset), name) != getattr(settings, name))


def _made(dataset: Dataset, stage: str, shard: str) -> bool:
    """Whether a shard's files exist, and were made from the files that exist."""
    found, entry = marker(dataset, stage, shard), dataset.manifest().entry(stage)
    if found is None or entry.version is None:
        return False
    signed = Signature(stage, entry.version, entry.settings or {})
    if found.digest != signed.digest(found.inputs):
        return False
    whole = all(dataset.size(rel) == output.bytes for rel, output in found.outputs.items())
    return whole and all(
        _now(dataset, shard).get(rel, sha) == sha for rel, sha in found.inputs.items()
    )


def _now(dataset: Dataset, shard: str) -> dict[str, str]:
    """File -> digest of what the download and the embedding made of a shard."""
    made = (outputs_of(dataset, stage, shard) for stage in ("download", "embed"))
    return {rel: output.sha256 for outputs in made for rel, output in outputs.items()}


def _listed(dataset: Dataset, shard: str) -> int:
    return counts_of(dataset, "lists", shard).get("rows", 0)


def _stored(dataset: Dataset, shard: str) -> int:
    return counts_of(dataset, "download", shard).get("downloaded", 0)


# -- how long, how large -------------------------------------------------------------------------


def _sec(stage: str, rows: int, settings: BuildSettings) -> float:
    return rows / rate_of(stage, settings) * 2 / (os.cpu_count() or 1)


def rate_of(stage: str, settings: BuildSettings) -> float:
    """Rows per second of a stage on two cores."""
    if stage == "score":
        sec = sum(1 / SCORES[one] for one in settings.score.scores if one in SCORES)
        return 1 / sec if sec else RATES["verdict"]  # the other scores cost as good as nothing
    return RATES[stage]


def _bytes(dataset: Dataset | None, stage: str, rows: int, settings: BuildSettings) -> int:
    if stage == "download":
        return round(rows * _bytes_per_image(dataset, settings))
    dimension = DIMENSION
    if dataset is not None:
        dimension = int(dataset.manifest().entry("embed").setting("dimension", DIMENSION))
    return round(rows * bytes_per_row(stage, settings, dimension))


def bytes_per_row(stage: str, settings: BuildSettings, dimension: int) -> float:
    """Bytes that a stage adds per stored image, by the settings alone."""
    if stage == "download":
        return _bytes_per_image(None, settings)
    per_row = {"embed": 4 * dimension, "index": 2 * dimension, "score": 300}
    return float(per_row.get(stage, 40))


def _bytes_per_image(dataset: Dataset | None, settings: BuildSettings) -> float:
    resize = settings.download.resize
    if dataset is not None and saved_settings(dataset).download.resize == resize:
        shards = dataset.shards("download")[:20]
        sizes = [
            outputs_of(dataset, "download", shard).get(files.TAR.of(shard)) for shard in shards
        ]
        rows = sum(_stored(dataset, shard) for shard in shards)
        if rows:
            return sum(size.bytes for size in sizes if size is not None) / rows
    dense = {"png": 1.5, "webp": 0.25}.get(resize.encode_format, BYTES_PER_PIXEL)
    return float(dense * SHORTER_SIDE * resize.image_size**2)


def _free(out: str) -> int | None:
    """Free bytes where a folder is or would be; None in an object store."""
    if "://" in out:
        return None
    folder = Path(out).expanduser().absolute()
    there = next(path for path in (folder, *folder.parents) if path.exists())
    return shutil.disk_usage(there).free
