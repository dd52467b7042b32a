"""The code blocks of a page, and what a comment above one says about running it.

A comment stands on the line before the fence:

    <!-- not run: needs 8 GPUs -->      the block is not run; the test counts and prints these
    <!-- fails: 2 -->                   the block ends with this status

A block of the language `text` is output: its lines are in what the block before it printed, in
this order, where `…` stands for anything.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])
LANGUAGES = ("sh", "python", "toml", "json", "text")
FENCE = re.compile(
    r"(?:^[ ]*<!--\s*(?P<how>not run|fails):\s*(?P<why>[^\n]*?)\s*-->\n)?"
    r"^(?P<indent>[ ]*)```(?P<language>[^\n]*)\n(?P<text>.*?)^(?P=indent)```[ ]*$",
    re.M | re.S,
)

How = Literal["run", "not run", "fails"]


@dataclass(frozen=True)
class Block:
    """One fenced block: where it stands, what is in it, and how it is run."""

    page: str  # "docs/build.md"
    line: int  # of its fence, from 1
    language: str
    text: str
    how: How
    why: str  # the reason, or the status of a block that fails

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"


def blocks_of(page: Path) -> list[Block]:
    """The blocks of a page in their order."""
    text = page.read_text(encoding="utf-8")
    return [
        _block(found, text, page.relative_to(ROOT).as_posix()) for found in FENCE.finditer(text)
    ]


def _block(found: re.Match[str], text: str, page: str) -> Block:
    indent = len(found["indent"])
    lines = found["text"].splitlines()
    return Block(
        page=page,
        line=text[: found.start("language")].count("\n") + 1,
        language=found["language"].strip(),
        text="\n".join(line[indent:] for line in lines) + "\n",
        how=found["how"] or "run",  # type: ignore[arg-type]  # one of the pattern's words
        why=found["why"] or "",
    )


def missing(shown: str, printed: str) -> str | None:
    """The first line of `shown` that is not in `printed`, in order; None where all are there."""
    words = " ".join(printed.split())
    place = 0
    for line in shown.splitlines():
        parts = [re.escape(" ".join(part.split())) for part in line.split("…")]
        found = re.compile(r".*?".join(parts)).search(words, place)
        if found is None:
            return line
        place = found.end()
    return None
