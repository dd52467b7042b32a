"""Tiny pipelines of diffusers with random weights, as people have them on disk."""

from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from tokenizers import pre_tokenizers

POSITIONS = 16
_BYTES = sorted(pre_tokenizers.ByteLevel.alphabet())
_VOCABULARY = [*_BYTES, *(f"{one}</w>" for one in _BYTES), "<|startoftext|>", "<|endoftext|>"]


def tokenizer() -> Any:
    """CLIP's, with letters for words: nothing is merged."""
    made: Any = transformers.CLIPTokenizer
    vocabulary = {word: number for number, word in enumerate(_VOCABULARY)}
    return made(vocab=vocabulary, merges=[], model_max_length=POSITIONS)


def tiny_vae() -> Any:
    """An AutoencoderKL that halves a side once: four channels of latents."""
    vae: Any = diffusers.AutoencoderKL
    return vae(
        block_out_channels=[8, 8],
        norm_num_groups=4,
        latent_channels=4,
        down_block_types=["DownEncoderBlock2D"] * 2,
        up_block_types=["UpDecoderBlock2D"] * 2,
    )


def stable_diffusion(folder: Path, prediction: str = "epsilon") -> Path:
    """A StableDiffusionPipeline: 16 pixels a side in latents of 8."""
    torch.manual_seed(0)
    config: Any = transformers.CLIPTextConfig
    text: Any = transformers.CLIPTextModel
    words = config(
        hidden_size=16,
        intermediate_size=20,
        num_attention_heads=2,
        num_hidden_layers=2,
        vocab_size=len(_VOCABULARY),
        max_position_embeddings=POSITIONS,
        bos_token_id=len(_VOCABULARY) - 2,
        eos_token_id=len(_VOCABULARY) - 1,
        pad_token_id=len(_VOCABULARY) - 1,
    )
    unet: Any = diffusers.UNet2DConditionModel
    ddim: Any = diffusers.DDIMScheduler
    pipeline: Any = diffusers.StableDiffusionPipeline
    made = pipeline(
        vae=tiny_vae(),
        text_encoder=text(words),
        tokenizer=tokenizer(),
        unet=unet(
            sample_size=8,
            in_channels=4,
            out_channels=4,
            block_out_channels=(8, 16),
            layers_per_block=1,
            down_block_types=["DownBlock2D", "CrossAttnDownBlock2D"],
            up_block_types=["CrossAttnUpBlock2D", "UpBlock2D"],
            cross_attention_dim=16,
            attention_head_dim=2,
            norm_num_groups=4,
        ),
        scheduler=ddim(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            clip_sample=False,
            set_alpha_to_one=False,
            steps_offset=1,
            prediction_type=prediction,
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    made.save_pretrained(folder)
    return folder
