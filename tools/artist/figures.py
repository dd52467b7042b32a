"""The artist's own images for docs/draw.md: noise added, noise removed, guidance, attention.

``python -m tools.artist figures`` writes docs/pictures/draw-*.png; it needs nothing but the artist.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frenchcat.train.artist import open_artist
from frenchcat.train.draw import SampleRequest, draw, encoded, grid, images_of, noise_of
from frenchcat.train.guidance import Guided
from frenchcat.train.model import network_of
from frenchcat.train.run import Parts
from frenchcat.train.steering import Guide

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

OUT = Path(__file__).parents[2] / "docs/pictures"
STEPS, GUIDANCE = 25, 3.0
SUBJECTS = ("red apple", "dog face", "rose")
TIMES = (0, 200, 400, 550, 700, 800, 900, 999)
GUIDANCES = (0, 1, 2, 3, 5, 8)
ATTENDED = "red apple, flat"


def figures(out: Path = OUT) -> dict[str, object]:
    """Write the four images; returns their paths."""
    parts, _, _ = open_artist()
    made = {
        "draw-forward.png": forward(parts),
        "draw-reverse.png": reverse(parts),
        "draw-guidance.png": under_guidance(parts),
        "draw-attention.png": attention(parts, ATTENDED),
    }
    out.mkdir(parents=True, exist_ok=True)
    for name, image in made.items():
        image.save(out / name)
    return {"written": [str(out / name) for name in made]}


def forward(parts: Parts) -> Image:
    """Drawings, noised to some times; under each what the network takes the image for."""
    import torch

    images: list[Image] = []
    titles: list[str] = []
    for prompt in SUBJECTS:
        [drawing] = draw(parts, [SampleRequest(prompt)], steps=STEPS, guidance=GUIDANCE)
        x_0 = encoded(parts, drawing, drawing.size, torch.device("cpu"))
        t = torch.tensor(TIMES)
        noise = noise_of(1, parts.shape).expand(len(t), -1, -1, -1)
        noised = parts.diffusion.noised(x_0.expand_as(noise), t, noise)
        seen, _ = _predict(parts, [prompt] * len(t))(noised, t)
        images += images_of(parts.codec.decode(noised)) + images_of(parts.codec.decode(seen))
        titles += [f"t = {time}" for time in TIMES] + [prompt] * len(TIMES)
    return grid(images, titles, len(TIMES))


def reverse(parts: Parts) -> Image:
    """A drawing on its way: x_t at some steps; under each the image that was predicted there."""
    images: list[Image] = []
    titles: list[str] = []
    for prompt in ("a french cat", *SUBJECTS[:2]):
        kept: list[tuple[int, Tensor, Tensor]] = []
        watch = [_kept_steps(kept)]
        draw(parts, [SampleRequest(prompt)], steps=STEPS, guidance=GUIDANCE, guides=watch)
        chosen = [kept[round(n * (len(kept) - 1) / 7)] for n in range(8)]
        images += [images_of(parts.codec.decode(x))[0] for _, x, _ in chosen]
        images += [images_of(parts.codec.decode(x_0))[0] for _, _, x_0 in chosen]
        titles += [f"t = {time}" for time, _, _ in chosen] + [prompt] * 8
    return grid(images, titles, 8)


def _kept_steps(kept: list[tuple[int, Tensor, Tensor]]) -> Guide:
    """A guide that pulls nowhere and keeps (t, x_t, predicted x_0) of each step."""

    def gradient(x: Tensor, t: Tensor, x_0: Tensor) -> Tensor:
        kept.append((int(t[0]), x.clone(), x_0.clone()))
        return x * 0

    return lambda _parts, _prompts, _condition: gradient


def under_guidance(parts: Parts) -> Image:
    """A row per prompt, from one noise; a column per weight of classifier-free guidance."""
    images: list[Image] = []
    titles: list[str] = []
    for prompt in ("a french cat", *SUBJECTS, "un chat", "pizza"):
        for weight in GUIDANCES:
            images += draw(parts, [SampleRequest(prompt)], steps=STEPS, guidance=weight)
            titles.append(f"{prompt}, {weight}")
    return grid(images, titles, len(GUIDANCES))


def attention(parts: Parts, prompt: str) -> Image:
    """A drawing, and where its positions attend to each token; bright is much, each on its own."""
    import torch
    from PIL import Image as Images

    drawing, mean = attended(parts, prompt)
    side = math.isqrt(len(mean))
    images, titles = [drawing], [prompt]
    for n, token in enumerate(tokens(prompt)[: mean.shape[1]]):
        one = mean[:, n].view(side, side)
        grey = ((one - one.min()) / (one.max() - one.min()) * 255).to(torch.uint8).numpy()
        enlarged = Images.fromarray(grey).resize(drawing.size, Images.Resampling.BICUBIC)
        images.append(enlarged.convert("RGB"))
        titles.append(f"{token}  {100 * float(mean[:, n].mean()):.0f} %")
    return grid(images, titles, len(images))


def attended(parts: Parts, prompt: str, steps: int = STEPS) -> tuple[Image, Tensor]:
    """A drawing, and (positions, tokens) the attention at the finest level with cross-attention.

    Softmax(q k' / sqrt(d)) (1706.03762, equation 1), mean over heads, layers and the second half of
    the steps; each row adds up to 1.
    """
    import torch

    found: list[Tensor] = []
    layers = [m for name, m in parts.unet.named_modules() if name.endswith("attn2")]
    hooks = [layer.register_forward_hook(_kept(found), with_kwargs=True) for layer in layers]
    try:
        [drawing] = draw(parts, [SampleRequest(prompt)], steps=steps, guidance=1.0)
    finally:
        for hook in hooks:
            hook.remove()
    finest = max(one.shape[0] for one in found)
    maps = torch.stack([one for one in found if one.shape[0] == finest])
    return drawing, maps[len(maps) // 2 :].mean(0)


def tokens(prompt: str) -> list[str]:
    """The tokens of mini's text tower, without padding."""
    from frenchcat.curate.clip.bundled import MINI
    from frenchcat.curate.clip.bundled_text import BundledText

    return [one.strip("\u2581 ") or one for one in BundledText(MINI).tokens_of(prompt)]


def _kept(found: list[Tensor]) -> Any:
    """A hook that computes a layer's attention anew and keeps it, (positions, tokens)."""
    import torch

    def hook(layer: Any, given: Any, named: dict[str, Any], _output: Any) -> None:
        hidden, states = given[0], named["encoder_hidden_states"]
        split = (1, -1, layer.heads, layer.inner_dim // layer.heads)
        q = layer.to_q(hidden[:1]).view(split).transpose(1, 2)
        k = layer.to_k(states[:1]).view(split).transpose(1, 2)
        scores = q @ k.transpose(2, 3) / math.sqrt(split[-1])
        mask = named.get("attention_mask")
        if mask is not None:
            scores = scores + mask[:1, None, :1] if mask.dim() == 3 else scores + mask[:1]
        with torch.no_grad():
            found.append(scores.softmax(-1)[0].mean(0))

    return hook


def _predict(parts: Parts, prompts: Sequence[str]) -> Guided:
    """The network's answer to these prompts, without guidance."""
    return Guided(
        network_of(parts.unet, parts.family.answer),
        parts.diffusion,
        parts.settings.diffusion.target,
        parts.text(list(prompts)),
        clip_x_0=1.0,
    )
