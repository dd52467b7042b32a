"""The audit's numbers against closed forms, resampling and scipy; planted bias is found."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from frenchcat.curate.report import audit as auditing
from frenchcat.curate.report.audit import Audit, Filter, audit, filters_of
from frenchcat.curate.report.report import make_report
from frenchcat.curate.report.settings import ReportSettings
from frenchcat.curate.report.terms import Counts
from tests.curate.report.datasets import write
from tests.sample.row import Row

FATES = (("dropped", "first"), ("dropped", "second"), ("kept", None))
FILTERS = filters_of(FATES, ["first", "second"])


def counts_of(
    domain: NDArray[np.int64], terms: Sequence[NDArray[np.bool_]], fate: NDArray[np.int64]
) -> Counts:
    """The tables that the audit reads, of rows given one by one."""
    totals = np.zeros((int(domain.max()) + 1, len(FATES)), np.int64)
    np.add.at(totals, (domain, fate), 1)
    entries = []
    for at, has in enumerate(terms):
        table = np.zeros_like(totals)
        np.add.at(table, (domain[has], fate[has]), 1)
        groups, fates = np.nonzero(table)
        entries.append(
            np.stack([groups, np.full(len(groups), at), fates, table[groups, fates]], axis=1)
        )
    return Counts(FATES, totals, *np.concatenate(entries).T)


def rows(
    seed: int, number: int, domains: int, planted: float = 0.0
) -> tuple[NDArray[np.int64], list[NDArray[np.bool_]], NDArray[np.int64]]:
    """Rows of domains of unequal size, which differ in how often they use a term; rule `second`
    drops a tenth, and of the captions with term 2 so much more."""
    random = np.random.default_rng(seed)
    weight = 1 / np.arange(1, domains + 1) ** 0.5
    domain = random.choice(domains, number, p=weight / weight.sum())
    terms = [random.random(number) < random.beta(0.5, 9, domains)[domain] for _ in range(6)]
    fate = np.full(number, 2)
    fate[random.random(number) < 0.1 + planted * terms[2]] = 1
    fate[random.random(number) < 0.1] = 0
    return domain, terms, fate


def effect(found: Audit, term: int, name: str) -> auditing.Effect:
    (one,) = [e for e in found.effects if e.term == term and FILTERS[e.filter].name == name]
    return one


def test_shares_and_rates_are_those_of_the_rows() -> None:
    domain, terms, fate = rows(1, 5000, 100)
    found = effect(audit(counts_of(domain, terms, fate), 6, FILTERS, 100), 3, "second")
    reached = fate != 0  # the rule that comes first took the others
    has = terms[3]
    assert found.rows == (has & reached).sum()
    assert found.lost == (has & (fate == 1)).sum()
    assert found.rate == pytest.approx((fate[has & reached] == 1).mean())
    assert found.overall == pytest.approx((fate[reached] == 1).mean())
    assert found.share_before == pytest.approx(has[reached].mean())
    assert found.share_after == pytest.approx(has[fate == 2].mean())
    assert found.ratio == pytest.approx(has[fate == 2].mean() / has[reached].mean())


def ratio_of(has: NDArray[np.bool_], fate: NDArray[np.int64]) -> float:
    return float(has[fate == 2].mean() / has[fate != 0].mean())


@pytest.mark.parametrize("domains", [4, 150])
def test_intervals_are_those_of_resampling_one_by_one(domains: int) -> None:
    domain, terms, fate = rows(2, 3000, domains, planted=0.2)
    found = audit(counts_of(domain, terms, fate), 6, FILTERS, 4000)
    assert found.by_domain == (domains > 20)
    random = np.random.default_rng(0)
    places = [np.flatnonzero(domain == at) for at in range(domains)]
    drawn = []
    for _ in range(1500):
        if found.by_domain:
            chosen = np.concatenate([places[at] for at in random.integers(0, domains, domains)])
        else:
            chosen = random.integers(0, len(fate), len(fate))
        drawn.append(ratio_of(terms[2][chosen], fate[chosen]))
    low, high = np.percentile(drawn, [2.5, 97.5])
    one = effect(found, 2, "second")
    # Both ends are estimates: a fifth of the width covers the error of 1500 draws.
    assert one.low == pytest.approx(low, abs=(high - low) / 5)
    assert one.high == pytest.approx(high, abs=(high - low) / 5)
    assert one.low < one.ratio < one.high


def test_p_is_of_the_hypergeometric_where_rows_are_independent() -> None:
    from scipy.stats import hypergeom

    domain, terms, fate = rows(5, 4000, 3)
    found = audit(counts_of(domain, terms, fate), 6, FILTERS, 4000)
    for one in found.effects:
        if FILTERS[one.filter].name != "second":
            continue
        reached = fate != 0
        law = hypergeom(reached.sum(), (fate == 1).sum(), one.rows)
        tail = min(law.cdf(one.lost) + law.sf(one.lost - 1), 1)
        middle = law.pmf(one.lost)
        exact = 2 * min(law.cdf(one.lost), law.sf(one.lost - 1)) - middle  # mid-p, two-sided
        assert tail <= 1
        assert one.p == pytest.approx(exact, abs=0.06)


def test_planted_bias_is_found_and_it_alone() -> None:
    for seed in range(8):
        found = audit(counts_of(*rows(seed, 12_000, 300, planted=0.12)), 6, FILTERS, 400, seed)
        flagged = {(e.term, FILTERS[e.filter].name) for e in found.flagged}
        # The whole pipeline holds the biased rule, so the bias shows there too.
        assert {(2, "second")} <= flagged <= {(2, "second"), (2, "everything together")}
        assert effect(found, 2, "second").high < 1


@pytest.mark.parametrize("domains", [5, 300])
def test_random_drops_are_flagged_no_more_often_than_said(domains: int) -> None:
    small = outside = tested = runs = 0
    for seed in range(60):
        found = audit(counts_of(*rows(seed + 100, 4000, domains)), 6, FILTERS, 300, seed)
        tested += len(found.effects)
        small += sum(e.p < 0.05 for e in found.effects)
        outside += sum(not e.low <= 1 <= e.high for e in found.effects)
        runs += bool(found.flagged)
    assert tested > 600
    assert small / tested < 0.065  # nominal .05
    assert 0.02 < outside / tested < 0.09
    assert runs / 60 < 0.12  # any false flag in a run: nominal .05


def test_rare_terms_are_not_tested_and_nothing_is_no_trouble() -> None:
    domain, _, fate = rows(3, 3000, 100)
    rare = np.zeros(3000, np.bool_)
    rare[:29] = True
    every = np.ones(3000, np.bool_)
    found = audit(counts_of(domain, [rare, every], fate), 2, FILTERS, 100)
    assert not found.effects
    assert found.untested == 2 * len(FILTERS)
    nothing = Counts((), np.zeros((1, 0), np.int64), *np.zeros((4, 0), np.int64))
    assert audit(nothing, 3, []).effects == ()


def test_a_term_of_few_domains_is_not_tested_when_domains_are_drawn() -> None:
    domain, terms, fate = rows(3, 8000, 200)
    found = audit(counts_of(domain, [domain < 4, terms[0]], fate), 2, FILTERS, 100)
    assert found.by_domain
    assert {one.term for one in found.effects} == {1}


def test_the_same_seed_gives_the_same() -> None:
    made = counts_of(*rows(4, 3000, 60))
    assert audit(made, 6, FILTERS, 200, 3) == audit(made, 6, FILTERS, 200, 3)
    assert audit(made, 6, FILTERS, 200, 3) != audit(made, 6, FILTERS, 200, 4)


def test_each_filter_is_judged_beside_what_reached_it() -> None:
    fates = [
        ("failed", "http_404"),
        ("failed", "deadline"),
        ("opted_out", "opted_out:tdmrep"),
        ("removed", "removed"),
        ("dropped", "small"),
        ("dropped", "unsafe"),
        ("dropped", "unheard_of"),
        ("kept", None),
        ("kept", "duplicate"),
        ("stored", None),
    ]
    found = {each.name: each for each in filters_of(fates, ["unsafe", "small", "never"])}
    stored = tuple(range(3, 10))
    assert found["http_404"] == Filter("http_404", "failure", (0,), stored)
    assert found["all failures"] == Filter("all failures", "failure", (0, 1), stored)
    assert found["tdmrep"] == Filter("tdmrep", "opt-out", (2,), stored)
    assert "all opt-outs" not in found  # there is one
    assert set(found["removal on request"].stays) == set(range(4, 10))
    assert set(found["unsafe"].stays) == {4, 6, 7, 8}  # it comes first
    assert set(found["small"].stays) == {6, 7, 8}
    assert set(found["unheard_of"].stays) == {7, 8}
    assert found["duplicates among what stays"].lost == (8,)
    assert set(found["duplicates among what stays"].stays) == {7, 9}
    assert found["everything together"].lost == (0, 1, 2, 3, 4, 5, 6)
    assert "never" not in found


def test_bias_planted_in_a_dataset_is_found_in_its_report(tmp_path: Path) -> None:
    """One rule drops captions with women in them five times as often; another one at random."""
    random = np.random.default_rng(7)
    words = {
        "woman": ["eine Frau", "a woman", "une femme", "若い女性"],
        "man": ["a man", "ein Mann", "男性"],
        "doctor": ["a doctor", "der Arzt"],
    }
    made = []
    for _ in range(9000):
        chosen = [name for name in words if random.random() < 0.12]
        caption = " and ".join(["picture", *(random.choice(words[name]) for name in chosen)])
        reason = "chance" if random.random() < 0.15 else None
        if reason is None and random.random() < (0.25 if "woman" in chosen else 0.05):
            reason = "biased"
        error = "http_404: gone" if random.random() < 0.1 else None
        made.append(Row(f"http://s{random.integers(300)}.org/x", caption, error, reason=reason))
    dataset = write(tmp_path / "d", made, rules=["chance", "biased"], pictures=False, only=())
    report = make_report(dataset, ReportSettings(replicates=400))
    found = report.audit
    assert found.result.by_domain
    flagged = {
        (found.terms[e.term].name, found.filters[e.filter].name) for e in found.result.flagged
    }
    assert flagged == {("woman", "biased"), ("woman", "everything together")}
    strongest = found.result.flagged[0]
    assert strongest.rate == pytest.approx(0.25, abs=0.05)
    assert strongest.high < 1
