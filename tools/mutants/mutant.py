"""A semantic mutant: a place named by function, a replacement, the promise that it breaks.

A place is ``package.module:Class.function``, or ``package.module`` alone for a line outside every
function. When the function has moved, the one function of the same name that holds the text is
taken, so a move of code does not lose its mutants.

Replacements come in two forms: `find` and `replace` (the text stands once in the function), or
`body`, which takes the place of all statements behind the docstring.

`tests` names a file of tests to ask first. It is needed where only a process that is killed runs
the place: what such a process ran is not recorded.
"""

from __future__ import annotations

import ast
import re
import textwrap
import tomllib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

PROMISES = Path(__file__).parent / "promises"
PACKAGES = ("curate", "index", "train", "frenchcat")  # the folders of `frenchcat`'s code


@dataclass(frozen=True)
class Mutant:
    """One deliberate break."""

    name: str
    place: str
    promise: str
    find: str = ""
    replace: str = ""
    body: str = ""
    tests: str = ""
    area: str = ""  # the TOML file that holds it


@dataclass(frozen=True)
class Applied:
    """A mutant's effect: a file below the repository's root and its new text."""

    file: str
    source: str
    lines: tuple[int, int]  # of the function in the original file, 1-based, both included


class DoesNotApply(ValueError):
    """The place is missing or ambiguous, or the replacement changes nothing or is not Python."""


def load(folder: Path = PROMISES) -> list[Mutant]:
    """All mutants, sorted by file and then as written. Raises ValueError for a name used twice."""
    mutants = [
        Mutant(**row, area=path.stem)
        for path in sorted(folder.glob("*.toml"))
        for row in tomllib.loads(path.read_text(encoding="utf-8")).get("mutant", [])
    ]
    names = [mutant.name for mutant in mutants]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"mutants of the same name: {', '.join(twice)}")
    return mutants


def apply(mutant: Mutant, root: Path) -> Applied:
    """The file that a mutant changes, with the change made. Raises `DoesNotApply`."""
    module, _, function = mutant.place.partition(":")
    file = root / module_file(module)
    found = [file] if file.is_file() and _span(file, function) else []
    if not found and function:
        found = [
            path
            for package in PACKAGES
            for path in sorted((root / package).rglob("*.py"))
            if not path.is_symlink() and (span := _span(path, function))
            if mutant.body or mutant.find in _text(path, span)
        ]
    if len(found) != 1:
        raise DoesNotApply(f"{mutant.name}: {mutant.place} is found in {len(found)} files")
    (file,) = found
    span = _span(file, function)
    assert span is not None
    source = file.read_text(encoding="utf-8")
    lines = source.splitlines(keepends=True)
    before = "".join(lines[span[0] - 1 : span[1]])
    after = _with_body(before, mutant.body) if mutant.body else _replaced(before, mutant)
    if after == before:
        raise DoesNotApply(f"{mutant.name}: nothing changes")
    changed = "".join(lines[: span[0] - 1]) + after + "".join(lines[span[1] :])
    try:
        compile(changed, str(file), "exec")
    except SyntaxError as error:
        raise DoesNotApply(f"{mutant.name}: is not Python when applied ({error})") from None
    return Applied(str(file.relative_to(root)), changed, span)


def module_file(module: str) -> str:
    """``frenchcat.curate.lock`` -> ``curate/lock.py``, relative to the repository's root."""
    parts = module.split(".")
    if len(parts) > 1 and parts[1] in PACKAGES:
        parts = parts[1:]
    path = "/".join(parts)
    root = Path(__file__).parents[2]
    return f"{path}/__init__.py" if (root / path).is_dir() else f"{path}.py"


@lru_cache(maxsize=512)
def functions(source: str, classes: bool = True) -> dict[str, tuple[int, int]]:
    """Qualified name -> (first, last) line of functions, and of classes; decorators included."""
    found: dict[str, tuple[int, int]] = {}

    def visit(node: ast.AST, prefix: str) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                first = min([child.lineno, *(d.lineno for d in child.decorator_list)])
                if classes or not isinstance(child, ast.ClassDef):
                    found.setdefault(prefix + child.name, (first, child.end_lineno or first))
                visit(child, f"{prefix}{child.name}.")
            else:
                visit(child, prefix)

    visit(ast.parse(source), "")
    return found


@lru_cache(maxsize=512)
def remembered(source: str) -> frozenset[str]:
    """Qualified names of the functions whose values functools keeps."""
    lines = source.splitlines()
    return frozenset(
        name
        for name, (first, _) in functions(source, classes=False).items()
        if re.match(r"\s*@(functools\.)?(lru_)?cache\b", lines[first - 1])
    )


def _span(file: Path, function: str) -> tuple[int, int] | None:
    source = file.read_text(encoding="utf-8")
    if not function:
        return 1, len(source.splitlines())
    return functions(source).get(function)


def _text(file: Path, span: tuple[int, int]) -> str:
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    return "".join(lines[span[0] - 1 : span[1]])


def _replaced(text: str, mutant: Mutant) -> str:
    if (times := text.count(mutant.find)) != 1:
        raise DoesNotApply(
            f"{mutant.name}: {mutant.find!r} stands {times} times in {mutant.place}, not once"
        )
    return text.replace(mutant.find, mutant.replace)


def _with_body(text: str, body: str) -> str:
    (node,) = ast.parse(textwrap.dedent(text)).body
    assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    documented = ast.get_docstring(node) is not None and len(node.body) > 1
    first = node.body[1 if documented else 0]
    lines = text.splitlines(keepends=True)
    indent = len(lines[0]) - len(lines[0].lstrip()) + 4
    new = textwrap.indent(textwrap.dedent(body).strip("\n") + "\n", " " * indent)
    return "".join(lines[: first.lineno - 1]) + new
