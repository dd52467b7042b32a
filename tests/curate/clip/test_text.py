"""Cut text batches: exact where they are cut, and not cut where they would not be exact."""

import copy
from typing import Any

import open_clip
import pytest
import torch
from open_clip.hf_model import HFTextEncoder
from open_clip.transformer import TextTransformer
from transformers import XLMRobertaConfig

from frenchcat.curate.clip.text import TextTower
from tests.curate.clip.models import CAPTIONS, CONFIG, random_model, widened

SHORT = ["a french cat", "", "cat"]
WIDTH = 77


class Holder(torch.nn.Module):
    """What a model looks like to a TextTower."""

    def __init__(self, text: torch.nn.Module) -> None:
        super().__init__()
        self.text = widened(text.eval())


def clip_with(**text: Any) -> Any:
    config = copy.deepcopy(CONFIG) | {"custom_text": True}
    config["text_cfg"] |= text
    return random_model(config)


def bare(**text: Any) -> Holder:
    torch.manual_seed(0)
    return Holder(
        TextTransformer(vocab_size=49408, width=64, heads=2, layers=2, output_dim=32, **text)
    )


def xlm_roberta(pooler: str) -> Holder:
    torch.manual_seed(0)
    config = XLMRobertaConfig(
        vocab_size=49408,
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        pad_token_id=0,
        max_position_embeddings=80,
    )
    return Holder(HFTextEncoder("", 32, config=config, pooler_type=pooler, proj_type="mlp"))


CUT = {
    "causal, pooled at the highest token": lambda: clip_with(),
    "causal, pooled at end-of-text": lambda: clip_with(pool_type="eos", eos_id=49407),
    "padding masked, pooled at end-of-text": lambda: bare(no_causal_mask=True, use_pad_mask=True),
    "padding masked, pooled first": lambda: bare(
        no_causal_mask=True, use_pad_mask=True, pool_type="first"
    ),
    "XLM-RoBERTa, mean": lambda: xlm_roberta("mean_pooler"),
    "XLM-RoBERTa, first": lambda: xlm_roberta("cls_pooler"),
}
NOT_CUT = {
    "SigLIP: no mask, pooled last": lambda: clip_with(no_causal_mask=True, pool_type="last"),
    "MobileCLIP2: no mask, pooled at end-of-text": lambda: clip_with(no_causal_mask=True),
    "causal, pooled last": lambda: clip_with(pool_type="last"),
    "padding masked, pooled last": lambda: bare(
        no_causal_mask=True, use_pad_mask=True, pool_type="last"
    ),
    "CoCa: its own token behind the text": lambda: clip_with(embed_cls=True),
}


def full(model: Any, tokens: torch.Tensor) -> torch.Tensor:
    result: torch.Tensor = model.text(tokens)
    return result


@pytest.mark.parametrize("make", CUT.values(), ids=CUT)
def test_a_cut_batch_gives_the_vectors_of_a_full_one(make: Any) -> None:
    model, tokens = make(), open_clip.tokenize(SHORT)
    with torch.inference_mode():
        expected = full(model, tokens)
        tower = TextTower(model)
        cut = tower.cut(tokens)
        assert cut.shape[1] == 8
        torch.testing.assert_close(tower(cut), expected, atol=1e-5, rtol=0)
    assert not torch.allclose(expected[0], expected[2], atol=1e-2)


@pytest.mark.parametrize("make", CUT.values(), ids=CUT)
def test_a_text_as_long_as_the_context_is_whole(make: Any) -> None:
    model, tokens = make(), open_clip.tokenize(CAPTIONS)
    with torch.inference_mode():
        expected = full(model, tokens)
        tower = TextTower(model)
        assert tower.cut(tokens).shape[1] == WIDTH
        torch.testing.assert_close(tower(tower.cut(tokens)), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("make", NOT_CUT.values(), ids=NOT_CUT)
def test_what_padding_can_reach_is_not_cut(make: Any) -> None:
    model, tokens = make(), open_clip.tokenize(SHORT)
    with torch.inference_mode():
        expected = full(model, tokens)
        tower = TextTower(model)
        assert torch.equal(tower.cut(tokens), tokens)
        torch.testing.assert_close(tower(tokens), expected)


def test_cutting_a_siglip_would_change_it() -> None:
    """Why it is left whole."""
    model, tokens = clip_with(no_causal_mask=True, pool_type="last"), open_clip.tokenize(SHORT)
    with torch.inference_mode():
        wrong = TextTower(model)(tokens[:, :8])
        assert not torch.allclose(wrong, full(model, tokens), atol=1e-3)


def test_batches_of_many_lengths_follow_each_other() -> None:
    """The mask is cut anew for each batch, longer ones after shorter ones too."""
    model, tokens = clip_with(), open_clip.tokenize(CAPTIONS)
    with torch.inference_mode():
        expected = full(model, tokens)
        tower = TextTower(model)
        for row in (1, 4, 3, 2, 0):
            result = tower(tower.cut(tokens[row : row + 1]))
            torch.testing.assert_close(result, expected[row : row + 1], atol=1e-5, rtol=0)
