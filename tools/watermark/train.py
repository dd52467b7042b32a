"""Fit the head of `pwatermark` and judge it on unseen pictures under unseen stamps.

Reads ``<work>/watermark/*.npz``, writes curate/score/watermark/head.safetensors and figures.json
beside it, and prints the figures. Held-out parts with even numbers choose the epoch and set the
scale of the number; those with odd numbers are only judged.

    python -m tools.watermark.train --work ~/.cache/watermark
"""

import argparse
import json
import math
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from frenchcat.curate.score.watermark.network import HEADS, WEIGHTS, Heads, WatermarkHead

EPOCHS = 6
PAIRS = 32  # a batch
RATE = 2.5e-3
MARKED_SHARE = (
    0.3  # of the pictures that the number is a probability for: .5 then errs in some 3 in 100
)
THRESHOLDS = (0.3, 0.5)
TRAINED = ("train-*", "train_pairs-*")
CHOOSING = ("held-*[02468]", "held_pairs-*[02468]")
JUDGING = {"mixed": "held-*[13579]", "drawings": "held_pairs-*[13579]"}
Data = dict[str, NDArray[Any]]


def read(work: Path, *patterns: str) -> Data:
    """The parts whose names fit, joined: unmarked and marked pictures by turns."""
    paths = [path for one in patterns for path in sorted((work / "watermark").glob(one + ".npz"))]
    parts = [np.load(path) for path in paths]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0].files}


def fit(work: Path, seed: int) -> dict[str, torch.Tensor]:
    """The averaged head of the best epoch; the same data gives the same head on one machine."""
    train, choose = read(work, *TRAINED), read(work, *CHOOSING)
    torch.manual_seed(seed)
    torch.set_num_threads(1)  # the layers are too small to share
    maps = torch.from_numpy(train["maps"]).unflatten(0, (-1, 2))
    head = WatermarkHead()
    averaged = AveragedModel(head, multi_avg_fn=get_ema_multi_avg_fn(0.995), use_buffers=True)
    optimizer = torch.optim.AdamW(head.parameters(), lr=RATE, weight_decay=0.05)
    steps, step, best = EPOCHS * math.ceil(len(maps) / PAIRS), 0, (-1.0, head.state_dict())
    for epoch in range(EPOCHS):
        lost = 0.0
        for rows in torch.randperm(len(maps)).split(PAIRS):
            for group in optimizer.param_groups:
                group["lr"] = RATE * min(1, step / 100) * (1 - step / steps) + 1e-5
            loss = pair_loss(head, varied(maps[rows].float()))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            averaged.update_parameters(head)
            lost += float(loss.detach()) * len(rows)
            step += 1
        now = averaged.module.eval()
        found = recall_at(logits(now, choose["maps"]), choose)
        print(
            f"head {seed}, epoch {epoch + 1}: loss {lost / len(maps):.3f}, found {found:.3f}",
            flush=True,
        )
        if found >= best[0]:
            best = found, {name: value.clone() for name, value in now.state_dict().items()}
        averaged.module.train()
    return best[1]


def pair_loss(head: WatermarkHead, maps: torch.Tensor) -> torch.Tensor:
    """(N, 2, 40, 28, 28): both must be right, and the marked one above its own unmarked one."""
    plain, marked = head(maps.flatten(0, 1)).unflatten(0, (-1, 2)).unbind(1)
    right = F.softplus(plain).mean() + F.softplus(-marked).mean()
    return right / 2 + F.softplus(plain - marked).mean() / 2


def varied(maps: torch.Tensor) -> torch.Tensor:
    """The maps of a batch of pairs: mirrored, moved by a cell or two, with grainy channels."""
    if torch.rand(()) < 0.5:  # a mirrored picture's maps are nearly mirrored
        maps = maps.flip(-1)
    down, right = torch.randint(-2, 3, (2,)).tolist()
    maps = maps.roll((down, right), (-2, -1))
    gain = 1 + 0.1 * torch.randn(len(maps), 1, maps.shape[2], 1, 1)
    return maps * gain


def logits(head: torch.nn.Module, maps: NDArray[Any]) -> NDArray[np.float64]:
    """(N, 40, 28, 28) -> (N,)."""
    with torch.inference_mode():
        parts = [head(part.float()) for part in torch.from_numpy(maps).split(256)]
    return torch.cat(parts).double().numpy()


def recall_at(scores: NDArray[np.float64], data: Data, wrong: float = 0.03) -> float:
    """The share of marked pictures above all but a share `wrong` of the unmarked ones."""
    marked = data["marked"]
    return float((scores[marked] > np.quantile(scores[~marked], 1 - wrong)).mean())


def calibrate(heads: Heads, data: Data) -> None:
    """Scale and shift the last layers so that the sigmoid is a probability at MARKED_SHARE."""
    scores = torch.from_numpy(logits(heads, data["maps"]))
    marked = torch.from_numpy(data["marked"]).double()
    weight = torch.where(marked > 0, MARKED_SHARE / marked.mean(),
                         (1 - MARKED_SHARE) / (1 - marked.mean()))  # fmt: skip
    slope, shift = torch.ones((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    fitted = [slope.requires_grad_(), shift.requires_grad_()]
    solver = torch.optim.LBFGS(fitted, max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> float:
        solver.zero_grad()
        value = F.binary_cross_entropy_with_logits(scores * slope + shift, marked, weight)
        value.backward()
        return float(value.detach())

    solver.step(loss)
    with torch.no_grad():
        for head in heads.heads:
            head.last.weight.mul_(float(slope))
            head.last.bias.mul_(float(slope)).add_(float(shift))


def area_under_curve(scores: NDArray[np.float64], marked: NDArray[np.bool_]) -> float:
    """How often a marked picture scores above an unmarked one; ties count half."""
    above = scores[marked][:, None] - scores[~marked][None]
    return float((above > 0).mean() + (above == 0).mean() / 2)


def judge(head: torch.nn.Module, data: Data) -> dict[str, Any]:
    """Area under the curve; at each threshold precision, recall and the share of every kind."""
    scores, marked, kind = logits(head, data["maps"]), data["marked"], data["kind"]
    figures: dict[str, Any] = {
        "images": len(scores),
        "auc": round(area_under_curve(scores, marked), 4),
        "recall_at_3_percent_wrong": round(recall_at(scores, data), 4),
    }
    for threshold in THRESHOLDS:
        found = 1 / (1 + np.exp(-scores)) > threshold
        figures[f"above {threshold}"] = {
            "precision": round(float(marked[found].mean()), 4),
            "recall": round(float(found[marked].mean()), 4),
            "wrong": round(float(found[~marked].mean()), 4),
            "by_kind": {str(k): round(float(found[kind == k].mean()), 4) for k in np.unique(kind)},
        }
    return figures


def main() -> None:
    """Fit, judge, write."""
    parser = argparse.ArgumentParser(description="Fit the watermark head.")
    parser.add_argument("--work", type=Path, default=Path("~/.cache/watermark"))
    parser.add_argument("--out", type=Path, default=WEIGHTS.parent)
    given = parser.parse_args()
    work = given.work.expanduser()
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(HEADS, mp_context=context) as pool:
        states = list(pool.map(fit, [work] * HEADS, range(HEADS)))
    heads = Heads().eval()
    for head, state in zip(heads.heads, states, strict=True):
        head.load_state_dict(state)
    calibrate(heads, read(work, *CHOOSING))
    figures = {
        "trained": judge(heads, read(work, *TRAINED)),
        "chosen_by": judge(heads, read(work, *CHOOSING)),
    }
    figures |= {f"held_out_{name}": judge(heads, read(work, one)) for name, one in JUDGING.items()}
    print(json.dumps(figures, indent=1))
    save_file({n: v.contiguous() for n, v in heads.state_dict().items()}, given.out / WEIGHTS.name)
    (given.out / "figures.json").write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
