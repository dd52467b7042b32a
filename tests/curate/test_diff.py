"""Two builds compared by uid, whatever shards and keys their rows have."""

from pathlib import Path

import pytest

from frenchcat.curate.config import resolve
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.diff import diff
from frenchcat.curate.errors import UserError
from frenchcat.curate.removals import Request, log
from frenchcat.curate.verdict.settings import VerdictSettings
from frenchcat.curate.verdict.stage import verdict
from tests.sample.columns import add_columns, set_columns
from tests.sample.row import Row
from tests.sample.write import write


def built(root: Path, *shards: list[Row], small: int = 0) -> Dataset:
    """A judged dataset of these rows."""
    dataset = Dataset.create(root, "d")
    for number, rows in enumerate(shards):
        write(dataset, f"{number:05d}", rows)
    rules = {"small": f"width < {small}"}
    verdict(dataset, resolve(VerdictSettings, {"rules": rules}))
    return dataset


def row(
    uid: str,
    width: int | None = 9,
    caption: str | None = None,
    failed: str | None = None,
    **more: object,
) -> Row:
    own = {"uid": uid * 32, "width": width, **more}
    return Row(f"http://a.example/{uid}", caption, failed, columns=own)


def test_rows_are_told_by_uid_and_not_by_place(tmp_path: Path) -> None:
    one = built(tmp_path / "a", [row("a"), row("b"), row("c", failed="http_404: gone")])
    other = built(tmp_path / "b", [row("c", failed="http_404: gone")], [row("b"), row("a")])
    found = diff(one, other)
    assert found.counts() == {"added": 0, "removed": 0, "changed": 0, "same": 3}


def test_added_removed_changed_and_verdicts(tmp_path: Path) -> None:
    one = built(tmp_path / "a", [row("a"), row("b"), row("c"), row("d", failed="deadline: 3 s")])
    other = built(
        tmp_path / "b",
        [row("a", caption="a cat"), row("b", 2), row("d"), row("e", artist="Ann")],
        small=5,
    )
    found = diff(one, other)
    assert found.counts() == {"added": 1, "removed": 1, "changed": 3, "same": 0}
    told = {change.uid[0]: change for change in found.changes}
    assert told["e"].change == "added"
    assert told["e"].fate == (None, "kept")
    assert told["c"].change == "removed"
    assert told["a"].columns == {"caption": (None, "a cat")}
    assert told["b"].columns["width"] == (9, 2)
    assert told["b"].columns["reason"] == (None, "small")
    assert told["d"].columns["status"] == ("failed_to_download", "success")
    assert found.by_fate() == {("kept", "dropped:small"): 1, ("failed:deadline", "kept"): 1}
    assert found.new_columns == ["artist"]
    assert found.by_column()["width"] == 1


def test_diff_backwards_is_the_mirror_image(tmp_path: Path) -> None:
    one = built(tmp_path / "a", [row("a"), row("b")])
    other = built(tmp_path / "b", [row("b", 1), row("c")])
    there, back = diff(one, other), diff(other, one)
    assert there.counts()["added"] == back.counts()["removed"] == 1
    (change,) = [c for c in there.changes if c.change == "changed"]
    (mirrored,) = [c for c in back.changes if c.change == "changed"]
    assert mirrored.columns == {name: pair[::-1] for name, pair in change.columns.items()}


def test_a_pair_listed_twice_is_two_rows(tmp_path: Path) -> None:
    one = built(tmp_path / "a", [row("a"), row("a"), row("b")])
    other = built(tmp_path / "b", [row("a"), row("b")])
    assert diff(one, other).counts() == {"added": 0, "removed": 1, "changed": 0, "same": 2}


def test_without_verdicts_on_one_side_a_drop_is_a_change(tmp_path: Path) -> None:
    one = Dataset.create(tmp_path / "a", "d")
    write(one, "00000", [row("a"), row("b", 1)])
    other = built(tmp_path / "b", [row("a"), row("b", 1)], small=5)
    found = diff(one, other)
    assert found.counts()["changed"] == 1
    assert found.by_fate() == {("kept", "dropped:small"): 1}
    assert found.new_columns == ["keep", "reason"]


def test_no_shards_is_one_line(tmp_path: Path) -> None:
    one = built(tmp_path / "a", [row("a")])
    with pytest.raises(UserError, match="has no shards"):
        diff(one, Dataset.create(tmp_path / "b", "d"))


def test_a_removed_row_is_gone_at_once(tmp_path: Path) -> None:
    one = built(tmp_path / "a", [row("a"), row("b")])
    other = built(tmp_path / "b", [row("a"), row("b")])
    log(other, Request(1, "key", "2026-01-01T00:00:00Z", keys=("000000001",)))
    found = diff(one, other)
    assert found.counts() == {"added": 0, "removed": 1, "changed": 0, "same": 1}
    assert [change.uid[0] for change in found.changes] == ["b"]


def test_a_value_that_came_or_went_is_a_change(tmp_path: Path) -> None:
    one = built(tmp_path / "a", [row("a", None), row("b", 3), row("c", None)])
    other = built(tmp_path / "b", [row("a", 3), row("b", None), row("c", None)])
    found = diff(one, other)
    assert {change.uid[0]: change.columns for change in found.changes} == {
        "a": {"width": (None, 3)},
        "b": {"width": (3, None)},
    }
    assert (found.same, found.by_fate()) == (1, {})


def test_a_reason_alone_that_changed_is_a_change_of_fate(tmp_path: Path) -> None:
    one = built(tmp_path / "a", [row("a", failed="http_404: gone"), row("b", 1)], small=5)
    other = built(tmp_path / "b", [row("a", failed="deadline: 3 s"), row("b", 1)], small=5)
    assert diff(one, other).by_fate() == {("failed:http_404", "failed:deadline"): 1}


def test_where_a_copy_lies_is_not_compared(tmp_path: Path) -> None:
    one = built(tmp_path / "a", [row("a"), row("b")])
    other = built(tmp_path / "b", [row("b"), row("a")])
    add_columns(one, "duplicates", cluster=["1", "1"], duplicate_of=["000000001", None])
    add_columns(other, "duplicates", cluster=["7", "7"], duplicate_of=[None, "000000000"])
    assert diff(one, other).counts()["same"] == 2


def test_a_lists_own_column_reason_is_no_verdict(tmp_path: Path) -> None:
    one = Dataset.create(tmp_path / "a", "d")
    write(one, "00000", [row("a", reason="because")])
    other = built(tmp_path / "b", [row("a")])
    found = diff(one, other)
    assert (found.changes, found.lost_columns) == ([], ["list_reason"])
    assert found.new_columns == ["keep", "reason"]
    assert diff(one, one).counts()["same"] == 1


def test_a_column_of_another_type_is_compared_by_its_text(tmp_path: Path) -> None:
    one = built(tmp_path / "a", [row("a"), row("b")])
    other = built(tmp_path / "b", [row("a"), row("b")])
    set_columns(other, "shards/00000.parquet", width=["9", "10"])
    found = diff(one, other)
    assert [(change.uid[0], change.columns) for change in found.changes] == [
        ("b", {"width": ("9", "10")})
    ]
