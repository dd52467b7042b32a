"""rich's console, made safe for text from strangers, and uncut when piped.

Piped output has no width: cut to 80 columns, a table would lose the ends of URLs. rich turns emoji
names in texts (":cat:") into emoji; here texts stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import (
    Console,  # noqa: TID251  (the one that others subclass)
    ConsoleOptions,
    RenderableType,
)
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from frenchcat.curate.safe_text import for_terminal, lines_for_terminal

_PIPED_COLUMNS = 100_000


class Terminal(Console):
    """A console that prints no control characters but its own."""

    def __init__(self, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, emoji=False, highlight=False)
        if not self.is_terminal:
            self.width = _PIPED_COLUMNS

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """The segments to print; the text of each is safe."""
        for segment in super().render(renderable, options):
            text, style, control = segment
            yield segment if control else Segment(lines_for_terminal(text), style)

    def show(self, table: Table) -> None:
        """Print a table; without a terminal, without spaces at the ends of lines."""
        if self.is_terminal:
            self.print(table)
            return
        with self.capture() as captured:
            self.print(table)
        for line in captured.get().splitlines():
            self.out(line.rstrip())

    def rule(self, title: str | Text = "", **how: Any) -> None:
        """A heading with a line across the terminal; only its text without a terminal."""
        if self.is_terminal:
            super().rule(title, **how)
        else:
            self.print(title)

    def table(self, **how: Any) -> Table:
        """A table as wide as the terminal; as wide as its texts without one."""
        return Table(box=None, expand=self.is_terminal, **how)


def cell(text: Any, at_most: int | None = None, style: str = "") -> Text:
    """Text from a stranger as a table cell: one line, no markup, cut to `at_most` characters."""
    return Text("" if text is None else for_terminal(text, at_most), style=style)
