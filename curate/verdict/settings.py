"""Settings of the verdicts: named rules, each a condition that drops a row. Imports nothing heavy.

In TOML, in the order in which they are tried::

    [verdict]
    preset = "datacomp-basic"      # the rules of configs/datacomp-basic.toml come first

    [verdict.rules]
    too_small = "least(original_width, original_height) < 200"
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from frenchcat.curate.config import preset_path, resolve, settings
from frenchcat.curate.decisions import BY_HAND
from frenchcat.curate.errors import UserError
from frenchcat.curate.licence import licence_condition

REMOVED = "removed"
"""The reason of rows that a removal request names; no rule can have this name."""
LICENCE = "licence"
"""The rule that the setting `licences` makes."""
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")


def _condition(value: Any) -> Any:
    # `--set verdict.rules.small=false` and TOML's false are meant as SQL's.
    return str(value).lower() if isinstance(value, bool) else value


@settings
class VerdictSettings:
    """What is dropped. By default nothing: what to leave out is the user's to say."""

    preset: str | None = None
    """A settings file whose verdict.rules are tried first; datacomp-basic, laion-5b, re-laion."""
    rules: dict[str, Annotated[str, BeforeValidator(_condition)]] = Field(default_factory=dict)
    """Name -> SQL condition over the catalog that drops a row. One of a preset's names takes that
    rule's place; `false` switches it off."""
    licences: tuple[str, ...] = ()
    """Keep only rows that state one of these licences: "CC BY" (every version), "CC BY-SA 4.0",
    CC0-1.0, an SPDX identifier. Rows that state none are dropped, too. The rule's name is
    `licence`, and it is tried last."""
    order: tuple[str, ...] = ()
    """The names of `rules` in the order in which they are tried; what it leaves out follows."""

    def __post_init__(self) -> None:
        for name in self.rules:
            if not _NAME.fullmatch(name) or name.lower() in (REMOVED, BY_HAND):
                raise ValueError(f"{name!r} names no rule; use letters, digits and _")
        if self.licences and LICENCE in self.rules:
            raise ValueError(f"{LICENCE!r} is the rule of `licences`; give yours another name")
        if unknown := [name for name in self.order if name not in self.rules]:
            raise ValueError(f"order names {unknown[0]!r}, which is not a rule")
        # JSON keeps no order of names: dataset.json keeps this one.
        rest = [name for name in self.rules if name not in self.order]
        object.__setattr__(self, "order", tuple(dict.fromkeys((*self.order, *rest))))


def rules_of(settings: VerdictSettings) -> dict[str, str]:
    """Name -> condition, in the order in which they are tried; the preset's first.

    Raises `UserError` where the preset is missing or has no rules, and for an empty licence.
    """
    first = {} if settings.preset is None else read_rules(settings.preset)
    last = {LICENCE: f"NOT {licence_condition(settings.licences)}"} if settings.licences else {}
    return first | {name: settings.rules[name] for name in settings.order} | last


def read_rules(file: str | Path) -> dict[str, str]:
    """The rules of a TOML file: its [verdict.rules], or all of a file that has names alone.

    Raises `UserError` where the file is missing, is not TOML or has no rules.
    """
    try:
        values = tomllib.loads(preset_path(file).read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{file} is not TOML: {error}") from None
    section = values.get("verdict")
    found = section.get("rules") if isinstance(section, Mapping) else values
    if not found or not _are_rules(found):
        raise UserError(
            f'{file} has no rules; write them as name = "condition", alone or in [verdict.rules]'
        )
    return resolve(VerdictSettings, {"rules": dict(found)}, str(file)).rules


def _are_rules(found: Any) -> bool:
    return isinstance(found, Mapping) and all(isinstance(sql, str | bool) for sql in found.values())
