"""Licences and authors of planted rows: in the catalog, in rules and selections, in credits."""

import csv
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import frenchcat
from frenchcat.cli import app
from frenchcat.curate.config import resolve
from frenchcat.curate.credits import Credit, credits_of
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.errors import NotFound, UserError
from frenchcat.curate.export import export
from frenchcat.curate.remove import RemovalQuery, matches, remove
from frenchcat.curate.select import open_selection, select
from frenchcat.curate.verdict.dropped import reasons
from frenchcat.curate.verdict.settings import VerdictSettings
from frenchcat.curate.verdict.stage import verdict
from tests.sample.row import Row
from tests.sample.write import write

BY = "https://creativecommons.org/licenses/by/2.0/fr/"
PAGE = "https://a.example/page/1"


def key(number: int) -> str:
    return f"{number:09d}"


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Six rows: what each states is in its comment."""
    made = Dataset.create(tmp_path / "d", "d")
    uid = {"uid": "0" * 32}
    rows = [
        # the file alone: a licence, beside it a page; an author
        Row(signals=[("license", BY, None), ("license", PAGE, None), ("creator", "Ada", None)]),
        # the list alone: SPDX's name, a title, an author, a notice
        Row(
            columns={
                "license": "CC-BY-SA-4.0",
                "title": "<b>=Cat</b>",
                "author": "=Bo",
                "copyright": "(c) Bo",
            },
            signals=[("license", "CC-BY-SA-4.0", None), ("creator", "=Bo", None)],
        ),
        # nothing
        Row(caption="unknown"),
        # not the name of a licence
        Row(signals=[("license", "https://b.example/terms", None)]),
        # two that differ
        Row(signals=[("license", "CC BY 4.0", None), ("license", "cc0", None)]),
        Row(url="javascript:alert(1)", signals=[("license", "CC-BY-4.0", None)]),
    ]
    write(made, "00000", [Row(**{**vars(row), "columns": {**uid, **row.columns}}) for row in rows])
    select(made, "all")
    return made


def test_credits_are_what_list_site_and_file_say(dataset: Dataset) -> None:
    found = credits_of(dataset, {key(n): None for n in range(6)})
    assert [(row.author, row.licence, row.licence_url) for row in found] == [
        ("Ada", "CC BY 2.0", BY),
        ("=Bo", "CC BY-SA 4.0", "https://creativecommons.org/licenses/by-sa/4.0/"),
        (None, None, None),
        (None, "b.example/terms", "https://b.example/terms"),
        (None, "CC BY 4.0, CC0 1.0", None),
        (None, "CC BY 4.0", "https://creativecommons.org/licenses/by/4.0/"),
    ]
    assert found[1].title == "<b>=Cat</b>"
    assert found[1].copyright == "(c) Bo"
    assert (found[2].title, found[2].key) == ("unknown", key(2))
    assert found[5].source == "javascript:alert(1)"


def test_without_a_ledger_the_lists_columns_count(tmp_path: Path) -> None:
    made = Dataset.create(tmp_path / "d", "d")
    rows = [Row(columns={"License_URL": text}) for text in (BY, None, "mine")]
    write(made, "00000", rows)
    found = credits_of(made, {key(n): n for n in range(3)})
    assert [(row.licence, row.licence_url, row.times) for row in found] == [
        ("CC BY 2.0", BY, 0),
        (None, None, 1),
        ("mine", None, 2),
    ]


def test_a_rule_keeps_only_given_licences(dataset: Dataset) -> None:
    verdict(dataset, resolve(VerdictSettings, {"licences": ["CC BY"], "rules": {"x": "false"}}))
    dropped = reasons(dataset, "00000").to_pylist()
    assert [row["key"] for row in dropped] == [key(n) for n in (1, 2, 3, 4)]
    assert {row["reason"] for row in dropped} == {"licence"}


def test_the_rule_of_licences_has_its_name_alone(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="'licence' is the rule of `licences`"):
        resolve(VerdictSettings, {"licences": ["CC BY"], "rules": {"licence": "false"}})
    made = Dataset.create(tmp_path / "d", "d")
    write(made, "00000", [Row()])
    with pytest.raises(UserError, match=r"rule licence: .*neither the list nor the ledger"):
        verdict(made, resolve(VerdictSettings, {"licences": ["CC BY"]}))


def test_a_selection_of_licences(dataset: Dataset) -> None:
    opened = frenchcat.open(dataset.root)
    made = opened.select(
        "free", "key < '000000002' OR key = '000000005'", licences=["CC BY", "cc0"]
    )
    assert made.rows["key"].to_pylist() == [key(0), key(5)]
    assert opened.select("both", licences=["CC BY", "cc0"]).rows["key"].to_pylist() == [
        key(0),
        key(4),
        key(5),
    ]


def test_the_verb_counts_unknown_as_unknown_and_writes_both_files(
    dataset: Dataset, tmp_path: Path
) -> None:
    command = ["credits", dataset.root, "all", "--to", str(tmp_path / "out"), "--json"]
    done = CliRunner().invoke(app, command, catch_exceptions=False)
    told = json.loads(done.stdout)
    assert told["licences"] == {
        "CC BY 2.0": 1,
        "CC BY 4.0": 1,
        "CC BY 4.0, CC0 1.0": 1,
        "CC BY-SA 4.0": 1,
        "b.example/terms": 1,
        "none stated": 1,
    }
    assert (told["rows"], told["not_recognised"], told["without_author"]) == (6, 1, 4)
    assert told["digest"] == open_selection(dataset, "all").digest
    with open(tmp_path / "out/credits.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["key"] for row in rows] == [key(n) for n in range(6)]
    assert (rows[0]["author"], rows[1]["author"], rows[2]["licence"]) == ("Ada", "'=Bo", "")
    assert "times" not in rows[0]
    page = (tmp_path / "out/credits.html").read_text()
    assert "&lt;b&gt;=Cat&lt;/b&gt;" in page
    assert "<b>" not in page
    assert told["digest"] in page
    assert f'href="{BY}"' in page
    assert 'href="javascript' not in page
    assert ">none stated</a></td>" in page


def test_a_removed_row_has_no_credit(dataset: Dataset) -> None:
    asked = RemovalQuery("key", key(0))
    remove(dataset, asked, matches(dataset, asked))
    assert [row.key for row in credits_of(dataset, {key(0): 2, key(1): 3})] == [key(1)]
    assert len(frenchcat.credits(dataset.root, "all").rows) == 5


def test_mistakes_are_one_line(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"name a selection of .*; there are: all"):
        frenchcat.credits(dataset.root)
    with pytest.raises(NotFound, match="is not a dataset"):
        frenchcat.credits(tmp_path / "gone", "all")
    with pytest.raises(UserError, match="already exists and contains"):
        frenchcat.credits(dataset.root, "all", dataset.root)


# rdflib and jsonpath_rw warn of their own code
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning")
def test_mlcroissant_reads_the_export_with_each_rows_licence(
    dataset: Dataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    import mlcroissant

    folder = export(dataset, "all", tmp_path / "out", "croissant")
    found = mlcroissant.Dataset(folder / "croissant.json")
    assert not found.metadata.ctx.issues.errors
    assert "not standard" not in caplog.text
    assert "http://mlcommons.org/croissant/RAI/1.0" in str(found.metadata.conforms_to)
    assert BY.replace("fr/", "") in found.metadata.license
    assert "none stated: 1" in json.loads((folder / "croissant.json").read_text())["usageInfo"]
    assert found.metadata.data_collection_type == ["Web Scraping"]
    rows = [
        {name.removeprefix("rows/"): value for name, value in row.items()}
        for row in found.records("rows")
    ]
    assert len(rows) == 6
    assert rows[0]["author"] == b"Ada"
    assert rows[0]["licence"] == b"CC BY 2.0"


def test_a_credit_names_every_field_that_is_asked_for() -> None:
    assert set(Credit.__dataclass_fields__) >= {"author", "title", "licence", "source", "key"}
