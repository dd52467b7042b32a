"""The verbs of the main road: demo, build, download, embed, index, info."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from frenchcat.curate.dataset import Dataset
    from frenchcat.curate.stage import Engine
    from frenchcat.pipeline import BuildSettings

Folder = Annotated[str, typer.Argument(metavar="DATASET", help="The dataset's folder.")]
Lists = Annotated[
    list[str],
    typer.Argument(
        metavar="URLS",
        help="Lists of URLs with captions: parquet, csv, tsv, json, jsonl or txt; files, globs, "
        "folders or fsspec addresses.",
    ),
]
Out = Annotated[str, typer.Option("--out", metavar="DATASET", help="The dataset's folder.")]
Config = Annotated[
    str | None,
    typer.Option("--config", metavar="FILE", help="Settings: a TOML file or a preset's name."),
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="A.B=C", help="One setting over the file's; repeatable."),
]
EngineOption = Annotated[
    str,
    typer.Option(
        "--engine", metavar="ENGINE", help="local, ray (starts one here) or ray://host:port."
    ),
]
Workers = Annotated[
    int | None, typer.Option("--workers", min=1, help="Processes; by default one a core.")
]
AllowHost = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-host",
        metavar="HOST:PORT",
        help="A host of a private address that may be asked; repeatable.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON object a line on stdout.")]


def demo(
    out: Annotated[Path, typer.Option(help="Where to put it.")] = Path("demo-output"),
    train: Annotated[
        bool, typer.Option("--train/--no-train", help="Train a small model on it, briefly.")
    ] = True,
) -> None:
    """All of it on the bundled sample: download, embed, index, a search for "french cat", training.

    Example: frenchcat demo --out demo-output
    """
    from frenchcat.demo import run

    run(out, train=train)


def build(
    urls: Lists,
    out: Out,
    config: Config = None,
    set_: Set = None,
    engine: EngineOption = "local",
    workers: Workers = None,
    allow_host: AllowHost = None,
    json: Json = False,
) -> None:
    """Every stage, from a URL list to a searchable dataset. The same command again goes on.

    Example: frenchcat build my-urls.parquet --out data/mine --config vit-b-32
    """
    from frenchcat import pipeline
    from frenchcat.progress import Bars

    settings = _settings(None, config, set_, allow_host)
    dataset = pipeline.build(urls, out, settings, _engine(engine, workers), Bars())
    _print_info(dataset, json)


def download(
    urls: Annotated[list[str] | None, typer.Argument(metavar="[URLS]")] = None,
    out: Out = "",
    config: Config = None,
    set_: Set = None,
    engine: EngineOption = "local",
    workers: Workers = None,
    allow_host: AllowHost = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Ask again for the rows that failed, no others.")
    ] = False,
    permanent: Annotated[
        bool, typer.Option("--all", help="With --retry-failed: those that said 404 or 410 too.")
    ] = False,
    json: Json = False,
) -> None:
    """Download a URL list into shards; rows that a grown list adds become new shards.

    Example: frenchcat download my-urls.parquet --out data/mine

    Example: frenchcat download --retry-failed --out data/mine
    """
    import frenchcat.curate.download as stage
    from frenchcat import pipeline
    from frenchcat.curate.dataset import Dataset
    from frenchcat.curate.errors import UserError
    from frenchcat.progress import Bars

    if not out:
        raise UserError("name the dataset's folder: --out data/mine")
    if not urls and not retry_failed:
        raise UserError("name a URL list, or --retry-failed to ask again for failed rows")
    where = _engine(engine, workers)
    if retry_failed:
        dataset = Dataset.open(out)
        settings = _settings(dataset, config, set_, allow_host)
        with dataset.lock():
            stage.retry_failed(dataset, settings.download, where, Bars(), permanent=permanent)
    else:
        assert urls
        settings = _settings(None, config, set_, allow_host)
        stage.check_lists(urls, settings.download)
        dataset = Dataset.create(out, settings.name or pipeline.list_name(urls))
        with dataset.lock():
            pipeline.save_settings(dataset, settings)
            stage.download(dataset, urls, settings.download, where, Bars())
    _print_info(dataset, json)


def embed(
    dataset: Folder,
    config: Config = None,
    set_: Set = None,
    engine: EngineOption = "local",
    workers: Workers = None,
    json: Json = False,
) -> None:
    """Embed the pictures and captions of a dataset with CLIP.

    Example: frenchcat embed data/mine --config vit-b-32
    """
    import frenchcat.curate.embed as stage
    from frenchcat import pipeline
    from frenchcat.curate.dataset import Dataset
    from frenchcat.progress import Bars

    opened = Dataset.open(dataset)
    settings = _settings(opened, config, set_)
    with opened.lock():
        pipeline.save_settings(opened, settings)
        stage.embed(opened, settings.clip, _engine(engine, workers), Bars())
    _print_info(opened, json)


def index(
    dataset: Folder,
    config: Config = None,
    set_: Set = None,
    target_recall: Annotated[
        float | None,
        typer.Option("--target-recall", metavar="R", help="Fail below this recall@10."),
    ] = None,
    json: Json = False,
) -> None:
    """Build the kNN index over a dataset's embeddings, or add new shards to it.

    Example: frenchcat index data/mine --target-recall .99
    """
    from frenchcat import pipeline
    from frenchcat.curate.dataset import Dataset
    from frenchcat.index.build import build_index
    from frenchcat.progress import Bars

    opened = Dataset.open(dataset)
    asked = [] if target_recall is None else [f"index.target_recall={target_recall}"]
    settings = _settings(opened, config, [*(set_ or ()), *asked])
    with opened.lock():
        pipeline.save_settings(opened, settings)
        build_index(opened, settings.index, Bars())
    _print_info(opened, json)


def info(dataset: Folder, json: Json = False) -> None:
    """Count a dataset's rows: downloaded, failed and why, embedded, kept, dropped and why, indexed.

    Example: frenchcat info data/mine --json
    """
    from frenchcat.curate.dataset import Dataset

    _print_info(Dataset.open(dataset), json)


def _settings(
    dataset: Dataset | None,
    config: str | None,
    overrides: list[str] | None,
    allow_hosts: list[str] | None = None,
) -> BuildSettings:
    """The settings of --config and --set; without --config, those the dataset was made with."""
    from frenchcat.curate.config import changed, load_settings
    from frenchcat.pipeline import DEFAULT_PRESET, BuildSettings, saved_settings

    if dataset is not None and config is None:
        settings = saved_settings(dataset)
        if overrides:
            from frenchcat.curate.config import as_dict, merged, resolve

            settings = resolve(BuildSettings, merged(as_dict(settings), overrides), "--set")
    else:
        settings = load_settings(BuildSettings, config or DEFAULT_PRESET, overrides or ())
    if not allow_hosts:
        return settings
    fetch = settings.download.fetch
    allowed = changed(fetch, allow_hosts=(*fetch.allow_hosts, *allow_hosts))
    return changed(settings, download=changed(settings.download, fetch=allowed))


def _engine(text: str, workers: int | None) -> Engine:
    from frenchcat.curate.errors import UserError
    from frenchcat.curate.stage import Engine

    if text == "local":
        return Engine("local", None, workers)
    if text == "ray" or text.startswith("ray://"):
        return Engine("ray", None if text == "ray" else text, workers)
    raise UserError(f"--engine {text} is none of: local, ray, ray://host:port")


def _print_info(dataset: Dataset, as_json: bool) -> None:
    import json

    from frenchcat.curate.info import info as count

    counted = count(dataset)
    if as_json:
        print(json.dumps(counted.as_dict(), ensure_ascii=False))
        return
    from frenchcat.tables import info_table

    info_table(counted)
