"""Captions: each has states of its own, whatever stands beside it, and the U-Net sees no more."""

from typing import Any

import pytest
import torch

from frenchcat.train.diffusion import Diffusion
from frenchcat.train.guidance import Guided
from frenchcat.train.model import Codec, make_unet, unet_output
from frenchcat.train.settings import ModelSettings, TextSettings
from frenchcat.train.text import Condition, TextEncoder

LONG = "a very long caption about a house with a red roof beside a river and nine green trees"
CAPTIONS = ["a cat", LONG, "", "a dog", "a cat"]


@pytest.fixture(scope="module")
def text() -> TextEncoder:
    return TextEncoder(TextSettings())


def rows_of(condition: Condition) -> list[torch.Tensor]:
    """Each caption's states without what stands behind its end."""
    return [s[m] for s, m in zip(condition.states, condition.mask, strict=True)]


def test_states_are_each_captions_own(text: TextEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also by another encoder, that is asked one by one and soon forgets what it was asked."""
    together, other = text(CAPTIONS), TextEncoder(TextSettings())
    monkeypatch.setattr("frenchcat.train.text.KEPT", 2)
    assert together.states.shape[1] % 8 == 0
    for caption, row in zip(CAPTIONS, rows_of(together), strict=True):
        (alone,) = rows_of(other([caption]))
        assert torch.equal(row, alone)
    assert not together.states[~together.mask].any()
    lengths = together.mask.sum(1).tolist()
    assert lengths[1] > lengths[0] == lengths[4] > lengths[2] > 0
    texts = [row.mean(0) for row in rows_of(together)]
    assert all(float(row.abs().sum()) > 0 for row in texts)  # the empty one's too
    assert len({tuple(row.tolist()) for row in texts}) == 4


@pytest.fixture(scope="module")
def unet(text: TextEncoder) -> Any:
    torch.manual_seed(0)
    settings = ModelSettings(channels=(8, 16), head_dim=8, attention_from=0)
    return make_unet(settings, 8, text.width).eval()


def test_an_answer_does_not_depend_on_the_captions_beside_it(unet: Any, text: TextEncoder) -> None:
    x, t = torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(1)), torch.tensor([9])
    with torch.no_grad():
        together = unet_output(unet, x, t.expand(3), text(["a cat", LONG, ""]))
        for n, caption in enumerate(("a cat", LONG, "")):
            alone = unet_output(unet, x[n : n + 1], t, text([caption]))
            torch.testing.assert_close(together[n : n + 1], alone, atol=1e-5, rtol=1e-4)
        other = unet_output(unet, x[:1], t, text(["a dog"]))
    assert not torch.allclose(other, together[:1], atol=1e-6)


def test_guidance_of_captions_is_that_of_their_answers(unet: Any, text: TextEncoder) -> None:
    """Conditional and null by hand, of different lengths, against both in one batch."""
    diffusion = Diffusion.make("cosine")
    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(2))
    t = torch.tensor([500, 500])

    def network(x: torch.Tensor, t: torch.Tensor, condition: Condition) -> torch.Tensor:
        with torch.no_grad():
            return unet_output(unet, x, t, condition)

    both = text(["", "", "a cat", LONG])
    null, prompts = both.part(0, 2), both.part(2, 4)
    joined = null.joined(prompts)
    assert torch.equal(joined.states, both.states)
    assert torch.equal(joined.mask, both.mask)
    _, eps = Guided(network, diffusion, "eps", prompts, null, 4.0)(x, t)
    without, with_prompt = network(x, t, text(["", ""])), network(x, t, text(["a cat", LONG]))
    torch.testing.assert_close(eps, without + 4 * (with_prompt - without), atol=1e-4, rtol=1e-3)


def test_a_guidance_of_one_asks_once(unet: Any, text: TextEncoder) -> None:
    asked = []

    def network(x: torch.Tensor, t: torch.Tensor, condition: Condition) -> torch.Tensor:
        asked.append(len(x))
        return x

    both = text(["", "a cat"])
    x, t = torch.zeros(1, 3, 8, 8), torch.tensor([5])
    for weight in (1.0, 0.0, 2.0):
        diffusion = Diffusion.make("cosine")
        Guided(network, diffusion, "v", both.part(1, 2), both.part(0, 1), weight)(x, t)
    assert asked == [1, 1, 2]


def test_levels_before_attention_from_do_not_attend() -> None:
    for first, expected in ((0, 3), (1, 2), (2, 1), (3, 0)):
        unet = make_unet(ModelSettings(channels=(8, 8, 8), attention_from=first, head_dim=8), 8, 16)
        for kinds in (unet.config.down_block_types, unet.config.up_block_types[::-1]):
            attends = ["CrossAttn" in kind for kind in kinds]
            assert attends == [False] * (3 - expected) + [True] * expected


def test_checkpointing_is_what_the_setting_says_and_changes_no_gradient() -> None:
    gradients = []
    for on in (False, True):
        torch.manual_seed(0)
        settings = ModelSettings(channels=(8, 8), head_dim=8, checkpointing=on)
        unet = make_unet(settings, 8, 16).train()
        assert unet.is_gradient_checkpointing == on
        x = torch.linspace(-1, 1, 192).view(1, 3, 8, 8)
        words = Condition(torch.ones(1, 8, 16), torch.ones(1, 8, dtype=torch.bool))
        unet_output(unet, x, torch.tensor([3]), words).square().mean().backward()
        gradients.append([p.grad for p in unet.parameters() if p.grad is not None])
    torch.testing.assert_close(*gradients)


def test_pixels_come_back_to_the_bit() -> None:
    pixels = torch.arange(256, dtype=torch.uint8).repeat(3).view(1, 3, 16, 16)
    codec = Codec()
    x = codec.encode(pixels)
    assert (float(x.min()), float(x.max())) == (-1.0, 1.0)
    assert torch.equal(codec.decode(x), pixels)
    beyond = codec.decode(torch.tensor([-7.0, 7.0]).view(2, 1, 1, 1).expand(2, 3, 8, 8))
    assert [int(one.unique()) for one in beyond] == [0, 255]
