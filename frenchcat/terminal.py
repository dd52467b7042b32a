"""The one place where anything is printed: lines, tables and JSON, safe for a terminal.

Captions, URLs and reasons of strangers are in nearly everything that is printed, so every text
passes `for_terminal` or `json_text` here (ruff forbids `print` elsewhere in the package). stdout
holds what was asked for, stderr what is said beside it.
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
    """Print one line on stderr: what is said beside the answer."""
    _print(for_terminal(text, MESSAGE_CHARS), sys.stderr)


def say_json(value: Any) -> None:
    """Print one JSON object on a line of stdout."""
    _print(json_text(value), sys.stdout)


def say_json_lines(values: Iterable[Any]) -> None:
    """Print a JSON object a line."""
    for value in values:
        say_json(value)


def _print(text: str, file: IO[str]) -> None:
    print(text, file=file, flush=True)


class LogFormatter(logging.Formatter):
    """Log lines whose message is one line; a traceback keeps its own."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """The line."""
        return for_terminal(super().formatMessage(record), MESSAGE_CHARS)

    def formatException(self, ei: Any) -> str:
        """The traceback."""
        return lines_for_terminal(super().formatException(ei))


def log_to_stderr() -> None:
    """Send the warnings of all libraries to stderr, safe for a terminal."""
    handler = logging.StreamHandler()
    handler.setFormatter(LogFormatter("frenchcat: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)


def forgive_encodings() -> None:
    """Print what the terminal's encoding lacks as an escape, instead of an error."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def make_tracebacks_safe() -> None:
    """Print the traceback of a fault of ours safely, too: its message may quote a stranger."""

    def show(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        from traceback import format_exception

        text = "".join(format_exception(kind, error, trace)).rstrip("\n")
        _print(lines_for_terminal(text), sys.stderr)

    sys.excepthook = show


def terminal(stderr: bool = False) -> Terminal:
    """Where tables and bars are drawn."""
    from frenchcat.rich_terminal import Terminal

    return Terminal(stderr=stderr)
