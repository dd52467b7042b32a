"""The picture in docs/concepts.md is what its command draws, and its counts are its rows'."""

from pathlib import Path

from tools.concepts import ROWS, svg

PICTURE = Path(__file__).parents[2] / "docs" / "pictures" / "concepts.svg"


def test_the_committed_picture_is_what_the_command_draws() -> None:
    assert PICTURE.read_text(encoding="utf-8") == svg()


def test_the_counts_below_the_columns_are_those_of_the_rows() -> None:
    reached = [columns for _, columns, _ in ROWS]
    stored, kept = sum(n > 1 for n in reached), sum(n > 3 for n in reached)
    words = svg()
    for said in (
        f"{len(ROWS)} rows",
        f"{stored} stored, {len(ROWS) - stored} failed",
        f"{kept} kept, {stored - kept} dropped",
        f"{sum(n == 5 for n in reached)} rows",
    ):
        assert f">{said}</text>" in words, said
