"""The page as a browser gets it: few files, made from the readable ones of index/page/ at start-up.

A phone waits a sixth of a second for each level of imports, so the modules are joined:

- the script that index.html names first (`early.js`) and what it imports stand in the page itself,
  so that the first search is sent before any other file is there; the policy names its digest;
- the other modules are one script, the style sheets one sheet. Their names hold a digest of their
  content, so a browser keeps them for good and still sees every change.

A module becomes a function that gives what the module exports, and `modules` is the table of them;
names in one module never meet those of another. Only the forms of import and export that the page
uses are read; any other is refused, and so is a circle of imports.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

_IMPORT = re.compile(
    r'^import (?:\{ ([\w$]+(?:, [\w$]+)*) \} from )?"\./([\w-]+\.js)";$', re.MULTILINE
)
_EXPORT = re.compile(r"^export (?=(?:async function|function|class|const) ([\w$]+))", re.MULTILINE)
_LEFT = re.compile(r"^(?:import|export)\b.*$|\bimport\(.*$", re.MULTILINE)
_COMMENT = re.compile(r"^[ \t]*(?://.*|/\*\*(?:[^*]|\*(?!/))*\*/)\n", re.MULTILINE)
_SCRIPT = re.compile(r'<script type="module" src="([^"]+)"></script>\n')
_SHEET = re.compile(r'<link rel="stylesheet" href="([^"]+)">\n')
_TABLE = "globalThis.frenchcat"


@dataclass(frozen=True)
class PageBundle:
    """The files of the page, by name ("" is the page itself), and its inline script's digest."""

    files: dict[str, File]
    inline_hash: str


@dataclass(frozen=True)
class File:
    """A file's bytes, the same compressed by gzip, and its media type."""

    data: bytes
    packed: bytes
    media_type: str


def bundle(folder: Path) -> PageBundle:
    """Join the files of a folder with an index.html.

    Raises ValueError for a module with a form of import or export that is not read here, for a
    circle of imports, and for a page without two scripts and a style sheet.
    """
    page = (folder / "index.html").read_text(encoding="utf-8")
    scripts, sheets = _SCRIPT.findall(page), _SHEET.findall(page)
    if len(scripts) != 2 or not sheets:
        raise ValueError(f"{folder}/index.html needs two module scripts and a style sheet")
    inline, known = _joined(folder, scripts[0], frozenset())
    if "</script" in inline or "<!--" in inline:
        raise ValueError(f"{scripts[0]}: a script in a page cannot contain </script or <!--")
    script, _ = _joined(folder, scripts[1], known)
    sheet = "".join((folder / name).read_text(encoding="utf-8") for name in sheets)
    named = {
        f"page-{_digest(script)}.js": _file(script, "text/javascript"),
        f"page-{_digest(sheet)}.css": _file(sheet, "text/css"),
    }
    js, css = named
    # The script comes before the sheet: an inline one waits for the sheets above it.
    head = f'<script>{inline}</script>\n<script defer src="{js}"></script>\n'
    page = _SHEET.sub("", _SCRIPT.sub("", page))
    page = page.replace("</head>", f'{head}<link rel="stylesheet" href="{css}">\n</head>')
    digest = base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()
    return PageBundle({"": _file(page, "text/html"), **named}, f"sha256-{digest}")


def _joined(folder: Path, entry: str, known: frozenset[str]) -> tuple[str, frozenset[str]]:
    """A script of a module and all it imports but the known ones; and all that is known then."""
    order: dict[str, str] = {}
    _gather(folder, entry, known, order, ())
    joined = "".join(order.values())
    return f'"use strict";\n(modules => {{\n{joined}}})({_TABLE} ??= {{}});\n', known | set(order)


def _gather(
    folder: Path, name: str, known: frozenset[str], order: dict[str, str], above: tuple[str, ...]
) -> None:
    """Put a module's function into `order`, after those of what it imports."""
    if name in above:
        raise ValueError(f"modules of the page import each other: {' -> '.join((*above, name))}")
    if name in known or name in order:
        return
    text = (folder / name).read_text(encoding="utf-8")
    for names, imported in _IMPORT.findall(text):
        _gather(folder, imported, known, order, (*above, name))
        exported = _EXPORT.findall((folder / imported).read_text(encoding="utf-8"))
        if lacking := [one for one in names.split(", ") if one and one not in exported]:
            raise ValueError(f"{name}: {imported} does not export {lacking[0]}")
    order[name] = _as_function(name, text)


def _as_function(name: str, text: str) -> str:
    """A module as a function that is called at once, and gives what the module exports."""

    def needed(found: re.Match[str]) -> str:
        return f'const {{ {found[1]} }} = modules["{found[2]}"];' if found[1] else ""

    exported = ", ".join(_EXPORT.findall(text))
    body = _EXPORT.sub("", _IMPORT.sub(needed, _COMMENT.sub("", text)))
    if odd := _LEFT.search(body):
        raise ValueError(f"{name}: cannot join `{odd[0]}`; write it as the other modules do")
    return f'modules["{name}"] = (() => {{\n{body}return {{ {exported} }};\n}})();\n'


def _file(text: str, media_type: str) -> File:
    data = text.encode()
    return File(data, gzip.compress(data, 9, mtime=0), media_type)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
