"""Fit the head of `pwatermark` and judge it on unseen pictures under unseen stamps.

Reads ``<work>/watermark/*.npz``, writes curate/score/watermark/head.safetensors and figures.json
beside it, and prints the figures. About four minutes on two cores.

    python -m tools.watermark.train --work ~/.cache/watermark
"""

import argparse
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import save_file

from curate.score.watermark.network import WEIGHTS, Head

EPOCHS = 10
BATCH = 64
RATE = 2e-3


def read(work: Path, side: str) -> dict[str, NDArray[Any]]:
    """The parts of one side, joined."""
    parts = [np.load(path) for path in sorted((work / "watermark").glob(f"{side}-*.npz"))]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0].files}


def fit(data: dict[str, NDArray[Any]]) -> Head:
    """A head fitted to maps and marks; the same data gives the same head on one machine."""
    torch.manual_seed(0)
    torch.set_num_threads(1)  # the layers are too small to share
    maps, marked = torch.from_numpy(data["maps"]), torch.from_numpy(data["marked"]).float()
    head = Head()
    optimizer = torch.optim.AdamW(head.parameters(), lr=RATE, weight_decay=0.02)
    steps, step = EPOCHS * math.ceil(len(maps) / BATCH), 0
    for epoch in range(EPOCHS):
        lost = 0.0
        for rows in torch.randperm(len(maps)).split(BATCH):
            for group in optimizer.param_groups:
                group["lr"] = RATE * (1 - step / steps) + 1e-5
            seen = maps[rows].float()
            if torch.rand(()) < 0.5:  # the trunk's maps of a mirrored picture are nearly mirrored
                seen = seen.flip(3)
            loss = F.binary_cross_entropy_with_logits(head(seen), marked[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            lost += float(loss.detach()) * len(rows)
            step += 1
        print(f"epoch {epoch + 1}: {lost / len(maps):.3f}", flush=True)
    return head.eval()


def probabilities(head: Head, maps: NDArray[Any]) -> NDArray[np.float64]:
    """(N, 40, 28, 28) -> (N,)."""
    with torch.inference_mode():
        parts = [head(part.float()).sigmoid() for part in torch.from_numpy(maps).split(256)]
    return torch.cat(parts).double().numpy()


def area_under_curve(scores: NDArray[np.float64], marked: NDArray[np.bool_]) -> float:
    """How often a marked picture scores above an unmarked one; ties count half."""
    above = scores[marked][:, None] - scores[~marked][None]
    return float((above > 0).mean() + (above == 0).mean() / 2)


def judge(head: Head, data: dict[str, NDArray[Any]], threshold: float = 0.5) -> dict[str, Any]:
    """Precision, recall and area under the curve, and the share found of every kind."""
    scores, marked, kind = probabilities(head, data["maps"]), data["marked"], data["kind"]
    found = scores >= threshold
    kinds = {str(k): float(found[kind == k].mean()) for k in np.unique(kind)}
    return {
        "pictures": len(scores),
        "precision": float(marked[found].mean()),
        "recall": float(found[marked].mean()),
        "auc": area_under_curve(scores, marked),
        "found_by_kind": kinds,
    }


def main() -> None:
    """Fit, judge, write."""
    parser = argparse.ArgumentParser(description="Fit the watermark head.")
    parser.add_argument("--work", type=Path, default=Path("~/.cache/watermark"))
    work = parser.parse_args().work.expanduser()
    train = read(work, "train")
    head = fit(train)
    figures = {"train": judge(head, train), "held_out": judge(head, read(work, "held"))}
    print(json.dumps(figures, indent=1))
    save_file({n: v.contiguous() for n, v in head.state_dict().items()}, WEIGHTS)
    WEIGHTS.with_name("figures.json").write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
