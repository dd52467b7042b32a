"""What `frenchcat diff` sees of expired domains whose new owner answers with other images.

    python -m bench.takeover                 about a minute

Two crawls of images of the bundled sample. In the second, each image was re-encoded, made smaller,
cropped, stamped or brightened, or replaced by another image of the sample. `frenchcat diff`
compares both, with the bundled model's vectors. The ROC is of "replaced" against the others, by
PDQ alone and by the cosine alone; `grades` are what diff says.

Then takeovers, many times: 200 domains of 1 to 200 images; at each, 5 % of the images change and
2 % are replaced for no bad reason; 10 domains were taken over and replace all, half or a fifth of
their images. An image is graded as those of its kind were graded above. The ROC is of the domains
taken over against the others, by the p-value; `flagged` is at a false discovery rate of .05.

The images are drawings of one collection, and replaced by each other: photographs differ more.

Writes .bench/results/takeover.json.
"""

from __future__ import annotations

import io
import shutil
import tarfile
from collections import Counter, defaultdict
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageEnhance

from bench import _common as common
from bench._common import BENCH
from frenchcat.curate.clip import ClipSettings
from frenchcat.curate.clip.model import load_clip
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.diff import diff
from frenchcat.curate.errors import UserError
from frenchcat.curate.hashes import pdq_and_quality
from frenchcat.curate.image import open_image
from frenchcat.curate.image_changes import GRADES, REPLACED, domain_tests
from frenchcat.sample_data import PICTURES
from tests.sample.row import Row
from tests.sample.write import write

GOALS = {
    "replaced_auc": (">=", 0.95),
    "replaced_found": (">=", 0.9),
    "changed_called_replaced": ("<=", 0.05),
    "taken_found": (">=", 0.9),
    "false_discoveries": ("<=", 0.05),
}
SIDE = 256  # pixels of the longer side
DOMAINS, TAKEN, TRIALS = 200, 10, 200
SHARES = (1.0, 0.5, 0.2)


def main() -> None:
    """Plant, compare, simulate, keep."""
    parser = common.parser(__doc__)
    parser.add_argument("--images", type=int, default=600)
    arguments = parser.parse_args()
    load = common.load()
    images, roc = _images(arguments.images)
    domains = {f"share_{share}": _domains(images, share) for share in SHARES}
    result = {
        **roc,
        "replaced_found": images[REPLACED][REPLACED],
        "changed_called_replaced": float(
            np.mean([rates[REPLACED] for kind, rates in images.items() if kind != REPLACED])
        ),
        "taken_found": domains["share_1.0"]["found_10_or_more"],
        "false_discoveries": max(one["false_discoveries"] for one in domains.values()),
        "grades": images,
        "domains": domains,
        "load_before": load,
        "versions": common.our_versions("pdqhash", "open_clip_torch"),
    }
    for kind, rates in images.items():
        print(f"{kind:12}", "  ".join(f"{grade} {rate:.3f}" for grade, rate in rates.items()))
    for share, found in domains.items():
        print(f"{share:12}", "  ".join(f"{name} {value:.3f}" for name, value in found.items()))
    common.keep("takeover", result, GOALS)


# -- images ----------------------------------------------------------------------------------------


def _images(most: int) -> tuple[dict[str, dict[str, float]], dict[str, float]]:
    """Kind of change -> share of each grade; and the areas under both ROC curves."""
    pictures = _pictures(most)
    kinds = [*CHANGES, REPLACED, REPLACED]
    kind_of = [kinds[n % len(kinds)] for n in range(len(pictures))]
    half = len(pictures) // 2
    after = [
        pictures[(n + half) % len(pictures)] if kind == REPLACED else CHANGES[kind](pictures[n])
        for n, kind in enumerate(kind_of)
    ]
    clip = load_clip(ClipSettings())
    work = BENCH / "takeover"
    shutil.rmtree(work, ignore_errors=True)
    made = []
    for name, shown in (("before", pictures), ("after", after)):
        vectors = clip.encode_images(shown)
        dataset = Dataset.create(work / name, name)
        rows = [_row(n, one, vectors[n], name) for n, one in enumerate(shown)]
        for shard in range(0, len(rows), 1000):
            write(dataset, f"{shard // 1000:05d}", rows[shard : shard + 1000])
        made.append(dataset)
    found = diff(*made)
    grades: dict[str, Counter[str]] = defaultdict(Counter)
    bits, cosines, replaced = [], [], []
    for change in found.changes:
        assert change.image is not None
        kind = kind_of[int(change.uid)]
        grades[kind][change.image.grade] += 1
        if change.image.pdq_bits is not None and change.image.cosine is not None:
            bits.append(float(change.image.pdq_bits))
            cosines.append(-change.image.cosine)
            replaced.append(kind == REPLACED)
    rates = {
        kind: {grade: told[grade] / told.total() for grade in GRADES}
        for kind, told in sorted(grades.items())
    }
    truth = np.array(replaced)
    roc = {"images": float(len(found.changes))}
    for name, score in (("pdq", np.array(bits)), ("replaced", np.array(cosines))):
        roc[f"{name}_auc"] = _auc(score, truth)
        roc[f"{name}_tpr_at_fpr_01"] = _tpr(score, truth, 0.01)
    return rates, roc


def _pictures(most: int) -> list[Image.Image]:
    found = []
    with tarfile.open(PICTURES) as tar:
        for member in tar:
            file = tar.extractfile(member)
            if file is None or len(found) == most:
                continue
            try:
                one = open_image(file.read())
            except UserError:  # a planted fault
                continue
            one.thumbnail((SIDE, SIDE))
            if min(one.size) >= 32:
                found.append(one)
    return found


def _row(number: int, one: Image.Image, vector: NDArray[np.float32], name: str) -> Row:
    hash_, quality = pdq_and_quality(one)
    digest = f"{number:032d}{'0' if name == 'before' else '1':0>32}"
    return Row(
        f"http://a.example/{number}.jpg",
        columns={"uid": f"{number:032d}", "sha256": digest, "stored_sha256": digest},
        vector=vector,
        scores={"pdq": hash_.hex(), "pdq_quality": quality},
    )


def _encoded(one: Image.Image, quality: int = 40) -> Image.Image:
    out = io.BytesIO()
    one.convert("RGB").save(out, "JPEG", quality=quality)
    return Image.open(out).convert("RGB")


def _cropped(one: Image.Image) -> Image.Image:
    width, height = one.size
    return one.crop((width // 10, height // 10, width, height))


def _stamped(one: Image.Image) -> Image.Image:
    made = one.convert("RGB")
    width, height = made.size
    ImageDraw.Draw(made).rectangle((0, height * 4 // 5, width, height), fill=(20, 20, 90))
    return made


CHANGES: dict[str, Any] = {
    "re-encoded": _encoded,
    "smaller": lambda one: _encoded(one.resize((one.width // 2, one.height // 2)), 75),
    "cropped": _cropped,
    "stamped": _stamped,
    "brightened": lambda one: ImageEnhance.Brightness(one.convert("RGB")).enhance(1.2),
}


# -- domains ---------------------------------------------------------------------------------------


def _domains(images: dict[str, dict[str, float]], share: float) -> dict[str, float]:
    """Takeovers, many times: how many domains are found, and how many others are named."""
    rng = np.random.default_rng(0)
    replaced = images[REPLACED][REPLACED]
    changed = float(np.mean([rates[REPLACED] for k, rates in images.items() if k != REPLACED]))
    scores, truth, sizes, flags, discoveries = [], [], [], [], []
    for _ in range(TRIALS):
        rows = np.minimum(rng.zipf(1.5, DOMAINS), 200)
        taken = rng.permutation(DOMAINS) < TAKEN
        by_owner = rng.binomial(rows, np.where(taken, share, 0.02))
        by_chance = rng.binomial(rows - by_owner, 0.05)
        seen = rng.binomial(by_owner, replaced) + rng.binomial(by_chance, changed)
        counts = {f"{n}": (int(rows[n]), int(seen[n])) for n in range(DOMAINS)}
        told = {int(one.domain): one for one in domain_tests(counts)}
        flag = np.array([told[n].q <= 0.05 for n in range(DOMAINS)])
        scores.append([-told[n].p for n in range(DOMAINS)])
        truth.append(taken)
        sizes.append(rows)
        flags.append(flag)
        discoveries.append((flag & ~taken).sum() / max(1, flag.sum()))
    whole, taken, rows = np.concatenate(scores), np.concatenate(truth), np.concatenate(sizes)
    flag = np.concatenate(flags)
    large = rows >= 10
    return {
        "auc": _auc(whole, taken),
        "auc_10_or_more": _auc(whole[large], taken[large]),
        "tpr_at_fpr_01_10_or_more": _tpr(whole[large], taken[large], 0.01),
        "found": float(flag[taken].mean()),
        "found_10_or_more": float(flag[taken & large].mean()),
        "false_discoveries": float(np.mean(discoveries)),
    }


def _auc(score: NDArray[np.float64], truth: NDArray[np.bool_]) -> float:
    """The area under the ROC curve: the chance that a true one has the higher score."""
    yes, no = np.sort(score[truth]), np.sort(score[~truth])
    below = np.searchsorted(no, yes, "left") + np.searchsorted(no, yes, "right")
    return float(below.sum() / 2 / len(yes) / len(no))


def _tpr(score: NDArray[np.float64], truth: NDArray[np.bool_], fpr: float) -> float:
    """The share of true ones above the score that `fpr` of the others reach."""
    bound = np.quantile(score[~truth], 1 - fpr, method="higher")
    return float((score[truth] > bound).mean())


if __name__ == "__main__":
    main()
