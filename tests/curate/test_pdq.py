"""PDQ by matrix products, against pdqhash bit for bit."""

from collections.abc import Iterator

import numpy as np
import pdqhash
import pytest
from numpy.typing import NDArray

from bench._photographs import natural as photograph
from frenchcat.curate import pdq

Pixels = NDArray[np.uint8]


def natural(seed: int, height: int, width: int) -> Pixels:
    return np.clip(photograph(width, height, seed), 0, 255).astype(np.uint8)


def reference(pixels: Pixels) -> tuple[bytes, int]:
    bits, quality = pdqhash.compute(np.ascontiguousarray(pixels))
    return np.packbits(bits).tobytes(), int(quality)


def varied() -> Iterator[Pixels]:
    """Photographs, noise, lines, gradients, flat ones; sides around every step of the window."""
    chance = np.random.default_rng(0)
    sides = (256, 64), (65, 256), (127, 300), (128, 257), (129, 384), (255, 511), (512, 256)
    for number, (height, width) in enumerate((*sides, (641, 320), (1023, 300))):
        yield natural(number, height, width)
        yield chance.integers(0, 256, (height, width, 3), dtype=np.uint8)
        yield chance.integers(0, 2, (height, width, 1), dtype=np.uint8).repeat(3, axis=2) * 255
        across = np.linspace(0, 255, width).astype(np.uint8)
        yield np.broadcast_to(across[None, :, None], (height, width, 3))
        # A quality of less than 100, where a gradient at the very step counts.
        yield (natural(number, height, width) // 6 + 90).astype(np.uint8)
    for grey in (0, 77, 255):
        yield np.full((256, 200, 3), grey, np.uint8)
    symmetric = natural(50, 256, 256)
    yield np.concatenate([symmetric, symmetric[:, ::-1]], axis=1)  # half of its frequencies are 0


def test_every_image_has_the_hash_and_the_quality_of_pdqhash() -> None:
    for pixels in varied():
        assert pdq.compute(pixels) == reference(pixels)


@pytest.mark.parametrize(("height", "width"), [(40, 300), (300, 3), (4200, 64)])
def test_very_narrow_and_very_long_images_too(height: int, width: int) -> None:
    pixels = natural(3, height, width)
    assert pdq.compute(pixels) == reference(pixels)


def test_pdqhash_is_seldom_asked_about_photographs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the hash is right and slow."""
    asked: list[Pixels] = []

    def noted(pixels: Pixels) -> tuple[bytes, int]:
        asked.append(pixels)
        return reference(pixels)

    monkeypatch.setattr(pdq, "_by_pdqhash", noted)
    for number in range(30):
        pdq.compute(natural(number, 192, 256))
    assert len(asked) <= 6
