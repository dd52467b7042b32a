"""Does the text steer the picture? CLIP score with a picture's own prompt against a swapped one.

    python -m bench.steer RUN                            pairs of the run's own training captions
    python -m bench.steer RUN --pairs 100 --guidance 0 1 5
    python -m bench.steer RUN --pair "a red apple" "a blue flower"

Each pair of prompts (a, b) is drawn from the same noise. The difference of a pair is

    ((s(a, a) + s(b, b)) - (s(a, b) + s(b, a))) / 2

with s(x, y) the cosine of the picture drawn for x and the text y. Above 0: pictures suit their own
prompt better. At guidance 0 the prompt is ignored, both pictures of a pair are one, and the
difference is 0 by construction. Writes the mean over pairs at each guidance, with its 95 %
percentile bootstrap interval over pairs (Efron 1979), to .bench/results/steer.json, and the first
pairs as a grid to RUN/steer.png. The CLIP model is the one of the run's text tower, which a U-Net
that was trained under its states may suit better than other models would say.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench import _common as common

Pair = tuple[str, str]
BATCH = 32  # pictures drawn at once
RESAMPLES = 10_000
SHOWN = 6  # pairs in the grid


def main() -> None:
    """Draw, score, keep."""
    parser = common.parser(__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--pairs", type=int, default=50)
    parser.add_argument("--pair", nargs=2, action="append", help="prompts of your own")
    parser.add_argument("--guidance", type=float, nargs="+", default=[0.0, 1.0, 5.0])
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--checkpoint", type=Path, help="by default the best by held-out loss")
    given = parser.parse_args()
    load = common.load()
    chosen = [(a, b) for a, b in given.pair or ()] or pairs_of(given.run, given.pairs, given.seed)
    result = measure(
        given.run, chosen, given.guidance, given.steps, given.seed, given.device, given.checkpoint
    )
    for weight, found in result["by_guidance"].items():
        low, high = found["interval"]
        print(f"guidance {weight:>4}: {found['mean']:+.4f}  (95 %: {low:+.4f} to {high:+.4f})")
    versions = common.our_versions("torch", "diffusers")
    common.keep("steer", {**result, "load_before": load, "versions": versions}, {})


def measure(
    run: Path,
    pairs: Sequence[Pair],
    weights: Sequence[float],
    steps: int,
    seed: int,
    device: str,
    checkpoint: Path | None = None,
) -> dict[str, Any]:
    """The mean difference and its interval at each guidance; the grid is written beside the run."""
    from frenchcat.train.draw import grid
    from frenchcat.train.run import open_run

    parts, state, folder = open_run(run, checkpoint, device)
    clip = clip_of(parts)
    prompts = [prompt for pair in pairs for prompt in pair]
    texts = np.asarray(clip.encode_texts(prompts), np.float64)
    found, shown, titles = {}, [], []
    for weight in weights:
        pictures = drawn(parts, pairs, weight, steps, seed)
        values = differences(np.asarray(clip.encode_images(pictures), np.float64), texts)
        interval = bootstrap(values, seed)
        found[f"{weight:g}"] = {"mean": float(values.mean()), "interval": interval}
        shown += pictures[: 2 * SHOWN]
        titles += [f"{weight:g}: {prompt}" for prompt in prompts[: 2 * SHOWN]]
    columns = min(len(prompts), 2 * SHOWN)
    grid(shown, titles, columns).save(run / "steer.png")
    return {
        "by_guidance": found,
        "pairs": list(pairs),
        "model": clip.name,
        "checkpoint": folder.name,
        "step": state.step,
        "selection": state.identity.get("selection"),
        "sampler_steps": steps,
        "seed": seed,
    }


def drawn(parts: Any, pairs: Sequence[Pair], weight: float, steps: int, seed: int) -> list[Any]:
    """Pictures of all prompts, (a, b) of a pair after each other and from one noise."""
    from frenchcat.train.draw import SampleRequest, draw

    wishes = [SampleRequest(prompt, seed + n) for n, pair in enumerate(pairs) for prompt in pair]
    pictures = []
    for start in range(0, len(wishes), BATCH):
        pictures += draw(parts, wishes[start : start + BATCH], steps=steps, guidance=weight)
    return pictures


def differences(pictures: NDArray[np.float64], texts: NDArray[np.float64]) -> NDArray[np.float64]:
    """(P,) of unit rows (2 P, D), the two of a pair after each other."""
    picture, text = (rows.reshape(-1, 2, rows.shape[-1]) for rows in (pictures, texts))
    cosines = picture @ text.transpose(0, 2, 1)  # (P, 2, 2)
    own = cosines[:, 0, 0] + cosines[:, 1, 1]
    result: NDArray[np.float64] = (own - cosines[:, 0, 1] - cosines[:, 1, 0]) / 2
    return result


def bootstrap(values: NDArray[np.float64], seed: int) -> tuple[float, float]:
    """The 95 % percentile interval of the mean."""
    chance = np.random.default_rng(seed)
    picked = chance.integers(0, len(values), (RESAMPLES, len(values)))
    low, high = np.quantile(values[picked].mean(1), [0.025, 0.975])
    return float(low), float(high)


def clip_of(parts: Any) -> Any:
    """The CLIP model whose text tower the run has."""
    from frenchcat.curate.clip import ClipSettings
    from frenchcat.curate.clip.model import load_clip
    from frenchcat.curate.config import resolve

    text = parts.settings.text
    named = {"model": text.model, "pretrained": text.pretrained, "compile": "no"}
    return load_clip(resolve(ClipSettings, named))


def pairs_of(run: Path, number: int, seed: int) -> list[Pair]:
    """Pairs of different captions that the run trained on, each row in one pair at most."""
    from frenchcat.train.permutation import key_of, permuted
    from frenchcat.train.rows import open_rows

    rows = open_rows(run / "rows")
    if rows is None:
        raise SystemExit(f"{run} has no rows/")
    order = permuted(np.arange(len(rows)), len(rows), key_of(rows.digest, seed, "steer")).tolist()
    held_out = set(rows.held_out)
    captions = [rows.row(n).caption for n in order if n not in held_out]
    different = [caption for caption in dict.fromkeys(captions) if caption]
    halves = different[0::2], different[1::2]
    if not halves[1]:
        raise SystemExit(
            f"{run} knows no two captions (those of foreign tars stay there): --pair A B"
        )
    return list(zip(*halves, strict=False))[:number]


if __name__ == "__main__":
    main()
