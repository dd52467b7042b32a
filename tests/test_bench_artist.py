"""bench.artist's judges, by vectors and pictures whose answer is known."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from bench.artist import COLOURS, HUES, Judge, main_colour, pdq_distance, rank_of
from tests.sample.pictures import noise

STYLES = ("flat", "blob", "glossy")


def rows_and_vectors() -> tuple[list[dict[str, str]], np.ndarray]:
    """Three names in three styles: a unit vector for each name, turned a little by the style."""
    rows, vectors = [], []
    for n, name in enumerate(("apple", "bus", "cat")):
        for m, style in enumerate(STYLES):
            vector = np.eye(8)[n] + 0.3 * np.eye(8)[5 + m]
            rows.append({"name": name, "style": style})
            vectors.append(vector / np.linalg.norm(vector))
    return rows, np.array(vectors, np.float32)


def test_the_nearest_of_another_style_names_a_drawing() -> None:
    rows, vectors = rows_and_vectors()
    judge = Judge(rows, vectors)
    assert judge.shares(vectors, rows) == (1.0, 1.0)
    moved = [{"name": "bus", "style": row["style"]} for row in rows]
    assert judge.shares(vectors, moved)[0] == pytest.approx(1 / 3)


def test_a_drawing_of_the_same_style_does_not_count() -> None:
    """It is the drawing itself, and says nothing of the name."""
    rows, vectors = rows_and_vectors()
    alone = [dict(row) for row in rows]
    alone[0]["name"] = "pear"  # in one style: nothing of another names it
    first, _ = Judge(alone, vectors).shares(vectors[:1], alone[:1])
    assert first == 0.0


def test_a_tie_is_no_hit() -> None:
    scores = np.array([[1.0, 0.5, 0.2], [0.3, 0.3, 0.3], [0.1, 0.2, 0.9]])
    assert rank_of(scores, np.array([0, 1, 0])).tolist() == [0, 2, 2]


@pytest.mark.parametrize("colour", [*COLOURS, "orange", "purple"])
def test_a_colour_is_that_of_most_coloured_pixels(colour: str) -> None:
    picture = Image.new("RGB", (64, 64), "white")
    pen = ImageDraw.Draw(picture)
    pen.ellipse((8, 8, 56, 56), f"hsl({HUES[colour] + 8}, 80%, 45%)")
    pen.ellipse((20, 20, 40, 40), "hsl(160, 80%, 45%)")
    pen.rectangle((0, 58, 64, 64), "#222")
    assert main_colour(picture) == colour


def test_a_grey_picture_has_no_colour() -> None:
    assert main_colour(Image.new("RGB", (64, 64), "white")) is None
    assert main_colour(Image.new("RGB", (64, 64), "#808080")) is None


def test_a_copy_is_near_by_pdq_and_another_picture_is_not() -> None:
    one, other = noise(1).resize((64, 64)), noise(2).resize((64, 64))
    brighter = one.point(lambda value: min(255, value + 8))
    assert pdq_distance(one, one) == 0
    assert pdq_distance(one, brighter) <= 31 < pdq_distance(one, other)
