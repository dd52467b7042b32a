"""The view `outcomes`: what became of every row of the list, one row each.

Reads the catalog's views, writes nothing. Adds to a catalog::

    outcomes   key, shard, url, caption, host, outcome, reason, signal
    domains_of_hosts   host, domain

`outcome` is one of OUTCOMES, so their counts sum to the rows of the list; `reason` says why for
the lost ones: the failure's name, ``opted_out:<signal>``, or the rule that dropped the row;
`signal` is that of an opted-out row. A host is the one that `urls.host_of` reads, in SQL for plain
URLs. Memory grows with the number of hosts and of other URLs, not with the number of rows.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from frenchcat.curate import files
from frenchcat.curate.catalog import Catalog
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.failures import NAME_SQL, OPTED_OUT, REASON, SIGNAL
from frenchcat.curate.sql_text import exactly, literal
from frenchcat.curate.urls import PLAIN_URL, domain_of_host, host_of

OUTCOMES = ("failed", "opted_out", "removed", "dropped", "stored", "kept")
"""`stored` are images that no verdict speaks of: none was made, or not of their shard."""
REMOVED = "removed"
NOT_EMBEDDED = "not_embedded"
"""How the reason of a row without a vector begins; it comes before all rules."""

_FAILED = "rows.status IS DISTINCT FROM 'success'"


def open_outcomes(dataset: Dataset, spill: Path | None = None) -> Catalog:
    """The catalog with the view `outcomes`; `spill` is the catalog's.

    Raises `UserError` where nothing was downloaded.
    """
    catalog = Catalog(dataset, spill=spill)
    try:
        _add_view(catalog)
        _add_domains(catalog)
    except BaseException:
        catalog.duck.close()
        raise
    return catalog


def rows_of(catalog: Catalog, sql: str, parameters: list[Any] | None = None) -> list[Any]:
    """The rows of an aggregate of ours, as tuples."""
    found: list[Any] = catalog.duck.execute(sql, parameters).fetchall()
    return found


def views(catalog: Catalog) -> set[str]:
    """The names of the views that there are: a stage that was not run has none."""
    found = rows_of(catalog, "SELECT view_name FROM duckdb_views() WHERE NOT internal")
    return {row[0] for row in found}


def columns_of(catalog: Catalog, view: str) -> dict[str, str]:
    """Name -> DuckDB type of a view's columns; empty where there is no such view."""
    if view not in views(catalog):
        return {}
    return {row[0]: row[1] for row in rows_of(catalog, f"DESCRIBE {view}")}


def kept_sql(catalog: Catalog) -> str | None:
    """The condition over `samples` of a row that stays; None where nothing was judged."""
    judged = "keep" in columns_of(catalog, "verdicts")
    own = "keep" in columns_of(catalog, "rows")  # the list's column of that name hides ours
    return "coalesce(samples.keep, TRUE)" if judged and not own else None


def _add_view(catalog: Catalog) -> None:
    there = columns_of(catalog, "rows")
    url, caption = (_text(name, there) for name in ("url", "caption"))
    verdicts = "verdicts" in views(catalog)
    keep, reason = ("verdicts.keep", "verdicts.reason") if verdicts else ("NULL", "NULL")
    join = "LEFT JOIN verdicts USING (key)" if verdicts else ""
    unembedded = "NULL"
    if _add_unembedded(catalog):
        unembedded = "unembedded.why"
        join += " LEFT JOIN unembedded USING (key)"
    removed = _removed(catalog)
    _add_odd_hosts(catalog, url)
    plain = f"regexp_extract({url}, {literal('^' + PLAIN_URL)}, 1)"
    join += f" LEFT JOIN odd_hosts ON odd_hosts.odd_url = {url}"
    opted_out = f"{_FAILED} AND rows.{REASON} = '{OPTED_OUT}'"
    catalog.duck.execute(f"""
        CREATE TEMP VIEW outcomes AS
        SELECT rows.key, rows.shard, {url} AS url, {caption} AS caption,
            coalesce(odd_hosts.host, {plain}) AS host,
            CASE WHEN {opted_out} THEN '{OPTED_OUT}' WHEN {_FAILED} THEN 'failed'
                 WHEN {removed} THEN '{REMOVED}'
                 WHEN NOT {keep} OR {unembedded} IS NOT NULL THEN 'dropped'
                 WHEN {keep} IS NULL THEN 'stored' ELSE 'kept' END AS outcome,
            rows.{SIGNAL} AS signal,
            CASE WHEN {_FAILED} THEN {NAME_SQL}
                 WHEN {removed} THEN '{REMOVED}'
                 WHEN NOT {keep} THEN coalesce({reason}::VARCHAR, 'unknown')
                 ELSE {unembedded} END AS reason
        FROM rows {join}""")


def _add_unembedded(catalog: Catalog) -> bool:
    """The view of stored rows without a vector: key, why; whether there are any."""
    dataset, folder = catalog.dataset, files.NOT_EMBEDDED.folder
    names = [name for name in dataset.files(folder) if name.endswith(".parquet")]
    if names:
        listed = ", ".join(literal(exactly(dataset.path(f"{folder}/{name}"))) for name in names)
        catalog.duck.execute(
            "CREATE TEMP VIEW unembedded AS SELECT key::VARCHAR AS key, "
            f"'{NOT_EMBEDDED}:' || string_split(reason::VARCHAR, ':')[1] AS why "
            f"FROM read_parquet([{listed}], union_by_name = true, hive_partitioning = false)"
        )
    return bool(names)


def _text(name: str, there: dict[str, str]) -> str:
    return f"coalesce(rows.{name}::VARCHAR, '')" if name in there else "''"


def _removed(catalog: Catalog) -> str:
    """The condition of a row that a request removed; the catalog registered their keys."""
    found = rows_of(catalog, "SELECT count(*) FROM duckdb_views() WHERE view_name = 'removed'")
    return "rows.key IN (SELECT key FROM removed)" if found[0][0] else "FALSE"


def _add_odd_hosts(catalog: Catalog, url: str) -> None:
    """A table of the hosts of URLs in which SQL cannot read them: odd_url, host."""
    import pyarrow as pa

    plain = literal("^" + PLAIN_URL)
    odd = f"SELECT DISTINCT {url} FROM rows WHERE NOT regexp_matches({url}, {plain})"
    urls = [row[0] for row in rows_of(catalog, odd)]
    table = {"odd_url": pa.array(urls, pa.string())}
    table["host"] = pa.array([host_of(one) for one in urls], pa.string())
    catalog.duck.register("odd_hosts", pa.table(table))


def _add_domains(catalog: Catalog) -> None:
    """A table of every host's registered domain: hosts are far fewer than rows."""
    import pyarrow as pa

    hosts = [row[0] for row in rows_of(catalog, "SELECT DISTINCT host FROM outcomes ORDER BY 1")]
    table = {"host": pa.array(hosts, pa.string())}
    table["domain"] = pa.array([domain_of_host(host) for host in hosts], pa.string())
    catalog.duck.register("domains_of_hosts", pa.table(table))
