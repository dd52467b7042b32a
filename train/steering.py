"""Guides: what `frenchcat sample` can steer with besides the prompt, as gradients for guidance.py.

A guide is made once from a classifier or a CLIP model, and gives the gradient for some prompts
when they are drawn (draw.py). Writes nothing.

classifier_guide   2105.05233: one label for all prompts, by a classifier of noised images
clip_guide         2112.10741, section 2.4: the prompt itself, by the predicted image

GLIDE trains a CLIP on noised images; here an ordinary one sees the predicted x_0, and the
gradient goes back through the U-Net. Not here: augmentations against shortcuts, latents for CLIP.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from frenchcat.curate.config import resolve
from frenchcat.curate.errors import UserError
from frenchcat.train.guidance import Gradient, classifier_gradient, clip_gradient
from frenchcat.train.run import Parts
from frenchcat.train.settings import TextSettings
from frenchcat.train.text import Condition

if TYPE_CHECKING:
    from torch import Tensor

    from frenchcat.curate.clip.model import Clip
    from frenchcat.train.classifier import TrainedClassifier

Guide = Callable[[Parts, Sequence[str], Condition], Gradient]
"""(the model, the prompts, their condition on its device) -> the gradient to climb."""


def classifier_guide(classifier: TrainedClassifier, label: str, scale: float) -> Guide:
    """Steer towards one label. Raises `UserError` for a label that it did not learn.

    The guide raises it for a model with images or noise that the classifier never saw.
    """
    number = classifier.number_of(label)

    def guide(parts: Parts, prompts: Sequence[str], condition: Condition) -> Gradient:
        import torch

        classifier.check_fits(parts)
        labels = torch.full((len(prompts),), number, device=condition.states.device)
        return classifier_gradient(classifier.network, labels, scale)

    return guide


def clip_guide(clip: Clip, weight: float) -> Guide:
    """Steer towards the prompts, as a CLIP model sees the predicted image.

    The guide raises `UserError` for a model that draws latents, which CLIP cannot see.
    """
    embed = image_embedding(clip)

    def guide(parts: Parts, prompts: Sequence[str], condition: Condition) -> Gradient:
        import torch

        if parts.codec.vae is not None:
            raise UserError("CLIP guidance needs pixels, but this run draws latents; leave it out")
        unet, target = parts.unet.requires_grad_(False), parts.settings.diffusion.target
        texts = torch.from_numpy(clip.encode_texts(prompts)).to(condition.states.device)

        def predicted(x: Tensor, t: Tensor) -> Tensor:
            output = parts.family.answer(unet, x.to(unet.dtype), t, condition).float()
            return parts.codec.pixels(parts.diffusion.split(target, output, x, t)[0])

        return clip_gradient(embed, texts, weight, predicted)

    return guide


def image_embedding(clip: Clip) -> Callable[[Tensor], Tensor]:
    """Images (N, 3, H, W) in -1 … 1 -> unit rows, differentiable; squares of any size."""
    from torch.nn.functional import interpolate, normalize

    images = clip.images
    sides = clip.preprocess.height, clip.preprocess.width

    def embed(pictures: Tensor) -> Tensor:
        larger = interpolate(pictures, sides, mode="bicubic", antialias=True)
        found = images.tower((((larger + 1) / 2 - images.mean) / images.std).to(images.dtype))
        rows = found[0] if isinstance(found, tuple) else found
        return normalize(rows.float(), dim=-1)

    return embed


def clip_of(settings: TextSettings) -> Clip:
    """The CLIP model whose text tower a run uses, on the CPU, as an opened run is.

    Raises `UserError` without its weights.
    """
    from frenchcat.curate.clip import ClipSettings
    from frenchcat.curate.clip.model import load_clip

    named = {"model": settings.model, "pretrained": settings.pretrained}
    plain = {"device": "cpu", "precision": "fp32", "compile": "no"}
    return load_clip(resolve(ClipSettings, named | plain))
