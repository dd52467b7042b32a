"""A list that grows three times, with columns of any name and any type, through every verb.

The lists are frozen and their shards written by frenchcat's own code; nothing is fetched and no
model runs: pictures are drawn, vectors are given.
"""

import contextlib
import datetime
import decimal
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import frenchcat
from frenchcat.curate import embeddings
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.download.column_names import IMAGE_NAMES
from frenchcat.curate.download.lists import Shape, freeze, relative
from frenchcat.curate.download.shards import Outcome, write
from frenchcat.curate.markers import Counts, Signature, output_sha256
from frenchcat.curate.run_stage import run_stage
from frenchcat.curate.sql_text import quoted
from frenchcat.curate.stage import Output, ShardFunction
from tests.sample.pictures import picture
from tests.sample.vectors import unit_rows
from tests.sample.write import MODEL

ROWS = 3  # of an addition, the last of which has nulls

NAMES = (
    *("id", "size", "offset", "extension", "shard", "image_path", "key", "status", "domain"),
    *("similarity", "list_similarity", "punsafe", "LANGUAGE", "keep", "reason", "cluster"),
    *("multiplicity", "filename", "file_row_number", "rowid", "said", "place", "picture"),
    *('q"x', "it's", "a b.c", "seed", "Ünï", "select"),
)
VALUES: dict[str, tuple[pa.DataType, st.SearchStrategy[Any]]] = {
    "null": (pa.null(), st.none()),
    "int": (pa.int64(), st.integers(-(2**31), 2**31)),
    "small": (pa.uint8(), st.integers(0, 255)),
    "float": (pa.float64(), st.floats(-1e6, 1e6)),
    "text": (pa.string(), st.text("ab{}[\"'é,", max_size=6)),
    "bool": (pa.bool_(), st.booleans()),
    "ints": (pa.list_(pa.int64()), st.lists(st.integers(0, 9), max_size=3)),
    "texts": (pa.list_(pa.string()), st.lists(st.text("xy", max_size=3), max_size=3)),
    "struct": (pa.struct({"a": pa.int64()}), st.fixed_dictionaries({"a": st.integers(0, 9)})),
    "other": (
        pa.struct({"a": pa.string(), "b": pa.float64()}),
        st.fixed_dictionaries({"a": st.text("xy", max_size=3), "b": st.floats(0, 9)}),
    ),
    "map": (pa.map_(pa.string(), pa.int64()), st.just([("k", 1)])),
    "date": (pa.date32(), st.dates(datetime.date(1970, 1, 1), datetime.date(2100, 1, 1))),
    "time": (pa.timestamp("us", "Europe/Paris"), st.just(datetime.datetime(2020, 1, 2, 3, 4, 5))),
    "decimal": (pa.decimal128(9, 2), st.integers(0, 999).map(lambda n: decimal.Decimal(n) / 4)),
    "bytes": (pa.binary(), st.binary(max_size=3)),
    "category": (pa.dictionary(pa.int32(), pa.string()), st.sampled_from(["x", "y"])),
}


@st.composite
def additions(draw: st.DrawFn) -> list[pa.Table]:
    """Three tables of the same few columns, each column of any type in each of them, or absent."""
    names = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True))
    made = []
    for number in range(3):
        columns: dict[str, Any] = {
            "url": [f"http://pictures.example/{number}/{row}.jpg" for row in range(ROWS)],
            "caption": [f"picture {row} of {number}" for row in range(ROWS)],
        }
        for name in names:
            if draw(st.integers(0, 4)):
                kind, values = VALUES[draw(st.sampled_from(sorted(VALUES)))]
                drawn = [draw(values) for _ in range(ROWS - 1)]
                columns[name] = pa.array([*drawn, None], kind)
        made.append(pa.table(columns))
    return made


@dataclass(frozen=True)
class Prepared:
    """The download, of which every row has a picture that is drawn."""

    name: str = "download"
    in_process: bool = True

    @property
    def signature(self) -> Signature:
        return Signature(self.name, 1, {})

    def inputs(self, dataset: Dataset, shard: str) -> Mapping[str, str]:
        return {"rows": output_sha256(dataset, "lists", shard, relative(shard))}

    @contextlib.contextmanager
    def start(self, dataset: Dataset) -> Iterator[ShardFunction]:
        def work(shard: str, output: Output) -> Counts:
            rows = pq.read_table(dataset.path(relative(shard)))
            outcomes = [Outcome("success", width=8, height=8) for _ in range(rows.num_rows)]
            first = 10 * int(shard)
            return write(output, shard, rows, outcomes, lambda row: picture(first + row), "jpg")

        yield work


@dataclass(frozen=True)
class GivenVectors:
    """The embedding, of which every row has vectors that are drawn."""

    name: str = "embed"
    in_process: bool = True

    @property
    def signature(self) -> Signature:
        return Signature(self.name, 1, MODEL)

    def inputs(self, dataset: Dataset, shard: str) -> Mapping[str, str]:
        sidecar = f"shards/{shard}.parquet"
        return {sidecar: output_sha256(dataset, "download", shard, sidecar)}

    @contextlib.contextmanager
    def start(self, dataset: Dataset) -> Iterator[ShardFunction]:
        def work(shard: str, output: Output) -> Counts:
            rows = pq.read_table(dataset.path(f"shards/{shard}.parquet"))
            drawn = [unit_rows(rows.num_rows, 16, 2 * int(shard) + n) for n in range(2)]
            embeddings.write_shard(output, shard, drawn[0], drawn[1], rows, {})
            return {"embedded": rows.num_rows}

        yield work


def added(root: Path, lists: Sequence[pa.Table]) -> frenchcat.OpenDataset:
    """A dataset that was built from the first list and grew by the others, one after another."""
    dataset = Dataset.create(root / "d", "grown")
    for number, table in enumerate(lists):
        file = root / f"{number}.parquet"
        pq.write_table(table, file)
        with dataset.lock():
            shards = freeze(dataset, str(file), Shape(samples_per_shard=ROWS))
            run_stage(dataset, Prepared(), shards)
            run_stage(dataset, GivenVectors(), shards)
        made = frenchcat.open(dataset.root)
        made.score(set={"score.scores": ["similarity"]})
        made.dedup(set={"dedup.methods": ["exact"]})
        made.verdict()
        made.index()
    return frenchcat.open(dataset.root)


def same(was: Any, seen: Any) -> bool:
    """Whether a value is what a list had, by whatever type the column has now."""
    if was is None or seen is None:
        return was is None and seen is None
    if isinstance(was, bytes) and isinstance(seen, str):
        return was.hex() == seen
    if isinstance(seen, str) and isinstance(was, list | dict):
        return same(was, json.loads(seen))
    if isinstance(seen, str) and not isinstance(was, str):
        texts = {str(was), str(was).lower()}
        if isinstance(was, datetime.datetime):
            return seen.startswith(str(was.astimezone(datetime.UTC) if was.tzinfo else was)[:19])
        with contextlib.suppress(ValueError):
            return seen in texts or float(seen) == float(was)
        return seen in texts
    if isinstance(was, dict):
        if isinstance(seen, list):
            seen = dict(seen)
        return all(same(was.get(name), value) for name, value in seen.items())
    if isinstance(was, list) and was and isinstance(was[0], tuple):
        return same(dict(was), seen if isinstance(seen, dict) else dict(seen))
    if isinstance(was, list):
        return len(was) == len(seen) and all(map(same, was, seen))
    if isinstance(was, datetime.date) and isinstance(seen, datetime.datetime):
        return (not isinstance(was, datetime.datetime) and seen.date() == was) or was == seen
    return bool(was == seen)


def check_columns(listed: Mapping[str, Any], row: Mapping[str, Any]) -> None:
    """Each column of a list's row is in a row of ours, by its name or by that beside ours.

    Bytes in a column with a usual name for images are no column: they are the row's image.
    """
    for name, was in listed.items():
        if name in IMAGE_NAMES and (was is None or isinstance(was, bytes)):
            continue
        called = [n for n in (f"list_{name}", name) if n in row]
        assert called, (name, list(row))
        assert any(same(was, row[n]) for n in called), (name, was, row)


def all_verbs(root: Path, lists: list[pa.Table]) -> None:
    made = added(root, lists)
    rows = {row["url"]: row for table in lists for row in table.to_pylist()}
    vector = unit_rows(1, 16, 0)[0]
    for url, row in {row["url"]: row for row in made.rows().to_pylist()}.items():
        check_columns(rows[url], row)
    hits = made.search(vector=vector, k=99, duplicates=True)
    assert len(hits) == len(rows)
    for hit in hits:
        check_columns(rows[str(hit.url)], {"url": hit.url, "caption": hit.caption, **hit.columns})
        assert json.dumps(hit.as_dict(), default=str)
        assert hit.as_dict()["similarity"] == round(hit.similarity, 6)
        assert made.picture_bytes(hit.key) == made.searcher().picture(hit)
    for name in made.columns():  # every column can be asked for
        assert made.search(vector=vector, k=1, where=f"{quoted(name)} is null or true")
    selection = made.select("all", "caption_similarity >= -1", limit=100)
    assert len(selection) == len(rows)
    gone = hits[0].key
    made.remove(key=gone)
    assert made.compact()["rows"] == 1
    left = made.search(vector=vector, k=99, duplicates=True)
    assert {hit.key for hit in left} == {hit.key for hit in hits} - {gone}
    for hit in left:
        check_columns(rows[str(hit.url)], {"url": hit.url, "caption": hit.caption, **hit.columns})
    assert made.report(root / "report.html").exists()
    assert (made.selection("all").export(root / "csv", "csv") / "all.csv").exists()
    assert made.selection("all").export(root / "tars").is_dir()
    assert made.info().kept == len(rows) - 1


@settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck))
@given(additions())
def test_a_list_grows_with_columns_of_any_name_and_type(lists: list[pa.Table]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        all_verbs(Path(folder), lists)


@pytest.mark.slow
@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(additions())
def test_a_list_grows_with_columns_of_any_name_and_type_often(lists: list[pa.Table]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        all_verbs(Path(folder), lists)


def test_the_types_of_the_issue(tmp_path: Path) -> None:
    """Numbers that become words, a number that becomes a list, structs, a first shard of nulls."""
    base = [
        {"url": [f"http://pictures.example/{n}.jpg"], "caption": [f"picture {n}"]} for n in range(3)
    ]
    names = ("key", "status", "id", "image_path", "list_similarity", "filename", "rowid", "hash")
    own: dict[str, Any] = {name: [f"the list's {name}"] for name in names}
    columns = [
        {
            **own,
            "seed": [1],
            "shape": [1],
            "exif": [{"a": 1}],
            "note": pa.nulls(1),
            "similarity": [0.9],
        },
        {"seed": ["x"], "shape": [[1, 2]], "exif": [{"b": "y"}], "note": ["n"], "keep": ["no"]},
        {"seed": [2.5], "shape": [None], "exif": [None], "note": [7], "similarity": ["high"]},
    ]
    all_verbs(tmp_path, [pa.table(one | two) for one, two in zip(base, columns, strict=True)])
