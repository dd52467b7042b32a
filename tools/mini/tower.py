"""The two towers as open_clip builds them from the bundled config, and text encoding for training.

Reads ``<work>/tokenizer``; nothing is written.
"""

import json
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Regex, Tokenizer, normalizers
from torch import nn

from tools.mini.vocabulary import CONTEXT, LATIN, MARK

EMBED_DIM = 512
WIDTH = 256


def config(vocabulary: int) -> dict[str, Any]:
    """open_clip_config.json: model and preprocessing."""
    half = [0.5, 0.5, 0.5]
    text = {
        "context_length": CONTEXT,
        "vocab_size": vocabulary,
        "hf_tokenizer_name": "mini",
        "tokenizer_kwargs": {"clean": "whitespace"},
        "width": WIDTH,
        "heads": 4,
        "layers": 2,
        "mlp_ratio": 2.0,
        "pool_type": "eos",
        "pad_id": 0,
        "eos_id": 2,
    }
    vision = {
        "timm_model_name": "tf_efficientnet_lite0",
        "timm_model_pretrained": False,
        "timm_pool": "",
        "timm_proj": "mlp",
        "timm_proj_bias": True,
        "image_size": 224,
    }
    model = {
        "embed_dim": EMBED_DIM,
        "custom_text": True,
        "init_logit_scale": 4.0,
        "vision_cfg": vision,
        "text_cfg": text,
    }
    preprocess = {
        "size": [224, 224],
        "mode": "RGB",
        "mean": half,
        "std": half,
        "interpolation": "bicubic",
        "resize_mode": "longest",
        "fill_color": 255,
    }
    return {"model_cfg": model, "preprocess_cfg": preprocess}


def build(vocabulary: int) -> nn.Module:
    """An untrained model of ``config``."""
    from open_clip.model import CustomTextCLIP

    cfg = {k: v for k, v in config(vocabulary)["model_cfg"].items() if k != "custom_text"}
    model: nn.Module = CustomTextCLIP(**cfg)
    return model


def text_forward(text: Any, tokens: torch.Tensor) -> torch.Tensor:
    """The text tower on a batch cut to its longest member: exact, as the mask is causal."""
    whole = text.attn_mask
    text.attn_mask = whole[: tokens.shape[1], : tokens.shape[1]]
    try:
        out: torch.Tensor = text(tokens)
    finally:
        text.attn_mask = whole
    return out


def _table() -> dict[int, str]:
    table: dict[int, str] = {}
    for letter in LATIN:
        base = unicodedata.normalize("NFD", letter)[0]
        if base != letter and base.isascii() and base.islower():
            table[ord(letter)] = base
    for letter, base in (("ß", "ss"), ("œ", "oe"), ("æ", "ae"), ("ø", "o"), ("ł", "l")):
        table[ord(letter)] = base
    return table | {code: chr(code + 0x60) for code in range(0x3041, 0x3097)}


FOLD = _table()


def fold(text: str) -> str:
    """What the tokenizer's normalizer does up to its last three steps, many times faster."""
    return unicodedata.normalize("NFKC", text).lower().translate(FOLD)


def quick_tokenizer(work: Path) -> Tokenizer:
    """The vocabulary for texts that ``fold`` has already folded."""
    tokenizer: Tokenizer = Tokenizer.from_file(str(work / "tokenizer" / "tokenizer.json"))
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Replace(Regex(r"[^\p{L}\p{N}\p{M}\p{So}ー]+"), " "),
            normalizers.Strip(),
            normalizers.Replace(Regex(r"(?<![a-z0-9])(?=[a-z0-9])"), MARK),
        ]
    )
    tokenizer.enable_truncation(CONTEXT)
    return tokenizer


def encode(tokenizer: Tokenizer, texts: list[str]) -> NDArray[np.int32]:
    """(N, CONTEXT) int32 token ids, padded with 0."""
    out = np.zeros((len(texts), CONTEXT), dtype=np.int32)
    for start in range(0, len(texts), 50_000):
        batch = [fold(text) for text in texts[start : start + 50_000]]
        for offset, found in enumerate(tokenizer.encode_batch_fast(batch)):
            out[start + offset, : len(found.ids)] = found.ids
    return out


def text_encoder(work: Path) -> Callable[[list[str]], NDArray[np.float32]]:
    """The trained text tower as a function: texts -> (N, EMBED_DIM) float32 unit rows."""
    text: Any = build(vocabulary_size(work)).text
    text.load_state_dict(torch.load(work / "text.pt"))
    tokenizer = quick_tokenizer(work)

    def rows(texts: list[str]) -> NDArray[np.float32]:
        ids = encode(tokenizer, texts)
        lengths = (ids > 0).sum(1)
        out = np.empty((len(texts), EMBED_DIM), np.float32)
        for part in np.array_split(np.argsort(lengths, kind="stable"), len(texts) // 512 + 1):
            batch = torch.from_numpy(ids[part, : max(1, int(lengths[part].max(initial=1)))])
            with torch.inference_mode():
                vectors = text_forward(text, batch.long())
                out[part] = torch.nn.functional.normalize(vectors, dim=-1).numpy()
        return out

    return rows


def vocabulary_size(work: Path) -> int:
    """How many pieces the learned vocabulary has."""
    raw = json.loads((work / "tokenizer" / "tokenizer.json").read_text())
    return len(raw["model"]["vocab"])
