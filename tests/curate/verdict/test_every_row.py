"""Every row ends in exactly one of kept, dropped with a reason, failed with a reason."""

import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st

from frenchcat.curate.config import resolve
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.info import info
from frenchcat.curate.removals import Request
from frenchcat.curate.select import sql_of
from frenchcat.curate.verdict.settings import VerdictSettings
from frenchcat.curate.verdict.stage import verdict
from tests.curate.verdict.judged import verdicts
from tests.sample.row import Row as Listed
from tests.sample.write import write

Row = Mapping[str, Any]
Rule = tuple[str, Callable[[Row], bool | None]]  # SQL, and what it means: None where it is null


def unless_null(value: Any, meaning: Callable[[Any], bool]) -> bool | None:
    """SQL's answer to a comparison with a value that may be null."""
    return None if value is None else meaning(value)


def rules_with(number: int) -> list[Rule]:
    """Rules of each kind about a number."""
    share = number / 10
    return [
        (f"width < {number}", lambda row: unless_null(row["width"], lambda v: v < number)),
        (f"not (width < {number})", lambda row: unless_null(row["width"], lambda v: v >= number)),
        (
            f"similarity < {share}",
            lambda row: unless_null(row["similarity"], lambda v: v < share),
        ),
        (
            f"similarity is null or width = {number}",
            lambda row: row["similarity"] is None or unless_null(row["width"], number.__eq__),
        ),
        (
            f"coalesce(similarity, 1) > {share}",
            lambda row: (1 if row["similarity"] is None else row["similarity"]) > share,
        ),
        ("true", lambda row: True),
        ("null::boolean", lambda row: None),
    ]


ROWS = st.fixed_dictionaries(
    {
        "failed": st.sampled_from([None, None, None, "http_404: gone", "opted_out:tdmrep: x"]),
        "width": st.one_of(st.none(), st.integers(0, 10)),
        "similarity": st.one_of(st.none(), st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])),
        "unembedded": st.booleans(),
        "removed": st.sampled_from([False, False, True]),
    }
)
RULES = st.lists(
    st.integers(0, 10).flatmap(lambda number: st.sampled_from(rules_with(number))), max_size=4
)


def fate(row: Row, rules: list[Rule]) -> str:
    """What must become of a row, by the text of the rules alone."""
    if row["failed"]:
        return f"failed {row['failed'].split(': ')[0]}"
    if row["removed"]:
        return "dropped removed"
    if row["unembedded"]:
        return "dropped not_embedded:nan_embedding"
    first = next((n for n, (_, said) in enumerate(rules) if said(row) is True), None)
    return "kept" if first is None else f"dropped rule_{first}"


def make(root: Path, shards: list[list[Row]]) -> tuple[Dataset, dict[str, Row]]:
    """A dataset of these rows; key -> row."""
    dataset, rows, gone = Dataset.create(root, "d"), {}, []
    for number, shard in enumerate(shards):
        name = f"{number:05d}"
        listed = [
            Listed(
                failed=row["failed"],
                columns={"width": row["width"]},
                scores={"similarity": row["similarity"]},
                unembedded="nan_embedding" if row["unembedded"] and not row["failed"] else None,
            )
            for row in shard
        ]
        keys = write(dataset, name, listed, ("sidecar", "scores", "unembedded"))
        of = dict(zip(keys, shard, strict=True))
        gone += [key for key, row in of.items() if row["removed"] and not row["failed"]]
        rows |= of
    if gone:
        request = Request(1, "key", "2026-01-01T00:00:00Z", keys=tuple(gone))
        dataset.write_json("removals/000001.json", request.as_json())
    return dataset, rows


@settings(max_examples=20, deadline=None)
@given(st.lists(st.lists(ROWS, max_size=8), min_size=1, max_size=3), RULES)
def test_every_row_has_one_fate_and_the_counts_say_it(
    shards: list[list[Row]], rules: list[Rule]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        dataset, rows = make(Path(folder) / "d", shards)
        named = {f"rule_{n}": sql for n, (sql, _) in enumerate(rules)}
        verdict(dataset, resolve(VerdictSettings, {"rules": named}))
        expected = {key: fate(row, rules) for key, row in rows.items()}
        judged = verdicts(dataset)
        failed = {
            row["key"]: row["error_message"].split(": ")[0]
            for shard in dataset.shards("download")
            for row in pq.read_table(dataset.path(f"shards/{shard}.parquet")).to_pylist()
            if row["status"] != "success"
        }
        assert failed.keys().isdisjoint(judged)
        found = {key: f"failed {why}" for key, why in failed.items()}
        found |= {k: "kept" if keep else f"dropped {why}" for k, (keep, why) in judged.items()}
        assert found == expected
        counted = Counter(expected.values())
        shown = info(dataset)
        assert shown.rows == len(rows)
        assert shown.kept == counted["kept"]
        for said, name in ((shown.dropped, "dropped"), (shown.failed_reasons, "failed")):
            wanted = {f.split(" ")[1]: n for f, n in counted.items() if f.startswith(name)}
            assert said == wanted
        assert selected(dataset) == sorted(key for key, end in expected.items() if end == "kept")
        for n, (_, said_by) in enumerate(rules):
            asked = [
                row for key, row in rows.items() if expected[key].split(" ")[-1] in ("kept", *named)
            ]
            rule = shown.rules[f"rule_{n}"]
            assert rule.dropped == counted[f"dropped rule_{n}"]
            assert rule.alone == sum(said_by(row) is True for row in asked)
            assert rule.unknown == sum(said_by(row) is None for row in asked)


def selected(dataset: Dataset) -> list[str]:
    """The keys of a selection without a condition."""
    from frenchcat.curate.catalog import Catalog
    from frenchcat.curate.select import Choice

    with Catalog(dataset) as catalog:
        keys: list[str] = catalog.run(sql_of(catalog, Choice()))["key"].to_pylist()
    return keys
