"""What sites say today about the use of images that an open dataset stores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from frenchcat.verbs.base import DatasetVerbs

if TYPE_CHECKING:
    from frenchcat.curate.config import Overrides
    from frenchcat.curate.recheck import Rechecked
    from frenchcat.curate.removals import Request
    from frenchcat.curate.stage import Progress


class RecheckVerbs(DatasetVerbs):
    """Ask sites again, and remove what opted out since."""

    def recheck(
        self,
        *,
        limit: int | None = None,
        older_than_days: float = 30.0,
        images: bool = True,
        progress: Progress | None = None,
        set: Overrides = (),
        allow_hosts: Sequence[str] = (),
    ) -> Rechecked:
        """Ask sites again what they say about the use of stored images; what changed since.

        Rows that were asked within the last days are skipped, so the same call resumes. `limit`
        bounds the rows, `images` says whether the headers of each are asked for, too; `set` takes
        settings of download.fetch and download.rights. Raises `UserError` for a clock that is
        behind an earlier recheck.
        """
        from datetime import UTC, datetime

        from frenchcat.curate.recheck import recheck

        settings, _ = self._how("recheck", set=set, allow_hosts=allow_hosts)
        with self.dataset.lock():
            return recheck(
                self.dataset,
                settings.download,
                datetime.now(UTC),
                older_than_days=older_than_days,
                limit=limit,
                images=images,
                progress=self._metered(progress),
            )

    def remove_opted_out(self, agree: Callable[[int], bool] | None = None) -> Request | None:
        """Remove the rows that any recheck found opted out since their crawl.

        `agree` is called with their number; if it returns false, or there is none, nothing is
        removed and the result is None.
        """
        from collections import Counter

        from frenchcat.curate.recheck import opted_out_since
        from frenchcat.curate.remove import RemovalQuery, matches, remove

        with self.dataset.lock():
            found = opted_out_since(self.dataset)
            if not found or (agree is not None and not agree(len(found))):
                return None
            first, *others = found
            query = RemovalQuery("key", first, keys=tuple(others))
            counts = ", ".join(f"{name} {n}" for name, n in sorted(Counter(found.values()).items()))
            note = f"opted out since the crawl: {counts}"
            return remove(self.dataset, query, matches(self.dataset, query), note)
