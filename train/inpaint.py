"""Drawing inside a mask: what lies outside stays as it is, and what is drawn has to fit to it.

As RePaint (2201.09865) with any sampler and any model, none of which was trained for it: at each
step the known part of the predicted image is replaced by the known image, so that the next x_t
has it, noised as it should be. RePaint's resampling (going back some steps to harmonise) is left
out. In the finished image the pixels outside the mask are the image's own, bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from frenchcat.curate.errors import UserError
from frenchcat.train.diffusion import Diffusion
from frenchcat.train.model import Codec
from frenchcat.train.sampler import Predict

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

_DRAWN = 128  # of 255: from this grey on a pixel is drawn


@dataclass(frozen=True)
class Known:
    """An image, and where it is to be drawn anew."""

    pixels: Tensor  # (1, 3, H, W) uint8
    x_0: Tensor  # (1, C, h, w) float32
    drawn_pixels: Tensor  # (1, 1, H, W) bool
    drawn: Tensor  # (1, 1 or C, h, w) bool, of x

    def within(self, predict: Predict, diffusion: Diffusion) -> Predict:
        """A predictor whose x_0 is the known image outside the mask."""
        import torch

        def found(x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
            x_0, eps = predict(x, t)
            a, s = (float(one[0]) for one in diffusion.coefficients(t[:1]))
            x_0 = torch.where(self.drawn, x_0, self.x_0)
            return x_0, torch.where(self.drawn, eps, (x - a * x_0) / s)

        return found

    def finished(self, pixels: Tensor) -> Tensor:
        """Drawn images (N, 3, H, W) uint8 with the known pixels outside the mask."""
        import torch

        return torch.where(self.drawn_pixels, pixels, self.pixels)


def known_of(picture: Image, mask: Image, size: tuple[int, int], codec: Codec, to: Tensor) -> Known:
    """An image and its mask (white: drawn), cut to `size` (width, height), on the device of `to`.

    A latent is drawn where any of its pixels is. Raises `UserError` for a mask of another size, or
    one that draws nothing.
    """
    import numpy as np
    import torch
    from PIL import Image as Images
    from PIL import ImageOps

    if mask.size != picture.size:
        raise UserError(
            f"the mask has {mask.width} x {mask.height} pixels, and the image "
            f"{picture.width} x {picture.height}; give a mask of the image's size"
        )
    grey = ImageOps.fit(mask.convert("L"), size, Images.Resampling.BOX)
    where = torch.from_numpy(np.asarray(grey, np.uint8) >= _DRAWN)[None, None].to(to.device)
    if not bool(where.any()):
        raise UserError("the mask is black everywhere, and nothing would be drawn; white is drawn")
    fitted = np.asarray(ImageOps.fit(picture.convert("RGB"), size), np.uint8)
    pixels = torch.from_numpy(fitted.copy()).permute(2, 0, 1)[None].to(to.device)
    if codec.vae is None:
        drawn = torch.nn.functional.pixel_unshuffle(where.expand(1, 3, -1, -1).float(), codec.patch)
    else:
        drawn = torch.nn.functional.max_pool2d(where.float(), codec.shrinks)
    return Known(pixels, codec.encode(pixels), where, drawn > 0)
