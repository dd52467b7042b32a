"""Everything that is printed goes through here: lines, tables and JSON, safe for a terminal.

Almost all output contains captions, URLs and reasons from strangers, so each text passes
`for_terminal` or `json_text` here (ruff forbids `print` elsewhere in the package). stdout holds the
answer; stderr holds notes.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any

from frenchcat.curate.json_text import json_text
from frenchcat.curate.safe_text import MESSAGE_CHARS, for_terminal, lines_for_terminal

if TYPE_CHECKING:
    from frenchcat.rich_terminal import Terminal


def say(text: Any) -> None:
    """Print one line on stdout."""
    _print(for_terminal(text, MESSAGE_CHARS), sys.stdout)


def tell(text: Any) -> None:
    """Print one line on stderr: a note beside the answer."""
    _print(for_terminal(text, MESSAGE_CHARS), sys.stderr)


def say_json(value: Any) -> None:
    """Print one JSON object on a line of stdout."""
    _print(json_text(value), sys.stdout)


def say_json_lines(values: Iterable[Any]) -> None:
    """Print one JSON object per line."""
    for value in values:
        say_json(value)


def _print(text: str, file: IO[str]) -> None:
    print(text, file=file, flush=True)


class LogFormatter(logging.Formatter):
    """Print log messages as one line each; tracebacks keep their lines."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """The line."""
        return for_terminal(super().formatMessage(record), MESSAGE_CHARS)

    def formatException(self, ei: Any) -> str:
        """The traceback."""
        return lines_for_terminal(super().formatException(ei))


def log_to_stderr() -> None:
    """Print the warnings of all libraries on stderr, made safe for a terminal."""
    handler = logging.StreamHandler()
    handler.setFormatter(LogFormatter("frenchcat: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)


def forgive_encodings() -> None:
    """Print characters that the terminal's encoding lacks as escapes instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def make_tracebacks_safe() -> None:
    """Print the traceback of a bug safely: its message may quote a stranger."""

    def show(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        from traceback import format_exception

        text = "".join(format_exception(kind, error, trace)).rstrip("\n")
        _print(lines_for_terminal(text), sys.stderr)

    sys.excepthook = show


def terminal(stderr: bool = False) -> Terminal:
    """The terminal on which tables and bars are drawn."""
    from frenchcat.rich_terminal import Terminal

    return Terminal(stderr=stderr)
