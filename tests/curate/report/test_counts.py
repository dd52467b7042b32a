"""Terms in captions, counted by SQL, against a search in Python one caption at a time."""

import unicodedata
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frenchcat.curate.report import terms as counting
from frenchcat.curate.report.outcomes import open_outcomes
from frenchcat.curate.report.terms import AuditTerm, Counts, count_terms
from tests.curate.report.datasets import write
from tests.sample.row import Row

TERMS = [
    AuditTerm("woman", "People", ("woman", "Frau", "mujer"), ("女性",)),
    AuditTerm("police", "Occupations", ("police officer", "policía"), ()),
    AuditTerm("cleaner", "Occupations", ("femme de ménage", "agent d'entretien"), ("清掃員",)),
    AuditTerm("Germany", "Places", ("München", "german"), ("ドイツ", "AI独")),
]


def counted(tmp_path: Path, rows: list[Row], rules: list[str] | None = None) -> Counts:
    dataset = write(tmp_path / "d", rows, rules=rules, pictures=False)
    with open_outcomes(dataset) as catalog:
        return count_terms(catalog, TERMS)


def plain(text: str) -> str:
    """What is no letter, mark or number becomes a space; composed, in lower case."""
    text = unicodedata.normalize("NFC", text).lower()
    kept = (c if unicodedata.category(c)[0] in "LMN" else " " for c in text)
    return f" {' '.join(''.join(kept).split())} "


def holds(caption: str, term: AuditTerm) -> bool:
    text = plain(caption)
    return any(plain(word) in text for word in term.words) or any(
        plain(part).strip() in text for part in term.parts
    )


CAPTIONS: list[tuple[str | None, set[str]]] = [
    ("A WOMAN, seen from behind", {"woman"}),
    ("woman woman women frau", {"woman"}),
    ("womanly superwoman", set()),
    ("woman's hat (Frau)", {"woman"}),
    ("police", set()),
    ("a police-officer", {"police"}),
    ("officer police", set()),
    ("la policía", {"police"}),
    ("la policia", set()),
    ("une femme de ménage", {"cleaner"}),
    ("l'agent d’entretien", {"cleaner"}),
    ("Mu\u0308nchen bei Nacht", {"Germany"}),
    ("若い女性がドイツで", {"woman", "Germany"}),
    ("ai独", {"Germany"}),
    ("", set()),
    ("!!! ...", set()),
    (None, set()),
]


def test_words_are_whole_and_japanese_is_not(tmp_path: Path) -> None:
    rows = [Row(f"http://s{n:02d}.org/x", text) for n, (text, _) in enumerate(CAPTIONS)]
    made = counted(tmp_path, rows)  # a domain each, so that a group is a caption
    found: dict[int, set[str]] = {n: set() for n in range(len(CAPTIONS))}
    for group, term, number in zip(made.group, made.term, made.rows, strict=True):
        assert number == 1
        found[int(group)].add(TERMS[term].name)
    for n, (caption, wanted) in enumerate(CAPTIONS):
        assert found[n] == wanted, caption
    assert made.totals.sum() == len(CAPTIONS)


words = st.sampled_from(
    "woman Frau MUJER women police officer policía femme de ménage agent d'entretien München "
    "german ドイツ 女性 清掃員 AI独 x".split()
)
captions = st.lists(words, max_size=6).flatmap(
    lambda chosen: st.sampled_from([" ", "-", ", ", ""]).map(lambda gap: gap.join(chosen))
)


@settings(max_examples=8, deadline=None)
@given(texts=st.lists(captions, min_size=1, max_size=40))
def test_counts_are_those_of_a_search_one_by_one(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str]
) -> None:
    reasons = [None, "dull", None, "late"]
    hosts = ["a.org", "b.org", "img.b.org"]
    rows = [
        Row(f"http://{hosts[n % 3]}/x", text, reason=reasons[n % 4], copy_of=0 if n == 4 else None)
        for n, text in enumerate(texts)
    ]
    made = counted(tmp_path_factory.mktemp("c"), rows, ["dull", "late"])
    wanted: Counter[tuple[int, int, tuple[str, str | None]]] = Counter()
    for n, row in enumerate(rows):
        stays = "duplicate" if n == 4 else None
        fate = ("dropped", row.reason) if row.reason else ("kept", stays)
        group = 0 if n % 3 == 0 else 1
        for at, term in enumerate(TERMS):
            if holds(texts[n], term):
                wanted[group, at, fate] += 1
    found = {
        (int(g), int(t), made.fates[f]): int(n)
        for g, t, f, n in zip(made.group, made.term, made.fate, made.rows, strict=True)
    }
    assert found == wanted
    assert made.totals.sum() == len(rows)
    for at in range(len(TERMS)):
        assert made.of_term(at)[1].sum() == sum(n for (_, t, _), n in wanted.items() if t == at)


def test_many_domains_share_groups_and_lose_no_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counting, "MAX_GROUPS", 7)
    made = counted(tmp_path, [Row(f"http://site{n}.org/x", "a woman") for n in range(50)])
    assert made.grouped
    assert made.totals.shape[0] == 7
    assert made.totals.sum() == made.rows.sum() == 50
