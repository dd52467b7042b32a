"""Decisions by hand: rows that somebody keeps or drops, whatever the rules of the verdicts say.

``decisions/000001.json``, one file per decision, with its rows, its time and a note. If several
decisions concern a row, the last one that is not undone counts. A file is never changed, except
that the keys of removed rows leave it when the dataset is compacted. The verdicts read the log
(verdict/stage.py), so search, new selections and exports follow.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from frenchcat.curate import sidecar
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.errors import NotFound, UserError
from frenchcat.curate.keys import by_shard
from frenchcat.curate.removals import removed_keys

FOLDER = "decisions"
BY_HAND = "by_hand"
"""The reason of rows that somebody dropped; no rule can have this name."""


@dataclass(frozen=True)
class Decision:
    """One decision, as it is logged."""

    number: int
    keep: bool | None  # None: it undoes another one
    keys: tuple[str, ...]
    time: str  # ISO 8601, UTC, when it was made
    note: str = ""
    undoes: int | None = None


def decisions(dataset: Dataset) -> list[Decision]:
    """All that were made, in their order."""
    return _read(dataset, _names(dataset))


def undone(made: Iterable[Decision]) -> set[int]:
    """The numbers of those that do not count any more."""
    return {one.undoes for one in made if one.undoes is not None}


def decided(dataset: Dataset) -> dict[str, bool]:
    """Key -> whether it is kept, of the rows about which somebody has decided.

    Without removed rows, whether or not the log was compacted since. Quick, as it is asked of each
    shard: the log is cached by the names of its files.
    """
    gone = removed_keys(dataset)
    return {key: keep for key, keep in _counted(dataset, _names(dataset)) if key not in gone}


@lru_cache(64)
def _counted(dataset: Dataset, names: tuple[str, ...]) -> tuple[tuple[str, bool], ...]:
    # But for removed rows, which are left out above, a file is never changed: its name says all.
    made = _read(dataset, names)
    gone = undone(made)
    found: dict[str, bool] = {}
    for one in made:
        if one.keep is not None and one.number not in gone:
            found |= dict.fromkeys(one.keys, one.keep)
    return tuple(found.items())


def decided_by_shard(dataset: Dataset) -> dict[str, dict[str, bool]]:
    """The same by shard."""
    found = decided(dataset)
    return {
        shard: {key: found[key] for key in sorted(keys)}
        for shard, keys in by_shard(dataset, found).items()
    }


def decide(dataset: Dataset, keep: bool, keys: Collection[str], note: str = "") -> Decision:
    """Log that rows are kept, or dropped; the lock is held.

    Raises `UserError` without a key, `NotFound` for one that is not a stored image's.
    """
    wanted = sorted(set(keys))
    if not wanted:
        raise UserError("no row is named; give the keys of some")
    _check_stored(dataset, wanted)
    return _log(dataset, keep, tuple(wanted), note)


def named(
    keys: str | Iterable[str], where: str | None, matching: Callable[[str], list[str]]
) -> list[str]:
    """The rows that are named by their keys or by a condition; `matching` gives those of one.

    Raises `UserError` for both, and for a condition that no row meets.
    """
    listed = [keys] if isinstance(keys, str) else list(keys)
    if where is None:
        return listed
    if listed:
        raise UserError("rows are named by keys or by a condition; give one of them")
    if not (found := matching(where)):
        raise UserError(f"no row meets {where!r}; nothing was decided")
    return found


def undo(dataset: Dataset, number: int, note: str = "") -> Decision:
    """Log that a decision does not count any more; gives that decision. The lock is held.

    Raises `NotFound` for a number that the log lacks, `UserError` for one that was undone before,
    or undoes another one.
    """
    made = {one.number: one for one in decisions(dataset)}
    found = made.get(number)
    if found is None:
        known = ", ".join(map(str, made)) or "none"
        raise NotFound(f"{dataset.root} has no decision {number}; there are: {known}")
    if found.undoes is not None:
        raise UserError(f"decision {number} undoes {found.undoes}; decide anew instead")
    if number in undone(made.values()):
        raise UserError(f"decision {number} is undone already; there is nothing to do")
    _log(dataset, None, (), note, number)
    return found


def forget_removed(dataset: Dataset) -> None:
    """Take the keys of removed rows out of the log; the lock is held."""
    gone = removed_keys(dataset)
    for one in decisions(dataset):
        left = tuple(key for key in one.keys if key not in gone)
        if left != one.keys:
            _write(dataset, Decision(**{**asdict(one), "keys": left}))


def _check_stored(dataset: Dataset, keys: Collection[str]) -> None:
    gone = removed_keys(dataset)
    there = set(dataset.shards("download"))
    for shard, wanted in by_shard(dataset, keys).items():
        stored: set[str] = set()
        if shard in there:
            table = sidecar.read(dataset, shard, ["key"])
            rows = zip(table["key"].to_pylist(), table["status"].to_pylist(), strict=True)
            stored = {key for key, status in rows if status == "success"}
        if missing := sorted(wanted - (stored - gone)):
            raise NotFound(f"{dataset.root} holds no image of {missing[0]!r}; nothing was decided")


def _log(
    dataset: Dataset, keep: bool | None, keys: tuple[str, ...], note: str, undoes: int | None = None
) -> Decision:
    number = max((one.number for one in decisions(dataset)), default=0) + 1
    time = datetime.now(UTC).isoformat(timespec="seconds")
    made = Decision(number, keep, keys, time, note, undoes)
    _write(dataset, made)
    return made


def _names(dataset: Dataset) -> tuple[str, ...]:
    return tuple(sorted(name for name in dataset.files(FOLDER) if name.endswith(".json")))


def _read(dataset: Dataset, names: Iterable[str]) -> list[Decision]:
    return [_parsed(dataset.read_json(f"{FOLDER}/{name}")) for name in names]


def _write(dataset: Dataset, one: Decision) -> None:
    dataset.write_json(f"{FOLDER}/{one.number:06d}.json", asdict(one))


def _parsed(value: dict[str, Any]) -> Decision:
    return Decision(**{**value, "keys": tuple(value["keys"])})
