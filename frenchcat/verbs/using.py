"""Where the rows of an image were used, and the signed statement about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from frenchcat.only_one import only_one
from frenchcat.verbs.removing import RemovalVerbs

if TYPE_CHECKING:
    from frenchcat.curate.removals import Request
    from frenchcat.train.credentials import Credentials
    from frenchcat.used import Uses


class UseVerbs(RemovalVerbs):
    """Find out whether an image was used, remove it, and say so."""

    def used(
        self,
        *,
        near: bool = False,
        runs: Sequence[Path] | None = None,
        checkpoint: str | None = None,
        **what: str | Path,
    ) -> Uses:
        """In which selections, training steps and checkpoints the rows of an image are.

        Takes one of url, domain, sha256, uid, key, like, creator. `runs` are folders of training
        runs; None: those beside the dataset. `checkpoint` names one of theirs. Raises `NotFound`
        for a folder that is not a run, and for a run without that checkpoint.
        """
        return self._used(what, near, runs, checkpoint)

    def _used(
        self,
        what: Mapping[str, str | Path],
        near: bool,
        runs: Sequence[Path] | None,
        checkpoint: str | None = None,
    ) -> Uses:
        from frenchcat.curate.remove import KINDS
        from frenchcat.used import by_creator, uses_of

        by, value = only_one(what, "say what to look for", (*KINDS, "creator"))
        if by == "creator":
            found = by_creator(self.dataset, str(value))
        else:
            found = self.matches(near=near, **what)
        return uses_of(self.dataset, (by, str(value)), found, runs, checkpoint)

    def remove_used(
        self,
        *,
        near: bool = False,
        runs: Sequence[Path] | None = None,
        note: str = "",
        agree: Callable[[Uses], bool] | None = None,
        **what: str | Path,
    ) -> tuple[Uses, Request | None]:
        """What `used` finds, and the request by which its rows were removed.

        `agree` is called with what was found; if it returns false, nothing is removed and the
        request is None. Raises `UserError` for a creator whom no row names.
        """
        from frenchcat.curate.remove import remove
        from frenchcat.used import removal_of

        with self.dataset.lock():
            found = self._used(what, near, runs)
            if agree is not None and not agree(found):
                return found, None
            return found, remove(self.dataset, removal_of(found, near), found.matches, note)

    def write_statement(
        self,
        uses: Uses,
        folder: str | Path,
        removal: Request | None = None,
        credentials: Credentials | None = None,
    ) -> Path:
        """Write a signed statement of what was found and done into a new or empty folder.

        `credentials` default to the user's self-issued key. Raises `UserError` if the clock is
        outside the certificate's validity, or behind the log of removals.
        """
        from datetime import UTC, datetime

        from frenchcat.statement import statement_of, write_statement
        from frenchcat.train.credentials import own_credentials

        value = statement_of(self.dataset, uses, removal, datetime.now(UTC))
        write_statement(value, Path(folder), credentials or own_credentials())
        return Path(folder)
