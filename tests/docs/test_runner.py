"""The runner itself: what it reads of a page, and that nothing wrong passes."""

from pathlib import Path

import pytest

from tests.docs import blocks
from tests.docs.blocks import blocks_of, missing

PAGE = """# A page

```sh
echo one
```
```text
one
```

<!-- not run: needs a GPU -->
```sh
echo two
```

- a point
  <!-- fails: 2 -->
  ```python
  if True:
      raise SystemExit(2)
  ```
"""


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(blocks, "ROOT", tmp_path)
    path = tmp_path / "page.md"
    path.write_text(PAGE)
    return path


def test_blocks_are_read_with_their_place_and_comment(page: Path) -> None:
    found = blocks_of(page)
    assert [(b.place, b.language, b.how, b.why) for b in found] == [
        ("page.md:3", "sh", "run", ""),
        ("page.md:6", "text", "run", ""),
        ("page.md:11", "sh", "not run", "needs a GPU"),
        ("page.md:17", "python", "fails", "2"),
    ]
    assert found[3].text == "if True:\n    raise SystemExit(2)\n"


@pytest.mark.parametrize(
    ("shown", "line"),
    [
        ("a 1\nb", None),
        ("a …", None),
        ("a  1", None),
        ("… c", None),
        ("b\na", "a"),
        ("a 2", "a 2"),
        ("a … d", "a … d"),
    ],
)
def test_shown_output_is_looked_for_line_by_line_in_order(shown: str, line: str | None) -> None:
    assert missing(shown, "a 1\nb\n  c\n") == line
