"""Typed, strict settings: TOML files -> frozen pydantic dataclasses that forbid unknown keys.

A settings class is a `@settings` dataclass, nested ones included. `load_settings` merges, later
wins: the class's defaults, a TOML file (a path, or a preset's name from configs/), overrides
``a.b=value`` as the command line gives them.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from pydantic import AfterValidator, ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as pydantic_dataclass

from frenchcat.curate.errors import UserError

PRESETS = Path(__file__).resolve().parent.parent / "configs"
STRICT = ConfigDict(extra="forbid", arbitrary_types_allowed=False)

S = TypeVar("S")

settings = pydantic_dataclass(frozen=True, kw_only=True, config=STRICT)
"""Decorator: a frozen dataclass, validated, keyword-only, without unknown keys."""


def known(what: str, names: Iterable[str]) -> AfterValidator:
    """For an annotation: a text that has to be one of `names`, which a table elsewhere holds."""
    there = tuple(names)

    def check(name: str) -> str:
        if name not in there:
            raise ValueError(f"there is no {what} of that name; known: {', '.join(there)}")
        return name

    return AfterValidator(check)


def load_settings(cls: type[S], file: str | Path | None = None, overrides: Iterable[str] = ()) -> S:
    """The settings of class `cls`. Raises `UserError` naming file, key and nearest."""
    values: dict[str, Any] = {}
    origin = "the settings"
    if file is not None:
        path = preset_path(file)
        origin = str(file)
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise UserError(f"{file} is not TOML: {error}") from None
    return resolve(cls, merged(values, overrides), origin)


def resolve(cls: type[S], values: Mapping[str, Any], origin: str = "the settings") -> S:
    """Check a plain mapping against a settings class. Raises `UserError` for what does not fit."""
    try:
        return TypeAdapter(cls).validate_python(dict(values))
    except ValidationError as error:
        raise UserError(_explain(cls, error, origin)) from None


def changed(value: S, **fields: Any) -> S:
    """A copy of settings with some fields changed."""
    return dataclasses.replace(value, **fields)  # type: ignore[type-var]


def as_dict(value: Any) -> dict[str, Any]:
    """Settings as a JSON-able mapping, every field present."""
    dumped = TypeAdapter(type(value)).dump_python(value, mode="json")
    assert isinstance(dumped, dict)
    return dumped


def preset_path(file: str | Path) -> Path:
    """A settings file by its path, or by its preset's name (``vit-b-32``).

    Raises `UserError` where neither is there, with the presets that are.
    """
    path = Path(file)
    if path.is_file():
        return path
    preset = PRESETS / f"{path.name.removesuffix('.toml')}.toml"
    if preset.is_file() and path.parent in (Path("."), Path("configs")):
        return preset
    known = sorted(found.stem for found in PRESETS.glob("*.toml"))
    raise UserError(f"no settings file {file}; presets are: {', '.join(known)}")


Overrides = Mapping[str, Any] | Iterable[str]
"""``{"clip.model": "ViT-B-32"}``, or ``["clip.model=ViT-B-32"]`` as the command line has it."""


def as_overrides(given: Overrides) -> list[str]:
    """Overrides as the command line has them: ``a.b=value``, the value in TOML's form."""
    if not isinstance(given, Mapping):
        return [given] if isinstance(given, str) else list(given)
    plain = {name: list(v) if isinstance(v, tuple) else v for name, v in given.items()}
    return [f"{name}={json.dumps(value)}" for name, value in plain.items()]


def merged(values: dict[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """A plain mapping with overrides ``a.b=value`` put into it, in place."""
    for override in overrides:
        _override(values, override)
    return values


def _override(values: dict[str, Any], override: str) -> None:
    name, equals, text = override.partition("=")
    if not equals or not name.strip():
        raise UserError(f"--set {override!r} is not of the form section.setting=value")
    *parents, last = name.strip().split(".")
    for parent in parents:
        values = values.setdefault(parent, {})
        if not isinstance(values, dict):
            raise UserError(f"--set {override!r}: {parent} is a setting, not a section")
    try:
        values[last] = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        values[last] = text  # a bare word: --set clip.model=ViT-B-32


def _explain(cls: type[Any], error: ValidationError, origin: str) -> str:
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    if first["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        return f"{origin}: unknown setting {place!r}{_nearest(cls, first['loc'])}"
    return f"{origin}: {place} = {first.get('input')!r}: {first['msg'].lower()}"


def _nearest(cls: Any, location: tuple[int | str, ...]) -> str:
    for part in location[:-1]:
        cls = get_type_hints(cls).get(str(part), cls)
    if not dataclasses.is_dataclass(cls):
        return ""
    known = [field.name for field in dataclasses.fields(cls)]
    near = difflib.get_close_matches(str(location[-1]), known, n=1, cutoff=0.5)
    if near:
        prefix = ".".join(str(part) for part in location[:-1])
        return f"; did you mean {f'{prefix}.' if prefix else ''}{near[0]}?"
    return f"; known here: {', '.join(known)}"
