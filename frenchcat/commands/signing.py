"""What the verbs that sign share: a key and its certificates, given or not."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from frenchcat.curate.errors import UserError

if TYPE_CHECKING:
    from frenchcat.train.credentials import Credentials


def credentials_of(key: Path | None, certificates: Path | None, option: str) -> Credentials | None:
    """The credentials in two files; None where none is given. Raises `UserError` for one alone."""
    if key is None and certificates is None:
        return None
    if key is None or certificates is None:
        raise UserError(f"{option} and --certificates go together; give both, or neither")
    from frenchcat.train.credentials import read_credentials

    return read_credentials(key, certificates)
