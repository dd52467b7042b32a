"""Typed, strict settings: TOML files -> frozen pydantic dataclasses that forbid unknown keys.

A settings class is a `@settings` dataclass, nested ones included. Layers are laid over each other,
later wins: the class's defaults, what a dataset remembers, a TOML file (a path, or a preset's name
from configs/), overrides ``a.b=value`` as the command line gives them. A layer changes only the
settings that it names; a setting that is a table (`verdict.rules`) is one setting in a file, and an
override changes one entry of it. What is wrong is said with the layer that says it.
"""

from __future__ import annotations

import copy
import dataclasses
import difflib
import json
import math
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar, get_type_hints

from pydantic import AfterValidator, ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as pydantic_dataclass

from frenchcat.curate.errors import UserError

PRESETS = Path(__file__).resolve().parent.parent / "configs"
STRICT = ConfigDict(extra="forbid", arbitrary_types_allowed=False)
SET = "--set"
NOTHING = "none"
"""As an override's value: no value, for a setting that may have none. An empty one: the default."""

S = TypeVar("S")

settings = pydantic_dataclass(frozen=True, kw_only=True, config=STRICT)
"""Decorator: a frozen dataclass, validated, keyword-only, without unknown keys."""


@dataclasses.dataclass(frozen=True)
class Layer:
    """Settings of one origin: a file, a dataset, an override."""

    origin: str
    values: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Resolved(Generic[S]):
    """Settings, and the origin of each that some layer names; the others are defaults."""

    value: S
    origins: Mapping[str, str]


def known(what: str, names: Iterable[str]) -> AfterValidator:
    """For an annotation: a text that has to be one of `names`, which a table elsewhere holds."""
    there = tuple(names)

    def check(name: str) -> str:
        if name not in there:
            raise ValueError(f"there is no {what} of that name; known: {', '.join(there)}")
        return name

    return AfterValidator(check)


def load_settings(cls: type[S], file: str | Path | None = None, overrides: Overrides = ()) -> S:
    """The settings of class `cls`. Raises `UserError` naming file, key and nearest."""
    layers = [] if file is None else [read_layer(file)]
    return layered(cls, layers, overrides).value


def read_layer(file: str | Path) -> Layer:
    """What a settings file or preset names. Raises `UserError` where it is missing or not TOML."""
    path = preset_path(file)
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{file} is not TOML: {error}") from None
    preset = path.parent == PRESETS and Path(file) != path
    return Layer(f"preset {path.stem}" if preset else str(file), values)


def layered(cls: type[S], layers: Sequence[Layer] = (), overrides: Overrides = ()) -> Resolved[S]:
    """The settings of layers, later wins, and overrides over them all.

    Raises `UserError` that names the layer which says what does not fit.
    """
    given = as_overrides(overrides)
    values: dict[str, Any] = {}
    for layer in layers:
        _lay_over(cls, values, layer.values)
    over = [Layer(f"{SET} {one}", merged({}, [one])) for one in given]
    for one in given:
        _override(values, one, cls)
    said = [*layers, *over]
    try:
        value = TypeAdapter(cls).validate_python(values)
    except ValidationError as error:
        raise UserError(_explain(cls, error, said)) from None
    origins: dict[str, str] = {}
    for layer in said:
        origin = SET if layer.origin.startswith(f"{SET} ") else layer.origin
        origins |= dict.fromkeys(named(cls, layer.values), origin)
    return Resolved(value, origins)


def resolve(cls: type[S], values: Mapping[str, Any], origin: str = "the settings") -> S:
    """Check a plain mapping against a settings class. Raises `UserError` for what does not fit."""
    return layered(cls, [Layer(origin, values)]).value


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

    Raises `UserError` for a folder and where neither is there, with the presets that are.
    """
    path = Path(file)
    if path.exists() and not path.is_dir():  # a pipe is a file, too
        return path
    preset = PRESETS / f"{path.name.removesuffix('.toml')}.toml"
    if preset.is_file() and path.parent in (Path("."), Path("configs")):
        return preset
    known = ", ".join(sorted(found.stem for found in PRESETS.glob("*.toml")))
    if path.is_dir():
        raise UserError(f"{file} is a folder; name a settings file in TOML, or a preset: {known}")
    raise UserError(f"no settings file {file}; presets are: {known}")


# -- by name -------------------------------------------------------------------------------------


def fields_of(cls: type[Any]) -> Mapping[str, Any]:
    """Field -> its type, of a settings class; a section's type is a settings class, too."""
    return {name: hint for name, hint in get_type_hints(cls).items() if name in _fields(cls)}


def is_section(kind: Any) -> bool:
    """Whether a field of this type is a section, whose settings have names of their own."""
    return isinstance(kind, type) and dataclasses.is_dataclass(kind)


def named(cls: type[Any], values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Full name -> value of the settings that a mapping names: ``{"clip.model": "mini"}``."""
    found: dict[str, Any] = {}
    kinds = fields_of(cls)
    for name, value in values.items():
        if is_section(kinds.get(name)) and isinstance(value, Mapping):
            found |= named(kinds[name], value, f"{prefix}{name}.")
        else:
            found[prefix + name] = value
    return found


def differences(
    cls: type[Any], before: Mapping[str, Any], after: Mapping[str, Any], prefix: str = ""
) -> dict[str, tuple[Any, Any]]:
    """Full name -> (old, new) of the settings in which two whole mappings differ."""
    old, new = named(cls, before, prefix), named(cls, after, prefix)
    return {name: (old.get(name), new[name]) for name in new if old.get(name) != new[name]}


def shown(value: Any) -> str:
    """A value as an override writes it: `none`, `true`, ``128``, a bare text, ``["a", "b"]``."""
    return NOTHING if value is None else value if isinstance(value, str) else _toml(value)


def _fields(cls: type[Any]) -> set[str]:
    return {field.name for field in dataclasses.fields(cls)}


def _lay_over(cls: type[Any], values: dict[str, Any], over: Mapping[str, Any]) -> None:
    """Put a layer's values over others, in place; sections join, all else is replaced."""
    kinds = fields_of(cls)
    for name, value in over.items():
        kind = kinds.get(name)
        if kind is None or not is_section(kind) or not isinstance(value, Mapping):
            values[name] = copy.deepcopy(value)
            continue
        if not isinstance(values.get(name), dict):
            values[name] = {}
        _lay_over(kind, values[name], value)


# -- overrides -----------------------------------------------------------------------------------

Overrides = Mapping[str, Any] | Iterable[str]
"""``{"clip.model": "ViT-B-32"}``, or ``["clip.model=ViT-B-32"]`` as the command line has it."""


def as_overrides(given: Overrides) -> list[str]:
    """Overrides as the command line has them: ``a.b=value``, the value in TOML's form."""
    if not isinstance(given, Mapping):
        return [given] if isinstance(given, str) else list(given)
    return [f"{name}={NOTHING if v is None else _toml(v)}" for name, v in given.items()]


def merged(values: dict[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """A plain mapping with overrides ``a.b=value`` put into it, in place."""
    for override in overrides:
        _override(values, override)
    return values


def _override(values: dict[str, Any], override: str, cls: type[Any] | None = None) -> None:
    name, equals, text = override.partition("=")
    if not equals or not name.strip():
        raise UserError(f"{SET} {override!r} is not of the form section.setting=value")
    *parents, last = name.strip().split(".")
    for parent in parents:
        values = values.setdefault(parent, {})
        if not isinstance(values, dict):
            raise UserError(f"{SET} {override!r}: {parent} is a setting, not a section")
    if not text.strip() and cls is not None:
        values.pop(last, None)
        return
    values[last] = _value(text)


def _value(text: str) -> Any:
    if text.strip() == NOTHING:
        return None
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text  # a bare word: --set clip.model=ViT-B-32


def _toml(value: Any) -> str:
    """A plain value in TOML's form."""
    if isinstance(value, Mapping):
        entries = (f"{json.dumps(str(name))} = {_toml(one)}" for name, one in value.items())
        return "{" + ", ".join(entries) + "}"
    if isinstance(value, list | tuple | set | frozenset):
        return "[" + ", ".join(_toml(one) for one in value) + "]"
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    # TOML's escapes are JSON's but for surrogate pairs, so characters stay as they are; TOML wants
    # the one control character escaped that JSON does not.
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")


# -- what is wrong -------------------------------------------------------------------------------


def _explain(cls: type[Any], error: ValidationError, layers: Sequence[Layer]) -> str:
    first = error.errors()[0]
    origin = _origin_of(first["loc"], layers)
    place = ".".join(str(part) for part in first["loc"])
    if first["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        return f"{origin}: unknown setting {place!r}{_nearest(cls, first['loc'])}"
    return f"{origin}: {place} = {first.get('input')!r}: {first['msg'].lower()}"


def _origin_of(location: tuple[int | str, ...], layers: Sequence[Layer]) -> str:
    """The last layer that says something at the place of an error, or as near above it as any."""
    for depth in range(len(location), 0, -1):
        for layer in reversed(layers):
            if _has(layer.values, location[:depth]):
                return layer.origin
    return layers[-1].origin if layers else "the settings"


def _has(values: Any, location: Iterable[int | str]) -> bool:
    for part in location:
        listed = isinstance(values, list | tuple) and isinstance(part, int) and part < len(values)
        if not listed and not (isinstance(values, Mapping) and part in values):
            return False
        values = values[part]
    return True


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
