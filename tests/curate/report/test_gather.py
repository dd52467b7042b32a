"""What the report says of a dataset, against the rows it was made of and `frenchcat info`."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from frenchcat.curate.dataset import Dataset
from frenchcat.curate.errors import UserError
from frenchcat.curate.info import info
from frenchcat.curate.report import gather
from frenchcat.curate.report.examples import Examples
from frenchcat.curate.report.outcomes import open_outcomes, rows_of
from frenchcat.curate.report.page import page
from frenchcat.curate.report.report import make_report
from frenchcat.curate.report.settings import ReportSettings
from frenchcat.curate.report.thumbnails import ReportThumbnails
from frenchcat.curate.urls import domain_of
from tests.curate.report.datasets import write
from tests.sample.columns import set_columns
from tests.sample.row import Row

QUICK = ReportSettings(replicates=100)

rows = st.builds(
    Row,
    url=st.sampled_from(["http://a.co.uk/1.png", "https://b.a.co.uk/2.png", "not a url", ""]),
    caption=st.sampled_from([None, "", "a woman in Paris", "女性"]),
    failed=st.sampled_from(
        [None, None, None, "http_404: gone", "deadline", "opted_out:tdmrep", "opted_out: x: y"]
    ),
    reason=st.sampled_from([None, None, "too_small", "unsafe", "not_embedded:broken"]),
)


@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(shards=st.lists(st.lists(rows, max_size=12), min_size=1, max_size=3), judged=st.booleans())
def test_every_row_has_one_outcome_as_info_counts_them(
    tmp_path_factory: pytest.TempPathFactory, shards: list[list[Row]], judged: bool
) -> None:
    root = tmp_path_factory.mktemp("d") / "d"
    dataset = write(root, *shards, rules=["too_small", "unsafe"] if judged else None)
    counted = info(dataset)
    report = make_report(dataset, QUICK)
    assert report.rows == sum(map(len, shards)) == counted.rows
    assert report.outcomes["failed"] + report.outcomes["opted_out"] == counted.failed
    assert report.outcomes["kept"] + report.outcomes["stored"] == counted.kept
    assert report.outcomes["dropped"] == sum(counted.dropped.values())
    by_reason = {reason.reason: reason.rows for reason in report.reasons}
    assert by_reason == counted.failed_reasons | counted.dropped
    assert sum(site.rows for site in report.sites) == report.rows


def test_rows_without_a_vector_are_dropped_as_info_has_it(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    dataset = write(tmp_path / "d", [Row(), Row(), Row(failed="dns_failed: x")])
    with dataset.publish("test") as out:
        failed = {"key": ["000000001"], "reason": ["bad_image: cut"]}
        pq.write_table(pa.table(failed), out.path("embeddings/failed/failed_00000.parquet"))
    report, counted = make_report(dataset, QUICK), info(dataset)
    assert counted.dropped == {"not_embedded:bad_image": 1}
    assert report.outcomes["dropped"] == 1
    assert report.outcomes["stored"] == counted.kept == 1


def test_removed_rows_are_an_outcome_of_their_own(tmp_path: Path) -> None:
    from frenchcat.curate.remove.match import RemovalQuery, matches
    from frenchcat.curate.remove.request import remove

    dataset = write(tmp_path / "d", [Row(url="http://x.org/1.png"), Row()], rules=[])
    with dataset.lock():
        query = RemovalQuery("key", "000000000")
        remove(dataset, query, matches(dataset, query))
    report = make_report(dataset, QUICK)
    assert report.outcomes["removed"] == 1
    assert report.outcomes["kept"] == info(dataset).kept == 1
    assert {picture.key for picture in report.pictures()} == {"000000001"}


def test_domains_are_registered_ones_and_count_all_outcomes(tmp_path: Path) -> None:
    shard = [
        Row(url="http://img.bbc.co.uk:8080/a"),
        Row(url="https://u:p@BBC.co.uk/b", failed="http_404: x"),
        Row(url="http://[2001:db8::1]/c", failed="opted_out:robots_txt: no"),
        Row(url="http://other.example/d", reason="dull", scores={"punsafe": 0.9}),
    ]
    report = make_report(write(tmp_path / "d", shard, rules=["dull"]), QUICK)
    found = {site.domain: site for site in report.sites}
    assert found.keys() == {"bbc.co.uk", "2001:db8::1", "other.example"}
    assert (found["bbc.co.uk"].rows, found["bbc.co.uk"].stored) == (2, 1)
    assert found["other.example"].unsafe == 1
    assert found["other.example"].reasons == [("dull", 1)]
    assert report.domains == 3


def test_the_domain_of_an_odd_url_is_the_one_that_removals_and_conditions_see(
    tmp_path: Path,
) -> None:
    urls = [
        *("http://a.co.uk/1", "http://B.A.co.uk:80/2", " http://a.co.uk/3", "http://a.co.uk\n"),
        *("http://b%C3%BCcher.de/4", "http://bücher.de./5", "http://xn--bcher-kva.de/6"),
        *("http://u@v@host.org/7", "//a.org/8", "ht\ttp://a.org/9", "http://a\n.org/10"),
        *("http://[::1]:8/11", "http://0x7f.1/12", "http://a_b.org/13", "ftp://u:p@c.org/14"),
        *("http://a.org\\@b.org/15", "a.org/16", "", "http:///17"),
    ]
    dataset = write(tmp_path / "d", [Row(url=url) for url in urls])
    catalog = open_outcomes(dataset)
    found = rows_of(catalog, "SELECT url, domain FROM outcomes JOIN domains_of_hosts USING (host)")
    catalog.duck.close()
    assert dict(found) == {url: domain_of(url) for url in urls}


def test_bars_cover_every_row_however_many_values(tmp_path: Path) -> None:
    shard = [
        Row(scores={"language": f"l{n % 40}"}, reason=None if n % 3 else "x") for n in range(99)
    ]
    report = make_report(write(tmp_path / "d", shard, rules=["x"]), QUICK)
    assert len(report.languages) == gather.MAX_BARS + 1
    assert sum(bar.rows for bar in report.languages) == 99
    assert sum(bar.kept for bar in report.languages) == 66


@pytest.mark.parametrize(
    "values", [[0.0], [3, 3, 3], [1e-9, 1.0, 1e12], list(range(500)), [-5.5, 2]]
)
def test_histograms_hold_every_value(tmp_path: Path, values: list[float]) -> None:
    shard = [Row(scores={"sharpness": float(v)}) for v in values] + [
        Row(scores={"sharpness": None})
    ]
    shard += [Row(scores={"sharpness": float("nan")})]
    (found,) = make_report(write(tmp_path / "d", shard), QUICK).scores
    assert sum(found.counts) == len(values)
    assert found.missing == 2
    assert found.low < found.high
    assert found.kept is None


def test_histogram_bins_are_those_of_numpy(tmp_path: Path) -> None:
    import numpy as np

    values = np.random.default_rng(1).random(2000)
    shard = [Row(scores={"punsafe": float(v)}, reason="x" if v > 0.5 else None) for v in values]
    dataset = write(tmp_path / "d", shard, rules=["x"], pictures=False)
    (found,) = make_report(dataset, QUICK).scores
    wanted, _ = np.histogram(values, len(found.counts), (0, 1))
    assert found.counts == wanted.tolist()
    assert found.kept == np.histogram(values[values <= 0.5], len(found.counts), (0, 1))[0].tolist()


def test_signals_are_counted_by_row(tmp_path: Path) -> None:
    no, licence = (
        ("tdmrep", "1", "opt_out"),
        ("license", "http://creativecommons.org/licenses/by/4.0/", None),
    )
    shard = [
        Row(failed="opted_out:tdmrep", signals=[no, no, ("x_robots_tag", "noai", "opt_out")]),
        Row(signals=[licence, ("ai_txt", "allow", "allow")]),
        Row(),
    ]
    report = make_report(write(tmp_path / "d", shard), QUICK)
    assert report.opt_outs is not None
    said = {s.signal: (s.opt_out, s.allow, s.lost) for s in report.opt_outs}
    assert said == {"tdmrep": (1, 0, 1), "x_robots_tag": (1, 0, 0), "ai_txt": (0, 1, 0)}
    assert {bar.label: bar.rows for bar in report.licences} == {"CC BY 4.0": 1, "none stated": 1}


def test_clusters_show_who_stays_first(tmp_path: Path) -> None:
    shard = [Row(), Row(copy_of=0), Row(copy_of=0), Row(), Row(copy_of=3), Row()]
    report = make_report(write(tmp_path / "d", shard), QUICK)
    found = report.duplicates
    assert found is not None
    assert (found.rows, found.duplicates, found.sizes) == (6, 3, {2: 1, 3: 1})
    assert [cluster.rows for cluster in found.shown] == [3, 2]
    for cluster in found.shown:
        assert cluster.members[0].value is None
        assert {member.value for member in cluster.members[1:]} == {"exact"}


def test_rows_that_contradict_each_other_are_counted_and_shown(tmp_path: Path) -> None:
    shard = [
        Row(caption="a flood", url="http://a.example/0.png"),
        Row(caption="an <i>earthquake</i>", url="http://b.example/1.png", copy_of=0),
        Row(copy_of=0),
        Row(),
    ]
    dataset = write(tmp_path / "d", shard)
    before = make_report(dataset, QUICK).duplicates
    assert before is not None
    assert (before.contradicted, before.contradicting) == (0, ())  # of an older version
    set_columns(dataset, "duplicates/00000.parquet", contradicting=[1, 1, 0, 0])
    report = make_report(dataset, QUICK)
    assert report.duplicates is not None
    assert report.duplicates.contradicted == 2
    (cluster,) = report.duplicates.contradicting
    assert {member.key[-1] for member in cluster.members} == {"0", "1"}
    assert {member.key for member in cluster.members} <= {one.key for one in report.pictures()}
    thumbnails = ReportThumbnails(dataset, 0, 1)
    said = page(report, thumbnails)
    assert "2 rows show an image of which another row says something else" in said
    assert "a.example: a flood" in said
    assert "b.example: an &lt;i&gt;earthquake&lt;/i&gt;" in said


def test_examples_are_bounded_and_the_same_each_time(tmp_path: Path) -> None:
    shards = [[Row(reason="x" if n % 2 else None) for n in range(60)] for _ in range(3)]
    dataset = write(tmp_path / "d", *shards, rules=["x"], pictures=False)
    once, again = (make_report(dataset, QUICK) for _ in range(2))
    assert once.pictures() == again.pictures()
    (reason,) = once.reasons
    assert len(reason.pictures) == gather.EXAMPLES
    assert len({picture.key for picture in once.kept}) == len(once.kept) == 16


def test_a_list_with_columns_of_our_names_is_no_trouble(tmp_path: Path) -> None:
    dataset = write(tmp_path / "d", [Row(), Row(copy_of=0, reason="x")], rules=["x"])
    names = ("kind", "cluster", "keep", "reason", "outcome", "host", "domain", "term")
    set_columns(dataset, "shards/00000.parquet", **{name: ["theirs"] * 2 for name in names})
    report = make_report(dataset, QUICK)
    assert report.outcomes["dropped"] == 1
    assert Counter(reason.reason for reason in report.reasons) == {"x": 1}


def test_nothing_downloaded_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="frenchcat download"):
        make_report(Dataset.create(tmp_path / "d", "d"))


def test_messages_of_failures_are_shown_without_their_name(tmp_path: Path) -> None:
    dataset = write(tmp_path / "d", [Row(failed="http_404: a.org: no"), Row(failed="http_404: b")])
    with open_outcomes(dataset) as catalog:
        (reason,) = gather.lost_by_reason(catalog, Examples(catalog))
        assert reason.details == ["a.org: no", "b"]
        assert rows_of(catalog, "SELECT count(*) FROM outcomes") == [(2,)]
