"""Why a row failed, as columns of the sidecar: for every reason, and for sidecars without them."""

import json
import tarfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frenchcat.curate import sidecar
from frenchcat.curate.adopt import adopt
from frenchcat.curate.catalog import Catalog
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.diff import diff
from frenchcat.curate.download import lists, pictures, retry_failed
from frenchcat.curate.download.block import BLOCKED
from frenchcat.curate.download.expected import HASH_MISMATCH
from frenchcat.curate.download.fetch import REASONS
from frenchcat.curate.download.pictures import Unfit
from frenchcat.curate.download.rights.signal import OPT_OUTS
from frenchcat.curate.download.shards import NO_URL, Outcome, write
from frenchcat.curate.errors import UserError
from frenchcat.curate.failures import COLUMNS, Failure
from frenchcat.curate.info import info
from frenchcat.curate.markers import counts_of, marker, put_marker
from frenchcat.curate.removals import Request, log
from frenchcat.curate.remove import compact
from frenchcat.curate.report.outcomes import open_outcomes
from frenchcat.curate.stage import Output
from tests.sample.before import as_before
from tests.sample.pictures import picture
from tests.sample.write import publishing

SHARD, KEYS = "00000", [f"00000{row:04d}" for row in range(10_000)]
PLAIN = sorted({*REASONS - {"opted_out"}, *pictures.REASONS, *BLOCKED, NO_URL, HASH_MISMATCH})
DETAILS = st.none() | st.text(max_size=40)
FAILURES = st.builds(Failure, st.sampled_from(PLAIN), st.none(), DETAILS) | st.builds(
    Failure, st.just("opted_out"), st.sampled_from(OPT_OUTS), DETAILS
)
STORED = Outcome("success", None, 2, 2, 2, 2, "{}", "0" * 64, "1" * 64)


def failed(failure: Failure) -> Outcome:
    return Outcome.failed("failed_to_download", failure)


def written(root: Path, outcomes: Sequence[Outcome]) -> Dataset:
    """A dataset of one shard, written as the download writes it."""
    dataset = Dataset.create(root, "d")
    numbers = range(len(outcomes))
    rows = pa.table(
        {
            "uid": [f"{n:032x}" for n in numbers],
            "url": [f"http://example.org/{n}.jpg" for n in numbers],
            "caption": pa.array([f"number {n}" for n in numbers]),
        }
    )
    with publishing(dataset, "download", SHARD) as path:
        out = Output(_Places(path), lambda rows: None)  # type: ignore[arg-type]
        counts = write(out, SHARD, rows, outcomes, lambda row: picture(row), "png")
    made = marker(dataset, "download", SHARD)
    assert made is not None
    with dataset.publish("counts") as publication:
        put_marker(publication, "download", SHARD, replace(made, counts=counts))
    return dataset


class _Places:
    def __init__(self, path: object) -> None:
        self.path = path


def told(dataset: Dataset) -> list[Failure | None]:
    rows = sidecar.read(dataset, SHARD, ["key"]).to_pylist()
    assert [row["key"] for row in rows] == KEYS[: len(rows)]
    named = [tuple(row[name] for name in COLUMNS) for row in rows]
    return [None if reason is None else Failure(reason, *rest) for reason, *rest in named]


@settings(max_examples=15, deadline=None)
@given(st.lists(st.none() | FAILURES, min_size=1, max_size=12))
def test_what_is_written_is_read_with_the_columns_and_from_the_sentence_alone(
    tmp_path_factory: pytest.TempPathFactory, failures: list[Failure | None]
) -> None:
    outcomes = [STORED if one is None else failed(one) for one in failures]
    dataset = written(tmp_path_factory.mktemp("f") / "d", outcomes)
    assert told(dataset) == failures
    counted = Counter(one.name for one in failures if one is not None)
    assert info(dataset).failed_reasons == counted
    assert told(as_before(dataset)) == failures
    assert info(dataset).failed_reasons == counted
    columns = [(one.reason, one.signal, one.detail) if one else (None,) * 3 for one in failures]
    with Catalog(dataset) as catalog:
        rows = catalog.table(COLUMNS, view="rows", order="key").to_pylist()
    assert [tuple(row[name] for name in COLUMNS) for row in rows] == columns


def test_every_reason_is_its_sentence_s_beginning() -> None:
    failures = [Failure(reason) for reason in PLAIN]
    failures += [Failure("opted_out", signal) for signal in OPT_OUTS]
    names = [*PLAIN, *(f"opted_out:{signal}" for signal in OPT_OUTS)]
    assert [(one.name, one.sentence) for one in failures] == [(name, name) for name in names]
    detailed = [replace(one, detail="a: b") for one in failures]
    sentences = [f"{name}: a: b" for name in names]
    assert [(one.name, one.sentence) for one in detailed] == list(
        zip(names, sentences, strict=True)
    )
    said = [*names, *sentences]
    table = pa.table({"status": ["failed_to_resize"] * len(said), "error_message": said})
    rows = sidecar.filled(table).to_pylist()
    assert [Failure(*(row[name] for name in COLUMNS)) for row in rows] == [*failures, *detailed]


@pytest.mark.parametrize(
    ("sentence", "said"),
    [
        ("HTTP Error 404: Not Found", ("HTTP Error 404", None, "Not Found")),
        ("<urlopen error timed out>", ("<urlopen error timed out>", None, None)),
        ("opted_out: x: y: z", ("opted_out", "x", "y: z")),
        ("opted_out", ("opted_out", None, None)),
        ("", ("unknown", None, None)),
        (None, ("unknown", None, None)),
    ],
)
def test_sentences_of_others(sentence: str | None, said: tuple[str | None, ...]) -> None:
    table = {
        "status": ["failed", "success"],
        "error_message": pa.array([sentence] * 2, pa.string()),
    }
    (row, stored) = sidecar.filled(pa.table(table)).to_pylist()
    assert tuple(row[name] for name in COLUMNS) == said
    assert [stored[name] for name in COLUMNS] == [None] * 3
    assert (row["error_message"], stored["error_message"]) == (sentence, sentence)


def test_a_reason_of_its_own_is_not_replaced_by_the_sentence() -> None:
    table = {
        "status": ["failed", "failed"],
        "error_message": ["http_404: gone", "http_404: gone"],
        "failure_reason": ["timeout", None],
        "failure_detail": ["after 5 s", None],
    }
    (said, unsaid) = sidecar.filled(pa.table(table)).to_pylist()
    assert [said[name] for name in COLUMNS] == ["timeout", None, "after 5 s"]
    assert [unsaid[name] for name in COLUMNS] == ["http_404", None, "gone"]


def test_a_sidecar_without_a_sentence_says_that_it_is_not_known() -> None:
    rows = sidecar.filled(pa.table({"status": ["failed", "success", None]})).to_pylist()
    assert [row["failure_reason"] for row in rows] == ["unknown", None, "unknown"]


def test_an_unfit_picture_says_why() -> None:
    assert Unfit("cut_short", "the png has no end").failure == Failure(
        "cut_short", None, "the png has no end"
    )
    assert Unfit("too_small").failure == Failure("too_small")


SAMPLE = [
    STORED,
    failed(Failure("http_404", detail="gone.example answered 404")),
    failed(Failure("opted_out", "x_robots_tag", "noai")),
    failed(Failure("opted_out", "tdmrep", "")),
    failed(Failure("no_url")),
    STORED,
    Outcome.failed("failed_to_resize", Failure("cut_short", detail="the jpeg has no end")),
]


def test_the_sentence_is_as_it_always_was(tmp_path: Path) -> None:
    rows = pq.read_table(written(tmp_path / "d", SAMPLE).path("shards/00000.parquet")).to_pylist()
    assert [row["error_message"] for row in rows] == [
        None,
        "http_404: gone.example answered 404",
        "opted_out:x_robots_tag: noai",
        "opted_out:tdmrep: ",
        "no_url",
        None,
        "cut_short: the jpeg has no end",
    ]


def test_stored_pictures_are_written_as_they_always_were(tmp_path: Path) -> None:
    """The columns are the sidecar's alone: tars keep their bytes, conditions their names."""
    dataset = written(tmp_path / "d", SAMPLE)
    with tarfile.open(dataset.path("shards/00000.tar")) as tar:
        beside = [json.load(tar.extractfile(m)) for m in tar if m.name.endswith(".json")]  # type: ignore[arg-type]
    assert len(beside) == 2
    for row in beside:
        assert row["error_message"] is None
        assert row.keys().isdisjoint(COLUMNS)
    with Catalog(dataset) as catalog:
        assert catalog.columns().keys().isdisjoint(COLUMNS)


def test_a_dataset_made_before_is_the_same_to_all_who_read_it(tmp_path: Path) -> None:
    now = written(tmp_path / "now", SAMPLE)
    before = as_before(written(tmp_path / "before", SAMPLE))
    assert info(now) == replace(info(before), name="d")
    found = []
    for dataset in (now, before):
        with open_outcomes(dataset) as catalog:
            sql = "SELECT key, outcome, reason, signal FROM outcomes ORDER BY key"
            found.append(catalog.duck.sql(sql).fetchall())
    assert found[0] == found[1]
    assert [row[2] for row in found[0]][1:5] == [
        "http_404",
        "opted_out:x_robots_tag",
        "opted_out:tdmrep",
        "no_url",
    ]
    assert diff(now, before).changes == []


def test_a_change_of_a_failure_is_told_once_and_by_its_name(tmp_path: Path) -> None:
    one = written(tmp_path / "one", [failed(Failure("opted_out", "tdmrep", "1"))])
    other = written(tmp_path / "other", [failed(Failure("http_404", detail="x"))])
    (change,) = diff(one, other).changes
    assert change.fate == ("failed:opted_out:tdmrep", "failed:http_404")
    assert change.columns == {"error_message": ("opted_out:tdmrep: 1", "http_404: x")}


def test_shards_of_both_ages_are_read_together(tmp_path: Path) -> None:
    dataset = as_before(written(tmp_path / "d", SAMPLE))
    later = written(tmp_path / "later", SAMPLE)
    table = pq.read_table(later.path("shards/00000.parquet"))
    with dataset.publish("later") as publication:
        keys = pa.array([f"00001{key[5:]}" for key in table["key"].to_pylist()])
        table = table.set_column(table.column_names.index("key"), "key", keys)
        pq.write_table(table, publication.path("shards/00001.parquet"))
        publication.path("stages/download/00001.json").write_text("{}")
    assert info(dataset).failed_reasons == {k: 2 * v for k, v in info(later).failed_reasons.items()}
    with Catalog(dataset) as catalog:
        names = ["failure_reason", "failure_signal", "failure_detail"]
        rows = catalog.table(names, view="rows", order="key").to_pylist()
    assert rows[: len(SAMPLE)] == rows[len(SAMPLE) :]


@pytest.mark.parametrize("age", ["now", "before"])
def test_a_removed_row_leaves_nothing_of_its_failure(tmp_path: Path, age: str) -> None:
    dataset = written(tmp_path / "d", SAMPLE)
    if age == "before":
        as_before(dataset)
    columns = pq.read_schema(dataset.path("shards/00000.parquet")).names
    with dataset.lock():
        gone = (KEYS[1], KEYS[2])
        log(dataset, Request(1, "key", "2026-01-01T00:00:00Z", keys=gone))
        compact(dataset)
    table = pq.read_table(dataset.path("shards/00000.parquet"))
    assert table.column_names == columns, "compaction adds nothing"
    assert table["key"].to_pylist() == [KEYS[n] for n in (0, 3, 4, 5, 6)]
    values = {value for column in table.columns for value in map(str, column.to_pylist())}
    assert not any("gone.example" in value or "noai" in value for value in values)
    counts = counts_of(dataset, "download", SHARD)
    assert (counts["failed"], counts["failed.http_404"]) == (3, 0)
    assert (counts["failed.opted_out:x_robots_tag"], counts["failed.opted_out:tdmrep"]) == (0, 1)
    stats = dataset.read_json("shards/00000_stats.json")["status_dict"]
    assert (stats["http_404"], stats["opted_out:tdmrep"], stats["success"]) == (0, 1, 2)
    left = {"opted_out:tdmrep": 1, "no_url": 1, "cut_short": 1}
    assert info(dataset).failed_reasons == left


def test_an_adopted_folder_has_img2dataset_s_sentences(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    made = as_before(written(tmp_path / "made", SAMPLE[:2]))
    Path(made.path("shards")).rename(theirs)
    table = pq.read_table(theirs / "00000.parquet")
    said = pa.array([None, "HTTP Error 404: Not Found"])
    at = table.column_names.index("error_message")
    pq.write_table(table.set_column(at, "error_message", said), theirs / "00000.parquet")
    dataset = adopt(theirs, tmp_path / "d").dataset
    assert info(dataset).failed_reasons == {"HTTP Error 404": 1}
    assert told(dataset) == [None, Failure("HTTP Error 404", None, "Not Found")]
    with dataset.lock(), pytest.raises(UserError, match="adopted from img2dataset: it has no URL"):
        retry_failed(dataset)


def test_a_list_s_own_columns_of_these_names_are_carried_on_under_others(tmp_path: Path) -> None:
    listed = {"url": ["http://example.org/1"], "failure_reason": ["mine"], "failure_DETAIL": [1]}
    pq.write_table(pa.table(listed), tmp_path / "list.parquet")
    dataset = Dataset.create(tmp_path / "d", "d")
    lists.freeze(dataset, str(tmp_path / "list.parquet"), lists.Shape())
    (row,) = pq.read_table(dataset.path("lists/00000.parquet")).to_pylist()
    assert (row["list_failure_reason"], row["list_failure_DETAIL"]) == ("mine", 1)
