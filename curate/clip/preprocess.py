"""A model's image preprocessing, pixel for pixel open_clip's, in Pillow alone.

Reads and writes nothing. Decoding processes run it: without torch they start in a fraction of a
second and hold tens of megabytes. The trade-off: open_clip's three ways to resize are said again
here; tests hold them against open_clip's own. One thing differs on purpose: images are converted
to RGB first, since Pillow resizes a palette's indices by the nearest neighbour only.

What follows, scaling to [0, 1] and the mean and deviation, is done on whole batches by the model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Image, Resampling


@dataclass(frozen=True)
class Preprocess:
    """Image of any size and mode -> RGB image of `height` x `width` pixels."""

    height: int
    width: int
    mode: str  # shortest | longest | squash, as open_clip's resize_mode
    interpolation: str  # bicubic | bilinear
    fill: int = 0  # of the borders that `longest` adds

    @classmethod
    def of(cls, settings: Any) -> Preprocess:
        """From open_clip's PreprocessCfg."""
        size = settings.size
        height, width = (size, size) if isinstance(size, int) else size
        return cls(height, width, settings.resize_mode, settings.interpolation, settings.fill_color)

    def __call__(self, picture: Image) -> Image:
        """Convert, resize, crop or pad."""
        picture = picture.convert("RGB")
        picture = picture.resize(self._resized(*picture.size), self._resampling())
        return self._centred(picture)

    def _resized(self, width: int, height: int) -> tuple[int, int]:
        if self.mode == "squash":
            return self.width, self.height
        if self.mode == "shortest" and self.width == self.height:
            # torchvision's rule: the longer side is cut off, not rounded.
            longer = int(self.width * max(width, height) / min(width, height))
            return (self.width, longer) if width <= height else (longer, self.width)
        ratios = (width / self.width, height / self.height)
        ratio = max(ratios) if self.mode == "longest" else min(ratios)
        return max(1, round(width / ratio)), max(1, round(height / ratio))

    def _resampling(self) -> Resampling:
        from PIL.Image import Resampling

        # open_clip leaves its default, bicubic, for the shortest side of an oblong.
        oblong = self.mode == "shortest" and self.width != self.height
        bilinear = self.interpolation == "bilinear" and not oblong
        return Resampling.BILINEAR if bilinear else Resampling.BICUBIC

    def _centred(self, picture: Image) -> Image:
        from PIL import Image

        wide, high = picture.width - self.width, picture.height - self.height
        if wide < 0 or high < 0:
            # open_clip rounds the left and upper border down.
            canvas = Image.new("RGB", (self.width, self.height), (self.fill,) * 3)
            canvas.paste(picture, (max(0, -wide) // 2, max(0, -high) // 2))
            return canvas
        left, top = round(wide / 2), round(high / 2)
        return picture.crop((left, top, left + self.width, top + self.height))
