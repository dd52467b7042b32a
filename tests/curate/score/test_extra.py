"""`score.extra`: classes of the user's own, and what is refused of them."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from frenchcat.curate.catalog import Catalog
from frenchcat.curate.config import resolve
from frenchcat.curate.errors import UserError
from frenchcat.curate.report.examples import Examples
from frenchcat.curate.report.histograms import score_histograms
from frenchcat.curate.report.outcomes import open_outcomes
from frenchcat.curate.score.builtin import SCORES
from frenchcat.curate.score.settings import IDENTITY, ScoreSettings
from frenchcat.curate.select import Choice, select
from frenchcat.curate.stage import Engine
from frenchcat.pipeline import BuildSettings, build
from tests.curate.score.folders import run, scores, stored
from tests.sample.downloaded import Pair, downloaded, given
from tests.sample.pictures import photographs
from tests.trees import tree_digest

DOCS = Path(__file__).parents[3] / "docs" / "scores.md"
BROKEN = 2
HEAD = "from frenchcat.curate.score import Column\n"
WORDS = """
class Words:
    name, version = "words", 1
    columns = (Column("upper", "bool", "written large"), Column("vowels", "int32"))
    def of_rows(self, rows):
        captions = rows["caption"].to_pylist()
        return {"upper": [c.isupper() for c in captions],
                "vowels": [sum(letter in "aeiou" for letter in c) for c in captions]}
"""
VECTORS = """
class First:
    name = "first"
    columns = [Column("first", "float64", "the first number of the vector", probability=True)]
    def of_vectors(self, pictures, texts):
        return {"first": pictures[:, 0].astype("float64")}
"""


def rows(count: int = 5, seed: int = 0) -> list[Pair]:
    listed: list[Pair] = [
        (data, f"picture {row} of {seed}") for row, data in enumerate(photographs(count, seed))
    ]
    listed[BROKEN] = (b"no picture", "BROKEN")
    return listed


_modules = iter(range(1_000_000))


def module(text: str) -> str:
    """The name of a new module of this text in the folder that the test works in."""
    name = f"own_score_{next(_modules)}"
    Path(f"{name}.py").write_text(HEAD + text)
    return name


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.syspath_prepend(str(tmp_path / "elsewhere"))  # the path is put back after the test


def test_the_example_of_docs_scores_md_is_a_column_like_any_other(tmp_path: Path) -> None:
    (example,) = re.findall(r"```python\n(# brightness\.py\n.*?)```", DOCS.read_text(), re.S)
    assert len([line for line in example.splitlines() if line.strip()]) <= 10
    Path("brightness.py").write_text(example)
    dataset = downloaded(tmp_path / "d", {"00000": rows(), "00001": rows(seed=1)})
    named: dict[str, Any] = {"scores": ["sharpness"], "extra": ["brightness:Brightness"]}
    run(dataset, Engine(workers=2), **named)  # workers import the class anew
    for shard, seed in (("00000", 0), ("00001", 1)):
        expected = [
            None if row == BROKEN else np.asarray(stored(data or b"").rgb, np.float64).mean() / 255
            for row, (data, _) in enumerate(rows(seed=seed))
        ]
        found = [row["brightness"] for row in scores(dataset, shard).values()]
        assert found == [None if v is None else pytest.approx(v, rel=1e-5) for v in expected]
    middle = float(np.median([v for v in found if v is not None]))
    with Catalog(dataset) as catalog:
        assert catalog.columns()["brightness"] == "FLOAT"
        bright = catalog.keys(f"brightness >= {middle} and shard = '00001'")
        assert len(bright) == 2
    with open_outcomes(dataset) as catalog:
        charts = score_histograms(catalog, Examples(catalog))
    said = {chart.name: (chart.said, sum(chart.counts), chart.missing) for chart in charts}
    assert said["brightness"] == ("mean of all pixels, black 0 to white 1", 8, 2)
    with dataset.lock():
        assert len(select(dataset, "bright", Choice(f"brightness >= {middle}"))) >= 2
    assert run(dataset, **named).done == 0


def test_classes_of_captions_and_of_vectors_beside_ours(tmp_path: Path) -> None:
    dataset = given(tmp_path / "d", {"00000": rows()}, without=("000000001",))
    words, first = module(WORDS), module(VECTORS)
    plain = given(tmp_path / "plain", {"00000": rows()}, without=("000000001",))
    run(plain, scores=["caption", "similarity"])
    extra = [f"{words}:Words", f"{first}:First"]
    run(dataset, scores=["caption", "similarity"], extra=extra)
    table = pq.read_table(dataset.path("scores/00000.parquet"))
    ours = [c.name for name in ("caption", "similarity") for c in SCORES[name].columns]
    assert table.column_names == [*IDENTITY, *ours, "upper", "vowels", "first"]
    assert [str(table.schema.field(name).type) for name in ("upper", "vowels", "first")] == [
        *("bool", "int32", "double")
    ]
    assert table["upper"].to_pylist() == [row == BROKEN for row in range(5)]
    assert table["vowels"].to_pylist() == [0 if row == BROKEN else 4 for row in range(5)]
    assert [value is None for value in table["first"].to_pylist()] == [row == 1 for row in range(5)]
    again = pq.read_table(plain.path("scores/00000.parquet"))
    assert table.select([*IDENTITY, *ours]).equals(again)
    run(dataset, scores=["caption", "similarity"])  # without them it is the file it would have been
    assert tree_digest(Path(dataset.path("scores"))) == tree_digest(Path(plain.path("scores")))


def test_a_version_a_name_and_settings_have_the_score_made_again_and_no_other(
    tmp_path: Path,
) -> None:
    dataset = downloaded(tmp_path / "d", {"00000": rows()}, hashed=True)
    text = 'class {c}:\n name, version = "own", {v}\n columns = (Column("own", "int64"),)\n'
    text += " def settings(self): return {{'at': {s}}}\n"
    text += " def of_rows(self, rows): return {{'own': [{gives}] * rows.num_rows}}\n"

    def again(**of: Any) -> tuple[int, list[int]]:
        values = {"c": "Own", "v": 1, "s": 0, **of}
        Path("changing_score.py").write_text(HEAD + text.format(**values))
        import sys

        sys.modules.pop("changing_score", None)
        report = run(dataset, scores=["pdq"], extra=[f"changing_score:{values['c']}"])
        return report.done, [row["own"] for row in scores(dataset).values()]

    assert again(gives=1) == (1, [1] * 5)
    Path(dataset.path("shards/00000.tar")).write_bytes(b"")  # nobody can look at a picture again
    assert again(gives=2) == (0, [1] * 5)
    assert again(gives=33, v=2) == (1, [33] * 5)
    assert again(gives=444, v=2, s=1) == (1, [444] * 5)
    assert again(gives=5555, v=2, s=1, c="Other") == (1, [5555] * 5)
    assert again(gives=6, v=2, s=1, c="Other") == (0, [5555] * 5)


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("Words", r"'Words' is not of the form package\.module:Class"),
        ("a.b:c.d", "is not of the form"),
        ("no_such_module:Words", r"no_such_module:Words cannot be imported .*No module named"),
        ("{}:Missing", "cannot be imported .*Missing.*name a class of a module"),
        ("{}:HEAD", "not a score: a class with one of of_rows, of_vectors, load is"),
        ("{}:Nothing", r"not a score: .*\(it has none of them\)"),
        ("{}:Both", r"not a score: .*\(it has of_rows and load\)"),
        ("{}:Needs", "cannot be made .*takes no arguments"),
        ("{}:Bare", "has no columns; give it a tuple of Column"),
        ("{}:Texts", "has the column 'upper'; give a Column"),
        ("{}:Spaced", "whose name is letters, digits and _"),
        ("{}:Typed", "the type of 'upper' is 'flot', which Arrow does not have"),
        ("{}:Nameless", "is named None; use letters, digits and _"),
    ],
)
def test_what_is_no_score_is_refused_before_anything_is_done(
    reference: str, said: str, tmp_path: Path
) -> None:
    text = WORDS + "HEAD = 1\n"
    for name, body in {
        "Nothing": "columns = ()",
        "Both": "of_rows = load = lambda self: None",
        "Needs": "__init__ = lambda self, k: None\n of_rows = __init__",
        "Bare": "columns = ()\n of_rows = print",
        "Texts": "columns = ('upper',)\n of_rows = print",
        "Spaced": "columns = (Column('a b', 'bool'),)\n of_rows = print",
        "Typed": "columns = (Column('upper', 'flot'),)\n of_rows = print",
        "Nameless": "columns = (Column('upper', 'bool'),)\n of_rows = print",
    }.items():
        text += f"class {name}:\n {body}\n"
    reference = reference.format(module(text))
    urls = tmp_path / "urls.txt"
    urls.write_text("http://127.0.0.1:9/a.jpg\n")
    settings = resolve(BuildSettings, {"score": {"extra": [reference]}})
    with pytest.raises(UserError, match=said) as error:
        build([str(urls)], tmp_path / "built", settings)
    assert "\n" not in str(error.value)
    assert "score.extra" in str(error.value)
    assert not (tmp_path / "built").exists()


@pytest.mark.parametrize(
    ("column", "settings", "whose"),
    [
        ("url", {}, "the URL list or its download"),
        ("Key", {}, "every dataset|the URL list or its download"),
        ("licence", {}, "the URL list or its download"),
        ("shard", {}, "every dataset"),
        ("opted_out", {}, "every dataset"),
        ("keep", {}, "the stage verdict"),
        ("cluster", {}, "the stage dedup"),
        ("PDQ_quality", {"scores": ["pdq"]}, "the score pdq"),
        ("compression", {"scores": ["compression"]}, "the score compression"),
        ("violence", {"concepts": {"violence": ["a", "b"]}}, "a concept"),
        ("own", {}, "own_score"),  # both classes of this test have it
    ],
)
def test_a_column_that_something_else_has_is_refused(
    column: str, settings: dict[str, Any], whose: str, tmp_path: Path
) -> None:
    dataset = downloaded(tmp_path / "d", {"00000": rows()}, licence="CC0")
    text = "class Own:\n name = {!r}\n columns = (Column({!r}, 'int64'),)\n of_rows = print\n"
    extra = [f"{module(text.format('own', 'own'))}:Own"]
    extra.append(f"{module(text.format('another', column))}:Own")
    before = tree_digest(tmp_path / "d")
    said = f"{extra[1]} makes '{column}', which is a column or a score of ({whose}).*; rename it"
    with pytest.raises(UserError, match=said):
        run(dataset, **{"scores": ["hash"], **settings, "extra": extra})
    assert tree_digest(tmp_path / "d") == before


def test_a_column_of_a_score_that_is_left_out_is_free(tmp_path: Path) -> None:
    dataset = downloaded(tmp_path / "d", {"00000": rows()})
    own = module(WORDS.replace('"vowels"', '"sharpness"'))
    assert run(dataset, scores=["hash"], extra=[f"{own}:Words"]).done == 1
    assert [row["sharpness"] for row in scores(dataset).values()] == [4, 4, 0, 4, 4]


@pytest.mark.parametrize(
    ("gives", "said"),
    [
        ("{'own': [1] * (n - 1)}", "gives . values of 'own' for . rows; give one per row"),
        ("{'own': [1] * (n + 1)}", "gives . values of 'own' for . rows; give one per row"),
        ("{'other': [1] * n}", "gives no values of its column 'own'"),
        ("{'own': ['a'] * n}", "gives values of 'own' that are not int64"),
        ("{'own': [1.5] * n}", "gives values of 'own' that are not int64"),
        ("[1] * n", "gives a list; give a mapping"),
    ],
)
@pytest.mark.parametrize(
    "method",
    [
        "def of_rows(self, rows):\n  n = rows.num_rows\n  return ",
        "def of_vectors(self, pictures, texts):\n  n = len(texts)\n  return ",
        "load = lambda self: lambda batch: (lambda n: ",
    ],
    ids=["rows", "vectors", "pictures"],
)
def test_values_of_another_number_or_type_are_refused(
    method: str, gives: str, said: str, tmp_path: Path
) -> None:
    dataset = given(tmp_path / "d", {"00000": rows()})
    end = ")(len(batch))" if method.startswith("load") else ""
    text = (
        f"class Own:\n name = 'own'\n columns = (Column('own', 'int64'),)\n {method}{gives}{end}\n"
    )
    own = module(text)
    with pytest.raises(UserError, match=f"score {own}:Own {said}"):
        run(dataset, scores=["hash"], extra=[f"{own}:Own"])
    assert not dataset.exists("scores/00000.parquet")


def test_settings_name_no_class_that_reading_them_would_import() -> None:
    """A dataset stays readable where the class is not there: reading it imports nothing."""
    made = resolve(ScoreSettings, {"extra": ["no_such_module:Words"]})
    assert made.extra == ("no_such_module:Words",)
