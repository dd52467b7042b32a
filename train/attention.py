"""Attention as plain products, for CPUs that compute in bfloat16.

torch's fused attention is made for GPUs. On a CPU in bfloat16 its backward pass takes two to ten
times as long as the products that it replaces, most of all under a mask or over the few tokens of a
caption. Here the same attention (1706.03762 equation 1) is written out over diffusers' own layers,
so weights and their names do not change. Cost: the scores of all pairs, (B, heads, L, L), in
memory, which the fused kernel avoids.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


class PlainAttention:
    """A processor for `set_attn_processor` of a UNet2DConditionModel's transformer blocks.

    Takes (B, L, D) states, and the captions' states if there are any; `attention_mask` is
    diffusers' bias: 0 for visible tokens, a large negative number elsewhere.
    """

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
    ) -> Tensor:
        """(B, L, D) -> (B, L, D)."""
        seen = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        if encoder_hidden_states is None:
            parts = _together(hidden_states, attn.to_q, attn.to_k, attn.to_v)
        else:
            parts = (attn.to_q(hidden_states), *_together(seen, attn.to_k, attn.to_v))
        queries, keys, values = (_by_head(part, attn.heads) for part in parts)  # (B, heads, L, d)
        scores = (queries * attn.scale) @ keys.transpose(-1, -2)
        if attention_mask is not None:
            bias = attn.prepare_attention_mask(attention_mask, seen.shape[1], len(seen))
            scores = scores + bias.view(len(seen), attn.heads, -1, bias.shape[-1]).to(scores.dtype)
        mixed = scores.softmax(-1).to(values.dtype) @ values
        joined = mixed.transpose(1, 2).reshape(len(seen), -1, queries.shape[1] * queries.shape[-1])
        projection, dropout = attn.to_out
        answer: Tensor = dropout(projection(joined))
        return answer


def _together(states: Tensor, *layers: Any) -> tuple[Tensor, ...]:
    """The outputs of linear layers without bias for the same input: one wide product for all."""
    import torch

    weight = torch.cat([layer.weight for layer in layers])
    return torch.nn.functional.linear(states, weight).chunk(len(layers), -1)


def _by_head(states: Tensor, heads: int) -> Tensor:
    """(B, L, heads * d) -> (B, heads, L, d)."""
    return states.view(len(states), states.shape[1], heads, -1).transpose(1, 2)
