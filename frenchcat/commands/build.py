"""The verbs of the main road: demo, build, download, embed, index, info."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from frenchcat.opened import OpenDataset

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
    json: Json = False,
) -> None:
    """All of it on the bundled sample: download, embed, index, a search for "french cat", training.

    Example: frenchcat demo --out demo-output
    """
    import frenchcat
    from frenchcat.demo import run

    dataset = run(out, train=train, quiet=json)
    if json:
        print_info(frenchcat.open(dataset.root), json)


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
    import frenchcat
    from frenchcat.progress import Bars

    built = frenchcat.build(
        urls,
        out,
        config=config,
        set=set_ or (),
        engine=engine,
        workers=workers,
        allow_hosts=allow_host or (),
        progress=Bars(),
    )
    print_info(built, json)


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
    import frenchcat
    from frenchcat.curate.errors import UserError
    from frenchcat.progress import Bars

    if not out:
        raise UserError("name the dataset's folder: --out data/mine")
    if not urls and not retry_failed:
        raise UserError("name a URL list, or --retry-failed to ask again for failed rows")
    how: dict[str, Any] = {"engine": engine, "workers": workers, "allow_hosts": allow_host or ()}
    how |= {"config": config, "set": set_ or (), "progress": Bars()}
    if retry_failed:
        done = frenchcat.open(out).retry_failed(permanent=permanent, **how)
    else:
        assert urls
        done = frenchcat.download(urls, out, **how)
    print_info(done, json)


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
    import frenchcat
    from frenchcat.progress import Bars

    how = {"config": config, "set": set_ or (), "engine": engine, "workers": workers}
    print_info(frenchcat.open(dataset).embed(progress=Bars(), **how), json)


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
    import frenchcat
    from frenchcat.progress import Bars

    asked = [] if target_recall is None else [f"index.target_recall={target_recall}"]
    given = [*(set_ or ()), *asked]
    print_info(frenchcat.open(dataset).index(config=config, set=given, progress=Bars()), json)


def info(dataset: Folder, json: Json = False) -> None:
    """Count a dataset's rows: downloaded, failed and why, embedded, kept, dropped and why, indexed.

    Example: frenchcat info data/mine --json
    """
    import frenchcat

    print_info(frenchcat.open(dataset), json)


def print_info(dataset: OpenDataset, as_json: bool) -> None:
    """What `info` counts, as a table or as a JSON object."""
    from frenchcat.terminal import say_json

    counted = dataset.info()
    if as_json:
        say_json(counted.as_dict())
        return
    from frenchcat.tables import info_table

    info_table(counted)
