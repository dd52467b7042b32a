"""A stranger's text, made safe for where it is shown: a terminal, an HTML page, a spreadsheet.

Captions, URLs, file names and error messages of servers come from people we do not know. A terminal
obeys the control characters in them, a bidirectional override shows them in another order than they
are in, a megabyte of them fills the screen, and a spreadsheet computes what begins like a formula.
Reads and writes nothing; json_text.py does the same for JSON.
"""

from __future__ import annotations

import html
import re
from typing import Any

CAPTION_CHARS = 300
"""Characters of a caption that a table shows; `--json` has all of it."""
URL_CHARS = 2_000
"""Characters of a URL that a table shows."""
MESSAGE_CHARS = 2_000
"""Characters of a message: an error, a log line."""

_CONTROLS = r"\x00-\x1f\x7f-\x9f"  # C0, DEL and C1: what terminals take for commands
_BIDI = r"\u202a-\u202e\u2066-\u2069"  # embeddings, overrides, isolates; single marks stay
_SURROGATES = r"\ud800-\udfff"  # halves of a pair: no encoding can write them
_SPACES = re.compile("[\t\n\v\f\r\x85\u2028\u2029]+")
_UNSAFE = re.compile(f"[{_CONTROLS}{_BIDI}{_SURROGATES}]")
_UNSAFE_IN_LINES = re.compile(f"(?!\n)[{_CONTROLS}{_BIDI}{_SURROGATES}]")
_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")  # the last ones full width
_FIRST = ("\t", "\r", "\n")


def for_terminal(text: Any, at_most: int | None = None) -> str:
    """A text as one line without control characters, cut to `at_most` characters.

    Line breaks and tabs become a space; other control characters, bidirectional overrides and
    halves of surrogate pairs become U+FFFD, one for one. What was cut ends in an ellipsis.
    """
    said = str(text)
    if at_most is not None and len(said) > at_most:
        said = said[: at_most - 1] + "…"
    return _UNSAFE.sub("\ufffd", _SPACES.sub(" ", said))


def lines_for_terminal(text: str) -> str:
    """As `for_terminal`, for a text of several lines that we made: its line breaks stay."""
    return _UNSAFE_IN_LINES.sub("\ufffd", text)


def for_html(text: Any, at_most: int | None = None) -> str:
    """A text as HTML has it between tags or inside a quoted attribute: as for a terminal, escaped.

    No element closes, and no direction reaches beyond it.
    """
    return html.escape(for_terminal(text, at_most))


def for_csv(value: Any) -> Any:
    """A value as a cell that no spreadsheet takes for a formula; numbers stay what they are.

    A text that begins with ``=``, ``+``, ``-`` or ``@``, of any width and behind any spaces, or
    with a tab or a line break, gets an apostrophe in front, as OWASP recommends ("CSV injection").
    """
    if not isinstance(value, str):
        return value
    computed = value.startswith(_FIRST) or value.lstrip().startswith(_FORMULA)
    return f"'{value}" if computed else value
