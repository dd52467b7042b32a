"""Tables for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table
from rich.text import Text

from frenchcat.curate.safe_text import CAPTION_CHARS, URL_CHARS, for_terminal
from frenchcat.rich_terminal import Terminal, cell
from frenchcat.terminal import terminal

if TYPE_CHECKING:
    from frenchcat.curate.costs import StageCosts
    from frenchcat.curate.diff import Diff
    from frenchcat.curate.info import Info
    from frenchcat.curate.lineage import Origin
    from frenchcat.curate.remove import Match
    from frenchcat.index.search import Hit

NAME_CHARS = 100
"""Of a rule, a reason, a column."""


def info_table(info: Info) -> None:
    """Print a dataset's counts."""
    table = Table(title=cell(info.name, NAME_CHARS), title_justify="left", show_header=False)
    table.box = None
    table.add_column(justify="right", style="bold")
    table.add_column()
    table.add_row(str(info.rows), "rows of the list")
    table.add_row(str(info.downloaded), "downloaded")
    table.add_row(str(info.failed), "failed")
    for reason, number in info.failed_reasons.items():
        table.add_row("", _counted(number, reason))
    made_by = f"embedded by {info.model}" if info.model else "embedded"
    table.add_row(str(info.embedded), cell(made_by, NAME_CHARS))
    table.add_row(str(info.kept), "kept")
    table.add_row(str(sum(info.dropped.values())), "dropped")
    for reason, number in info.dropped.items():
        table.add_row("", _counted(number, reason, _alone(info, reason)))
    for name in info.rules:
        if name not in info.dropped:
            table.add_row("", _counted(0, name, _alone(info, name)))
    table.add_row(str(info.indexed), "indexed")
    for maker, names in _by_maker(info).items():
        table.add_row("columns", cell(f"of {maker}: {', '.join(names)}"))
    terminal().show(table)


def costs_table(costs: Sequence[StageCosts]) -> None:
    """Print what each stage cost, a line per stage."""
    console = terminal()
    table = console.table(header_style="bold")
    table.add_column("stage")
    names = ("runs", "rows", "rows/s", "s", "processor s", "MB read", "MB written", "peak MB")
    for name in names:
        table.add_column(name, justify="right")
    for one in costs:
        of = one.as_dict()
        table.add_row(
            cell(one.stage, NAME_CHARS),
            str(len(one.runs)),
            str(of["rows"]),
            _figure(of["images_per_sec"]),
            _figure(of["wall_sec"]),
            _figure(of["cpu_sec"]),
            *(_figure(None if of[n] is None else of[n] / 1e6) for n in _BYTES),
        )
    console.show(table)


_BYTES = ("read_bytes", "written_bytes", "peak_bytes")


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _counted(number: int, name: str, more: str = "") -> Text:
    return cell(f"{number:>7} {for_terminal(name, NAME_CHARS)}{more}", style="dim")


def _by_maker(info: Info) -> dict[str, list[str]]:
    """Maker -> the columns that a condition may name."""
    found: dict[str, list[str]] = {}
    for name, column in info.columns.items():
        said = for_terminal(name, NAME_CHARS)
        if column.in_list is not None:
            said += f" (the list's {for_terminal(column.in_list, NAME_CHARS)})"
        maker = "the list" if column.made_by == "list" else f"the stage {column.made_by}"
        found.setdefault(maker, []).append(said)
    return found


def _alone(info: Info, reason: str) -> str:
    """How many rows a rule would drop by itself, and for how many it is null."""
    if (rule := info.rules.get(reason)) is None:
        return ""
    unknown = f", unknown for {rule.unknown}" if rule.unknown else ""
    return f"  (alone {rule.alone}{unknown})"


def hits_table(hits: Sequence[Hit], console: Terminal | None = None) -> None:
    """Print hits: rank, similarity, caption, url."""
    console = console or terminal()
    table = console.table(header_style="bold")
    table.add_column("", justify="right", style="dim", width=3)
    table.add_column("similarity", justify="right", width=10)
    table.add_column("caption", ratio=3, overflow="fold")
    table.add_column("url", ratio=2, no_wrap=True, overflow="ellipsis", style="dim")
    for rank, hit in enumerate(hits, 1):
        caption, url = cell(hit.caption, CAPTION_CHARS), cell(hit.url, URL_CHARS)
        table.add_row(str(rank), f"{hit.similarity:.3f}", caption, url)
    console.show(table)


def matches_table(found: Sequence[Match], limit: int) -> None:
    """Print the first rows that a removal matches, on stderr."""
    console = terminal(stderr=True)
    table = console.table(header_style="bold")
    table.add_column("key", width=12)
    table.add_column("why", width=20)
    table.add_column("caption", ratio=2, overflow="ellipsis", no_wrap=True)
    table.add_column("url", ratio=3, overflow="ellipsis", no_wrap=True, style="dim")
    for match in found[:limit]:
        caption, url = cell(match.caption, CAPTION_CHARS), cell(match.url, URL_CHARS)
        table.add_row(match.key, cell(match.why, NAME_CHARS), caption, url)
    if found:
        console.show(table)
    more = f", the first {limit} shown" if len(found) > limit else ""
    console.print(f"{len(found)} rows match{more}")


def origin_lines(made: Origin) -> None:
    """Print what made one file: a line, then its settings, lists and inputs."""
    console = terminal()
    version = "" if made.version is None else f" (version {made.version})"
    file, made_by = _escaped(made.file), _escaped(made.made_by)
    console.print(f"[bold]{file}[/bold] by {made_by}{version}", soft_wrap=True)
    lines = {"sha256": made.sha256, "digest": made.digest}
    for name, value in (lines | made.settings).items():
        if value is not None:
            console.print(f"  [dim]{_escaped(name)}[/dim] {_escaped(value)}", soft_wrap=True)
    for listed in made.given:
        for given in listed.files:
            console.print(
                f"  [dim]list[/dim] {_escaped(given.name)} {given.sha256}", soft_wrap=True
            )
    for name, digest in made.inputs.items():
        console.print(f"  [dim]from[/dim] {_escaped(name)} [dim]{digest}[/dim]", soft_wrap=True)


def _escaped(text: object) -> str:
    return escape(for_terminal(text, URL_CHARS))


def diff_table(found: Diff) -> None:
    """Print how many rows differ between two builds, by change, column and verdict."""
    table = Table(show_header=False, box=None)
    table.add_column(justify="right", style="bold")
    table.add_column()
    for name, number in found.counts().items():
        table.add_row(str(number), name)
        if name == "changed":
            for column, rows in sorted(found.by_column().items(), key=lambda item: -item[1]):
                table.add_row("", _counted(rows, f"in {column}"))
            for (before, after), rows in sorted(found.by_fate().items()):
                table.add_row("", _counted(rows, f"{before} -> {after}"))
            for grade, rows in found.by_grade().items():
                table.add_row("", _counted(rows, f"images {grade}"))
    for one in found.domains:
        others = f"{one.others_rate:.1%} at the others"
        text = (
            f"{one.domain}: {one.replaced} of {one.rows} images replaced ({others}, q {one.q:.1g})"
        )
        table.add_row("look at", cell(text, URL_CHARS))
    for said, names in (("new", found.new_columns), ("lost", found.lost_columns)):
        if names:
            table.add_row("", cell(f"{said} columns: {', '.join(names)}", URL_CHARS))
    terminal().show(table)
