"""Fit the picture head: ConSE on what looks like photographs, captions on clip art and emoji.

Reads ``<work>/pictures.npy`` and ``pictures.json``, ``space.npz``, the trunk's classifier; writes
``<work>/head.pt``, the weights of open_clip's ``timm_proj: mlp`` head (1280-1024-512).

ConSE needs a softmax, which open_clip's config cannot say. The head starts as its stand-in: a
hidden unit a class, the classifier's row with a negative bias, so that GELU keeps only strong
classes, and the class vectors as second layer. It is then fitted to ConSE itself on features of
clip art, mixtures of them, and features pushed towards drawn classes (no photographs are to be
had), while clip art and emoji pull their captions' vectors nearer than other captions.

    python -m tools.mini.picture_side --minutes 4
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from tools.mini.classes import class_vectors
from tools.mini.materials import work_folder
from tools.mini.teacher import embed
from tools.mini.text_side import centred
from tools.mini.tower import build
from tools.mini.trunk import load_trunk

BATCH = 512
RATE = 5e-4
THRESHOLD = 5.0  # logits below this leave a class's hidden unit at about zero
WARMTH = 0.8  # multiplies the logits before ConSE's softmax
CONTRAST = 20.0
CAPTION_WEIGHT = 0.15


class Conse:
    """The classifier, the class vectors and what ConSE makes of features."""

    def __init__(self, vectors: torch.Tensor) -> None:
        classifier = load_trunk().classifier
        assert isinstance(classifier, nn.Linear)
        self.weight, self.bias = classifier.weight.detach(), classifier.bias.detach()
        self.vectors = vectors  # (1000, EMBED_DIM)

    def __call__(self, features: torch.Tensor) -> torch.Tensor:
        """(N, 1280) trunk features -> (N, EMBED_DIM) unit rows."""
        logits = features @ self.weight.T + self.bias
        return F.normalize((WARMTH * logits).softmax(-1) @ self.vectors, dim=-1)


def start(head: nn.Module, conse: Conse) -> None:
    """Set the head's MLP to its stand-in for ConSE."""
    mlp = head.mlp
    with torch.no_grad():
        mlp.fc1.weight.normal_(0, 0.02)
        mlp.fc1.bias.zero_()
        mlp.fc2.weight.normal_(0, 0.005)
        mlp.fc1.weight[: len(conse.weight)] = conse.weight
        mlp.fc1.bias[: len(conse.weight)] = conse.bias - THRESHOLD
        mlp.fc2.weight[:, : len(conse.weight)] = conse.vectors.T
        mlp.fc2.bias.zero_()


def photograph_like(
    clipart: torch.Tensor, conse: Conse, count: int, generator: torch.Generator
) -> torch.Tensor:
    """Features to fit ConSE on: mixtures of clip art's, pushed towards one or two classes."""

    def rows(high: int) -> torch.Tensor:
        return torch.randint(high, (count,), generator=generator)

    def uniform(low: float, high: float) -> torch.Tensor:
        return low + (high - low) * torch.rand(count, 1, generator=generator)

    share = uniform(0, 1)
    mixed = share * clipart[rows(len(clipart))] + (1 - share) * clipart[rows(len(clipart))]
    unit = conse.weight / conse.weight.norm(dim=1, keepdim=True)
    pushed = uniform(0.2, 1.0) * mixed + uniform(0, 8) * unit[rows(len(unit))]
    pushed = pushed + uniform(0, 4) * unit[rows(len(unit))]
    return pushed.clamp(min=0)


class Captions:
    """The training pictures' captions as vectors of the shared space."""

    def __init__(self, work: Path, mean: np.ndarray) -> None:
        captioned = json.loads((work / "pictures.json").read_text())
        texts = list(dict.fromkeys(text for one in captioned for text in one["en"]))
        row = {text: index for index, text in enumerate(texts)}
        self.vectors = torch.from_numpy(centred(embed(texts), mean))
        self.choices = [[row[text] for text in one["en"]] for one in captioned]

    def draw(self, pictures: list[int], rng: np.random.Generator) -> torch.Tensor:
        """One caption's vector a picture, the title (first) most often."""
        out = []
        for picture in pictures:
            found = self.choices[picture]
            out.append(found[0] if rng.random() < 0.5 else found[int(rng.integers(len(found)))])
        return self.vectors[out]


def contrast(pictures: torch.Tensor, captions: torch.Tensor) -> torch.Tensor:
    """Both ways; captions nearly the same are no negatives of each other."""
    same = captions @ captions.T > 0.8
    off = same & ~torch.eye(len(same), dtype=torch.bool)
    logits = (CONTRAST * pictures @ captions.T).masked_fill(off, -1e4)
    own = torch.arange(len(same))
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2


def train(work: Path, minutes: float) -> None:
    """Fit for ``minutes`` of wall clock."""
    torch.manual_seed(0)
    generator, rng = torch.Generator().manual_seed(0), np.random.default_rng(0)
    mean = np.load(work / "space.npz")["mean"]
    conse = Conse(torch.from_numpy(centred(class_vectors(), mean)))
    features = torch.from_numpy(np.load(work / "pictures.npy")).float()
    captions = Captions(work, mean)
    head: nn.Module = build(8).visual.head
    start(head, conse)
    optimizer = torch.optim.AdamW(head.parameters(), lr=RATE, weight_decay=0.02)
    began, steps = time.monotonic(), 0
    while (part := (time.monotonic() - began) / (60 * minutes)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = RATE * (1 - part) + 1e-6
        made = photograph_like(features[:, 0], conse, BATCH, generator)
        drawn = rng.choice(len(features), BATCH, replace=False)
        seen = features[drawn, rng.integers(features.shape[1], size=BATCH)]
        out = F.normalize(head(torch.cat([made, seen])), dim=-1)
        gap = 1 - (out[:BATCH] * conse(made)).sum(-1).mean()
        kept = 1 - (out[BATCH:] * conse(seen)).sum(-1).mean()
        pull = contrast(out[BATCH:], captions.draw(drawn.tolist(), rng))
        value = 2 * gap + 0.3 * kept + CAPTION_WEIGHT * pull
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        steps += 1
        if steps % 100 == 0:
            print(
                f"{steps}: ConSE {gap:.3f}, on clip art {kept:.3f}, captions {pull:.3f}", flush=True
            )
    torch.save(head.state_dict(), work / "head.pt")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Fit the picture head.")
    parser.add_argument("--work")
    parser.add_argument("--minutes", type=float, default=4)
    arguments = parser.parse_args()
    train(work_folder(arguments.work), arguments.minutes)
