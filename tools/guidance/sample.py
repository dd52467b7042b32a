"""One model of images under every guidance: a grid and its figures for docs/guidance.md.

    python -m tools.guidance.sample RUN CLASSIFIER JUDGE

RUN is a diffusion model's run, CLASSIFIER and JUDGE the runs of two classifiers of the same labels,
of which the first steers and the second only judges. Writes docs/pictures/guidance-sample.png and
.json. Who is right is asked of three: the steering classifier itself, the judge, and the nearest
mean of the real images' CLIP vectors (which CLIP guidance uses, too).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from frenchcat.train.classifier import TrainedClassifier, open_classifier
from frenchcat.train.draw import SampleRequest, draw, encoded, images_of
from frenchcat.train.guidance import classifier_gradient
from frenchcat.train.held_out import held_out
from frenchcat.train.metrics import clip_score
from frenchcat.train.plan import Batch
from frenchcat.train.reader import Reader
from frenchcat.train.rows import open_rows
from frenchcat.train.run import Parts, open_run
from frenchcat.train.steering import Guide, classifier_guide, clip_guide, clip_of
from tools.guidance.toy import OUT

if TYPE_CHECKING:
    from PIL.Image import Image

    from frenchcat.curate.clip.model import Clip

STEPS = 20
PROMPTS = {
    "animal": "Cat, animal",
    "flag": "Flag of France",
    "food": "Red apple, food, fruit",
    "icon": "Home icon",
}


@dataclass(frozen=True)
class Way:
    """A way to steer: a title, the weight of classifier-free guidance, and the others'."""

    title: str
    free: float = 0.0  # 0: the bare model, without a prompt
    classifier: float | None = None
    clip: float | None = None


WAYS = (
    Way("nothing"),
    Way("classifier 1", classifier=1),
    Way("classifier 4", classifier=4),
    Way("classifier 16", classifier=16),
    Way("prompt (free 1)", free=1),
    Way("free 3", free=3),
    Way("free 7", free=7),
    Way("CLIP 30", clip=30),
    Way("CLIP 300", clip=300),
    Way("free 3 + classifier 4", free=3, classifier=4),
    Way("free 3 + CLIP 30", free=3, clip=30),
)


@dataclass
class Judges:
    """Who says what an image shows."""

    parts: Parts
    steering: TrainedClassifier
    judge: TrainedClassifier
    clip: Clip
    means: np.ndarray  # (classes, D) unit rows, of real images

    def said(self, pictures: Sequence[Image]) -> dict[str, list[str]]:
        """Each judge's labels of the images."""
        cpu = torch.device("cpu")
        x = torch.cat([encoded(self.parts, one, one.size, cpu) for one in pictures])
        t = torch.zeros(len(x), dtype=torch.int64)
        vectors = self.clip.encode_images(list(pictures))
        found = {
            "steering": self.steering.network(x, t).argmax(1).tolist(),
            "judge": self.judge.network(x, t).argmax(1).tolist(),
            "clip": (vectors @ self.means.T).argmax(1).tolist(),
        }
        return {who: [self.judge.classes[n] for n in said] for who, said in found.items()}


def judges(parts: Parts, classifier: Path, judge: Path) -> Judges:
    """Open them. The means are of the images that the judge was trained on."""
    steering, other, clip = (
        open_classifier(classifier),
        open_classifier(judge),
        clip_of(parts.settings.text),
    )
    steering.check_fits(parts)
    rows = open_rows(judge / "rows")
    assert rows is not None
    numbers = np.array([n for n in range(len(rows)) if n not in set(rows.held_out)])
    read = Reader(rows.folder).read(Batch(numbers, np.zeros_like(numbers), 0)).samples
    vectors = clip.encode_images([sample.picture for sample in read])
    labels = np.array([sample.caption for sample in read])
    means = np.stack([vectors[labels == label].mean(0) for label in other.classes])
    return Judges(
        parts, steering, other, clip, means / np.linalg.norm(means, axis=1, keepdims=True)
    )


def under(parts: Parts, way: Way, found: Judges, label: str, number: int) -> list[Image]:
    """Images of a label."""
    guides: list[Guide] = []
    if way.classifier is not None:
        guides.append(classifier_guide(found.steering, label, way.classifier))
    if way.clip is not None:
        guides.append(clip_guide(found.clip, way.clip))
    requests = [SampleRequest(PROMPTS[label], seed) for seed in range(number)]
    return draw(parts, requests, steps=STEPS, guidance=way.free, guides=guides)


def figures_of(way: Way, drawn: Mapping[str, list[Image]], found: Judges) -> dict[str, Any]:
    """Shares of images that each judge gives the wanted label, and the CLIP score."""
    wanted = [label for label, pictures in drawn.items() for _ in pictures]
    every = [picture for pictures in drawn.values() for picture in pictures]
    shares = {
        who: float(np.mean([one == other for one, other in zip(said, wanted, strict=True)]))
        for who, said in found.said(every).items()
    }
    texts = found.clip.encode_texts([PROMPTS[label] for label in wanted])
    score = clip_score(found.clip.encode_images(every), texts)
    return {"way": way.title, **shares, "clip_score": score.mean, "interval": score.interval}


def of_real(found: Judges, rows_of: Path, parts: Parts) -> dict[str, Any]:
    """The judges on real images that no one was trained on."""
    rows = open_rows(rows_of / "rows")
    assert rows is not None
    real = held_out(parts.settings.data, parts.codec, rows, torch.device("cpu"))
    pictures = images_of(parts.codec.decode(real.x_0))
    shares = {
        who: float(np.mean([one == other for one, other in zip(said, real.captions, strict=True)]))
        for who, said in found.said(pictures).items()
    }
    return {"way": "real, held out", "images": len(pictures), **shares}


def score_of_real(found: Judges, run: Path, parts: Parts) -> dict[str, float]:
    """The CLIP score of the model's held-out images with their own captions."""
    rows = open_rows(run / "rows")
    assert rows is not None
    real = held_out(parts.settings.data, parts.codec, rows, torch.device("cpu"))
    vectors = found.clip.encode_images(images_of(parts.codec.decode(real.x_0)))
    score = clip_score(vectors, found.clip.encode_texts(real.captions))
    return {"clip_score": score.mean, "interval": score.interval}


def fooled(
    found: Judges, rows_of: Path, parts: Parts, label: str = "flag"
) -> tuple[Image, dict[str, Any]]:
    """Real images of other labels, moved along the slope until the classifier is sure of one.

    In rows: before, after, and ten times the difference.
    """
    rows = open_rows(rows_of / "rows")
    assert rows is not None
    real = held_out(parts.settings.data, parts.codec, rows, torch.device("cpu"))
    others = [n for n, caption in enumerate(real.captions) if caption != label][:8]
    start = real.x_0[others]
    t = torch.zeros(len(start), dtype=torch.int64)
    wanted = torch.full_like(t, found.steering.number_of(label))
    slope_at, x = classifier_gradient(found.steering.network, wanted, 1.0), start.clone()
    for _ in range(200):
        sure = found.steering.network(x, t).softmax(1).gather(1, wanted[:, None])[:, 0] > 0.9
        slope = slope_at(x, t, x)
        size = slope.flatten(1).norm(dim=1).clamp(min=1e-12).view(-1, 1, 1, 1)
        x = torch.where(sure.view(-1, 1, 1, 1), x, (x + 0.25 * slope / size).clamp(-1, 1))
    shown = torch.cat([start, x, (10 * (x - start)).clamp(-1, 1)])
    said = found.said(images_of(parts.codec.decode(x)))
    told = {
        "label": label,
        "mean_change": float((x - start).abs().mean()) * 127.5,  # of 255
        **{who: labels.count(label) / len(labels) for who, labels in said.items()},
    }
    return _sheet(
        images_of(parts.codec.decode(shown)), len(start), ["before", "after", "x 10"]
    ), told


def _sheet(
    pictures: Sequence[Image], columns: int, titles: Sequence[str], heads: Sequence[str] = ()
) -> Image:
    """Rows of images, each row with its title at the left."""
    from PIL import Image as Images
    from PIL import ImageDraw, ImageFont

    cell, left, top = 66, 150, 18 if heads else 0
    size = (left + columns * cell, top + cell * len(titles))
    sheet, font = Images.new("RGB", size, "white"), ImageFont.load_default(12)
    pen = ImageDraw.Draw(sheet)
    for n, head in enumerate(heads):
        pen.text((left + n * columns // len(heads) * cell + 4, 2), head, "black", font)
    for n, title in enumerate(titles):
        pen.text((4, top + n * cell + cell // 2 - 8), title, "black", font)
    for n, picture in enumerate(pictures):
        place = (left + n % columns * cell, top + n // columns * cell)
        sheet.paste(picture.resize((64, 64), Images.Resampling.NEAREST), place)
    return sheet


def main() -> None:
    """Draw, judge, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("classifier", type=Path)
    parser.add_argument("judge", type=Path)
    parser.add_argument("-n", type=int, default=8, help="images per label")
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    parts, state, _ = open_run(given.run)
    found = judges(parts, given.classifier, given.judge)
    real = of_real(found, given.judge, parts) | score_of_real(found, given.run, parts)
    table, cells = [real], []
    print(table[0], flush=True)
    for way in WAYS:
        drawn = {label: under(parts, way, found, label, given.n) for label in PROMPTS}
        table.append(figures_of(way, drawn, found))
        print(table[-1], flush=True)
        cells += [picture for pictures in drawn.values() for picture in pictures[:3]]
    given.out.mkdir(parents=True, exist_ok=True)
    columns = 3 * len(PROMPTS)
    sheet = _sheet(cells, columns, [way.title for way in WAYS], list(PROMPTS.values()))
    sheet.save(given.out / "guidance-sample.png")
    picture, told = fooled(found, given.judge, parts)
    picture.save(given.out / "guidance-fooled.png")
    result = {"step": state.step, "images_per_label": given.n, "ways": table, "fooled": told}
    text = json.dumps(result, indent=1) + "\n"
    (given.out / "guidance-sample.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
