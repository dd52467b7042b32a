"""What the report says of rows that were removed: counted as such, shown nowhere."""

from pathlib import Path

from frenchcat.curate.remove import RemovalQuery, matches, remove
from frenchcat.curate.report.report import make_report
from frenchcat.curate.report.settings import ReportSettings
from tests.curate.report.datasets import write
from tests.sample.row import Row


def test_a_removed_row_is_counted_as_removed_and_as_nothing_else(tmp_path: Path) -> None:
    rows = [
        Row("http://www.a.org/0", scores={"punsafe": 0.9}),
        Row("http://a.org/1", copy_of=0, scores={"punsafe": 0.9}),
        Row("http://user:word@img.a.org:8080/2", reason="dull", scores={"punsafe": 0.9}),
        Row("http://a.org/3", copy_of=0, scores={"punsafe": 0.1}),
        Row("http://a.org/4", failed="opted_out:tdmrep: 1"),
        Row("http://a.org/5", failed="http_404: gone"),
        Row("http://b.org/6", scores={"punsafe": 0.1}),
    ]
    dataset = write(tmp_path / "d", rows, rules=["dull"])
    for number in (1, 2):
        query = RemovalQuery("key", f"00000000{number}")
        remove(dataset, query, matches(dataset, query))
    report = make_report(dataset, ReportSettings(replicates=100))
    assert report.outcomes == {
        **{"failed": 1, "opted_out": 1, "removed": 2, "dropped": 0, "stored": 0, "kept": 3}
    }
    reasons = {(reason.outcome, reason.reason): reason.rows for reason in report.reasons}
    assert reasons == {
        ("opted_out", "opted_out:tdmrep"): 1,
        ("failed", "http_404"): 1,
        ("removed", "removed"): 2,
    }
    site = next(site for site in report.sites if site.domain == "a.org")
    assert (site.rows, site.stored, site.unsafe, site.duplicates) == (6, 2, 1, 1)
    shown = {picture.key for picture in report.pictures()}
    assert shown == {"000000000", "000000003", "000000006"}
