"""Captions -> the token states of a frozen CLIP text tower, to which the U-Net attends.

Also the caption's embedding, which `model.pooled` adds to the time embedding. Reads an open_clip
model's weights (`mini` by default). The empty caption is the null condition of classifier-free
guidance. States of recent captions are cached. Cost: one pass of the tower per new caption; memory
for `KEPT` captions.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from frenchcat.curate.config import resolve
from frenchcat.train.settings import TextSettings

if TYPE_CHECKING:
    from torch import Tensor

KEPT = 20_000
AT_ONCE = 64
"""Captions that are encoded together on a GPU."""


def variants_of(caption: str, settings: TextSettings) -> list[str]:
    """The variants of a caption: its parts at `separator`; there is always a first one."""
    if settings.separator is None:
        return [caption]
    first, *others = (part.strip() for part in caption.split(settings.separator))
    return [first, *(part for part in others if part)]


def captions_of(caption: str, settings: TextSettings) -> list[str]:
    """Every text that training can make of a caption: its variants, in each template."""
    templates = settings.templates or ("{caption}",)
    made = (t.replace("{caption}", v) for v in variants_of(caption, settings) for t in templates)
    return list(dict.fromkeys(made))


@dataclass(frozen=True)
class Condition:
    """A batch of encoded captions."""

    states: Tensor  # (B, L, D) float32; zeros after a caption's end
    mask: Tensor  # (B, L) bool: which positions belong to the caption
    pooled: Tensor | None = None  # (B, P) float32: the captions' CLIP embeddings, of length sqrt(P)
    sizes: Tensor | None = None  # (B, 6) float32: an image's height and width, top and left of
    # its cut in pixels once it is scaled, height and width of what is trained (2307.01952)

    def to(self, device: Any) -> Condition:
        """The same on a device."""
        return self._each(lambda tensor: tensor.to(device))

    def part(self, start: int, stop: int) -> Condition:
        """Some of the captions, as wide as all of them."""
        return self._each(lambda tensor: tensor[start:stop])

    def with_images(self, vectors: Tensor) -> Condition:
        """The same with images' CLIP vectors, (B, P): unit rows, or zeros for no image.

        They stand behind the captions' embeddings in `pooled`, and are of their size.
        """
        import torch

        assert self.pooled is not None
        width = vectors.shape[1]
        told = vectors.to(self.pooled) * width**0.5
        return replace(self, pooled=torch.cat([self.pooled[:, :width], told], 1))

    def joined(self, other: Condition) -> Condition:
        """Both, one after the other; they have to be of one width, as parts of a batch are."""
        return joined([self, other])

    def sized(self, sizes: Tensor) -> Condition:
        """The same for images of these sizes, (B, 6); see `sizes`."""
        return replace(self, sizes=sizes.to(self.states))

    def _each(self, change: Callable[[Tensor], Tensor]) -> Condition:
        pooled = None if self.pooled is None else change(self.pooled)
        sizes = None if self.sizes is None else change(self.sizes)
        return Condition(change(self.states), change(self.mask), pooled, sizes)


def joined(conditions: Sequence[Condition]) -> Condition:
    """Conditions of one width, one after the other."""
    import torch

    pooled = [one.pooled for one in conditions if one.pooled is not None]
    sizes = [one.sizes for one in conditions if one.sizes is not None]
    return Condition(
        torch.cat([one.states for one in conditions]),
        torch.cat([one.mask for one in conditions]),
        torch.cat(pooled) if len(pooled) == len(conditions) else None,
        torch.cat(sizes) if len(sizes) == len(conditions) else None,
    )


class TextEncoder:
    """The text tower of a CLIP model, giving states instead of a vector.

    On the CPU captions are encoded one by one: their states must not depend on the rest of a batch,
    not even in the last bit. On a GPU they are encoded in batches, and differ by rounding.
    """

    def __init__(self, settings: TextSettings, images: bool = False) -> None:
        """Load it. Raises `UserError` if the weights are unavailable.

        With `images`, embeddings have the zeros of no image behind them (`Condition.with_images`).
        """
        from frenchcat.curate.clip import ClipSettings
        from frenchcat.curate.clip.model import load_clip

        named = {"model": settings.model, "pretrained": settings.pretrained}
        plain = {"device": "cpu", "precision": "fp32", "compile": "no"}
        clip = load_clip(resolve(ClipSettings, named | plain))
        self.name, self.digest = clip.name, clip.digest
        self._tokenizer, self._tower = clip.text_tower()
        self._tower.tower.output_tokens = True
        self._device: Any = "cpu"
        self._images = images
        self._kept: OrderedDict[str, tuple[Tensor, Tensor]] = OrderedDict()
        self._too_long: set[str] = set()
        self.limit = int(self._tokenizer([""]).shape[1])  # tokens, with begin and end
        states, pooled = self._encoded([""])[0]
        self.width, self.pooled_width = int(states.shape[-1]), int(pooled.shape[-1])

    def to(self, device: Any) -> TextEncoder:
        """The same, its tower on a device."""
        self._tower.to(device)
        self._device = device
        return self

    def __call__(self, captions: Sequence[str]) -> Condition:
        """Captions -> states and mask, as wide as the longest caption, rounded up to a multiple of
        8.
        """
        import torch

        new = [caption for caption in dict.fromkeys(captions) if caption not in self._kept]
        for caption, encoded in zip(new, self._encoded(new), strict=True):
            self._kept[caption] = encoded
        rows, pooled = zip(*(self._kept[caption] for caption in captions), strict=True)
        while len(self._kept) > KEPT:
            self._too_long.discard(self._kept.popitem(last=False)[0])
        width = _rounded(max(len(row) for row in rows))
        states = torch.zeros(len(rows), width, rows[0].shape[-1])
        mask = torch.zeros(len(rows), width, dtype=torch.bool)
        for n, row in enumerate(rows):
            states[n, : len(row)] = row
            mask[n, : len(row)] = True
        told = torch.stack(pooled)
        found = Condition(states, mask, told)
        return found.with_images(torch.zeros_like(told)) if self._images else found

    def positions(self, captions: Sequence[str]) -> int:
        """As wide as the states of these captions are together, without encoding them."""
        parts = (captions[n : n + KEPT] for n in range(0, len(captions), KEPT))
        longest = max(int(self._tower.lengths(self._tokenizer(list(p))).max()) for p in parts)
        return _rounded(longest)

    def too_long(self, captions: Sequence[str]) -> list[str]:
        """The captions just encoded that have more than `limit` tokens, and were cut."""
        return [caption for caption in captions if caption in self._too_long]

    def _is_cut(self, caption: str, tokens: Tensor) -> bool:
        """Whether a caption that fills its row would be encoded differently in a longer one."""
        import torch

        if int(self._tower.lengths(tokens)[0]) < self.limit:
            return False
        longer = self._tokenizer([caption], context_length=self.limit + 1)
        return not torch.equal(longer[:, : self.limit], tokens)

    def _encoded(self, captions: Sequence[str]) -> list[tuple[Tensor, Tensor]]:
        """Each caption's states up to its end, (L, D) float32, and its embedding, (P,) float32.

        The embedding's length is sqrt(P): its numbers vary by about 1, as a network expects.
        """
        found = []
        at_once = 1 if str(self._device) == "cpu" else AT_ONCE
        for start in range(0, len(captions), at_once):
            found += self._batch(captions[start : start + at_once])
        return found

    def _batch(self, captions: Sequence[str]) -> list[tuple[Tensor, Tensor]]:
        import torch

        tokens = self._tokenizer(list(captions))
        lengths = self._tower.lengths(tokens).tolist()
        for n, caption in enumerate(captions):
            if self._is_cut(caption, tokens[n : n + 1]):
                self._too_long.add(caption)
        with torch.inference_mode():
            pooled, states = self._tower(self._tower.cut(tokens).to(self._device))
        rows = states.float().cpu()
        units = torch.nn.functional.normalize(pooled.float(), dim=-1).cpu()
        return [
            (rows[n, :length].clone(), units[n] * units.shape[-1] ** 0.5)
            for n, length in enumerate(lengths)
        ]


def _rounded(positions: int) -> int:
    """Up to a multiple of 8."""
    return -(-positions // 8) * 8
