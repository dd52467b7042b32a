"""The verbs of the main road: demo, build, download, embed, index, info."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

if TYPE_CHECKING:
    from frenchcat.opened import OpenDataset
    from frenchcat.plan import BuildPlan

T = TypeVar("T")
LONGEST = 200  # characters of a setting's value that are shown

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
Yes = Annotated[
    bool,
    typer.Option(
        "--yes", help="Download or embed again what a changed setting asks for, without a question."
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
    plan: Annotated[
        bool,
        typer.Option("--plan", help="Print what would run, how long and how large; do nothing."),
    ] = False,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Every stage, from a URL list to a searchable dataset. The same command again goes on.

    A dataset keeps its settings: --config and --set change only what they name.

    Example: frenchcat build my-urls.parquet --out data/mine --config vit-b-32

    Example: frenchcat build my-urls.parquet --out data/mine --plan
    """
    import frenchcat
    from frenchcat.progress import Bars

    how: dict[str, Any] = {"config": config, "set": set_ or (), "allow_hosts": allow_host or ()}
    if plan:
        from frenchcat.api import plan as planned

        print_plan(planned(urls, out, **how), json)
        return
    say_changed(out, how)
    how |= {"engine": engine, "workers": workers}
    built = agreed(yes, lambda yes: frenchcat.build(urls, out, yes=yes, progress=Bars(), **how))
    print_info(built, json)
    say_failed(built)


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
    yes: Yes = False,
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
    if urls and retry_failed:
        raise UserError(
            f"--retry-failed asks for rows that the dataset has and takes no list: leave out "
            f"{urls[0]}, or --retry-failed to add its rows"
        )
    how: dict[str, Any] = {"engine": engine, "workers": workers, "allow_hosts": allow_host or ()}
    how |= {"config": config, "set": set_ or (), "progress": Bars()}
    say_unused("download", config)
    if retry_failed:
        done = frenchcat.open(out).retry_failed(permanent=permanent, **how)
    else:
        lists = urls or []
        done = agreed(yes, lambda yes: frenchcat.download(lists, out, yes=yes, **how))
    print_info(done, json)
    say_failed(done)


def embed(
    dataset: Folder,
    config: Config = None,
    set_: Set = None,
    engine: EngineOption = "local",
    workers: Workers = None,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Embed the pictures and captions of a dataset with CLIP.

    Example: frenchcat embed data/mine --config vit-b-32
    """
    import frenchcat
    from frenchcat.progress import Bars

    how = {"config": config, "set": set_ or (), "engine": engine, "workers": workers}
    say_unused("embed", config)
    opened = frenchcat.open(dataset)
    done = agreed(yes, lambda yes: opened.embed(yes=yes, progress=Bars(), **how))
    print_info(done, json)


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
    say_unused("index", config)
    print_info(frenchcat.open(dataset).index(config=config, set=given, progress=Bars()), json)


def info(dataset: Folder, json: Json = False) -> None:
    """Count a dataset's rows: downloaded, failed and why, embedded, kept, dropped and why, indexed.

    Example: frenchcat info data/mine --json
    """
    import frenchcat

    print_info(frenchcat.open(dataset), json)


def agreed(yes: bool, work: Callable[[bool], T]) -> T:
    """What `work` gives; costly work that it would do again is asked for on a terminal.

    Raises `ConfirmationNeeded` where nobody can be asked and `yes` was not said.
    """
    from frenchcat.curate.errors import ConfirmationNeeded
    from frenchcat.terminal import tell

    try:
        return work(yes)
    except ConfirmationNeeded as needed:
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise
        if not typer.confirm(f"{needed.what}. Go on?", err=True):
            tell("nothing was changed")
            raise typer.Exit(1) from None
    return work(True)


def say_changed(out: str, how: dict[str, Any]) -> None:
    """Name on stderr the settings that a command gives a dataset in place of remembered ones."""
    from frenchcat.curate.config import shown
    from frenchcat.pipeline import changes_of
    from frenchcat.terminal import tell

    for name, (old, new) in changes_of(out, **how).items():
        before, after = (_short(shown(value)) for value in (old, new))
        tell(f"{name}: {before} (remembered) -> {after}")


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def say_unused(verb: str, config: str | None) -> None:
    """Name on stderr the sections of a file that a stage's verb leaves alone."""
    from frenchcat.terminal import tell

    if config is None:
        return
    from frenchcat.pipeline import only_used

    if unused := only_used(verb, config, ()):
        tell(
            f"{config}: {', '.join(unused)}: not used by frenchcat {verb}, and not remembered; "
            "frenchcat build uses all sections"
        )


def say_failed(dataset: OpenDataset) -> None:
    """Say on stderr how many rows failed, and how to have those asked again that may pass."""
    from frenchcat.curate.download.refusals import REFUSED_BY, cure_of, failures_of
    from frenchcat.curate.download.stage import asks_again
    from frenchcat.terminal import tell

    found = failures_of(dataset.dataset)
    again = sum(number for name, number in found.names.items() if asks_again(name, False))
    if again:
        tell(
            f"{found.failed} rows have no picture; {again} of them may pass later: "
            f"frenchcat download --retry-failed --out {dataset.root}"
        )
    for name in found.names:
        if name in REFUSED_BY:
            tell(f"{found.names[name]} {name}: {cure_of(dataset.dataset, name)}")


def print_plan(plan: BuildPlan, as_json: bool) -> None:
    """What a build would do, a line per stage, or a JSON object."""
    from frenchcat.terminal import say, say_json

    if as_json:
        say_json(plan.as_dict())
        return
    for line in plan.lines():
        say(line)


def print_info(dataset: OpenDataset, as_json: bool) -> None:
    """What `info` counts, as a table or as a JSON object."""
    from frenchcat.terminal import say_json

    counted = dataset.info()
    if as_json:
        say_json(counted.as_dict())
        return
    from frenchcat.tables import info_table

    info_table(counted)
