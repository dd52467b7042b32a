"""Word lists: those that come with it, a user's own, and what is said of bad ones."""

from pathlib import Path

import pytest

from frenchcat.curate.errors import UserError
from frenchcat.curate.report.settings import ReportSettings
from frenchcat.curate.report.terms import LISTS, load_terms

SHIPPED = ReportSettings().terms


def test_the_lists_that_come_with_it_are_all_loaded_in_six_languages() -> None:
    queries = ("adjectives", "family")  # what the audit of queries asks beside the audit's lists
    assert sorted((*SHIPPED, *queries)) == sorted(path.stem for path in LISTS.glob("*.toml"))
    import tomllib

    for path in LISTS.glob("*.toml"):
        for name, languages in tomllib.loads(path.read_text())["terms"].items():
            assert {"en", "fr", "de", "es", "it", "ja"} <= languages.keys(), name


def test_no_spelling_stands_for_two_terms() -> None:
    found: dict[str, str] = {}
    for term in load_terms(SHIPPED):
        for spelling in (*term.words, *term.parts):
            assert found.setdefault(spelling.lower(), term.name) == term.name
    assert len(found) > 500


@pytest.mark.parametrize("name", ["adjectives", "family"])
def test_each_term_of_a_list_of_queries_has_a_query_in_each_language(name: str) -> None:
    terms = load_terms([name])
    for language in ("en", "fr", "de", "es", "it", "ja"):
        queries = [term.query(language) for term in terms]
        assert None not in queries
        assert len(set(queries)) == len(terms)
    assert terms[0].query("sv") is None


def test_a_list_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "pets.toml"
    path.write_text('title = "Pets"\n[terms.cat]\nen = ["cat"]\nja = ["猫"]\n')
    (term,) = load_terms([str(path)])
    assert (term.name, term.group, term.words, term.parts) == ("cat", "Pets", ("cat",), ("猫",))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("title = 3", "title"),
        ('title = "x"', "contains no term"),
        ('title = "x"\nwords = 1', "unknown setting 'words'"),
        ("title = ", "is not TOML"),
        ('title = "x"\n[terms.a]\nen = ["-"]', "no word"),
        ('title = "x"\n[terms.a]\nen = []', "has no spelling"),
        ('title = "x"\n[terms.a]\nen = "cat"', "terms.a.en"),
        ('title = "x"\n[terms.woman]\nen = ["w"]', "in the list 'People'"),
    ],
)
def test_a_bad_list_is_one_line_that_names_it(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(UserError, match=said) as caught:
        load_terms(["people", str(path)])
    assert "bad.toml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_list_names_those_there_are() -> None:
    with pytest.raises(UserError, match="one of: adjectives, family, occupations, people, places"):
        load_terms(["animals"])
