"""Captions -> conditions, by the text encoders of a pipeline of diffusers.

The pipeline's own `encode_prompt` encodes them, in batches, on the device of the run. Conditions of
captions that come again are kept, up to KEPT_BYTES; they lie on the CPU.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from frenchcat.train.text import Condition, joined

if TYPE_CHECKING:
    from frenchcat.train.families import PipelineFamily

KEPT_BYTES = 2**30
_AT_ONCE, _COUNTED = 32, 100_000


class PipelineText:
    """The text encoders of a family's pipeline, frozen."""

    def __init__(self, family: PipelineFamily, digest: str) -> None:
        self._family, self.digest = family, digest
        encoders = family.encoders()
        self.name = " and ".join(type(encoder).__name__ for encoder in encoders.values())
        self._readers = family.readers()
        self.limit = max(limit for _, limit in self._readers)
        self._device: Any = "cpu"
        self._kept: dict[str, Condition] = {}
        self._cut: dict[str, bool] = {}

    def to(self, device: Any) -> PipelineText:
        """The same, its encoders on a device."""
        for encoder in self._family.encoders().values():
            encoder.to(device)
        self._device = device
        return self

    def encoders(self) -> dict[str, Any]:
        """The encoders that updates can be trained for, by their names in the pipeline."""
        return self._family.trained_encoders()

    def __call__(self, captions: Sequence[str]) -> Condition:
        """Captions -> their conditions, one after the other, on the CPU."""
        new = [caption for caption in dict.fromkeys(captions) if caption not in self._kept]
        if self._kept and len(self._kept) + len(new) > self._room():
            self._kept, new = {}, list(dict.fromkeys(captions))
        for start in range(0, len(new), _AT_ONCE):
            self._encode(new[start : start + _AT_ONCE])
        return joined([self._kept[caption] for caption in captions])

    def positions(self, captions: Sequence[str]) -> int:
        """As wide as the states of these captions are: a pipeline's are all of one width."""
        return int(self(captions[:1]).states.shape[1])

    def too_long(self, captions: Sequence[str]) -> list[str]:
        """Those of some captions that have more than `limit` tokens, and were cut."""
        return [caption for caption in captions if self._is_cut(caption)]

    def _is_cut(self, caption: str) -> bool:
        """Whether each tokenizer makes more of it than its encoder reads."""
        if caption not in self._cut:
            if len(self._cut) > _COUNTED:
                self._cut = {}
            with _quiet():
                lengths = [(_tokens(one, caption), limit) for one, limit in self._readers]
            self._cut[caption] = all(found > limit for found, limit in lengths)
        return self._cut[caption]

    def _encode(self, captions: list[str]) -> None:
        import torch

        with _quiet(), torch.no_grad():
            found = self._family.encode(captions, self._device).to("cpu")
        for n, caption in enumerate(captions):
            self._kept[caption] = found.part(n, n + 1)

    def _room(self) -> int:
        """How many captions are kept."""
        one = next(iter(self._kept.values()))
        return max(1, KEPT_BYTES // (one.states.numel() * one.states.element_size()))


def _tokens(tokenizer: Any, caption: str) -> int:
    return len(tokenizer([caption], truncation=False, verbose=False).input_ids[0])


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence diffusers, which warns of each caption that it cuts; ours are counted."""
    import transformers
    from diffusers.utils import logging

    theirs: list[Any] = [logging, transformers.utils.logging]
    before = [one.get_verbosity() for one in theirs]
    for one in theirs:
        one.set_verbosity_error()
    try:
        yield
    finally:
        for one, level in zip(theirs, before, strict=True):
            one.set_verbosity(level)
