"""Draws docs/pictures/concepts.svg: what becomes of eight rows on their way to a selection.

python -m tools.concepts docs/pictures/concepts.svg
"""

import sys
from collections.abc import Iterator
from html import escape
from pathlib import Path

COLUMNS = (
    ("URL list", "lists/"),
    ("downloaded", "shards/, rights/"),
    ("measured", "embeddings/, scores/, duplicates/"),
    ("judged", "verdicts/"),
    ("selected", "selections/cats.parquet"),
)
STAGES = ("download", "embed, score, dedup", "verdict", "select")
ROWS = (
    ("a french cat", 5, ""),
    ("kitten in a basket", 5, ""),
    ("cat.jpg", 3, "few_words"),
    ("tabby cat, asleep", 1, "http_404"),
    ("a cat with a beret", 5, ""),
    ("a cat with a beret", 3, "duplicate"),
    ("a red apple", 4, "caption does not say cat"),
    ("my cat", 1, "opted_out:robots_txt"),
)
"""Caption, how many columns the row reaches, and why it goes no further."""
LEFT, STEP, WIDTH, TOP, HEIGHT, GAP = 20, 192, 150, 112, 24, 8
KEPT, LOST, INK, DIM = "#2f5d8a", "#b4552d", "#1d2a36", "#5d6b78"


def svg() -> str:
    """The whole picture as text."""
    high = TOP + len(ROWS) * (HEIGHT + GAP) + 74
    wide = LEFT * 2 + STEP * 4 + WIDTH
    body = "\n".join([*_heads(), *_rows(), *_feet(high)])
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {high}" '
        'font-family="system-ui, sans-serif" font-size="13">\n'
        f'<rect width="{wide}" height="{high}" rx="12" fill="#fbfaf8"/>\n{body}\n</svg>\n'
    )


def _heads() -> Iterator[str]:
    for n, (name, files) in enumerate(COLUMNS):
        x = LEFT + n * STEP
        yield _text(x, 76, name, INK, "bold")
        yield _text(x, 94, files, DIM, size=10.5)
    for n, stage in enumerate(STAGES):
        x = LEFT + n * STEP + WIDTH + 21
        yield _text(x, 36, stage, KEPT, "bold", "middle")
        yield _text(x, 52, "stage" if n < 3 else "command", DIM, anchor="middle", size=10.5)
        yield f'<path d="M{x - 12} 72h20m-6 -4 6 4 -6 4" stroke="{KEPT}" fill="none"/>'


def _rows() -> Iterator[str]:
    for n, (caption, reached, why) in enumerate(ROWS):
        y = TOP + n * (HEIGHT + GAP)
        for column in range(reached):
            x = LEFT + column * STEP
            yield (
                f'<rect x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="5" '
                f'fill="{"#dfeaf4" if column == 4 else "#eef3f8"}" stroke="{KEPT}"/>'
            )
            yield _text(x + 8, y + 16, caption, INK, size=12)
        if why:
            x = LEFT + reached * STEP - (STEP - WIDTH) + 10
            yield _text(x, y + 16, f"✕ {why}", LOST if reached < 4 else DIM, size=12)


def _feet(high: int) -> Iterator[str]:
    words = ("8 rows", "6 stored, 2 failed", "numbers, no decisions", "4 kept, 2 dropped", "3 rows")
    for n, word in enumerate(words):
        yield _text(LEFT + n * STEP, high - 44, word, INK, "bold", size=12)
    yield _text(LEFT, high - 18, "dataset: one folder that holds all of these files", DIM, size=12)
    yield _text(LEFT + 4 * STEP, high - 26, "digest 3f9c… names", DIM, size=11)
    yield _text(LEFT + 4 * STEP, high - 12, "the training set", DIM, size=11)


def _text(
    x: float, y: float, text: str, fill: str, weight: str = "", anchor: str = "", size: float = 13
) -> str:
    more = f' font-weight="{weight}"' * bool(weight) + f' text-anchor="{anchor}"' * bool(anchor)
    return f'<text x="{x}" y="{y}" fill="{fill}" font-size="{size}"{more}>{escape(text)}</text>'


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(svg(), encoding="utf-8")
