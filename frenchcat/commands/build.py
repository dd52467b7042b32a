"""The verbs demo, build, download, embed, index and info."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

import frenchcat

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
        help="Lists of URLs with captions (parquet, csv, tsv, json, jsonl, txt): files, globs, "
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
    typer.Option(
        "--set", metavar="A.B=C", help="Change one setting; overrides --config. Repeatable."
    ),
]
EngineOption = Annotated[
    str,
    typer.Option(
        "--engine", metavar="ENGINE", help="local, ray (starts Ray here) or ray://host:port."
    ),
]
Workers = Annotated[
    int | None,
    typer.Option("--workers", min=1, help="Number of processes; by default one per core."),
]
AllowHost = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-host",
        metavar="HOST:PORT",
        help="Allow requests to this host at a private address. Repeatable.",
    ),
]
Yes = Annotated[
    bool,
    typer.Option(
        "--yes", help="Do not ask before a changed setting causes downloads or embeddings anew."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object per line on stdout.")]
Log = Annotated[
    Path | None,
    typer.Option("--log", metavar="FILE", help="Append what happens to a log of JSON lines."),
]
Metrics = Annotated[
    str | None,
    typer.Option(
        "--metrics",
        metavar="PORT|FILE.prom",
        help="Figures for Prometheus: at this port of 127.0.0.1, or in a file for node_exporter.",
    ),
]


def demo(
    out: Annotated[Path, typer.Option(help="The output folder.")] = Path("demo-output"),
    train: Annotated[
        bool, typer.Option("--train/--no-train", help="Also train a small model briefly.")
    ] = True,
    json: Json = False,
) -> None:
    """Run the whole pipeline on the bundled sample: download, embed, index, search, train.

    Example: frenchcat demo --out demo-output
    """
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
        typer.Option("--plan", help="Print what would run and what it would cost; change nothing."),
    ] = False,
    yes: Yes = False,
    log: Log = None,
    metrics: Metrics = None,
    json: Json = False,
) -> None:
    """Run every stage, from a URL list to a searchable dataset. The same command resumes.

    A dataset keeps its settings: --config and --set change only what they name.

    Example: frenchcat build my-urls.parquet --out data/mine --config vit-b-32

    Example: frenchcat build my-urls.parquet --out data/mine --plan
    """
    from frenchcat.watch import watched

    how: dict[str, Any] = {"config": config, "set": set_ or (), "allow_hosts": allow_host or ()}
    if plan:
        from frenchcat.api import plan as planned

        print_plan(planned(urls, out, **how), json)
        return
    say_changed(out, how)
    how |= {"engine": engine, "workers": workers}
    with watched(log, metrics) as progress:
        how["progress"] = progress
        built = agreed(yes, lambda yes: frenchcat.build(urls, out, yes=yes, **how))
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
        bool, typer.Option("--retry-failed", help="Request only the rows that failed, again.")
    ] = False,
    permanent: Annotated[
        bool,
        typer.Option(
            "--all", help="With --retry-failed: also rows that failed for good (404, 410)."
        ),
    ] = False,
    yes: Yes = False,
    log: Log = None,
    metrics: Metrics = None,
    json: Json = False,
) -> None:
    """Download a URL list into shards. Rows added to the list later become new shards.

    Example: frenchcat download my-urls.parquet --out data/mine

    Example: frenchcat download --retry-failed --out data/mine
    """
    from frenchcat.curate.errors import UserError
    from frenchcat.watch import watched

    if not out:
        raise UserError("give the dataset's folder: --out data/mine")
    if not urls and not retry_failed:
        raise UserError("give a URL list, or --retry-failed to request failed rows again")
    if urls and retry_failed:
        raise UserError(
            f"--retry-failed requests rows of the dataset and takes no list: leave out "
            f"{urls[0]}, or --retry-failed to add its rows"
        )
    how: dict[str, Any] = {"engine": engine, "workers": workers, "allow_hosts": allow_host or ()}
    how |= {"config": config, "set": set_ or ()}
    say_unused("download", config)
    with watched(log, metrics) as progress:
        how["progress"] = progress
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
    log: Log = None,
    metrics: Metrics = None,
    json: Json = False,
) -> None:
    """Embed the images and captions of a dataset with CLIP.

    Example: frenchcat embed data/mine --config vit-b-32
    """
    from frenchcat.watch import watched

    how = {"config": config, "set": set_ or (), "engine": engine, "workers": workers}
    say_unused("embed", config)
    opened = frenchcat.open(dataset)
    with watched(log, metrics) as progress:
        done = agreed(yes, lambda yes: opened.embed(yes=yes, progress=progress, **how))
    print_info(done, json)


def index(
    dataset: Folder,
    config: Config = None,
    set_: Set = None,
    target_recall: Annotated[
        float | None,
        typer.Option("--target-recall", metavar="R", help="Fail if recall@10 is lower than this."),
    ] = None,
    json: Json = False,
) -> None:
    """Build the kNN index over a dataset's embeddings, or add new shards to it.

    Example: frenchcat index data/mine --target-recall .99
    """
    from frenchcat.progress import Bars

    asked = [] if target_recall is None else [f"index.target_recall={target_recall}"]
    given = [*(set_ or ()), *asked]
    say_unused("index", config)
    print_info(frenchcat.open(dataset).index(config=config, set=given, progress=Bars()), json)


def info(
    dataset: Folder,
    costs: Annotated[
        bool,
        typer.Option("--costs", help="Print what each stage cost when it ran, not the counts."),
    ] = False,
    json: Json = False,
) -> None:
    """Count a dataset's rows: downloaded, embedded, kept, indexed; failed and dropped, with
    reasons.

    Example: frenchcat info data/mine --json
    """
    opened = frenchcat.open(dataset)
    if costs:
        print_costs(opened, json)
    else:
        print_info(opened, json)


def agreed(yes: bool, work: Callable[[bool], T]) -> T:
    """Run `work`; on a terminal, ask before costly work is repeated.

    Raises `ConfirmationNeeded` if nobody can be asked and `yes` is false.
    """
    from frenchcat.commands.asking import answered
    from frenchcat.curate.errors import ConfirmationNeeded
    from frenchcat.terminal import tell

    try:
        return work(yes)
    except ConfirmationNeeded as needed:
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise
        answer = answered(f"{needed.what}. Go on?")
        if answer is None:
            raise
        if not answer:
            tell("nothing was changed")
            raise typer.Exit(1) from None
    return work(True)


def say_changed(out: str, how: dict[str, Any]) -> None:
    """Name on stderr the remembered settings that a command changes."""
    from frenchcat.curate.config import shown
    from frenchcat.pipeline import changes_of
    from frenchcat.terminal import tell

    for name, (old, new) in changes_of(out, **how).items():
        before, after = (_short(shown(value)) for value in (old, new))
        tell(f"{name}: {before} (remembered) -> {after}")


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def say_unused(verb: str, config: str | None) -> None:
    """Name on stderr the sections of a file that this verb does not use."""
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
    """Report on stderr how many rows failed, and how to request those again that may succeed
    now.
    """
    from frenchcat.curate.command_text import shell_command
    from frenchcat.curate.download.refusals import REFUSED_BY, cure_of, failures_of
    from frenchcat.curate.download.retry import asks_again
    from frenchcat.terminal import tell

    found = failures_of(dataset.dataset)
    again = sum(number for name, number in found.names.items() if asks_again(name, False))
    if again:
        later = shell_command("download", "--retry-failed", "--out", dataset.root)
        tell(f"{found.failed} rows have no image; {again} of them may succeed later: {later}")
    for name in found.names:
        if name in REFUSED_BY:
            tell(f"{found.names[name]} {name}: {cure_of(dataset.dataset, name)}")


def print_plan(plan: BuildPlan, as_json: bool) -> None:
    """Print what a build would do: one line per stage, or a JSON object."""
    from frenchcat.terminal import say, say_json

    if as_json:
        say_json(plan.as_dict())
        return
    for line in plan.lines():
        say(line)


def print_costs(dataset: OpenDataset, as_json: bool) -> None:
    """Print what each stage cost as a table or as one JSON object."""
    from frenchcat.terminal import say, say_json

    costs = dataset.costs()
    if as_json:
        say_json({one.stage: one.as_dict() for one in costs})
    elif costs:
        from frenchcat.tables import costs_table

        costs_table(costs)
    else:
        say(f"{dataset.root}: no costs are kept; the stages that run next keep theirs")


def print_info(dataset: OpenDataset, as_json: bool) -> None:
    """Print the counts of `info` as a table or as a JSON object."""
    from frenchcat.terminal import say_json

    counted = dataset.info()
    if as_json:
        say_json(counted.as_dict())
        return
    from frenchcat.tables import info_table

    info_table(counted)
