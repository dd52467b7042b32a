"""Tables for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from curate.info import Info
    from curate.remove import Match
    from index.search import Hit


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
    Console().print(table)


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
