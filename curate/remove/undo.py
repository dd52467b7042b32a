"""A removal request taken back, as long as `compact` has not taken its rows' bytes.

Writes one more file of the log, which names the request that does not count any more; nothing that
was logged changes. Rows are there again at once; verdicts, duplicates and an index that were made
meanwhile are brought up to date by the next `frenchcat build`, or by their own verbs.
"""

from __future__ import annotations

from datetime import UTC, datetime

from frenchcat.curate import files
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.errors import NotFound, UserError
from frenchcat.curate.keys import by_shard
from frenchcat.curate.parquets import read_parquet
from frenchcat.curate.removals import Request, check_clock, log, next_number, removed


def undo(dataset: Dataset, number: int, note: str = "") -> Request:
    """Log that request `number` does not count any more; gives that request. The lock is held.

    Raises `NotFound` for a number that the log lacks, `UserError` for a request that was undone
    before, is an undoing itself, or whose rows were compacted away, and where the clock is behind
    the log.
    """
    requests = {request.number: request for request in removed(dataset).requests}
    request = requests.get(number)
    if request is None:
        known = ", ".join(f"{n} (by {r.by}, {r.time})" for n, r in sorted(requests.items()))
        raise NotFound(f"{dataset.root} has no removal request {number}; there are: {known or '-'}")
    if request.undoes is not None:
        raise UserError(f"request {number} undoes {request.undoes}; remove its rows again instead")
    if any(other.undoes == number for other in requests.values()):
        raise UserError(f"request {number} is already undone; there is nothing to do")
    if gone := _compacted(dataset, request):
        raise UserError(
            f"request {number} cannot be undone: frenchcat compact took {len(gone)} of its rows "
            f"away ({gone[0]} first); to get them back, build their URLs into a new dataset"
        )
    now = datetime.now(UTC)
    check_clock(dataset, now)
    log(
        dataset,
        Request(
            number=next_number(dataset),
            by="undo",
            time=now.isoformat(timespec="seconds"),
            note=note,
            undoes=number,
        ),
    )
    return request


def _compacted(dataset: Dataset, request: Request) -> list[str]:
    """The request's keys that no sidecar has any more."""
    gone: set[str] = set()
    for shard, keys in by_shard(dataset, request.keys).items():
        there: set[str] = set()
        if dataset.exists(files.SIDECAR.of(shard)):
            with dataset.as_local(files.SIDECAR.of(shard)) as path:
                there = set(read_parquet(path, columns=["key"])["key"].to_pylist())
        gone |= set(keys) - there
    return sorted(gone)
