"""Distil the sentence encoder into the text tower.

Reads ``<work>/texts.json``, ``targets.npy`` and ``tokenizer/``; writes ``<work>/text.pt`` (the
tower's weights) and ``space.npz`` (how MiniLM's vectors became the shared space).

A text's target is the MiniLM vector of its English side, with the mean of all of them taken off
(it says nothing about pictures, and every picture would be near it). The loss has three parts:
1 - cosine; the in-batch contrast against the batch's targets; and the Kullback-Leibler divergence
between the student's and the teacher's softmax over the 1,000 ImageNet class vectors, since
ranking pictures is mostly telling those apart. Batches hold texts of about one length: half the
time goes into padding otherwise.

    python -m tools.mini.text_side --minutes 25
"""

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from tools.mini.classes import class_vectors
from tools.mini.materials import work_folder
from tools.mini.teacher import embed
from tools.mini.tower import (
    EMBED_DIM,
    build,
    encode,
    quick_tokenizer,
    text_forward,
    vocabulary_size,
)

BATCH = 1536
RATE = 2e-3
WARMUP = 0.05
CONTRAST = 20.0  # inverse temperature of the in-batch contrast
CLASS_SHARPNESS = 15.0  # inverse temperature over the class vectors
MEAN_SHARE = 0.9
SHARE = {"en": 0.25, "fr": 0.15, "de": 0.15, "es": 0.13, "it": 0.14, "ja": 0.18}


def centred(vectors: NDArray[np.float32], mean: NDArray[np.float32]) -> NDArray[np.float32]:
    """MiniLM vectors -> the shared space: (N, EMBED_DIM) float32, unit rows."""
    moved = vectors.astype(np.float32) - MEAN_SHARE * mean
    moved /= np.linalg.norm(moved, axis=1, keepdims=True)
    return np.pad(moved, ((0, 0), (0, EMBED_DIM - moved.shape[1])))


class Corpus:
    """Token ids, English rows and targets, by language."""

    def __init__(self, work: Path) -> None:
        texts = json.loads((work / "texts.json").read_text())
        whole = work / "targets.npy"
        done = int((work / "targets.done").read_text())
        raw = np.load(whole if whole.exists() else work / "targets.new.npy", mmap_mode="r")
        self.raw = np.asarray(raw[:done])
        self.mean = self.raw[:100_000].astype(np.float32).mean(0)
        tokenizer = quick_tokenizer(work)
        cache = work / "tokens.npz"
        fresh = cache.exists() and cache.stat().st_mtime > (work / "texts.json").stat().st_mtime
        stored = np.load(cache) if fresh else {}
        self.ids, self.rows = {}, {}
        for language, found in texts["pairs"].items():
            rows = np.array([row for _, row in found], dtype=np.int64)
            ids = stored[language] if fresh else encode(tokenizer, [text for text, _ in found])
            keep = rows < done
            self.ids[language], self.rows[language] = ids[keep], rows[keep]
        if not fresh:
            np.savez(cache, **self.ids)
        self.lengths = {language: (ids > 0).sum(1) for language, ids in self.ids.items()}

    def batches(self, rng: np.random.Generator) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Endless (token ids, targets), languages mixed by SHARE, one length band a batch."""
        while True:
            picks = []
            for language, share in SHARE.items():
                count = int(BATCH * 32 * share)
                rows = rng.integers(0, len(self.rows[language]), count)
                picks += [(language, int(row)) for row in rows]
            picks.sort(key=lambda pick: self.lengths[pick[0]][pick[1]] + rng.random())
            chunks = [picks[i : i + BATCH] for i in range(0, len(picks) - BATCH + 1, BATCH)]
            for index in rng.permutation(len(chunks)):
                chunk = chunks[index]
                ids = np.stack([self.ids[language][row] for language, row in chunk])
                ids = ids[:, : max(1, int((ids > 0).sum(1).max()))]
                rows = np.array([self.rows[language][row] for language, row in chunk])
                target = torch.from_numpy(centred(self.raw[rows].astype(np.float32), self.mean))
                yield torch.from_numpy(ids).long(), target


def loss(student: torch.Tensor, target: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    """Cosine, in-batch contrast (same meanings are not negatives), class divergence."""
    unit = F.normalize(student.float(), dim=-1)
    cosine = 1 - (unit * target).sum(-1).mean()
    same = target @ target.T > 0.98
    own = torch.eye(len(target), dtype=torch.bool)
    logits = (CONTRAST * unit @ target.T).masked_fill(same & ~own, -1e4)
    contrast = F.cross_entropy(logits, torch.arange(len(target)))
    ours = (CLASS_SHARPNESS * unit @ classes.T).log_softmax(-1)
    theirs = (CLASS_SHARPNESS * target @ classes.T).log_softmax(-1)
    divergence = F.kl_div(ours, theirs, log_target=True, reduction="batchmean")
    return 2 * cosine + 0.3 * contrast + divergence


def train(work: Path, minutes: float, start: Path | None) -> None:
    """Train for ``minutes`` of wall clock, learning rate up then down to zero."""
    torch.manual_seed(0)
    corpus = Corpus(work)
    classes = torch.from_numpy(centred(class_vectors(embed), corpus.mean))
    np.savez(work / "space.npz", mean=corpus.mean)
    tower = build(vocabulary_size(work)).text
    if start:
        tower.load_state_dict(torch.load(start))
    optimizer = torch.optim.AdamW(
        tower.parameters(), lr=RATE, betas=(0.9, 0.98), weight_decay=0.01, fused=True
    )
    began, running = time.monotonic(), 0.0
    for steps, (ids, target) in enumerate(corpus.batches(np.random.default_rng(0)), 1):
        part = (time.monotonic() - began) / (60 * minutes)
        if part >= 1:
            break
        rate = RATE * min(1.0, part / WARMUP, (1 - part) / (1 - WARMUP) + 0.01)
        for group in optimizer.param_groups:
            group["lr"] = rate
        with torch.autocast("cpu", torch.bfloat16):
            student = text_forward(tower, ids)
        value = loss(student, target, classes)
        optimizer.zero_grad()
        value.backward()
        torch.nn.utils.clip_grad_norm_(tower.parameters(), 1.0)
        optimizer.step()
        running += (float(value.detach()) - running) / min(steps, 50)
        if steps % 50 == 0:
            print(f"{part:.2f} of the time, {steps} steps, loss {running:.3f}", flush=True)
            torch.save(tower.state_dict(), work / "text.part.pt")
    torch.save(tower.state_dict(), work / "text.pt")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Distil the text tower.")
    parser.add_argument("--work")
    parser.add_argument("--minutes", type=float, default=25)
    parser.add_argument("--start", type=Path, help="weights to go on from")
    arguments = parser.parse_args()
    train(work_folder(arguments.work), arguments.minutes, arguments.start)
