"""Attention written out is torch's fused one, gradients included."""

import pytest
import torch
from diffusers.models.attention_processor import AttnProcessor2_0

from frenchcat.train.attention import PlainAttention
from frenchcat.train.distributed import Ranks
from frenchcat.train.model import make_unet, unet_output
from frenchcat.train.settings import ModelSettings, TrainSettings
from frenchcat.train.text import Condition
from frenchcat.train.weights import TrainableWeights


def answered(processor: object, *, mask: bool) -> list[torch.Tensor]:
    """A U-Net's answer under three captions of different length, and all gradients."""
    torch.manual_seed(0)
    settings = ModelSettings(channels=(16, 32), attention_from=0, head_dim=8)
    unet = make_unet(settings, 8, 24)
    unet.set_attn_processor(processor)
    states, x, t = torch.randn(3, 8, 24), torch.randn(3, 3, 8, 8), torch.tensor([0, 500, 999])
    seen = torch.arange(8) < torch.tensor([[8], [3], [1]])
    if mask:
        answer = unet_output(unet, x, t, Condition(states, seen))
    else:
        answer = unet(x, t, encoder_hidden_states=states, return_dict=False)[0]
    answer.square().mean().backward()
    return [answer.detach(), *(p.grad for p in unet.parameters() if p.grad is not None)]


@pytest.mark.parametrize("mask", [True, False])
def test_it_is_the_fused_attention(mask: bool) -> None:
    ours, fused = answered(PlainAttention(), mask=mask), answered(AttnProcessor2_0(), mask=mask)
    assert len(ours) == len(fused) > 50
    for one, other in zip(ours, fused, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("precision", "plain"), [("bf16", True), ("fp32", False)])
def test_it_is_taken_where_it_is_faster(precision: str, plain: bool) -> None:
    from frenchcat.curate.config import resolve

    settings = resolve(TrainSettings, {"run": {"precision": precision}})
    unet = make_unet(ModelSettings(channels=(16, 32)), 8, 24)
    TrainableWeights(unet, settings, torch.device("cpu"), Ranks())
    kinds = {isinstance(one, PlainAttention) for one in unet.attn_processors.values()}
    assert kinds == {plain}
