"""Decisions by hand come before the rules, are logged, taken back, and obeyed by whoever reads."""

from pathlib import Path

import pytest

from frenchcat.curate.catalog import Catalog
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.decisions import decide, decided, decisions, undo
from frenchcat.curate.errors import NotFound, UserError
from frenchcat.curate.info import info
from frenchcat.curate.removals import Request, log
from frenchcat.curate.remove import compact, residue
from frenchcat.curate.select import Choice, select
from frenchcat.curate.verdict.stage import judge_again, verdict
from tests.curate.verdict.judged import verdicts
from tests.curate.verdict.test_again import ruled
from tests.sample.pictures import picture
from tests.sample.row import Row
from tests.sample.write import write

RULES = {"small": "width < 100"}
SMALL, FAILED, UNEMBEDDED, LARGE, LAST = (f"00001000{row}" for row in range(5))
PARTS = ("tar", "sidecar", "unembedded")


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """A shard of large rows, and one with a row of every kind."""
    made = Dataset.create(tmp_path / "d", "d")
    large = {"width": 300}
    write(made, "00000", [Row(columns=large, picture=picture(0))] * 2, PARTS)
    rows = [
        Row(columns={"width": 50}, picture=picture(1)),
        Row(columns=large, failed="http_404: gone"),
        Row(columns=large, picture=picture(2), unembedded="undecodable: OSError"),
        Row(columns=large, picture=picture(3)),
        Row(columns=large, picture=picture(4)),
    ]
    write(made, "00001", rows, PARTS)
    verdict(made, ruled(RULES))
    return made


def test_decisions_come_before_the_rules_and_the_last_one_counts(dataset: Dataset) -> None:
    before = verdicts(dataset)
    assert before[SMALL] == (False, "small")
    assert decide(dataset, True, [SMALL, UNEMBEDDED, SMALL]).keys == (SMALL, UNEMBEDDED)
    decide(dataset, False, [LARGE, LAST], "upside down")
    decide(dataset, True, [LAST])
    assert judge_again(dataset).done == 1  # the other shard is as it was
    assert verdicts(dataset) == before | {
        SMALL: (True, None),
        LARGE: (False, "by_hand"),
        LAST: (True, None),
        # What has no vector cannot be kept.
        UNEMBEDDED: (False, "not_embedded:undecodable"),
    }
    assert [(one.number, one.keep, one.note) for one in decisions(dataset)] == [
        (1, True, ""),
        (2, False, "upside down"),
        (3, True, ""),
    ]
    assert info(dataset).dropped["by_hand"] == 1
    with Catalog(dataset) as catalog:
        assert catalog.keys("reason = 'by_hand'") == [LARGE]
    chosen = select(dataset, "all", Choice()).table["key"].to_pylist()
    assert chosen == ["000000000", "000000001", SMALL, LAST]
    # Other rules leave what was decided as it is.
    verdict(dataset, ruled({"large": "width > 100"}))
    assert verdicts(dataset)[LAST] == (True, None)
    assert judge_again(dataset).done == 0


def test_a_decision_is_taken_back(dataset: Dataset) -> None:
    before = verdicts(dataset)
    first = decide(dataset, True, [SMALL])
    decide(dataset, False, [SMALL])
    assert undo(dataset, 2).keep is False
    assert decided(dataset) == {SMALL: True}
    assert undo(dataset, first.number) == first
    assert decided(dataset) == {}
    judge_again(dataset)
    assert verdicts(dataset) == before
    for number, said in ((1, "undone already"), (3, "undoes 2")):
        with pytest.raises(UserError, match=said):
            undo(dataset, number)
    with pytest.raises(NotFound, match="no decision 9"):
        undo(dataset, 9)


def test_what_cannot_be_decided_about_is_refused_and_nothing_logged(dataset: Dataset) -> None:
    log(dataset, Request(1, "key", "2026-01-01T00:00:00Z", keys=(LAST,)))
    for key in (FAILED, LAST, "000010009", "999990000", "cat"):
        with pytest.raises(NotFound, match=key):
            decide(dataset, True, [LARGE, key])
    with pytest.raises(UserError, match="no row is named"):
        decide(dataset, True, [])
    assert decisions(dataset) == []
    with pytest.raises(UserError, match="by_hand"):
        ruled({"by_hand": "width < 3"})


def test_the_keys_of_removed_rows_leave_the_log(dataset: Dataset) -> None:
    decide(dataset, False, [LARGE, LAST])
    log(dataset, Request(1, "key", "2026-01-01T00:00:00Z", keys=(LAST,)))
    judge_again(dataset)
    assert verdicts(dataset)[LAST] == (False, "removed")
    compact(dataset)
    assert residue(dataset) == []
    assert decided(dataset) == {LARGE: False}


def test_without_decisions_shards_judged_before_stay_as_they_are(dataset: Dataset) -> None:
    """Markers of before there were decisions say nothing of them."""
    marker = dataset.read_json("stages/verdict/00000.json")
    assert "decided" not in marker["inputs"]
    decide(dataset, False, [LARGE])
    judge_again(dataset)
    assert dataset.read_json("stages/verdict/00000.json") == marker
    assert "decided" in dataset.read_json("stages/verdict/00001.json")["inputs"]
