"""Shards that are added: their rows are compared with all others, the others not among themselves,
and the answer is that of comparing all."""

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frenchcat.curate.dataset import Dataset
from tests.curate.dedup.folders import pdq, read, write
from tests.curate.dedup.test_again import ROWS, gone, lone, made, row_of, run
from tests.trees import tree_digest

OLD = [lone(number) for number in range(6)]
BRIDGE = replace(lone(30), sha256=OLD[0].sha256, pdq=pdq(2, 5))


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.lists(ROWS, min_size=3, max_size=6), min_size=1, max_size=2),
    st.lists(ROWS, min_size=1, max_size=2),
    st.booleans(),
    st.sampled_from([None, ("exact", "semantic"), ("perceptual",), ("semantic",)]),
)
def test_additions_end_in_the_files_of_comparing_all(
    old: list[list[Mapping[str, Any]]],
    new: list[Mapping[str, Any]],
    in_front: bool,
    methods: tuple[str, ...] | None,
) -> None:
    """Whether the new shard's name comes before the others' or after them."""
    shards = {f"{n:05d}": [row_of(each) for each in rows] for n, rows in enumerate(old, 1)}
    last = "00000" if in_front else "00009"
    chosen = {} if methods is None else {"methods": methods}
    with tempfile.TemporaryDirectory() as folder:
        grown, anew = (Dataset.create(Path(folder) / name, "d") for name in ("grown", "anew"))
        for dataset in (grown, anew):
            for name, rows in shards.items():
                write(dataset, name, rows)
        first = run(grown, **chosen)
        for dataset in (grown, anew):
            write(dataset, last, [row_of(each) for each in new])
        report, whole = run(grown, **chosen), run(anew, **chosen)
        assert report == whole
        assert read(grown) == read(anew)
        stored = sum(each["stored"] for each in new)
        assert whole.compared == whole.rows == first.rows + stored
        assert report.compared == (stored if 2 * stored <= whole.rows else whole.rows)
        assert tree_digest(Path(grown.root)) == tree_digest(Path(anew.root))


def test_only_new_rows_are_compared_with_all_and_join_clusters(tmp_path: Path) -> None:
    dataset = made(tmp_path / "d", OLD)
    assert run(dataset).compared == 6
    write(dataset, "00001", [BRIDGE])
    report = run(dataset)
    assert (report.compared, report.clusters, report.duplicates) == (1, 1, 2)
    assert {row["cluster"] for row in read(dataset).values()} == {
        *("000000000", "000000001", "000000003", "000000004", "000000005")
    }
    assert run(dataset).compared == 0


@pytest.mark.parametrize("change", ["row", "removal", "shard", "settings", "file"])
def test_any_other_change_has_all_compared(change: str, tmp_path: Path) -> None:
    dataset = made(tmp_path / "d", OLD, [BRIDGE])
    run(dataset)
    write(dataset, "00002", [lone(40)])
    named: dict[str, Any] = {}
    if change == "row":
        write(dataset, "00001", [replace(BRIDGE, sha256=None)])
    elif change == "removal":
        gone(dataset, 1, "000010000")
    elif change == "shard":
        for path in ("stages/download/00001.json", "stages/dedup/00001.json"):
            dataset.remove(path)
    elif change == "settings":
        named = {"perceptual_distance": 30}
    else:
        Path(dataset.path("duplicates/00001.parquet")).write_bytes(b"cut")
    report = run(dataset, **named)
    assert report.compared == report.rows
    held = change in ("settings", "file")
    assert read(dataset)["000000002"]["cluster"] == ("000000000" if held else "000000002")


def test_what_holds_together_by_looks_alone_goes_on_doing_so(tmp_path: Path) -> None:
    """A copy by meaning does not become the same image because rows were added."""
    alike = replace(lone(20), vector=OLD[1].vector)
    dataset = made(tmp_path / "d", [*OLD, alike])
    run(dataset)
    write(dataset, "00001", [replace(lone(41), pdq=pdq(1, 8))])
    run(dataset)
    rows = read(dataset)
    assert rows["000000006"]["kind"] == "semantic"
    assert rows["000010000"]["kind"] == "perceptual"
    assert rows["000000006"]["image_cluster"] == "000000006"
    assert rows["000010000"]["image_cluster"] == "000000001"
    assert rows["000010000"]["also_seen"] == 1
