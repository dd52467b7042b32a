"""Sites asked again: which images have been opted out since they were crawled.

Reads the stored rows, their ledger (rights/) and the web; writes ``rechecks/{shard}.parquet``: the
ledger's columns of the newest answer, and `asked`, when that was by our clock. A site's files are
requested once, then each image's headers (HEAD), through the same polite and bounded fetch as the
images. No image is downloaded, so what files themselves say is not asked again.

A row is due if it was not asked within the last days; so an interrupted recheck resumes, and a
budget spreads one over many runs. Memory: a shard's rows. Cost: a request per image and up to three
per site; without `images`, those of the sites alone.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from frenchcat.curate import files
from frenchcat.curate.catalog import Catalog
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.download import DownloadSettings
from frenchcat.curate.download.fetch import Fetcher
from frenchcat.curate.download.fetched import Fetched
from frenchcat.curate.download.ledger import signals_of
from frenchcat.curate.download.rights.signal import OPT_OUT, Signal, date_of, opted_out
from frenchcat.curate.errors import UserError
from frenchcat.curate.failures import OPTED_OUT
from frenchcat.curate.parquets import read_parquet
from frenchcat.curate.removals import removed_keys
from frenchcat.curate.stage import Progress, Silent

ANSWER = "answer"
"""The signal that says whether there was an answer."""
ANSWERED = "answered"
NEW, WITHDRAWN, CHANGED, SAME, UNANSWERED = (
    "new_opt_out",
    "withdrawn",
    "changed",
    "same",
    "no_answer",
)
OUTCOMES = (NEW, WITHDRAWN, CHANGED, SAME, UNANSWERED)
"""What became of a row: opted out since; not any more; other words; the same; nobody answered."""
_OF_FILES = frozenset(
    ("xmp_data_mining", "xmp_tdm_reservation", "c2pa_training_mining", "cawg_training_mining")
)
"""Signals inside an image's file, which is not downloaded again."""
_MOST_DAYS = 36_500
_FIELDS = ("signal", "value", "where", "time", "decision")


@dataclass(frozen=True)
class RowChange:
    """A row of which something else is said than at the crawl."""

    key: str
    url: str
    outcome: str  # one of OUTCOMES but SAME and UNANSWERED
    signals: tuple[str, ...]  # that opt out now, or opted out before
    time: str | None  # of the answer, as the server dates it


@dataclass
class Rechecked:
    """What asking again came to."""

    asked: int = 0  # rows
    due: int = 0  # rows that are still to be asked
    outcomes: Counter[str] = field(default_factory=Counter)
    unanswered: Counter[str] = field(default_factory=Counter)  # by reason
    changes: list[RowChange] = field(default_factory=list)
    first: str | None = None  # the earliest and the latest answer
    last: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "asked": self.asked,
            "due": self.due,
            **{name: self.outcomes[name] for name in OUTCOMES},
            "unanswered": dict(self.unanswered.most_common()),
            "first": self.first,
            "last": self.last,
            "changes": [{**vars(one), "signals": list(one.signals)} for one in self.changes],
        }


def recheck(
    dataset: Dataset,
    settings: DownloadSettings,
    now: datetime,
    *,
    older_than_days: float = 30.0,
    limit: int | None = None,
    images: bool = True,
    progress: Progress | None = None,
) -> Rechecked:
    """Ask again about stored rows that were not asked in the last days; the lock is held.

    `limit` bounds the rows, `images` says whether their own headers are asked for, too. Raises
    `UserError` for a limit below 1, for a clock behind an earlier recheck, and as the catalog does.
    """
    if limit is not None and limit < 1:
        raise UserError(f"the limit is {limit}; give at least 1")
    if not 0 <= older_than_days <= _MOST_DAYS:
        raise UserError(
            f"--older-than is {older_than_days:g}; give a number of days, from 0 to {_MOST_DAYS}"
        )
    said, progress = Rechecked(), progress or Silent()
    cutoff = _text(now - timedelta(days=older_than_days))
    budget = limit
    shards = dataset.shards("download")
    progress.begin("recheck", len(shards))
    for shard, rows in _stored(dataset, shards):
        before = _table(dataset, files.RECHECKS.of(shard))
        asked = _asked(dataset, before, now)
        due = {key: url for key, url in rows.items() if asked.get(key, "") < cutoff}
        now_due = dict(list(due.items())[:budget])
        said.due += len(due) - len(now_due)
        if now_due:
            found = _ask(dataset, shard, now_due, before, settings, now, images, progress)
            _count(dataset, shard, rows, found, said)
            budget = None if budget is None else budget - len(found)
            said.due += len(now_due) - len(found)
        progress.shard_done(shard, {"asked": len(now_due)})
    progress.end()
    return said


def opted_out_since(dataset: Dataset) -> dict[str, str]:
    """Key -> signal, of the stored rows that newest answers opt out and their crawl did not."""
    found: dict[str, str] = {}
    for shard, rows in _stored(dataset, dataset.shards("download")):
        now = _by_key(_table(dataset, files.RECHECKS.of(shard)))
        then = _by_key(_table(dataset, files.RIGHTS.of(shard)))
        for key in rows.keys() & now.keys():
            said = opted_out(now[key])
            if said is not None and opted_out(then.get(key, [])) is None:
                found[key] = said.signal
    return dict(sorted(found.items()))


def _stored(dataset: Dataset, shards: Iterable[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """Each shard with key -> URL of its stored rows that are not removed and have a URL."""
    gone = removed_keys(dataset)
    with Catalog(dataset, joined=()) as catalog:
        for shard in shards:
            sql = f"SELECT key, url FROM ({catalog.of_shard(shard)}) ORDER BY key"
            rows = catalog.run(sql).to_pylist()
            yield shard, {r["key"]: r["url"] for r in rows if r["url"] and r["key"] not in gone}


def _asked(dataset: Dataset, before: list[dict[str, Any]], now: datetime) -> dict[str, str]:
    """Key -> when it was asked the last time."""
    asked = {row["key"]: row["asked"] for row in before if row["signal"] == ANSWER}
    if asked and (latest := max(asked.values())) > _text(now):
        raise UserError(
            f"this machine's clock says {_text(now)}, but rows of {dataset.root} were asked again "
            f"at {latest}; set the clock"
        )
    return asked


def _ask(
    dataset: Dataset,
    shard: str,
    due: Mapping[str, str],
    before: list[dict[str, Any]],
    settings: DownloadSettings,
    now: datetime,
    images: bool,
    progress: Progress,
) -> dict[str, Fetched]:
    """Ask about rows; what was answered is written even if this is interrupted."""
    found: dict[str, Fetched] = {}

    async def ask_all() -> None:
        async with Fetcher(settings.fetch, rights=settings.rights) as fetcher:
            room = asyncio.Semaphore(settings.fetch.connections)

            async def ask_one(key: str, url: str) -> None:
                async with room:
                    asking = fetcher.headers(url) if images else fetcher.site(url)
                    found[key] = await asking
                    progress.advance(1)

            async with asyncio.TaskGroup() as group:
                for key, url in due.items():
                    group.create_task(ask_one(key, url))

    try:
        asyncio.run(ask_all())
    finally:
        if found:
            _write(dataset, shard, before, due, found, settings, now)
    return found


def _write(
    dataset: Dataset,
    shard: str,
    before: list[dict[str, Any]],
    urls: Mapping[str, str],
    found: Mapping[str, Fetched],
    settings: DownloadSettings,
    now: datetime,
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [row for row in before if row["key"] not in found]
    for key, fetched in found.items():
        for signal in _answer(fetched, urls[key], settings):
            told = {name: getattr(signal, name) for name in _FIELDS}
            rows.append({"key": key, **told, "asked": _text(now)})
    rows.sort(key=lambda row: row["key"])
    schema = pa.schema([(name, pa.string()) for name in ("key", *_FIELDS, "asked")])
    with dataset.publish(f"recheck-{shard}") as publication:
        path = publication.path(files.RECHECKS.of(shard))
        pq.write_table(pa.Table.from_pylist(rows, schema), path, compression="zstd")


def _answer(fetched: Fetched, url: str, settings: DownloadSettings) -> list[Signal]:
    """Whether there was an answer, and what it said."""
    signals = signals_of(fetched, settings.rights)
    reason = ANSWERED if fetched.reason in (None, OPTED_OUT) else str(fetched.reason)
    dates = [date_of(hop.headers) for hop in fetched.hops] + [one.time for one in signals]
    time = max((date for date in dates if date), default=None)
    return [Signal(ANSWER, reason, url, time), *signals]


def _count(
    dataset: Dataset,
    shard: str,
    urls: Mapping[str, str],
    found: Iterable[str],
    said: Rechecked,
) -> None:
    """Compare the answers with the crawl's ledger."""
    now = _by_key(_table(dataset, files.RECHECKS.of(shard)))
    then = _by_key(_table(dataset, files.RIGHTS.of(shard)))
    for key in sorted(found):
        answer, *signals = now[key]
        old = then.get(key, [])
        outcome = _outcome(answer, old, signals)
        said.asked += 1
        said.outcomes[outcome] += 1
        if outcome == UNANSWERED:
            said.unanswered[answer.value] += 1
        elif outcome != SAME:
            who = signals if outcome == NEW else old
            opting = tuple(sorted({s.signal for s in who if s.decision == OPT_OUT}))
            said.changes.append(RowChange(key, urls[key], outcome, opting, answer.time))
        if answer.time is not None:
            said.first = min(said.first or answer.time, answer.time)
            said.last = max(said.last or answer.time, answer.time)


def _outcome(answer: Signal, old: list[Signal], now: list[Signal]) -> str:
    before = opted_out(old)
    if opted_out(now) is not None:
        if before is None:
            return NEW
    elif answer.value != ANSWERED:
        return UNANSWERED
    elif before is not None and not any(
        s.signal in _OF_FILES and s.decision == OPT_OUT for s in old
    ):
        return WITHDRAWN
    return SAME if _words(old) == _words(now) else CHANGED


def _words(signals: list[Signal]) -> set[tuple[str, str, str | None]]:
    """What sites and headers say, without dates; what is in files or lists was not asked again."""
    return {
        (one.signal, one.value, one.decision)
        for one in signals
        if one.where.startswith(("http://", "https://"))
    }


def _table(dataset: Dataset, relative: str) -> list[dict[str, Any]]:
    if not dataset.exists(relative):
        return []
    with dataset.as_local(relative) as path:
        rows: list[dict[str, Any]] = read_parquet(path).to_pylist()
    return rows


def _by_key(rows: list[dict[str, Any]]) -> dict[str, list[Signal]]:
    found: dict[str, list[Signal]] = {}
    for row in rows:
        signal = Signal(
            row["signal"], row["value"], row.get("where") or "", row.get("time"), row["decision"]
        )
        found.setdefault(row["key"], []).append(signal)
    return found


def _text(time: datetime) -> str:
    return time.isoformat(timespec="microseconds").replace("+00:00", "Z")
