"""Teach the picture head a little of what people call drawings.

Reads ``<work>/head.pt`` as `picture_side` built it, ``pictures.npy`` and ``pictures.json``,
``text.pt`` and ``tokenizer/``; rewrites ``<work>/head.pt``.

A step pulls drawings towards their captions, in whatever language they have them, and away from
the other drawings' captions of the batch (InfoNCE, arXiv:1807.03748, both ways; captions that mean
about the same are not negatives). Drawings are not photographs, so the head is held to what it said
before on features like theirs: mixtures of drawings pushed along drawn classes.

Longer is better on drawings and no better on photographs, and costs what the classes know of
things that no drawing here shows (housecats are left out): hence few steps.

    python -m tools.mini.caption_side
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from tools.mini.classes import CLASSES
from tools.mini.heldout import LANGUAGES
from tools.mini.materials import work_folder
from tools.mini.picture_side import GAIN
from tools.mini.tower import text_encoder
from tools.mini.trunk import load_trunk

STEPS = 200
BATCH = 512
RATE = 3e-4
WARMUP = 20
CONTRAST = 20.0  # inverse temperature
SAME = 0.8  # captions of at least this cosine mean the same
CAPTION_WEIGHT, HOLD_WEIGHT = 0.15, 2.0
SPARE_SPREAD = 0.04  # of the hidden units beyond the classes, which start at nothing
ENGLISH_SHARE = 0.4


class Captions:
    """Drawn captions of pictures, as vectors."""

    def __init__(self, work: Path, chance: np.random.Generator) -> None:
        listed = json.loads((work / "pictures.json").read_text())
        texts = sorted({text for entry in listed for words in entry.values() for text in words})
        self.vectors = torch.from_numpy(text_encoder(work)(texts))
        number = {text: n for n, text in enumerate(texts)}
        self.rows = [
            {name: [number[text] for text in entry[name]] for name in LANGUAGES if entry.get(name)}
            for entry in listed
        ]
        self.chance = chance

    def draw(self, pictures: np.ndarray) -> torch.Tensor:
        """One caption a picture: often English, half of the time its first."""
        return self.vectors[[self._one(self.rows[n]) for n in pictures]]

    def _one(self, entry: dict[str, list[int]]) -> int:
        names = list(entry)
        english = len(names) == 1 or self.chance.random() < ENGLISH_SHARE
        found = entry[names[0] if english else names[self.chance.integers(len(names))]]
        return found[0] if self.chance.random() < 0.5 else found[self.chance.integers(len(found))]


class Head(torch.nn.Module):
    """The two layers, and what they have moved since; moves are scaled as the layers are."""

    def __init__(self, state: dict[str, torch.Tensor], generator: torch.Generator) -> None:
        super().__init__()
        names = ("fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias")
        self.before = [state[f"mlp.{name}"].clone() for name in names]
        spare = self.before[0][CLASSES:]
        spare.copy_(torch.randn(spare.shape, generator=generator) * SPARE_SPREAD)
        self.moves = torch.nn.ParameterList(torch.zeros_like(part) for part in self.before)

    def layers(self, moved: bool = True) -> list[torch.Tensor]:
        """Weights and biases, now or before."""
        if not moved:
            return self.before
        scales = (1.0, 1.0, GAIN, GAIN)
        return [b + s * m for b, s, m in zip(self.before, scales, self.moves, strict=True)]

    def forward(self, features: torch.Tensor, moved: bool = True) -> torch.Tensor:
        """(N, 1280) -> (N, EMBED_DIM) unit rows."""
        first, first_bias, second, second_bias = self.layers(moved)
        hidden = F.gelu(features @ first.T + first_bias)
        return F.normalize(hidden @ second.T + second_bias, dim=-1)


def contrast(pictures: torch.Tensor, texts: torch.Tensor) -> torch.Tensor:
    """InfoNCE of unit rows, both ways; near-equal texts are left out of the negatives."""
    own = torch.arange(len(texts))
    same = (texts @ texts.T > SAME) & ~torch.eye(len(texts), dtype=torch.bool)
    logits = (CONTRAST * pictures @ texts.T).masked_fill(same, -1e4)
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2


def like_photographs(
    features: torch.Tensor, classes: torch.Tensor, rows: int, generator: torch.Generator
) -> torch.Tensor:
    """(rows, 1280): mixtures of two drawings, weakened, pushed along two drawn classes."""

    def some(of: torch.Tensor) -> torch.Tensor:
        return of[torch.randint(len(of), (rows,), generator=generator)]

    def between(low: float, high: float) -> torch.Tensor:
        return low + (high - low) * torch.rand(rows, 1, generator=generator)

    share = between(0, 1)
    mixed = share * some(features) + (1 - share) * some(features)
    pushed = between(0.2, 1) * mixed + between(0, 8) * some(classes) + between(0, 4) * some(classes)
    return pushed.clamp(min=0)


def fit(work: Path, steps: int) -> None:
    """Rewrite head.pt."""
    generator, chance = torch.Generator().manual_seed(0), np.random.default_rng(0)
    features = torch.from_numpy(np.load(work / "pictures.npy")).float()
    weight = load_trunk().classifier.weight.detach()  # type: ignore[union-attr]
    classes = weight / weight.norm(dim=1, keepdim=True)  # type: ignore[operator]
    captions, head = Captions(work, chance), Head(torch.load(work / "head.pt"), generator)
    optimizer = torch.optim.AdamW(head.parameters(), lr=RATE, weight_decay=0.01)
    for step in range(1, steps + 1):
        optimizer.param_groups[0]["lr"] = RATE * min(1, step / WARMUP) * (1 - step / (steps + 1))
        rows = chance.choice(len(features), BATCH, replace=False)
        seen = features[rows] * (0.8 + 0.4 * torch.rand(BATCH, 1, generator=generator))
        seen = seen * (torch.rand(seen.shape, generator=generator) > 0.1)
        pulled = contrast(head(seen), captions.draw(rows))
        photos = like_photographs(features, classes, BATCH // 2, generator)
        with torch.no_grad():
            held = head(photos, moved=False)
        gap = 1 - (head(photos) * held).sum(-1).mean()
        loss = CAPTION_WEIGHT * pulled + HOLD_WEIGHT * gap
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 50 == 0:
            print(f"step {step}: contrast {pulled.item():.3f}, gap {gap.item():.3f}")
    names = ("fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias")
    layers = [layer.detach() for layer in head.layers()]
    torch.save({f"mlp.{n}": part for n, part in zip(names, layers, strict=True)}, work / "head.pt")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Fit the picture head to captions.")
    parser.add_argument("--work")
    parser.add_argument("--steps", type=int, default=STEPS)
    arguments = parser.parse_args()
    fit(work_folder(arguments.work), arguments.steps)
