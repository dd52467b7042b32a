"""An import inside a function is there to keep start-up fast; every other one stands on top."""

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("curate", "index", "train", "frenchcat")
FIRST = ("frenchcat/__main__.py", "frenchcat/interrupt.py")
"""Modules that Ctrl-C needs before anything else is imported."""


def name_of(file: Path) -> str:
    """The module's name as it is imported: curate/keys.py is frenchcat.curate.keys."""
    parts = file.relative_to(ROOT).with_suffix("").parts
    parts = parts[:-1] if parts[-1] == "__init__" else parts
    return ".".join(parts if parts[0] == "frenchcat" else ("frenchcat", *parts))


FILES = {
    name_of(file): file
    for package in PACKAGES
    for file in sorted((ROOT / package).rglob("*.py"))
    if not any(part.is_symlink() for part in file.parents)
}


def imported(node: ast.stmt) -> list[str]:
    """The modules that an import statement loads."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module:
        names = [f"{node.module}.{alias.name}" for alias in node.names]
        return [name if name in FILES else node.module for name in names]
    return []


def imports(node: ast.AST, late: bool = False) -> Iterator[tuple[bool, ast.stmt]]:
    """The import statements below a node, and whether they stand in a function."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield late, child
        function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        yield from imports(child, late or function)


@cache
def statements(module: str) -> tuple[tuple[bool, ast.stmt], ...]:
    return tuple(imports(ast.parse(FILES[module].read_text(encoding="utf-8"))))


@cache
def loaded_with(module: str) -> frozenset[str]:
    """The modules that are there once this one is imported, as far as our files tell."""
    found: set[str] = set()
    left = [module]
    while left:
        parts = left.pop().split(".")
        for name in (".".join(parts[:n]) for n in range(1, len(parts) + 1)):
            if name not in found:
                found.add(name)
                for late, statement in statements(name) if name in FILES else ():
                    left += [] if late else imported(statement)
    return frozenset(found)


def without_effect() -> list[str]:
    """Imports inside functions of modules that are loaded already when the function runs."""
    return [
        f"{file.relative_to(ROOT)}:{statement.lineno}: {ast.unparse(statement)}"
        for module, file in FILES.items()
        if str(file.relative_to(ROOT)) not in FIRST
        for late, statement in statements(module)
        if late
        and (names := imported(statement))
        and names[0].split(".")[0] not in sys.stdlib_module_names
        and loaded_with(module).issuperset(names)
    ]


def test_a_late_import_saves_something() -> None:
    assert len(FILES) > 300
    assert without_effect() == []
