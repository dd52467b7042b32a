"""The verb `skews` on planted datasets: it finds what was planted, and nothing elsewhere."""

import json
import re
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy.stats import false_discovery_control
from typer.testing import CliRunner

import frenchcat
from frenchcat.cli import app
from frenchcat.commands.skews import _languages
from frenchcat.curate.clip import ClipSettings
from frenchcat.curate.clip.model import load_clip
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.errors import AlreadyThere, NotFound, UserError
from frenchcat.curate.report.terms import load_terms
from frenchcat.curate.select import open_selection
from frenchcat.index.search import Searcher
from frenchcat.index.visible import View
from frenchcat.skews.audit import audit_queries
from frenchcat.skews.page import page
from frenchcat.skews.report import DRAWINGS, SkewReport
from frenchcat.skews.request import SkewRequest, queries_of
from frenchcat.train.draw import SampleRequest, draw
from frenchcat.train.loop import train
from frenchcat.train.plan import Plan
from frenchcat.train.population import Population
from frenchcat.train.run import open_run
from tests.frenchcat.skews.planted import NO, QUERIES, SKEWED, YES, Planted, planted
from tests.sample.columns import add_columns
from tests.train import runs

K = 60
SMALL = {"group": K, "background": 600, "labelled": 200}


@pytest.fixture(scope="module")
def skewed(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    clip = load_clip(ClipSettings(model="mini", compile="no"))
    return planted(tmp_path_factory.mktemp("skewed"), clip, SKEWED, seed=3, **SMALL)


@pytest.fixture(scope="module")
def report(skewed: Planted) -> SkewReport:
    return audited(skewed)


def audited(made: Planted, **how: object) -> SkewReport:
    request = SkewRequest((made.terms,), (made.attributes,), made.concepts, k=K)
    return audit_queries(made.dataset, Searcher(made.dataset), replace(request, **how))  # type: ignore[arg-type]


def verb(made: Planted, *arguments: str) -> dict[str, object]:
    """What --json prints. Raises what the verb raises."""
    command = ["skews", made.dataset.root, "--terms", made.terms, "--attributes", made.attributes]
    done = CliRunner().invoke(
        app, [*command, "-k", str(K), *arguments, "--json"], catch_exceptions=False
    )
    assert done.exit_code == 0, done.output
    found: dict[str, object] = json.loads(done.stdout)
    return found


def test_planted_skews_stand_out_and_their_size_is_in_the_interval(report: SkewReport) -> None:
    found = {(one.query, one.kind, one.name): one for one in report.shares}
    for query, kind, name, rate in (
        ("nurse", "term", "alpha", 0.7),
        ("doctor", "term", "gamma", 0.3),
        ("teacher", "country", "jp", 0.7),
        ("soldier", "language", "ja", 0.6),
        ("farmer", "concept", "outdoors", 0.9),
    ):
        share = found[query, kind, name]
        assert share.flagged, share
        assert share.low <= rate <= share.high, share
        assert not share.low <= share.base <= share.high, share
    assert {one.query for one in report.flagged} <= SKEWED.keys()
    concentrated = {one.query for one in report.concentrations if one.flagged}
    assert concentrated == set(QUERIES)  # 40 domains each, of 640


def test_what_stands_out_is_chosen_over_all_comparisons_together(report: SkewReport) -> None:
    every = [*report.shares, *report.concentrations]
    tested = [(one.p, one.q) for one in every if one.p is not None]
    assert len(tested) == report.tested
    expected = false_discovery_control([p for p, _ in tested])
    assert [q for _, q in tested] == pytest.approx(expected)


def test_nothing_is_reported_where_nothing_is_planted(tmp_path: Path) -> None:
    clip = load_clip(ClipSettings(model="mini", compile="no"))
    clean = audited(planted(tmp_path, clip, {}, seed=4, own_domains=None, **SMALL))
    assert clean.tested > 50
    assert clean.flagged == []
    assert not any(one.flagged for one in clean.concentrations)


def test_a_concept_without_labels_is_told_and_not_tested(skewed: Planted, tmp_path: Path) -> None:
    bare = tmp_path / "bare.toml"
    lines = skewed.concepts.read_text().splitlines()
    bare.write_text("\n".join(line for line in lines if not line.startswith("labels")))
    report = audited(skewed, concepts=bare)
    shares = [one for one in report.shares if one.kind == "concept"]
    assert len(shares) == len(QUERIES)
    assert all(one.p is None and not one.flagged for one in shares)
    assert {one.share for one in shares} == {one.found / K for one in shares}


def test_drawings_of_each_query_are_told_apart_by_the_concepts(
    skewed: Planted, tmp_path: Path
) -> None:
    tars = runs.write_tars(tmp_path / "tars")
    run = train(
        runs.settings(
            tars,
            tmp_path / "run",
            optimizer={"steps": 1, "warmup": 0},
            run={"checkpoint_every": 1},
        )
    )
    report = audited(skewed, run=run, drawings=3, seed=5)
    drawn = {one.query: one for one in report.shares if one.shown == DRAWINGS}
    assert drawn.keys() == set(QUERIES)
    clip = load_clip(ClipSettings(model="mini", compile="no"))
    pictures = draw(open_run(run)[0], [SampleRequest("cook", 5 + n) for n in range(3)])
    yes, no = clip.encode_texts([YES, NO])
    nearer = clip.encode_images(pictures) @ (yes - no) > 0
    cook = drawn["cook"]
    assert (cook.kind, cook.found, cook.of) == ("concept", int(nearer.sum()), 3)
    assert cook.high - cook.low > 0.5  # three drawings say little
    told = audited(skewed, run=run, concepts=None)
    assert "no concept is given" in told.unmeasured[-1]
    assert not any(one.shown == DRAWINGS for one in told.shares)


def test_a_query_s_own_words_are_not_counted(skewed: Planted, report: SkewReport) -> None:
    own = audited(skewed, attributes=(skewed.terms,), concepts=None)
    named = {(one.query, one.name) for one in own.shares if one.kind == "term"}
    assert named == {(one, other) for one in QUERIES for other in QUERIES if one != other}


def test_copies_are_counted_where_they_are_shown(skewed: Planted, tmp_path: Path) -> None:
    shutil.copytree(skewed.dataset.root, tmp_path / "d")
    dataset = Dataset.open(tmp_path / "d")
    with dataset.as_local("shards/00000.parquet") as path:
        keys = pq.read_table(path, columns=["key"])["key"].to_pylist()
    first = K * QUERIES.index("nurse")
    clusters = [keys[first + at % 3] if 0 <= at - first < K else key for at, key in enumerate(keys)]
    sizes = Counter(clusters)
    add_columns(
        dataset,
        "duplicates",
        cluster=clusters,
        duplicate_of=[
            None if key == cluster else cluster for key, cluster in zip(keys, clusters, strict=True)
        ],
        multiplicity=[sizes[cluster] for cluster in clusters],
    )
    copied = replace(skewed, dataset=dataset)
    report = audited(copied, concepts=None, view=View(duplicates=True))
    found = {one.query: one for one in report.concentrations if one.kind == "clusters"}
    assert found["nurse"].effective == pytest.approx(3)
    assert [query for query, one in found.items() if one.flagged] == ["nurse"]
    hidden = audited(copied, concepts=None)  # of a cluster one row is shown
    assert not any(one.kind == "clusters" for one in hidden.concentrations)


def test_the_same_query_in_two_languages_is_compared(skewed: Planted, report: SkewReport) -> None:
    assert [(one.query, one.one, one.other) for one in report.translations] == [
        (query, "en", "fr") for query in QUERIES
    ]
    searcher = Searcher(skewed.dataset)
    two = [[hit.key for hit in searcher.query(text=text, k=K)] for text in ("nurse", "le nurse")]
    (nurse,) = [one for one in report.translations if one.query == "nurse"]
    assert nurse.overlap == len(set(two[0]) & set(two[1])) / K
    assert 0 < nurse.rbo <= 1


def test_weights_undo_what_stands_out_and_the_plan_draws_by_them(
    skewed: Planted, tmp_path: Path
) -> None:
    found = verb(skewed, "--rebalance", "even", "--out", str(tmp_path / "page.html"))
    made = found["rebalancing"]
    assert isinstance(made, dict)
    before = {(one["query"], one["name"]): one for one in made["shares"]}
    nurse = before["nurse", "alpha"]
    assert nurse["before"] > 0.5
    assert nurse["after"] == pytest.approx(nurse["target"], abs=0.01)
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "Before and after rebalancing" in page
    # What training draws in ten epochs.
    table = open_selection(skewed.dataset, "even").table
    weights = np.array(table["weight"].to_pylist())
    assert weights.min() >= 0.2
    assert weights.max() <= 5
    plan = Plan(Population.of(np.zeros(len(table), np.int64), weights), "d", 0, 10)
    drawn = np.zeros(len(table))
    for epoch in range(10):
        for k in range(plan.batches(epoch)):
            np.add.at(drawn, plan.at(epoch, k).rows, 1)
    nurses = slice(K * QUERIES.index("nurse"), K * (QUERIES.index("nurse") + 1))
    has = np.array(["alpha" in caption for caption in table["caption"].to_pylist()])
    assert drawn[nurses][has[nurses]].sum() / drawn[nurses].sum() == pytest.approx(
        nurse["target"], abs=0.04
    )
    # The same command gives the same selection; another one asks before it takes the name.
    assert verb(skewed, "--rebalance", "even", "--out", str(tmp_path / "page.html")) == found
    with pytest.raises(AlreadyThere, match="even"):
        verb(skewed, "--rebalance", "even", "--bound", "2", "--out", str(tmp_path / "page.html"))


def test_the_page_asks_for_nothing_and_says_what_it_rests_on(
    skewed: Planted, tmp_path: Path
) -> None:
    path = tmp_path / "page.html"
    found = verb(skewed, "--concepts", str(skewed.concepts), "--out", str(path))
    assert found["page"] == str(path)
    page = path.read_text(encoding="utf-8")
    assert "default-src 'none'" in page
    assert not re.search(r"<script|<link[^>]+href=\"http|src=\"http|url\(", page)
    for said in ("nurse", "alpha", "Rogan", "outdoors.csv", "Nothing is guessed of anybody"):
        assert said in page
    out = page[page.index('id="out"') : page.index('id="queries"')]
    assert "cook" not in out  # nothing was planted there


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--terms", "nobody"), "no word list nobody"),
        (("--language", "sv"), "has no spelling in 'sv'; it has: en, fr"),
        (("--template", "a photo"), "no single {}"),
        (("-k", "100000"), "compare fewer results"),
        (("--where", "false"), "is shown; loosen --where"),
        (("--concepts", "missing.toml"), "missing.toml cannot be read"),
        (("--rebalance", "x", "--bound", "1"), "the bound is 1"),
        (("--rebalance", "x", "--bound", "nan"), "the bound is nan"),
        (("--rebalance", "x", "--bound", "inf"), "the bound is inf"),
        (("--rebalance", "x", "--selection", "none"), "no selection 'none'"),
        (("--run", "nowhere"), "nowhere is not a run"),
        (("--seed", "-1"), "the seed is -1"),
        (("-n", "0"), "drawings per query are 0"),
        (("-k", "0"), "k is 0"),
        (("--template", "{} {}"), "no single {}"),
        (("--out", "{dataset}/page.html"), "is inside the dataset"),
    ],
)
def test_bad_input_is_told_in_one_line(
    skewed: Planted, arguments: tuple[str, ...], said: str
) -> None:
    given = [one.replace("{dataset}", skewed.dataset.root) for one in arguments]
    with pytest.raises(UserError) as raised:
        verb(skewed, *given)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('title = "x"', "contains no concept"),
        ("title = [", "is not TOML"),
        ('title = "x"\n[concepts.a]\nyes = ["y"]\nno = []', "no prompt under no"),
        ('title = "x"\n[concepts.a]\nyes = ["y"]', "concepts.a.no"),
        ('title = "x"\n[concepts.a]\nyes = ["y"]\nno = ["n"]\nlabels = "gone.csv"', "gone.csv"),
        ('title = "x"\n[concepts.a]\nyes = ["y"]\nno = ["n"]\nlabels = "odd.csv"', "line 3"),
        (
            'title = "x"\n[concepts.a]\nyes = ["y"]\nno = ["n"]\nlabels = "other.csv"',
            "is not a row that a search",
        ),
        (
            'title = "x"\n[concepts.a]\nyes = ["y"]\nno = ["n"]\nconfusion = [[5, 5], [5, 5]]',
            "no better than chance",
        ),
        (
            'title = "x"\n[concepts.a]\nyes = ["y"]\nno = ["n"]\nconfusion = [[0, 0], [5, 5]]',
            "needs images labelled yes",
        ),
    ],
)
def test_a_bad_list_of_concepts_is_told(
    skewed: Planted, tmp_path: Path, text: str, said: str
) -> None:
    path = tmp_path / "concepts.toml"
    path.write_text(text)
    (tmp_path / "odd.csv").write_text("key,label\n000000001,yes\n000000002,perhaps\n")
    (tmp_path / "other.csv").write_text("key,label\n999999999,yes\n")
    with pytest.raises(UserError) as raised:
        audited(skewed, concepts=path)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "title"),
        (b'title = "x"', "contains no term"),
        (b"terms = [", "is not TOML"),
        (b"\xff\xfe", "is not TOML"),
        (b'title = 3\n[terms.a]\nen = ["a"]', "title"),
        (b'title = "x"\nterms = ["a"]', "terms"),
        (b'title = "x"\n[terms]\na = ["b"]', "terms.a"),
        (b'title = "x"\n[terms.a]\nen = "cat"', "terms.a.en"),
        (b'title = "x"\n[terms.a]\nen = [3]', "terms.a.en"),
        (b'title = "x"\n[terms.a]\nen = []', "has no spelling"),
        (b'title = "x"\n[terms.a]\nen = ["a", " "]', "which has no word"),
        (b'title = "x"\n[terms.a]\n[words.a]\nen = ["a"]', "words"),
    ],
)
def test_a_word_list_in_another_form_is_told(tmp_path: Path, text: bytes, said: str) -> None:
    path = tmp_path / "list.toml"
    path.write_bytes(text)
    with pytest.raises(UserError, match=rf"list\.toml.*{re.escape(said)}") as raised:
        load_terms([path])
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("option", ["--terms", "--attributes"])
def test_both_kinds_of_word_lists_are_checked(skewed: Planted, tmp_path: Path, option: str) -> None:
    (tmp_path / "list.toml").write_text("terms = [")
    with pytest.raises(UserError, match="is not TOML"):
        verb(skewed, option, str(tmp_path / "list.toml"))


def test_lists_with_a_byte_order_mark_and_braces_in_templates_are_taken(
    skewed: Planted, tmp_path: Path
) -> None:
    for name, path in (("terms", skewed.terms), ("attributes", skewed.attributes)):
        data = Path(path).read_bytes()
        (tmp_path / f"{name}.toml").write_bytes(b"\xef\xbb\xbf" + data)
    request = SkewRequest(
        (str(tmp_path / "terms.toml"),), (str(tmp_path / "attributes.toml"),), template="{a} {}"
    )
    assert [query.text for query in queries_of(request)] == [f"{{a}} {name}" for name in QUERIES]
    assert len(load_terms(request.attributes)) > 0


def test_in_what_the_results_of_two_languages_differ_is_told(
    skewed: Planted, tmp_path: Path
) -> None:
    """One term, spelt as two queries that were skewed apart; by the definition, from a search."""
    (tmp_path / "one.toml").write_text(
        'title = "One"\n[terms.one]\nen = ["doctor"]\nfr = ["nurse"]\nde = ["der doctor"]\n'
    )
    found = audited(skewed, terms=(str(tmp_path / "one.toml"),), concepts=None)
    rows = frenchcat.open(skewed.dataset.root).rows(columns=["key", "caption"]).to_pylist()
    caption_of = {row["key"]: row["caption"] for row in rows}
    searcher = Searcher(skewed.dataset)
    captions = {
        language: [caption_of[hit.key] for hit in searcher.query(text=text, k=K)]
        for language, text in (("en", "doctor"), ("fr", "nurse"), ("de", "der doctor"))
    }
    by_pair = {(one.one, one.other): one for one in found.translations}
    assert list(by_pair) == [("en", "fr"), ("en", "de"), ("fr", "de")]
    told = {one.name for one in by_pair["en", "fr"].differs}
    assert "alpha" in told
    for one in by_pair.values():
        assert len(one.differs) <= 3
        for term in (term for term in one.differs if term.kind == "term"):
            shares = [
                sum(term.name in caption.split() for caption in captions[language]) / K
                for language in (one.one, one.other)
            ]
            assert [term.one, term.other] == pytest.approx(shares)
            assert abs(term.one - term.other) >= 0.1
    told_page = page(found)
    assert "differ most in" in told_page
    assert "alpha (term)" in told_page
    means = {pair: one.overlap for pair, one in by_pair.items()}
    assert _languages(found) == [
        f"en, fr: {means['en', 'fr']:.0%} of the results in common (mean over 1 queries)",
        f"en, de: {means['en', 'de']:.0%} of the results in common (mean over 1 queries)",
    ]


def test_a_dataset_that_is_gone_is_told(skewed: Planted, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="is not a dataset"):
        frenchcat.open(tmp_path / "gone")
    shutil.copytree(skewed.dataset.root, tmp_path / "d")
    shutil.rmtree(tmp_path / "d" / "index")
    with pytest.raises(NotFound, match="has no index; run: frenchcat index"):
        frenchcat.open(tmp_path / "d").skews()
