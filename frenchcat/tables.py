"""Tables for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from frenchcat.curate.diff import Diff
    from frenchcat.curate.info import Info
    from frenchcat.curate.lineage import Origin
    from frenchcat.curate.remove import Match
    from frenchcat.index.search import Hit


def info_table(info: Info) -> None:
    """Print a dataset's counts."""
    table = Table(title=info.name, title_justify="left", show_header=False, box=None)
    table.add_column(justify="right", style="bold")
    table.add_column()
    table.add_row(str(info.rows), "rows of the list")
    table.add_row(str(info.downloaded), "downloaded")
    table.add_row(str(info.failed), "failed")
    for reason, number in info.failed_reasons.items():
        table.add_row("", f"[dim]{number:>7} {escape(reason)}[/dim]")
    table.add_row(str(info.embedded), f"embedded by {info.model}" if info.model else "embedded")
    table.add_row(str(info.kept), "kept")
    table.add_row(str(sum(info.dropped.values())), "dropped")
    for reason, number in info.dropped.items():
        table.add_row("", f"[dim]{number:>7} {escape(reason)}{_alone(info, reason)}[/dim]")
    for name in info.rules:
        if name not in info.dropped:
            table.add_row("", f"[dim]{0:>7} {name}{_alone(info, name)}[/dim]")
    table.add_row(str(info.indexed), "indexed")
    for maker, names in _by_maker(info).items():
        table.add_row("columns", f"of {maker}: {escape(', '.join(names))}")
    Console().print(table)


def _by_maker(info: Info) -> dict[str, list[str]]:
    """Who made them -> the columns that a condition may name."""
    found: dict[str, list[str]] = {}
    for name, column in info.columns.items():
        said = name if column.in_list is None else f"{name} (the list's {column.in_list})"
        maker = "the list" if column.made_by == "list" else f"the stage {column.made_by}"
        found.setdefault(maker, []).append(said)
    return found


def _alone(info: Info, reason: str) -> str:
    """What a rule would drop by itself, and for how many rows it is null."""
    if (rule := info.rules.get(reason)) is None:
        return ""
    unknown = f", unknown for {rule.unknown}" if rule.unknown else ""
    return f"  (alone {rule.alone}{unknown})"


def hits_table(hits: Sequence[Hit]) -> None:
    """Print hits: rank, similarity, caption, url."""
    table = Table(box=None, header_style="bold", expand=True)
    table.add_column("", justify="right", style="dim", width=3)
    table.add_column("similarity", justify="right", width=10)
    table.add_column("caption", ratio=3, overflow="fold")
    table.add_column("url", ratio=2, no_wrap=True, overflow="ellipsis", style="dim")
    for rank, hit in enumerate(hits, 1):
        caption, url = escape(hit.caption or ""), escape(hit.url or "")
        table.add_row(str(rank), f"{hit.similarity:.3f}", caption, url)
    Console().print(table)


def matches_table(found: Sequence[Match], limit: int) -> None:
    """Print the first rows that a removal matches, on stderr."""
    console = Console(stderr=True)
    table = Table(box=None, header_style="bold", expand=True)
    table.add_column("key", width=12)
    table.add_column("why", width=20)
    table.add_column("caption", ratio=2, overflow="ellipsis", no_wrap=True)
    table.add_column("url", ratio=3, overflow="ellipsis", no_wrap=True, style="dim")
    for match in found[:limit]:
        table.add_row(match.key, match.why, escape(match.caption or ""), escape(match.url or ""))
    if found:
        console.print(table)
    more = f", the first {limit} shown" if len(found) > limit else ""
    console.print(f"{len(found)} rows match{more}")


def origin_lines(made: Origin) -> None:
    """Print what made one file: a line, then its settings, lists and inputs."""
    console = Console(soft_wrap=True, highlight=False)
    version = "" if made.version is None else f" (version {made.version})"
    console.print(f"[bold]{escape(made.file)}[/bold] by {made.made_by}{version}")
    lines = {"sha256": made.sha256, "digest": made.digest}
    for name, value in (lines | made.settings).items():
        if value is not None:
            console.print(f"  [dim]{name}[/dim] {escape(str(value))}")
    for listed in made.given:
        for file in listed.files:
            console.print(f"  [dim]list[/dim] {escape(file.name)} {file.sha256}")
    for name, digest in made.inputs.items():
        console.print(f"  [dim]from[/dim] {escape(name)} [dim]{digest}[/dim]")


def diff_table(found: Diff) -> None:
    """Print how many rows two builds differ in, by change, by column and by verdict."""
    table = Table(show_header=False, box=None)
    table.add_column(justify="right", style="bold")
    table.add_column()
    for name, number in found.counts().items():
        table.add_row(str(number), name)
        if name == "changed":
            for column, rows in sorted(found.by_column().items(), key=lambda item: -item[1]):
                table.add_row("", f"[dim]{rows:>7} in {escape(column)}[/dim]")
            for (before, after), rows in sorted(found.by_fate().items()):
                table.add_row("", f"[dim]{rows:>7} {escape(f'{before} -> {after}')}[/dim]")
    for said, names in (("new", found.new_columns), ("lost", found.lost_columns)):
        if names:
            table.add_row("", f"{said} columns: {escape(', '.join(names))}")
    Console().print(table)
