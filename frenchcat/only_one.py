"""Arguments of which exactly one may be given."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from frenchcat.curate.errors import UserError


def only_one(
    given: Mapping[str, str | Path | None], wanted: str, names: Collection[str], prefix: str = ""
) -> tuple[str, str | Path]:
    """The name and the value of the one that is given, out of `names`.

    Raises `UserError` for none, for several and for another one; it says what is wanted, and lists
    the names with `prefix` before each.
    """
    found = [(name, value) for name, value in given.items() if value is not None]
    if len(found) != 1 or found[0][0] not in names:
        raise UserError(f"{wanted} with one of {', '.join(prefix + name for name in names)}")
    return found[0]
