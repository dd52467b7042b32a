"""Selections: frozen, sorted, balanced, reproducible; the pictures where they say they are."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from frenchcat.curate.dataset import Dataset, digest_of
from frenchcat.curate.errors import UserError
from frenchcat.curate.remove import Wish, matches, remove
from frenchcat.curate.select import Choice, open_selection, select
from tests.embedded import embedded, picture, unit_rows


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    made = embedded(tmp_path / "d", unit_rows(30), unit_rows(20, seed=1))
    for shard, rows in (("00000", 30), ("00001", 20)):
        path = Path(made.path(f"shards/{shard}.parquet"))
        table = pq.read_table(path)
        hosts = [
            "https://a.example.co.uk/x",
            *[f"https://p{n}.bbc.co.uk/{n}" for n in range(rows - 1)],
        ]
        table = table.set_column(table.column_names.index("url"), "url", [hosts])
        pq.write_table(table.append_column("score", [[n / rows for n in range(rows)]]), path)
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
    wish = Wish("key", made.table["key"][0].as_py())
    remove(dataset, wish, matches(dataset, wish))
    left = open_selection(dataset, "a")
    assert left.table["label"].to_pylist() == made.table["label"].to_pylist()[1:]
    assert left.digest != made.digest


def test_dropped_rows_are_not_selected(dataset: Dataset) -> None:
    keys = [f"00000{row:04d}" for row in range(30)]
    with dataset.publish("test") as publication:
        verdicts = {"key": keys, "keep": [row % 3 > 0 for row in range(30)]}
        pq.write_table(pa.table(verdicts), publication.path("verdicts/00000.parquet"))
    assert len(select(dataset, "a")) == 40


def test_an_empty_selection_says_which_rule_emptied_it(dataset: Dataset) -> None:
    keys = [f"00000{row:04d}" for row in range(30)]
    with dataset.publish("test") as publication:
        reasons = ["duplicate" if row < 3 else "too_small" for row in range(30)]
        verdicts = {"key": keys, "keep": [False] * 30, "reason": reasons}
        pq.write_table(pa.table(verdicts), publication.path("verdicts/00000.parquet"))
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
        ("../x", Choice(), "names no selection"),
        ("a", Choice(where="scor > 1"), "did you mean score"),
        ("a", Choice(where="score > 1; DROP TABLE rows"), "no condition|more than one"),
        ("a", Choice(where="score > 7"), "no row meets .score > 7.: 0 of 50 stored rows"),
        ("a", Choice(limit=0), "the limit is 0"),
        ("a", Choice(limit=3, balance="taste"), "no column 'taste' to balance by"),
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
