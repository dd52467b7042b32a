"""Selections: frozen, sorted, balanced, reproducible; the pictures where they say they are."""

import tempfile
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frenchcat.curate.catalog import Catalog
from frenchcat.curate.dataset import Dataset, digest_of, file_sha256
from frenchcat.curate.errors import AlreadyThere, UserError
from frenchcat.curate.remove import RemovalQuery, matches, remove
from frenchcat.curate.select import Choice, names, open_selection, purge, select, sql_of
from tests.sample.columns import add_columns, set_columns
from tests.sample.embedded import embedded
from tests.sample.pictures import picture
from tests.sample.tars import read_tar, write_tar
from tests.sample.vectors import unit_rows

FIRST = "shards/00000.parquet"


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    made = embedded(tmp_path / "d", unit_rows(30), unit_rows(20, seed=1))
    for shard, rows in (("00000", 30), ("00001", 20)):
        hosts = [
            "https://a.example.co.uk/x",
            *[f"https://p{n}.bbc.co.uk/{n}" for n in range(rows - 1)],
        ]
        score = [n / rows for n in range(rows)]
        set_columns(made, f"shards/{shard}.parquet", url=hosts, score=score)
    return made


def test_rows_are_sorted_placed_and_kept_with_their_sql(dataset: Dataset) -> None:
    made = select(dataset, "cats", Choice(where="score >= .5"))
    again = open_selection(dataset, "cats")
    assert again == made
    assert "score >= .5" in again.sql
    keys = again.table["key"].to_pylist()
    assert keys == sorted(keys)
    assert len(keys) == 25
    for row in again.table.to_pylist():
        data = Path(dataset.path(f"shards/{row['shard']}.tar")).read_bytes()
        assert data[row["offset"] :][: row["size"]] == picture(int(row["key"][-4:]))


def test_the_digest_names_the_rows_and_nothing_else(dataset: Dataset) -> None:
    one = select(dataset, "a", Choice(where="score >= .5"))
    assert select(dataset, "b", Choice(where="not (score < .5)")).digest == one.digest
    assert select(dataset, "c", Choice(where="score > .6")).digest != one.digest
    assert select(dataset, "d", Choice(where="score >= .5", weight="2")).digest != one.digest


def test_a_limit_keeps_the_same_rows_of_a_seed(dataset: Dataset) -> None:
    first = select(dataset, "a", Choice(limit=10, seed=1))
    assert len(first) == 10
    assert select(dataset, "a", Choice(limit=10, seed=1)).digest == first.digest
    assert select(dataset, "a", Choice(limit=10, seed=2)).digest != first.digest


def test_a_condition_may_name_the_domain_and_a_list_any_column(dataset: Dataset) -> None:
    own = {"place": [1] * 30, "turn": [1] * 30, "weight": [0] * 30, "domain": ["a"] * 30}
    set_columns(dataset, FIRST, **own)
    where = "domain = 'example.co.uk' and list_domain = 'a' and place = turn and weight = 0"
    assert len(select(dataset, "few", Choice(where=where))) == 1
    assert len(select(dataset, "most", Choice(where="place = 1", limit=7))) == 7


def test_balance_takes_as_many_of_each_domain_as_can_be(dataset: Dataset) -> None:
    made = select(dataset, "a", Choice(limit=4, balance="domain"))
    urls = made.table["url"].to_pylist()
    assert sum("example.co.uk" in url for url in urls) == 2
    assert sum("bbc.co.uk" in url for url in urls) == 2


HIGH = "CASE WHEN score >= .6 THEN 'high' WHEN score < .3 THEN 'low' END"


def test_labels_are_a_column_and_part_of_the_digest(dataset: Dataset) -> None:
    plain, made = select(dataset, "a"), select(dataset, "b", Choice(label=HIGH))
    again = open_selection(dataset, "b")
    assert again == made
    scores = [n / 30 for n in range(30)] + [n / 20 for n in range(20)]
    wanted = ["high" if s >= 0.6 else "low" if s < 0.3 else None for s in scores]
    assert again.table["label"].to_pylist() == wanted
    other = select(dataset, "c", Choice(label=HIGH.replace("low", "deep")))
    assert len({plain.digest, made.digest, other.digest}) == 3


def test_a_selection_without_labels_is_the_file_it_always_was(dataset: Dataset) -> None:
    made = select(dataset, "a", Choice(where="score > .5"))
    path = dataset.path("selections/a.parquet")
    assert "label" not in made.table.column_names
    assert b"label" not in pq.read_schema(path).metadata[b"frenchcat"]
    named = ("key", "caption", "stored_sha256", "weight")
    assert made.digest == digest_of([made.table[name].to_pylist() for name in named])


def test_labels_outlive_a_removal(dataset: Dataset) -> None:
    made = select(dataset, "a", Choice(label=HIGH))
    query = RemovalQuery("key", made.table["key"][0].as_py())
    remove(dataset, query, matches(dataset, query))
    left = open_selection(dataset, "a")
    assert left.table["label"].to_pylist() == made.table["label"].to_pylist()[1:]
    assert left.digest != made.digest


def test_dropped_rows_are_not_selected(dataset: Dataset) -> None:
    add_columns(dataset, "verdicts", keep=[row % 3 > 0 for row in range(30)])
    assert len(select(dataset, "a")) == 40


def test_an_empty_selection_says_which_rule_emptied_it(dataset: Dataset) -> None:
    reasons = ["duplicate" if row < 3 else "too_small" for row in range(30)]
    add_columns(dataset, "verdicts", keep=[False] * 30, reason=reasons)
    with pytest.raises(UserError, match=r"the 30 rows .* verdicts: too_small 27, duplicate 3;"):
        select(dataset, "a", Choice(where="shard = '00000'"))
    with pytest.raises(UserError, match=r"the 2 rows .* verdicts: duplicate 2;"):
        select(dataset, "a", Choice(where="key < '000000002'"))


def test_select_imports_by_itself() -> None:
    import subprocess
    import sys

    subprocess.run([sys.executable, "-c", "import frenchcat.curate.select"], check=True)


@pytest.mark.parametrize(
    ("name", "choice", "said"),
    [
        ("../x", Choice(), "is not a name for a selection"),
        ("a", Choice(where="scor > 1"), "did you mean score"),
        ("a", Choice(where="score > 1; DROP TABLE rows"), "not a condition|more than one"),
        ("a", Choice(where="score > 7"), "no row meets .score > 7.: 0 of 50 stored rows"),
        ("a", Choice(limit=0), "the limit is 0"),
        ("a", Choice(limit=3, balance="taste"), "no column 'taste' to balance by"),
        ("a", Choice(balance="domain"), "--limit 10000"),
        ("a", Choice(weight="score - 1"), "missing, negative or infinite"),
        ("a", Choice(weight="(select 1)"), "not allowed"),
        ("a", Choice(label="(select 'x')"), "not allowed"),
        ("a", Choice(label="upper(scor)"), "did you mean score"),
        ("a", Choice(label="CASE WHEN score > 7 THEN 'x' END"), "null for all 50 rows"),
    ],
)
def test_bad_choices_are_one_line_and_leave_nothing(
    dataset: Dataset, name: str, choice: Choice, said: str
) -> None:
    with pytest.raises(UserError, match=said):
        select(dataset, name, choice)
    assert not dataset.exists("selections")


def test_an_unknown_selection_names_those_there_are(dataset: Dataset) -> None:
    select(dataset, "cats")
    with pytest.raises(UserError, match=r"no selection 'dogs'; there are: cats"):
        open_selection(dataset, "dogs")


@pytest.mark.parametrize("name", ["caption", "stored_sha256"])
def test_the_digest_names_the_words_and_the_bytes(dataset: Dataset, name: str) -> None:
    seen = set()
    for text in ("a cat", "another cat"):
        set_columns(dataset, FIRST, **{name: [text] * 30})
        seen.add(select(dataset, "a", Choice(where="shard = '00000'")).digest)
    assert len(seen) == 2
    set_columns(dataset, FIRST, score=[1.0] * 30)  # what is not trained on is not named
    assert select(dataset, "a", Choice(where="shard = '00000'")).digest in seen


def test_the_digest_names_the_keys(dataset: Dataset) -> None:
    for shard, rows in (("00000", 30), ("00001", 20)):
        set_columns(dataset, f"shards/{shard}.parquet", caption=["the same"] * rows)
    one = select(dataset, "a", Choice(where="key = '000000001'"))
    assert select(dataset, "a", Choice(where="key = '000000002'")).digest != one.digest


@pytest.mark.parametrize("weight", ["'inf'::double", "'nan'::double", "null", "-1e-9"])
def test_a_weight_is_a_number_of_at_least_0(dataset: Dataset, weight: str) -> None:
    one_bad = f"CASE WHEN key = '000000003' THEN {weight} ELSE 1 END"
    with pytest.raises(UserError, match="missing, negative or infinite"):
        select(dataset, "a", Choice(weight=one_bad))
    assert select(dataset, "a", Choice(weight="0")).table["weight"].to_pylist() == [0.0] * 50


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.integers(1, 40))
@settings(max_examples=8)
def test_balance_fills_every_value_to_the_same_height(counts: list[int], limit: int) -> None:
    """Against pouring water: one row at a time to the lowest that has some left."""
    with tempfile.TemporaryDirectory() as folder:
        filled, taken = balanced(Dataset.create(folder, "d"), counts, limit)
    assert sorted(taken) == sorted(filled)


def balanced(made: Dataset, counts: list[int], limit: int) -> tuple[list[int], list[int]]:
    """Rows of each value: by pouring, and as they are chosen."""
    values = [value for value, count in enumerate(counts) for _ in range(count)]
    keys = [f"00000{row:04d}" for row in range(len(values))]
    filled = [0] * len(counts)
    for _ in range(min(limit, len(values))):
        left = [value for value, count in enumerate(counts) if filled[value] < count]
        filled[min(left, key=lambda value: filled[value])] += 1
    with made.publish("shard") as publication:
        sidecar = {"key": keys, "value": values, "status": ["success"] * len(keys)}
        pq.write_table(pa.table(sidecar), publication.path("shards/00000.parquet"))
    made.write_json("stages/download/00000.json", {})
    with Catalog(made) as catalog:
        sql = sql_of(catalog, Choice(limit=limit, balance="value"))
        chosen = catalog.run(sql)["key"].to_pylist()
    taken = Counter(values[keys.index(key)] for key in chosen)
    return [count for count in filled if count], list(taken.values())


def test_a_limit_is_drawn_from_kept_rows_alone(dataset: Dataset) -> None:
    for shard, rows in (("00000", 30), ("00001", 20)):
        keep = [row % 2 > 0 for row in range(rows)]
        reason = [None if kept else "even" for kept in keep]
        add_columns(dataset, "verdicts", shard, keep=keep, reason=reason)
    for choice in (Choice(limit=20), Choice(limit=20, balance="shard"), Choice(limit=100)):
        made = select(dataset, "a", choice)
        assert len(made) == min(choice.limit or 0, 25)
        assert {int(key) % 2 for key in made.table["key"].to_pylist()} == {1}


def test_a_selection_is_frozen(dataset: Dataset) -> None:
    """Later verdicts and scores do not change it; only a removal takes rows out."""
    made = select(dataset, "a", Choice(where="score >= .5"))
    keys = made.table["key"].to_pylist()
    verdicts = {"key": keys, "keep": [False] * len(keys), "reason": ["late"] * len(keys)}
    with dataset.publish("test") as publication:
        pq.write_table(pa.table(verdicts), publication.path("verdicts/00000.parquet"))
    set_columns(dataset, FIRST, score=[0.0] * 30)
    assert open_selection(dataset, "a") == made


def test_removed_rows_are_in_no_selection_old_or_new(dataset: Dataset) -> None:
    old = select(dataset, "old")
    gone = old.table["key"].to_pylist()[7]
    query = RemovalQuery("key", gone)
    remove(dataset, query, matches(dataset, query))
    kept = [key for key in old.table["key"].to_pylist() if key != gone]
    for found in (open_selection(dataset, "old"), select(dataset, "new", Choice(limit=50))):
        assert found.table["key"].to_pylist() == kept
    assert open_selection(dataset, "old").digest == select(dataset, "new").digest != old.digest


def test_pictures_of_a_tar_that_was_written_anew_are_found(dataset: Dataset) -> None:
    select(dataset, "a", Choice(where="shard = '00001'"))
    tar = Path(dataset.path("shards/00001.tar"))
    files = read_tar(tar)
    write_tar(tar, reversed(files.items()))  # in another order
    made = dataset.read_json("stages/download/00001.json")
    made["outputs"]["shards/00001.tar"]["sha256"] = file_sha256(tar)
    dataset.write_json("stages/download/00001.json", made)
    for again in range(2):
        for row in open_selection(dataset, "a").table.to_pylist():
            data = tar.read_bytes()[row["offset"] :][: row["size"]]
            assert data == files[f"{row['key']}.{row['extension']}"]
        if not again:
            purge(dataset)


def test_a_lists_own_column_keep_is_no_verdict(dataset: Dataset) -> None:
    set_columns(dataset, FIRST, keep=["maybe"] * 30)
    assert len(select(dataset, "a")) == 50
    set_columns(dataset, FIRST, keep=[False] * 30)
    assert len(select(dataset, "a")) == 50
    assert len(select(dataset, "a", Choice(where="list_keep is null"))) == 20


def test_a_selection_of_the_same_name_takes_the_place_of_the_old(dataset: Dataset) -> None:
    select(dataset, "a")
    made = select(dataset, "a", Choice(where="shard = '00001'"))
    assert open_selection(dataset, "a") == made
    assert (len(made), names(dataset)) == (20, ["a"])


def test_what_users_ask_for_takes_no_other_selection_s_place(dataset: Dataset) -> None:
    select(dataset, "a", Choice(where="score >= .5"), replace=False)
    before = file_sha256(dataset.path("selections/a.parquet"))
    assert len(select(dataset, "a", Choice(where="score >= .5"), replace=False)) == 25
    for choice in (
        Choice(where="score >= .6"),
        Choice(where="not (score < .5)"),  # the same rows, another question
        Choice(where="score >= .5", weight="2"),
        Choice(),
    ):
        with pytest.raises(
            AlreadyThere, match=r"selection 'a' already, of 25 rows \('score >= .5'"
        ):
            select(dataset, "a", choice, replace=False)
        assert file_sha256(dataset.path("selections/a.parquet")) == before
    set_columns(dataset, FIRST, score=[1.0] * 30)  # the same question, other rows
    with pytest.raises(AlreadyThere, match="40 rows"):
        select(dataset, "a", Choice(where="score >= .5"), replace=False)
    assert len(select(dataset, "a", Choice(where="score >= .6"), replace=True)) == 38
