"""The bundled model's text tower in numpy: texts -> (N, D) float32 unit rows.

Reads ``mini/tokenizer.json`` and the tower's weights. It gives what open_clip gives for the same
folder, to float32 rounding; a test holds them together. It exists for the start-up: importing
open_clip, transformers and torchvision takes several seconds and hundreds of megabytes, and a query
is one pass through two layers. The precision is always float32, on the processor.

Texts are cleaned as open_clip's `clean="whitespace"` does, cut to 40 tokens, and pass a causal
transformer (Vaswani et al. 2017, pre-norm); the vector is read at the end-of-text token.
"""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from frenchcat.curate.clip.text import shortened

Floats = NDArray[np.float32]
Tokens = NDArray[np.int64]

_EPS = 1e-5  # of the layer norms


class BundledText:
    """A loaded text tower. Safe to share between threads: nothing changes after loading."""

    def __init__(self, folder: Path) -> None:
        """Load `mini` or a folder of the same architecture."""
        from safetensors.numpy import load_file
        from tokenizers import Tokenizer

        config = json.loads((folder / "open_clip_config.json").read_text(encoding="utf-8"))
        text = config["model_cfg"]["text_cfg"]
        self.heads, self.layers = int(text["heads"]), int(text["layers"])
        self.end = int(text["eos_id"])
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.enable_truncation(int(text["context_length"]))
        self.tokenizer.enable_padding(pad_id=int(text["pad_id"]))
        stored = load_file(folder / "open_clip_model.safetensors")
        # The vocabulary stays in float16, as it is stored: a query needs a dozen of 28,000 rows.
        self.vocabulary = stored["text.token_embedding.weight"]
        self.weights = {
            name.removeprefix("text."): array.astype(np.float32)
            for name, array in stored.items()
            if name.startswith("text.") and name != "text.token_embedding.weight"
        }

    def __call__(self, texts: Sequence[str]) -> Floats:
        """Texts -> (N, D) float32 unit rows. The texts are best of similar length."""
        tokens = self.tokens(texts)
        length = tokens.shape[1]
        x = self.vocabulary[tokens].astype(np.float32)
        x += self.weights["positional_embedding"][:length]
        for layer in range(self.layers):
            block = f"transformer.resblocks.{layer}"
            x += self._attention(self._norm(x, f"{block}.ln_1"), f"{block}.attn")
            x += self._mlp(self._norm(x, f"{block}.ln_2"), f"{block}.mlp")
        ends = (tokens == self.end).argmax(axis=1)
        pooled = self._norm(x[np.arange(len(x)), ends], "ln_final")
        rows = pooled @ self.weights["text_projection"]
        unit: Floats = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        return unit

    def tokens(self, texts: Sequence[str]) -> Tokens:
        """Texts -> (N, L) int64, padded to the longest of them."""
        encoded = self.tokenizer.encode_batch([cleaned(shortened(text)) for text in texts])
        return np.array([each.ids for each in encoded], np.int64)

    def tokens_of(self, text: str) -> list[str]:
        """The tokens that one text is cut into, as texts, the end token last."""
        found: list[str] = self.tokenizer.encode(cleaned(shortened(text))).tokens
        return found

    def _norm(self, x: Floats, name: str) -> Floats:
        centred = x - x.mean(axis=-1, keepdims=True)
        variance = np.square(centred).mean(axis=-1, keepdims=True)
        scaled = centred / np.sqrt(variance + np.float32(_EPS))
        result: Floats = scaled * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]
        return result

    def _attention(self, x: Floats, name: str) -> Floats:
        """Causal self-attention of (N, L, W)."""
        rows, length, width = x.shape
        each = width // self.heads
        projected = x @ self.weights[f"{name}.in_proj_weight"].T
        projected += self.weights[f"{name}.in_proj_bias"]
        # (3, N, heads, L, width of a head)
        parts = projected.reshape(rows, length, 3, self.heads, each).transpose(2, 0, 3, 1, 4)
        query, key, value = parts
        scores = query @ key.swapaxes(-1, -2) / np.float32(np.sqrt(each))
        scores += np.triu(np.full((length, length), -np.inf, np.float32), 1)
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
        scores /= scores.sum(axis=-1, keepdims=True)
        mixed = (scores @ value).transpose(0, 2, 1, 3).reshape(rows, length, width)
        result: Floats = mixed @ self.weights[f"{name}.out_proj.weight"].T
        return result + self.weights[f"{name}.out_proj.bias"]

    def _mlp(self, x: Floats, name: str) -> Floats:
        inner = x @ self.weights[f"{name}.c_fc.weight"].T + self.weights[f"{name}.c_fc.bias"]
        result: Floats = gelu(inner) @ self.weights[f"{name}.c_proj.weight"].T
        return result + self.weights[f"{name}.c_proj.bias"]


def cleaned(text: str) -> str:
    """A text as open_clip cleans it: mojibake mended, HTML entities read, white space single."""
    import ftfy

    text = html.unescape(html.unescape(ftfy.fix_text(text)))
    return " ".join(text.split())


def gelu(x: Floats) -> Floats:
    """GELU: x * Phi(x), exact to float32 rounding.

    The error function is formula 7.1.26 of Abramowitz and Stegun (1964), off by at most 1.5e-7.
    """
    size = np.abs(x) * np.float32(np.sqrt(0.5))
    t = 1 / (1 + np.float32(0.3275911) * size)
    poly = np.zeros_like(t)
    for factor in (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592):
        poly = (poly + np.float32(factor)) * t
    error = np.copysign(1 - poly * np.exp(-size * size), x)
    result: Floats = 0.5 * x * (1 + error)
    return result
