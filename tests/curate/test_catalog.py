"""Views over a dataset's files, joined by key."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from frenchcat.curate.catalog import Catalog
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.errors import UserError
from frenchcat.curate.known_columns import KnownColumn, known_columns
from frenchcat.curate.removals import Request, log
from frenchcat.curate.sql_text import quoted
from tests.sample.embedded import add_shard
from tests.sample.vectors import unit_rows


def write(dataset: Dataset, relative: str, columns: dict[str, list[object]]) -> None:
    with dataset.publish("test") as publication:
        pq.write_table(pa.table(columns), publication.path(relative))


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    made = Dataset.create(tmp_path / "d", "d")
    first = {"key": ["000000000", "000000001", "000000002"], "url": ["a", "b", "c"]}
    write(
        made,
        "shards/00000.parquet",
        {**first, "status": ["success", "success", "failed_to_download"], "width": [1, 2, None]},
    )
    second = {"key": ["000010000"], "url": ["d"], "status": ["success"], "width": [9]}
    write(made, "shards/00001.parquet", {**second, "artist": ["Ann"]})
    made.write_json("stages/download/00000.json", {})
    made.write_json("stages/download/00001.json", {})
    return made


def test_rows_are_all_and_samples_the_stored_ones(dataset: Dataset) -> None:
    with Catalog(dataset) as catalog:
        assert catalog.table(["shard", "key"], view="rows").num_rows == 4
        assert catalog.keys() == ["000000000", "000000001", "000010000"]
        assert catalog.keys("width >= 2 and shard = '00001'") == ["000010000"]
        assert catalog.count("artist is null") == 2


def test_scores_and_verdicts_are_joined_by_key(dataset: Dataset) -> None:
    write(dataset, "scores/00000.parquet", {"key": ["000000001"], "punsafe": [0.5]})
    write(dataset, "verdicts/00001.parquet", {"key": ["000010000"], "keep": [False]})
    with Catalog(dataset) as catalog:
        table = catalog.table(["key", "punsafe", "keep"], order="key")
    assert table["punsafe"].to_pylist() == [None, 0.5, None]
    assert table["keep"].to_pylist() == [None, None, False]


def test_the_names_of_its_folders_say_nothing_of_its_rows(dataset: Dataset, tmp_path: Path) -> None:
    with Catalog(dataset) as catalog:
        before = catalog.table()
    moved = tmp_path / "url=x" / "artist=Bob" / "width=5"
    moved.parent.mkdir(parents=True)
    Path(dataset.root).rename(moved)
    with Catalog(Dataset.open(moved)) as catalog:
        assert catalog.table().equals(before)


@pytest.mark.parametrize("name", ["[x]", "a?b", "a*b", "**", "[!x]", "[[]x]"])
def test_a_folder_named_like_a_pattern_is_no_other_folder(
    dataset: Dataset, tmp_path: Path, name: str
) -> None:
    """DuckDB takes `[x]` for `x`, whose files another dataset may have there."""
    for number, beside in enumerate(("x", "[x]", "a?b", "a*b", "acb", "**", "[!x]", "y", "[[]x]")):
        made = Dataset.create(tmp_path / beside, "d")
        columns = {"key": ["000000000"], "url": [beside], "status": ["success"]}
        write(made, "shards/00000.parquet", {**columns, f"own_{number}": [number]})
        write(made, "scores/00000.parquet", {"key": ["000000000"], "punsafe": [float(number)]})
        made.write_json("stages/download/00000.json", {})
    with Catalog(Dataset.open(tmp_path / name)) as catalog:
        assert catalog.table(["url"])["url"].to_pylist() == [name]
        assert catalog.count("punsafe >= 0") == 1


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("widht > 2", "no column 'widht'.*did you mean width"),
        ("zzz > 2", "no column 'zzz'.*known: .*url"),
        ("url::integer > 2", "fails"),
        ("width > 'x'", "fails"),
        ("TRUE) OR (SELECT TRUE", "not a condition"),
    ],
)
def test_a_bad_condition_is_one_line(dataset: Dataset, where: str, said: str) -> None:
    with Catalog(dataset) as catalog, pytest.raises(UserError, match=said) as caught:
        catalog.keys(where)
    assert "\n" not in str(caught.value)


def test_no_file_outside_the_dataset_can_be_read(dataset: Dataset, tmp_path: Path) -> None:
    import duckdb

    (tmp_path / "secret.csv").write_text("a\n1\n")
    with Catalog(dataset) as catalog:
        for sql in (f"SELECT * FROM '{tmp_path}/secret.csv'", "SET enable_external_access = true"):
            with pytest.raises(duckdb.Error):
                catalog.duck.execute(sql)


def test_an_empty_dataset_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no shards; first: frenchcat download URLS --out .*/e"):
        Catalog(Dataset.create(tmp_path / "e", "e"))


def test_the_lists_own_columns_stand_beside_verdicts_and_scores(dataset: Dataset) -> None:
    """Whether or not a score or a verdict was made: a condition keeps its meaning."""
    path = Path(dataset.path("shards/00001.parquet"))
    own = {"Keep": [True], "reason": ["because"], "punsafe": ["low"], "list_reason": ["another"]}
    pq.write_table(pa.table({**pq.read_table(path).to_pydict(), **own}), path)
    listed = "list_Keep and list_reason = 'because' and list_punsafe = 'low'"
    with Catalog(dataset) as catalog:
        assert not catalog.judged
        assert catalog.count(f"{listed} and list_list_reason = 'another'") == 1
        for name in ("keep", "reason", "punsafe"):
            with pytest.raises(UserError, match=f"no column '{name}'.*did you mean list_"):
                catalog.count(f"{name} is null")
    verdict: dict[str, list[object]] = {"key": ["000010000"], "keep": [False], "reason": ["small"]}
    write(dataset, "verdicts/00001.parquet", verdict)
    write(dataset, "scores/00001.parquet", {"key": ["000010000"], "punsafe": [0.5]})
    with Catalog(dataset) as catalog:
        assert catalog.judged
        assert catalog.count(listed) == 1
        (row,) = catalog.table(["keep", "reason", "punsafe"], "shard = '00001'").to_pylist()
    assert row == {"keep": False, "reason": "small", "punsafe": 0.5}


ODD = (
    *("filename", "file_row_number", "rowid", "said", "unsaid", "place", "turn", "current_date"),
    *('q"x', "a b.c", "'"),
)


def test_a_column_may_have_any_name(dataset: Dataset) -> None:
    path = Path(dataset.path("shards/00001.parquet"))
    values = {name: [100 + place] for place, name in enumerate(ODD)}
    pq.write_table(pa.table({**pq.read_table(path).to_pydict(), **values}), path)
    with Catalog(dataset) as catalog:
        for name, (value,) in values.items():
            called = next(n for n in (name, f"list_{name}") if n in catalog.columns())
            assert catalog.keys(f"{quoted(called)} = {value}") == ["000010000"]
        alone = catalog.run(catalog.of_shard("00001")).to_pylist()
    assert [row["shard"] for row in alone] == ["00001"]


def test_of_names_that_differ_in_case_ours_has_the_plain_one(dataset: Dataset) -> None:
    """As in a folder of img2dataset's with LAION's WIDTH, which comes before its own width."""
    path = Path(dataset.path("shards/00001.parquet"))
    own = {"WIDTH": [640], "Foo": [1], "foo": [2]}
    pq.write_table(pa.table({**own, **pq.read_table(path).to_pydict()}), path)
    with Catalog(dataset) as catalog:
        assert catalog.keys("width = 9 and list_WIDTH = 640 and foo = 1 and foo_1 = 2") == [
            "000010000"
        ]
        assert catalog.count("width = 640") == 0


def test_a_heads_column_is_not_the_lists(dataset: Dataset) -> None:
    path = Path(dataset.path("shards/00001.parquet"))
    own = {"AESTHETIC": [9.0]}
    pq.write_table(pa.table({**pq.read_table(path).to_pydict(), **own}), path)
    write(dataset, "scores/00001.parquet", {"key": ["000010000"], "aesthetic": [0.5]})
    with Catalog(dataset) as catalog:
        assert catalog.count("aesthetic = 0.5 and list_AESTHETIC = 9") == 1


def test_columns_of_two_types_in_an_object_store() -> None:
    dataset = Dataset.create("memory://columns/d", "d")
    for shard, seed in (("00000", [1, 2, 3]), ("00001", ["a", None])):
        add_shard(dataset, shard, unit_rows(len(seed)), seed=seed, keep=seed)
    with Catalog(dataset) as catalog:
        found = catalog.table(["shard", "seed", "list_keep"], order="key").to_pylist()
        assert catalog.run(catalog.of_shard("00001")).num_rows == 2
    assert [row["shard"] for row in found] == ["00000"] * 3 + ["00001"] * 2
    assert [row["seed"] for row in found] == ["1", "2", "3", "a", None]
    assert [row["list_keep"] for row in found] == ["1", "2", "3", "a", None]


def test_the_columns_are_known_without_a_query(dataset: Dataset) -> None:
    path = Path(dataset.path("shards/00001.parquet"))
    own = {"similarity": ["0.9"], "Domain": [True], "width": [9.5], "tags": [["a"]]}
    pq.write_table(pa.table({**pq.read_table(path).to_pydict(), **own}), path)
    write(dataset, "scores/00001.parquet", {"key": ["000010000"], "similarity": [0.25]})
    write(dataset, "verdicts/00001.parquet", {"key": ["000010000"], "keep": [False]})
    found = known_columns(dataset)
    with Catalog(dataset) as catalog:
        catalog.add_domains()
        assert {name: column.type for name, column in found.items()} == catalog.columns()
    assert found["list_similarity"] == KnownColumn("VARCHAR", "list", "similarity")
    assert found["list_Domain"] == KnownColumn("BOOLEAN", "list", "Domain")
    assert found["tags"] == KnownColumn("VARCHAR[]", "list")
    assert found["caption_similarity"].made_by == found["similarity"].made_by == "score"
    assert (found["width"].type, found["keep"].made_by) == ("DOUBLE", "verdict")


def test_similarity_of_a_caption_has_a_name_that_no_hit_has(dataset: Dataset) -> None:
    write(dataset, "scores/00001.parquet", {"key": ["000010000"], "similarity": [0.25]})
    with Catalog(dataset) as catalog:
        assert catalog.keys("caption_similarity = similarity") == ["000010000"]
        alone = catalog.run(catalog.of_shard("00001")).to_pylist()
    assert alone[0]["caption_similarity"] == 0.25


@pytest.mark.parametrize(
    ("first", "second", "found"),
    [
        (pa.nulls(3), pa.array([7]), [None, None, 7]),
        (pa.array([1, 2, 3]), pa.array(["x"]), ["1", "2", "x"]),
        (pa.array([1, 2, 3]), pa.array([[4, 5]]), ["1", "2", "[4,5]"]),
        (pa.array([1, 2, 3]), pa.array([0.5]), [1.0, 2.0, 0.5]),
        (
            pa.array([{"a": 1}, {"a": 2}, None]),
            pa.array([{"A": "x", "b": True}]),
            [{"a": "1", "b": None}, {"a": "2", "b": None}, {"a": "x", "b": True}],
        ),
        (pa.array([[1], [], None]), pa.array([["x"]]), [["1"], [], ["x"]]),
    ],
    ids=["null", "text", "list", "float", "struct", "lists"],
)
def test_a_column_of_two_types_has_one(
    first: pa.Array, second: pa.Array, found: list[object], dataset: Dataset
) -> None:
    for shard, column in (("00000", first), ("00001", second)):
        path = Path(dataset.path(f"shards/{shard}.parquet"))
        pq.write_table(pq.read_table(path).append_column("seed", column), path)
    with Catalog(dataset) as catalog:
        assert catalog.table(["seed"], order="key")["seed"].to_pylist() == found
        alone = [catalog.run(catalog.of_shard(shard)) for shard in ("00000", "00001")]
        assert alone[0].schema.field("seed").type == alone[1].schema.field("seed").type


def test_a_row_is_opted_out_by_signals_that_say_so_and_by_no_others(dataset: Dataset) -> None:
    keys = ["000000000", "000000000", "000000000", "000000001", "000010000"]
    signals = ["tdmrep", "noai", "noai", "noai", "robots"]
    said = ["opt_out", "opt_out", "opt_out", "allow", "opt_out"]
    rights: dict[str, list[object]] = {"key": [*keys], "signal": [*signals], "decision": [*said]}
    write(dataset, "rights/00000.parquet", {**rights, "value": ["x"] * 5})
    with Catalog(dataset) as catalog:
        found = catalog.table(["key", "opted_out"], order="key").to_pylist()
        assert catalog.table(view="rights").num_rows == 5
    told = {row["key"]: row["opted_out"] for row in found}
    assert told == {"000000000": "noai, tdmrep", "000000001": None, "000010000": "robots"}


def test_a_row_is_synthetic_where_a_fact_says_so(dataset: Dataset) -> None:
    rights: dict[str, list[object]] = {
        "key": ["000000000", "000000000", "000000001", "000010000"],
        "signal": ["synthetic", "synthetic", "digital_source_type", "synthetic"],
        "value": ["trainedAlgorithmicMedia", "Midjourney", "digitalCapture", "Midjourney"],
        "decision": [None] * 4,
    }
    write(dataset, "rights/00000.parquet", rights)
    with Catalog(dataset) as catalog:
        found = catalog.table(["key", "synthetic"], order="key").to_pylist()
        assert catalog.keys("synthetic IS NULL") == ["000000001"]
    told = {row["key"]: row["synthetic"] for row in found}
    both = "Midjourney, trainedAlgorithmicMedia"
    assert told == {"000000000": both, "000000001": None, "000010000": "Midjourney"}


def test_one_shard_alone_is_that_part_of_all(dataset: Dataset) -> None:
    write(dataset, "scores/00000.parquet", {"key": ["000000001"], "punsafe": [0.5]})
    write(dataset, "verdicts/00001.parquet", {"key": ["000010000"], "keep": [False]})
    rights: dict[str, list[object]] = {
        "key": ["000000000", "000000001"],
        "signal": ["noai", "noai"],
        "value": ["noai", "noai"],
        "decision": ["opt_out", "allow"],
    }
    write(dataset, "rights/00000.parquet", rights)
    with Catalog(dataset) as catalog:
        columns = ", ".join(sorted(catalog.columns()))
        for shard in ("00000", "00001"):
            whole = catalog.table(sorted(catalog.columns()), f"shard = '{shard}'", order="key")
            alone = f"SELECT {columns} FROM ({catalog.of_shard(shard)}) ORDER BY key"
            assert catalog.run(alone).to_pylist() == whole.to_pylist()


def test_removed_rows_are_no_samples(dataset: Dataset) -> None:
    log(dataset, Request(1, "key", "2026-01-01T00:00:00Z", keys=("000000001",)))
    with Catalog(dataset) as catalog:
        assert catalog.keys() == ["000000000", "000010000"]
        assert catalog.count("key = '000000001' or true") == 2
        catalog.add_domains()
        assert catalog.count() == 2


def test_a_domain_is_what_its_owner_registered(dataset: Dataset) -> None:
    path = Path(dataset.path("shards/00000.parquet"))
    urls = ["http://a.b.example.co.uk/x", "http://example.org:8080/", "http://x.test/"]
    columns = pq.read_table(path).to_pydict()
    pq.write_table(pa.table({**columns, "url": urls, 'odd "name': [1, 2, 3]}), path)
    with Catalog(dataset) as catalog:
        catalog.add_domains()
        catalog.add_domains()
        found = catalog.table(["domain", 'odd "name'], "shard = '00000'", order="key").to_pylist()
        assert catalog.count("domain = 'example.co.uk' and width = 1") == 1
    assert [tuple(row.values()) for row in found] == [("example.co.uk", 1), ("example.org", 2)]


def test_a_folder_beside_the_dataset_is_outside(dataset: Dataset) -> None:
    import duckdb

    secret = Path(dataset.root + "-secret.csv")
    secret.write_text("a\n1\n")
    with Catalog(dataset) as catalog:
        for path in (secret, f"{dataset.root}/../{secret.name}"):
            with pytest.raises(duckdb.Error):
                catalog.duck.execute(f"SELECT * FROM '{path}'")
        with pytest.raises(duckdb.Error):
            catalog.duck.execute(f"COPY samples TO '{secret}'")
    assert secret.read_text() == "a\n1\n"


CONDITIONS = [
    *("width >= 2", "punsafe > 0.3", "keep", "keep is null", "duplicate_of is null"),
    *("coalesce(punsafe, 1) > 0.3 and (keep is null or width = 9)", "shard = '00001'"),
    *("caption_similarity > 0.1", "Similarity > 0.1", "samples.PUNSAFE is null", "artist = 'Ann'"),
]


@pytest.mark.parametrize("where", CONDITIONS)
def test_a_query_that_joins_what_it_names_says_what_the_whole_view_says(
    dataset: Dataset, where: str
) -> None:
    scores = {"key": ["000000000", "000000001"], "punsafe": [0.5, None], "similarity": [0.3, 0.0]}
    write(dataset, "scores/00000.parquet", scores)
    copies = {"key": ["000000001"], "duplicate_of": ["000000000"]}
    write(dataset, "duplicates/00000.parquet", copies)
    write(dataset, "verdicts/00001.parquet", {"key": ["000010000"], "keep": [False]})
    log(dataset, Request(1, "key", "2026-01-01T00:00:00Z", keys=("000000001",)))
    with Catalog(dataset) as catalog:
        whole = catalog.run(f"SELECT key FROM samples WHERE {where} ORDER BY key")
        assert catalog.keys(where) == whole["key"].to_pylist()
        assert catalog.count(where) == whole.num_rows
        chosen = catalog.table(["key", "keep"], where, order="key")
        assert chosen["key"].to_pylist() == whole["key"].to_pylist()


def test_a_query_reads_no_folder_that_it_does_not_name(dataset: Dataset) -> None:
    """Joining a folder costs more than the rest of most queries."""
    for folder in ("scores", "verdicts"):
        write(dataset, f"{folder}/00000.parquet", {"key": ["000000000"], folder: [1]})
    with Catalog(dataset) as catalog:
        Path(dataset.path("verdicts/00000.parquet")).write_bytes(b"gone")
        assert catalog.count("width = 1") == 1
        assert catalog.keys("scores = 1") == ["000000000"]
        assert catalog.table(["key", "scores"]).num_rows == 3
