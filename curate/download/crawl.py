"""Download: URL lists -> frozen rows -> shards in img2dataset's layout; failed rows again.

Reads URL lists and the web, writes ``lists/``, ``shards/`` and ``rights/`` of a dataset, through
the stage `download` (stage.py), which says when a shard is made again.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from frenchcat.curate.adopted import refuse_adopted
from frenchcat.curate.command_text import shell_command
from frenchcat.curate.config import as_dict, changed, differences, resolve
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.download import lists
from frenchcat.curate.download.block import read_block
from frenchcat.curate.download.download_settings import DownloadSettings
from frenchcat.curate.download.pictures import ResizeSettings
from frenchcat.curate.download.retry import Retry, retry_of
from frenchcat.curate.download.rights.settings import RightsSettings
from frenchcat.curate.download.sources import Lists
from frenchcat.curate.download.stage import STAGE, DownloadStage
from frenchcat.curate.errors import UserError
from frenchcat.curate.markers import counts_of, marker
from frenchcat.curate.redo import Redo, redo_of
from frenchcat.curate.run_stage import run_stage
from frenchcat.curate.stage import Engine, Progress, StageReport, up_to_date

_SHAPING = ("resize.", "rights.", "block", "decode_margin", "verify_hashes")


def check_lists(urls: Lists, settings: DownloadSettings | None = None) -> None:
    """Raise `UserError` for lists that cannot be read, before a dataset is made for them."""
    lists.check(urls, shape_of(settings or DownloadSettings()))


def download(
    dataset: Dataset,
    urls: Lists,
    settings: DownloadSettings | None = None,
    engine: Engine | None = None,
    progress: Progress | None = None,
    refused: Collection[str] = (),
) -> StageReport:
    """Download the rows of `urls` that the dataset does not have; the lock is held.

    The same call resumes; a grown list adds shards. Rows of finished shards that failed for one of
    the reasons `refused` are requested again; if an earlier download brought no image at all, so
    are those that may succeed now. Raises `UserError` for a list that is missing, broken, empty, of
    unknown format or without a URL column, for such hash lists, and for an adopted dataset.
    """
    refuse_adopted(dataset)
    settings, engine = settings or DownloadSettings(), engine or Engine()
    block = read_block(dataset, settings.block)
    shards = lists.freeze(dataset, urls, shape_of(settings))
    stage = DownloadStage(settings, _sharers(engine, len(shards)), block)
    retry = retry_of(dataset, refused)
    again = _refused(dataset, stage, shards, retry)
    if not again:
        return run_stage(dataset, stage, shards, engine, progress)
    if not all(up_to_date(dataset, stage, shard) for shard in shards):
        run_stage(dataset, stage, shards, engine, progress)
    stage = replace(stage, again=retry)
    return run_stage(dataset, stage, shards, engine, progress, again=again)


def _refused(
    dataset: Dataset, stage: DownloadStage, shards: Sequence[str], retry: Retry
) -> list[str]:
    """The finished shards with rows to request again."""
    if not retry.names and not retry.passing:
        return []
    worth = (shard for shard in shards if _worth_asking(dataset, shard, retry))
    return [shard for shard in worth if up_to_date(dataset, stage, shard)]


def retry_failed(
    dataset: Dataset,
    settings: DownloadSettings | None = None,
    engine: Engine | None = None,
    progress: Progress | None = None,
    *,
    permanent: bool = False,
) -> StageReport:
    """Request only failed rows again, and add the results to their shards; the lock is held.

    Rows with a permanent reason (`LASTING`: 404, not an image, …) only with `permanent`. Images are
    resized as the dataset's others were; of `settings`, only `fetch` counts. The shards stay up to
    date for a later `download`; stages after it redo those that changed. Raises `UserError` if the
    download was never completed, or the dataset was adopted.
    """
    settings, engine = settings or DownloadSettings(), engine or Engine()
    made_with = dataset.manifest().entry(STAGE).settings
    if made_with is None:
        raise UserError(
            f"{dataset.root}: no download was completed yet; first: {dataset.fetch_command()}"
        )
    if kind := dataset.manifest().adopted_from:
        raise UserError(
            f"{dataset.root} was adopted from {kind}: it has no URL list, so "
            "failed rows cannot be requested again; download them anew: "
            f"{shell_command('download', 'URLS', '--out', 'NEW')}"
        )
    resize = resolve(ResizeSettings, made_with["resize"], dataset.path("dataset.json"))
    rights = resolve(RightsSettings, made_with["rights"], dataset.path("dataset.json"))
    verify, margin = bool(made_with.get("verify_hashes", True)), made_with.get("decode_margin")
    settings = changed(settings, resize=resize, rights=rights, verify_hashes=verify)
    settings = changed(settings, decode_margin=margin)
    block = read_block(dataset, settings.block)
    if block.digest != made_with["block"]:
        raise UserError(
            f"{dataset.root} was downloaded with other hash lists; give the same as then: "
            '--set download.block=["list.txt"]'
        )
    shards = lists.shards(dataset)
    sharers = _sharers(engine, len(shards))
    retry = Retry(passing=True, permanent=permanent)
    stage = DownloadStage(settings, sharers, block, again=retry)
    if late := next((shard for shard in shards if not up_to_date(dataset, stage, shard)), None):
        raise UserError(
            f"{dataset.root}: shard {late} is not downloaded as the others are; "
            f"first: {dataset.fetch_command()}"
        )
    again = [shard for shard in shards if _worth_asking(dataset, shard, retry)]
    return run_stage(dataset, stage, shards, engine, progress, again=again)


def as_written(section: Mapping[str, Any]) -> dict[str, Any]:
    """The remembered section `download` as it was meant: before `decode_margin` there was none."""
    return {"decode_margin": None, **section}


def redo(
    dataset: Dataset, settings: DownloadSettings, before: Mapping[str, Any] | None
) -> Redo | None:
    """What a download with these settings would repeat; `before` is the remembered section.

    None if there is nothing to confirm. Raises `UserError` as `read_block` does.
    """
    shards = [shard for shard in lists.shards(dataset) if marker(dataset, STAGE, shard)]
    if not shards:
        return None
    stage = DownloadStage(settings, block=read_block(dataset, settings.block))
    asked = as_dict(settings)
    changes = differences(DownloadSettings, before or asked, asked, "download.")
    shaping = tuple(f"download.{name}" for name in _SHAPING)
    found = {name: values for name, values in changes.items() if name.startswith(shaping)}
    return redo_of(dataset, stage, shards, _said_of(stage.signature.settings), found)


def _said_of(settings: Mapping[str, Any]) -> dict[str, str]:
    """The signature's settings by name -> the names that users know."""
    sections = {
        f"{section}.{name}": f"download.{section}.{name}"
        for section in ("resize", "rights")
        for name in settings[section]
    }
    return {
        **sections,
        "block": "hashes in the lists of download.block",
        "decode_margin": "download.decode_margin",
        "verify_hashes": "download.verify_hashes",
    }


def _worth_asking(dataset: Dataset, shard: str, retry: Retry) -> bool:
    counts = counts_of(dataset, STAGE, shard)
    names = (name.removeprefix("failed.") for name in counts if name.startswith("failed."))
    return any(retry.asks(name) for name in names)


def shape_of(settings: DownloadSettings) -> lists.Shape:
    """How these settings read a list."""
    fields = {name: getattr(settings, name) for name in lists.Shape.__dataclass_fields__}
    return lists.Shape(**fields)


def _sharers(engine: Engine, shards: int) -> int | None:
    """How many processes share the limits of the fetch; None: only Ray can tell, later."""
    if engine.kind == "ray" and engine.workers is None:
        return None
    return max(1, min(engine.workers or os.cpu_count() or 1, shards))
