"""What the demo says of a row; the demo as a whole is tried by `make demo`."""

from typing import Any

import pytest

from frenchcat.demo import _outcome

STORED = {"status": "success", "error_message": None, "keep": True, "reason": None}


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"planted": "", "multiplicity": 1}, "kept"),
        ({"planted": "", "multiplicity": 2}, "kept"),
        ({"planted": "exact_duplicate", "multiplicity": 2}, "kept, its copy dropped"),
        ({"planted": "exact_duplicate", "multiplicity": 1}, "kept"),
        (
            {"planted": "tiny", "multiplicity": 1, "keep": False, "reason": "too_small"},
            "dropped (too_small)",
        ),
        (
            {"planted": "noai", "status": "failed_to_download", "keep": None, "multiplicity": None}
            | {"error_message": "opted_out:x_robots_tag: noai"},
            "opted_out:x_robots_tag",
        ),
        (
            {"planted": "", "status": "failed_to_download", "keep": None, "multiplicity": None}
            | {"error_message": "http_404: not found"},
            "http_404",
        ),
    ],
)
def test_the_end_of_a_row_in_words(row: dict[str, Any], said: str) -> None:
    assert _outcome(STORED | row) == said
