"""The text tower on batches that are cut to their longest member.

A caption fills about 12 of CLIP's 77 positions, and attention and MLP cost grow with all of them.
Cutting is exact where what follows a text cannot reach its vector: in a causal tower pooled at the
end-of-text token, and in a tower that masks padding. Elsewhere (SigLIP pools the last position)
nothing is cut. Before that, `shortened` bounds what a tokenizer is given.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

BUCKET = 8  # lengths are rounded up to a multiple, so that few shapes occur
MAX_CHARS = 8192  # of a text; the longest context of open_clip's models is far below it


def shortened(text: str) -> str:
    """The part of a text that can reach a model: its first 8,192 characters.

    Tokenizers read a text to its end before they cut it to their context, and merging one word of
    a million letters takes a minute.
    """
    return text.lstrip()[:MAX_CHARS]


class TextTower:
    """Tokens (N, L) int64 -> vectors (N, D), not normalised, cut where that is exact."""

    def __init__(self, model: Any) -> None:
        self.tower = model.text
        self.hugging_face = hasattr(self.tower, "config") and hasattr(self.tower, "pooler")
        self.mask = getattr(self.tower, "attn_mask", None)  # (L, L) of a causal tower
        self.cuts = self.hugging_face or _exact(self.tower, self.mask)

    def to(self, device: Any) -> TextTower:
        """The same on a device."""
        self.tower.to(device)
        self.mask = None if self.mask is None else self.mask.to(device)
        return self

    def lengths(self, tokens: torch.Tensor) -> torch.Tensor:
        """How many positions of each row matter: (N,) int64."""
        import torch

        rows, width = tokens.shape
        if not self.cuts:
            return torch.full((rows,), width)
        if self.hugging_face:
            return _last(tokens != self.tower.config.pad_token_id)
        if self.tower.pool_type == "argmax":
            return tokens.argmax(dim=-1) + 1
        if self.mask is None:
            return _last(tokens != self.tower.pad_id)
        ends: torch.Tensor = (tokens == self.tower.eos_id).int().argmax(dim=-1) + 1
        return ends

    def cut(self, tokens: torch.Tensor) -> torch.Tensor:
        """The columns that matter to any row, rounded up to the bucket."""
        longest = max(1, int(self.lengths(tokens).max()))
        return tokens[:, : min(tokens.shape[1], -(-longest // BUCKET) * BUCKET)]

    def __call__(self, tokens: torch.Tensor) -> torch.Tensor:
        """The tower's output for tokens that `cut` may have cut."""
        if self.cuts and self.mask is not None:
            # open_clip adds the whole mask, whatever the length of the texts.
            width = tokens.shape[1]
            self.tower.attn_mask = self.mask[:width, :width]
        result: torch.Tensor = self.tower(tokens)
        return result


def _exact(tower: Any, mask: torch.Tensor | None) -> bool:
    if getattr(tower, "cls_emb", None) is not None:  # CoCa appends its token at the end
        return False
    pooled_at_end = getattr(tower, "pool_type", None) in ("argmax", "eos")
    if mask is not None:
        return pooled_at_end
    masks_padding = bool(getattr(tower, "use_pad_mask", False))
    return masks_padding and (pooled_at_end or tower.pool_type == "first")


def _last(real: torch.Tensor) -> torch.Tensor:
    """One past the last True of each row."""
    width = real.shape[1]
    return width - real.flip(1).int().argmax(dim=1)
