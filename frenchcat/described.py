"""Every setting with its meaning, type, default, value and origin, for people, programs and docs.

Reads the settings classes and their source: a setting's meaning is the docstring below it, and is
written nowhere else. Writes nothing.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import textwrap
import types
import typing
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

from frenchcat.curate.config import Resolved, as_dict, fields_of, is_section, named
from frenchcat.curate.errors import UserError

if TYPE_CHECKING:
    from frenchcat.curate.dataset import Dataset

DEFAULT, DATASET = "default", "dataset"
_PLAIN = {int: "whole number", float: "number", bool: "true or false", str: "text"}


@dataclasses.dataclass(frozen=True)
class DescribedSetting:
    """One setting."""

    name: str  # with its sections: clip.model
    meaning: str
    type: str  # in words: "whole number", "jpg | png | webp"
    default: Any  # JSON-able
    value: Any  # JSON-able
    origin: str  # default, preset NAME, a file's path, dataset, --set


def kinds() -> Mapping[str, type[Any]]:
    """The verbs that take settings, and their settings classes."""
    from frenchcat.curate.report.settings import ReportSettings
    from frenchcat.index.service.settings import ServeSettings
    from frenchcat.pipeline import BuildSettings
    from frenchcat.scale.settings import ScaleSettings
    from frenchcat.train.settings import TrainSettings

    return {
        "build": BuildSettings,
        "plan": ScaleSettings,
        "report": ReportSettings,
        "serve": ServeSettings,
        "train": TrainSettings,
    }


def class_of(kind: str) -> type[Any]:
    """The settings class of a verb. Raises `UserError` if it has none."""
    known = kinds()
    if kind not in known:
        raise UserError(f"--for {kind} has no settings of its own; known: {', '.join(known)}")
    return known[kind]


def described(resolved: Resolved[Any], dataset: Dataset | None = None) -> list[DescribedSetting]:
    """The settings of a class in order; `dataset` is the origin of remembered values."""
    cls = type(resolved.value)
    values, defaults = named(cls, as_dict(resolved.value)), named(cls, as_dict(cls()))
    origins = dict(resolved.origins)
    for name, value in values.items():
        if dataset is not None and origins.get(name) == dataset.path("dataset.json"):
            origins[name] = DEFAULT if value == defaults[name] else DATASET
    return [
        DescribedSetting(
            name, meaning, type_, defaults[name], values[name], origins.get(name, DEFAULT)
        )
        for name, type_, meaning in _rows(cls)
    ]


def entries_of(cls: type[Any], prefix: str = "") -> Iterator[tuple[str, type[Any]]]:
    """Name and class of settings that are lists of sections, such as `score.heads`."""
    for name, hint in fields_of(cls).items():
        if is_section(hint):
            yield from entries_of(hint, f"{prefix}{name}.")
        for part in typing.get_args(hint):
            if is_section(part):
                yield prefix + name, part


def _rows(cls: type[Any], prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """Full name, type in words and meaning of each setting."""
    texts = meanings(cls)
    for name, hint in fields_of(cls).items():
        if is_section(hint):
            yield from _rows(hint, f"{prefix}{name}.")
        else:
            yield prefix + name, type_in_words(hint), texts.get(name, "")


def meanings(cls: type[Any]) -> Mapping[str, str]:
    """Field -> its docstring in the class or in a base class."""
    found: dict[str, str] = {}
    for part in reversed(cls.__mro__):
        if dataclasses.is_dataclass(part):
            found |= _below_fields(part)
    return found


def _below_fields(cls: type[Any]) -> dict[str, str]:
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    assert isinstance(tree, ast.ClassDef)
    found = {}
    for field, text in zip(tree.body, tree.body[1:], strict=False):
        if not isinstance(field, ast.AnnAssign) or not isinstance(field.target, ast.Name):
            continue
        if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
            told = " ".join(str(text.value.value).split())
            found[field.target.id] = re.sub(r"\bNone\b", "none", told)  # as overrides write it
    return found


def type_of(cls: type[Any], field: str) -> str:
    """The type of a field in words."""
    return type_in_words(fields_of(cls)[field])


def type_in_words(hint: Any) -> str:
    """``int | None`` -> "whole number or none"; a Literal's values with | between them."""
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return type_in_words(parts[0])
    if origin is Literal:
        return " | ".join(str(part) for part in parts)
    if origin in (typing.Union, types.UnionType):
        some = [type_in_words(part) for part in parts if part is not type(None)]
        return " or ".join([*some, "none"] if type(None) in parts else some)
    if origin is tuple:
        if len(parts) == 2 and parts[1] is Ellipsis:
            return f"list: {type_in_words(parts[0])}"
        return f"list of {len(parts)}: {type_in_words(parts[0])}"
    if origin is dict:
        return f"table: {type_in_words(parts[1])}"
    if is_section(hint):
        return "table"
    return _PLAIN.get(hint, str(hint))
