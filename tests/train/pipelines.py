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


def tiny_vae(**more: Any) -> Any:
    """An AutoencoderKL that halves a side once: four channels of latents."""
    vae: Any = diffusers.AutoencoderKL
    more = {"latent_channels": 4} | more
    return vae(
        block_out_channels=[8, 8],
        norm_num_groups=4,
        down_block_types=["DownEncoderBlock2D"] * 2,
        up_block_types=["UpDecoderBlock2D"] * 2,
        **more,
    )


def words(**more: Any) -> Any:
    """The shape of a tiny CLIP text encoder, 16 wide."""
    config: Any = transformers.CLIPTextConfig
    return config(
        hidden_size=16,
        intermediate_size=20,
        num_attention_heads=2,
        num_hidden_layers=2,
        vocab_size=len(_VOCABULARY),
        max_position_embeddings=POSITIONS,
        bos_token_id=len(_VOCABULARY) - 2,
        eos_token_id=len(_VOCABULARY) - 1,
        pad_token_id=len(_VOCABULARY) - 1,
        **more,
    )


def t5(width: int = 16) -> tuple[Any, Any]:
    """A tiny T5 encoder and its tokenizer: letters for words."""
    letters = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("\u2581", -2.0)]
    letters += [(chr(code), -3.0) for code in range(33, 127)]
    tokenizer_class: Any = transformers.T5Tokenizer
    config: Any = transformers.T5Config
    encoder: Any = transformers.T5EncoderModel
    shape = config(
        d_model=width, d_kv=8, d_ff=20, num_layers=1, num_heads=2, vocab_size=len(letters)
    )
    return encoder(shape), tokenizer_class(vocab=letters, extra_ids=0, model_max_length=POSITIONS)


def stable_diffusion(folder: Path, prediction: str = "epsilon") -> Path:
    """A StableDiffusionPipeline: 16 pixels a side in latents of 8."""
    torch.manual_seed(0)
    text: Any = transformers.CLIPTextModel
    unet: Any = diffusers.UNet2DConditionModel
    ddim: Any = diffusers.DDIMScheduler
    pipeline: Any = diffusers.StableDiffusionPipeline
    made = pipeline(
        vae=tiny_vae(),
        text_encoder=text(words()),
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


def sdxl(folder: Path) -> Path:
    """A StableDiffusionXLPipeline: two text encoders, and a U-Net that is told of sizes."""
    torch.manual_seed(0)
    text: Any = transformers.CLIPTextModel
    projecting: Any = transformers.CLIPTextModelWithProjection
    unet: Any = diffusers.UNet2DConditionModel
    euler: Any = diffusers.EulerDiscreteScheduler
    pipeline: Any = diffusers.StableDiffusionXLPipeline
    made = pipeline(
        vae=tiny_vae(),
        text_encoder=text(words()),
        text_encoder_2=projecting(words(projection_dim=12)),
        tokenizer=tokenizer(),
        tokenizer_2=tokenizer(),
        unet=unet(
            sample_size=8,
            in_channels=4,
            out_channels=4,
            block_out_channels=(8, 16),
            layers_per_block=1,
            down_block_types=["DownBlock2D", "CrossAttnDownBlock2D"],
            up_block_types=["CrossAttnUpBlock2D", "UpBlock2D"],
            cross_attention_dim=32,
            attention_head_dim=2,
            norm_num_groups=4,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=12 + 6 * 8,
        ),
        scheduler=euler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear"),
    )
    made.save_pretrained(folder)
    return folder


def pixart(folder: Path, kind: str = "Alpha", told_sizes: bool = False) -> Path:
    """A PixArtAlphaPipeline or PixArtSigmaPipeline: a transformer of two blocks, and T5."""
    torch.manual_seed(0)
    transformer: Any = diffusers.PixArtTransformer2DModel
    solver: Any = diffusers.DPMSolverMultistepScheduler
    encoder, letters = t5()
    made: Any = getattr(diffusers, f"PixArt{kind}Pipeline")
    network = transformer(
        sample_size=128 if told_sizes else 8,
        num_layers=2,
        patch_size=2,
        attention_head_dim=12,
        num_attention_heads=2,
        in_channels=4,
        out_channels=8,
        cross_attention_dim=24,
        caption_channels=16,
        use_additional_conditions=told_sizes,
    )
    torch.nn.init.normal_(network.proj_out.weight, std=0.1)  # zeros say nothing
    scheduler = solver(beta_schedule="linear")
    made(
        tokenizer=letters,
        text_encoder=encoder,
        vae=tiny_vae(),
        transformer=network,
        scheduler=scheduler,
    ).save_pretrained(folder)
    return folder


def sd3(folder: Path, with_t5: bool = True) -> Path:
    """A StableDiffusion3Pipeline: a transformer of two blocks, a shifted flow."""
    torch.manual_seed(0)
    projecting: Any = transformers.CLIPTextModelWithProjection
    transformer: Any = diffusers.SD3Transformer2DModel
    flow: Any = diffusers.FlowMatchEulerDiscreteScheduler
    pipeline: Any = diffusers.StableDiffusion3Pipeline
    encoder, letters = t5(32)
    made = pipeline(
        transformer=transformer(
            sample_size=8,
            patch_size=2,
            in_channels=4,
            num_layers=2,
            attention_head_dim=8,
            num_attention_heads=2,
            joint_attention_dim=32,
            caption_projection_dim=16,
            pooled_projection_dim=24,
            out_channels=4,
            pos_embed_max_size=8,
        ),
        scheduler=flow(shift=3.0),
        vae=tiny_vae(shift_factor=0.1),
        text_encoder=projecting(words(projection_dim=12)),
        tokenizer=tokenizer(),
        text_encoder_2=projecting(words(projection_dim=12)),
        tokenizer_2=tokenizer(),
        text_encoder_3=encoder if with_t5 else None,
        tokenizer_3=letters if with_t5 else None,
    )
    made.save_pretrained(folder)
    return folder
