"""All that is said about one row -> the decision, and a shard's ``rights/00000.parquet``.

Reads what the fetch brought (headers of every hop, the sites' files, the original bytes) and the
list's own columns; writes one row per signal: key, signal, value, where, time, decision. Only rows
that were stored or opted out have signals. The first of OPT_OUTS that says so opts a row out.
Nothing that allows outweighs it, with one exception: a tdm-reservation header overrides the site's
tdmrep.json (TDMRep 1.0).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from frenchcat.curate import files
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.download.fetched import Fetched
from frenchcat.curate.download.rights.headers import header_signals
from frenchcat.curate.download.rights.metadata import metadata_signals
from frenchcat.curate.download.rights.provenance import Manifests
from frenchcat.curate.download.rights.settings import RightsSettings
from frenchcat.curate.download.rights.signal import FACT, Signal, date_of, opted_out, shortened
from frenchcat.curate.failures import OPTED_OUT, Failure
from frenchcat.curate.licence import LICENCE_COLUMNS
from frenchcat.curate.parquets import read_parquet
from frenchcat.curate.stage import Output

if TYPE_CHECKING:
    import pyarrow as pa

LIST_COLUMNS = {
    **dict.fromkeys(LICENCE_COLUMNS, "license"),
    "copyright": "copyright",
    "rights": "copyright",
    "creator": "creator",
    "author": "creator",
    "credit": "credit",
    "attribution": "credit",
}
"""Columns of URL lists (any case) that say something about rights."""
_SHOWN_CHARS = 200  # of a signal's value in the sidecar; the ledger has all of it
_FIELDS = ("signal", "value", "where", "time", "decision")


def relative(shard: str) -> str:
    """The path of a shard's signals."""
    return files.RIGHTS.of(shard)


def signals_of(
    fetched: Fetched, settings: RightsSettings, listed: Mapping[str, Any] | None = None
) -> list[Signal]:
    """Every signal about one fetched row, each once. Never raises."""
    found = _outweighed([signal for _, said in fetched.said for signal in said], fetched, settings)
    found += header_signals(fetched.hops, settings.agents)
    if fetched.body is not None:
        time = date_of(fetched.hops[-1].headers) if fetched.hops else None
        found += metadata_signals(fetched.body, time)
        manifests = Manifests(fetched.body, fetched.format or "", time)
        found += manifests.uses() + manifests.facts()
    found += _of_list(listed or {})
    return list(dict.fromkeys(found))


def _outweighed(said: list[Signal], fetched: Fetched, settings: RightsSettings) -> list[Signal]:
    """The sites' signals; those of tdmrep.json decide nothing if every header did."""
    asked = {url for url, _ in fetched.said}
    headers = header_signals(fetched.hops, settings.agents)
    spoke = {s.where for s in headers if s.signal == "tdm_reservation" and s.decision is not None}
    if not asked or not asked <= spoke:
        return said
    return [replace(s, decision=FACT) if s.signal == "tdmrep" else s for s in said]


def _of_list(listed: Mapping[str, Any]) -> Iterable[Signal]:
    for column, value in listed.items():
        name = LIST_COLUMNS.get(column.lower())
        if name is not None and isinstance(value, str) and value.strip():
            yield Signal(name, shortened(value), f"list:{column}")


class Ledger:
    """The signals of a shard's rows, collected while they are fetched; used from many threads."""

    def __init__(self, settings: RightsSettings, rows: pa.Table) -> None:
        """Take the shard's frozen rows, for what the list itself says."""
        self._settings = settings
        self._listed: list[dict[str, Any]] = rows.to_pylist()
        self._signals: dict[int, list[Signal]] = {}

    def judge(self, row: int, fetched: Fetched) -> Failure | None:
        """Record what is said about a row; returns why not to store it, None if it may be
        stored.
        """
        signals = signals_of(fetched, self._settings, self._listed[row])
        self._signals[row] = signals
        said = opted_out(signals)
        if said is None or self._settings.policy != "respect":
            return None
        return Failure(OPTED_OUT, said.signal, said.value[:_SHOWN_CHARS])

    def forget(self, row: int) -> None:
        """Drop a row's signals: it was neither stored nor opted out."""
        self._signals.pop(row, None)

    def restore(self, dataset: Dataset, shard: str, rows: Iterable[int], keys: list[str]) -> None:
        """Keep the present signals of rows that are not requested again."""
        if not dataset.exists(relative(shard)):
            return
        wanted = {keys[row]: row for row in rows}
        with dataset.as_local(relative(shard)) as path:
            for entry in read_parquet(path).to_pylist():
                row = wanted.get(entry.pop("key"))
                if row is not None:
                    self._signals.setdefault(row, []).append(Signal(**entry))

    def write(self, output: Output, shard: str, keys: Sequence[str]) -> None:
        """Write the shard's file, in key order, then in the order in which they were read."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        entries = [(keys[row], s) for row in sorted(self._signals) for s in self._signals[row]]
        columns: dict[str, list[str | None]] = {"key": [key for key, _ in entries]}
        for name in _FIELDS:
            columns[name] = [getattr(signal, name) for _, signal in entries]
        schema = pa.schema([(name, pa.string()) for name in columns])
        path = output.path(relative(shard))
        pq.write_table(pa.table(columns, schema), path, compression="zstd")
