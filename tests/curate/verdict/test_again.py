"""Verdicts follow what they were made of: each input, the rules, the removal log."""

from pathlib import Path
from typing import Any

import pytest

from frenchcat.curate.config import resolve
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.errors import UserError
from frenchcat.curate.markers import counts_of
from frenchcat.curate.removals import Request, log
from frenchcat.curate.verdict.dropped import reasons
from frenchcat.curate.verdict.settings import VerdictSettings
from frenchcat.curate.verdict.stage import verdict
from tests.curate.verdict.judged import verdicts
from tests.sample.row import Row
from tests.sample.write import write
from tests.trees import tree_digest

SHARDS = ("00000", "00001")
KEY, OTHER = "000010000", "000010001"
PARTS = ("sidecar", "rights", "unembedded", "scores", "duplicates")
RULES = {
    "small": "width < 100",
    "opted_out": "opted_out is not null",
    "unlike": "similarity < .2",
    "copy": "duplicate_of is not null",
}


def ruled(rules: dict[str, str], **more: object) -> VerdictSettings:
    return resolve(VerdictSettings, {"rules": rules, **more})


def say(
    dataset: Dataset,
    width: int = 300,
    similarity: float = 0.5,
    decision: str = "opt_in",
    copy_of: int | None = None,
    unembedded: tuple[str, ...] = (),
) -> None:
    """Have the stages say this of KEY, and of OTHER that it is kept."""
    why = dict.fromkeys(unembedded, "undecodable: OSError")
    first = said_of(width, similarity, decision)
    first.copy_of, first.unembedded = copy_of, why.get(KEY)
    other = said_of()
    other.unembedded = why.get(OTHER)
    write(dataset, "00001", [first, other], PARTS)


def said_of(width: int = 300, similarity: float = 0.5, decision: str = "opt_in") -> Row:
    return Row(
        columns={"width": width},
        scores={"similarity": similarity},
        signals=[("x_robots_tag", "noai", decision)],
    )


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Two shards of two rows, of which everything is said that a stage can say; all are kept."""
    made = Dataset.create(tmp_path / "d", "d")
    write(made, "00000", [said_of(), said_of()], PARTS)
    say(made)
    return made


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"width": 50}, "small"),
        ({"decision": "opt_out"}, "opted_out"),
        ({"similarity": 0.1}, "unlike"),
        ({"copy_of": 1}, "copy"),
        ({"unembedded": [KEY]}, "not_embedded:undecodable"),
    ],
    ids=["sidecar", "rights", "scores", "duplicates", "failures"],
)
def test_a_shard_is_judged_again_when_anything_said_of_its_rows_changed(
    said: dict[str, Any], reason: str, dataset: Dataset
) -> None:
    assert verdict(dataset, ruled(RULES)).done == 2
    kept = verdicts(dataset)
    assert set(kept.values()) == {(True, None)}
    say(dataset, **said)
    assert verdict(dataset, ruled(RULES)).done == 1
    assert verdicts(dataset) == kept | {KEY: (False, reason)}
    assert verdict(dataset, ruled(RULES)).done == 0
    say(dataset)
    assert verdict(dataset, ruled(RULES)).done == 1
    assert verdicts(dataset) == kept


def test_only_the_shard_of_a_removed_row_is_judged_again(dataset: Dataset) -> None:
    verdict(dataset, ruled(RULES))
    log(dataset, Request(1, "key", "2026-01-01T00:00:00Z", keys=(KEY,)))
    assert verdict(dataset, ruled(RULES)).done == 1
    assert {k for k, (keep, _) in verdicts(dataset).items() if not keep} == {KEY}
    log(dataset, Request(2, "key", "2026-01-02T00:00:00Z", keys=("000000001",)))
    assert verdict(dataset, ruled(RULES)).done == 1
    assert verdicts(dataset)["000000001"] == (False, "removed")


@pytest.mark.parametrize(
    "rules",
    [
        {**RULES, "small": "width < 99"},  # another condition that drops the same
        {name: RULES[name] for name in reversed(RULES)},
        {"narrow" if name == "small" else name: sql for name, sql in RULES.items()},
        {**RULES, "none": "false"},
        {name: sql for name, sql in RULES.items() if name != "copy"},
    ],
    ids=["condition", "order", "name", "one more", "one less"],
)
def test_all_are_judged_again_by_other_rules_even_where_nothing_comes_of_it(
    rules: dict[str, str], dataset: Dataset
) -> None:
    verdict(dataset, ruled(RULES))
    assert verdict(dataset, ruled(rules)).done == 2
    assert verdict(dataset, ruled(rules)).done == 0


def test_asked_again_all_are_judged_and_nothing_changes(dataset: Dataset) -> None:
    verdict(dataset, ruled(RULES))
    before = tree_digest(Path(dataset.root))
    assert verdict(dataset, ruled(RULES), again=True).done == 2
    assert tree_digest(Path(dataset.root)) == before


def test_rules_do_not_see_the_verdicts_before_them(dataset: Dataset) -> None:
    """Else a rule could drop what it kept, and keep what it dropped, in turn."""
    verdict(dataset, ruled({"all": "true"}))
    for condition in ("keep", "reason = 'all'"):
        with pytest.raises(UserError, match=r"no column '(keep|reason)'"):
            verdict(dataset, ruled({"turn": condition}))


# -- what is not kept, as it is now ----------------------------------------------------------------


def said(dataset: Dataset) -> list[tuple[str, str]]:
    rows = [row for shard in SHARDS for row in reasons(dataset, shard).to_pylist()]
    return sorted((row["key"], row["reason"]) for row in rows)


def test_what_is_not_kept_is_named_once_before_and_after_judging(dataset: Dataset) -> None:
    say(dataset, unembedded=(KEY, OTHER))
    log(dataset, Request(1, "key", "2026-01-01T00:00:00Z", keys=(KEY,)))
    now = [(KEY, "removed"), (OTHER, "not_embedded:undecodable")]
    assert said(dataset) == now
    verdict(dataset, ruled({"all": "true"}))
    others = [("000000000", "all"), ("000000001", "all")]
    assert said(dataset) == [*others, *now]
    log(dataset, Request(2, "key", "2026-01-02T00:00:00Z", keys=("000000001",)))
    assert said(dataset) == [("000000000", "all"), ("000000001", "removed"), *now]


def test_no_rule_is_asked_of_a_row_that_is_removed_or_has_no_vector(dataset: Dataset) -> None:
    say(dataset, unembedded=(KEY, OTHER))
    log(dataset, Request(1, "key", "2026-01-01T00:00:00Z", keys=(KEY,)))
    verdict(dataset, ruled({"all": "true", "unsaid": "similarity > null"}))
    judged = verdicts(dataset)
    assert judged[KEY] == (False, "removed")
    assert judged[OTHER] == (False, "not_embedded:undecodable")
    made = [counts_of(dataset, "verdict", shard) for shard in SHARDS]
    none = dict.fromkeys(made[1], 0)
    assert made[1] == {**none, "rows": 2}
    asked = {"rows": 2, "dropped.all": 2, "alone.all": 2, "unknown.unsaid": 2}
    assert made[0] == {**none, **asked}


# -- names -----------------------------------------------------------------------------------------


PASSING = ["removed", "Removed", "REMOVED", "", "a b", "a'", "a' THEN", "not_embedded:x", "1a"]


@pytest.mark.parametrize("name", [*PASSING, "a\n", "a" * 65])
def test_names_that_could_pass_for_something_else_are_refused(name: str) -> None:
    with pytest.raises(UserError, match="names no rule"):
        ruled({name: "true"})
