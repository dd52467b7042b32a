"""Tables for the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from curate.info import Info


def info_table(info: Info) -> None:
    """Print a dataset's counts."""
    table = Table(title=info.name, title_justify="left", show_header=False, box=None)
    table.add_column(justify="right", style="bold")
    table.add_column()
    table.add_row(str(info.rows), "rows of the list")
    table.add_row(str(info.downloaded), "downloaded")
    table.add_row(str(info.failed), "failed")
    for reason, number in info.failed_reasons.items():
        table.add_row("", f"[dim]{number:>7} {reason}[/dim]")
    table.add_row(str(info.embedded), f"embedded by {info.model}" if info.model else "embedded")
    table.add_row(str(info.kept), "kept")
    for reason, number in info.dropped.items():
        table.add_row("", f"[dim]{number:>7} {reason}[/dim]")
    table.add_row(str(info.indexed), "indexed")
    Console().print(table)
