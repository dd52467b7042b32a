"""Captions -> what the U-Net attends to: the token states of a CLIP text tower, frozen.

Reads an open_clip model's weights (`mini` by default). The empty caption is the null condition of
classifier-free guidance. States of captions that come again are kept.

Cost: one pass of the tower a new caption; memory `KEPT` captions.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from frenchcat.train.settings import TextSettings

if TYPE_CHECKING:
    from torch import Tensor

KEPT = 20_000


@dataclass(frozen=True)
class Condition:
    """A batch of captions, encoded."""

    states: Tensor  # (B, L, D) float32; zeros behind a caption's end
    mask: Tensor  # (B, L) bool: which positions belong to the caption

    def to(self, device: Any) -> Condition:
        """The same on a device."""
        return Condition(self.states.to(device), self.mask.to(device))

    def part(self, start: int, stop: int) -> Condition:
        """Some of the captions, as wide as all of them."""
        return Condition(self.states[start:stop], self.mask[start:stop])

    def joined(self, other: Condition) -> Condition:
        """Both, one after the other; they have to be of one width, as parts of a batch are."""
        import torch

        states = torch.cat([self.states, other.states])
        return Condition(states, torch.cat([self.mask, other.mask]))


class TextEncoder:
    """The text tower of a CLIP model, giving states instead of a vector. Runs on the CPU."""

    def __init__(self, settings: TextSettings) -> None:
        """Load it. Raises `UserError` where the weights cannot be had."""
        from frenchcat.curate.clip import ClipSettings
        from frenchcat.curate.clip.model import load_clip
        from frenchcat.curate.config import resolve

        named = {"model": settings.model, "pretrained": settings.pretrained}
        plain = {"device": "cpu", "precision": "fp32", "compile": "no"}
        clip = load_clip(resolve(ClipSettings, named | plain))
        self.name, self.digest = clip.name, clip.digest
        self._tokenizer, self._tower = clip.text_tower()
        self._tower.tower.output_tokens = True
        self._kept: OrderedDict[str, Tensor] = OrderedDict()
        self._too_long: set[str] = set()
        self.limit = int(self._tokenizer([""]).shape[1])  # tokens, with those of begin and end
        self.width = int(self._encoded([""])[0].shape[-1])

    def __call__(self, captions: Sequence[str]) -> Condition:
        """Captions -> states and mask, as wide as the longest of them, a multiple of 8."""
        import torch

        new = [caption for caption in dict.fromkeys(captions) if caption not in self._kept]
        for caption, states in zip(new, self._encoded(new), strict=True):
            self._kept[caption] = states
        rows = [self._kept[caption] for caption in captions]
        while len(self._kept) > KEPT:
            self._too_long.discard(self._kept.popitem(last=False)[0])
        width = -(-max(len(row) for row in rows) // 8) * 8
        states = torch.zeros(len(rows), width, rows[0].shape[-1])
        mask = torch.zeros(len(rows), width, dtype=torch.bool)
        for n, row in enumerate(rows):
            states[n, : len(row)] = row
            mask[n, : len(row)] = True
        return Condition(states, mask)

    def too_long(self, captions: Sequence[str]) -> list[str]:
        """Those of the captions just encoded that have more than `limit` tokens, and were cut."""
        return [caption for caption in captions if caption in self._too_long]

    def _is_cut(self, caption: str, tokens: Tensor) -> bool:
        """Whether a caption that fills its row would fill a longer one differently."""
        import torch

        if int(self._tower.lengths(tokens)[0]) < self.limit:
            return False
        longer = self._tokenizer([caption], context_length=self.limit + 1)
        return not torch.equal(longer[:, : self.limit], tokens)

    def _encoded(self, captions: Sequence[str]) -> list[Tensor]:
        """Each caption's states up to its end, (L, D) float32.

        One by one: they must not depend on what stood beside a caption, to the last bit.
        """
        import torch

        found = []
        for caption in captions:
            tokens = self._tokenizer([caption])
            length = int(self._tower.lengths(tokens)[0])
            if self._is_cut(caption, tokens):
                self._too_long.add(caption)
            with torch.inference_mode():
                _, states = self._tower(self._tower.cut(tokens))
            found.append(states[0, :length].float().clone())
        return found
