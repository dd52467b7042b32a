"""Whether images out of context are found: one image, two rows, captions that contradict or agree.

    python -m bench.contexts                 a minute or two

Planted pairs: an image of the bundled sample, and the same one smaller and coarser, on another
domain. Their captions are those of bench/_contexts.py: of the pairs that contradict, half say
something else, half name another year; of those that agree, captions are reworded, translated,
framed by a template's words, or name the same year. Beside them stand the sample's other images,
alone. Downloaded, embedded with the bundled model, hashed and compared as any list.

The limit (`dedup.context_distance`) was chosen on the subjects of even number; these are the pairs
of the others. Precision and recall are of pairs. A pair whose two images were not recognised as the
same counts as missed. The captions were written by us, so the figures say that plain contradictions
are told from other words for the same thing; a caption that differs in a name alone is not found.

Writes .bench/results/contexts.json.
"""

from __future__ import annotations

import io
import random
import shutil
import tarfile
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from bench import _common as common
from bench._common import BENCH
from bench._contexts import ONE_YEAR, SUBJECTS, TEMPLATES, YEARS
from frenchcat.curate.catalog import Catalog
from frenchcat.curate.clip import ClipSettings
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.dedup import dedup
from frenchcat.curate.download.crawl import download
from frenchcat.curate.embed import embed
from frenchcat.curate.score.settings import ScoreSettings
from frenchcat.curate.score.stage import score

GOALS = {"recall": (">=", 0.9), "precision": (">=", 0.8)}
ALONE = 150


@dataclass(frozen=True)
class Pair:
    """Two captions of one image, and whether they contradict each other."""

    one: str
    other: str
    contradicts: bool
    kind: str


def main() -> None:
    """Plant, build, compare, keep."""
    common.parser(__doc__).parse_args()
    load = common.load()
    pairs = _pairs()
    work = BENCH / "contexts"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    images = _images()
    chosen = random.Random(0).sample(sorted(images), len(pairs) + ALONE)
    rows = []
    for number, (pair, name) in enumerate(zip(pairs, chosen, strict=False)):
        rows.append(_row(f"http://a{number % 40}.example/{number}.png", images[name], pair.one))
        coarse = _coarser(images[name])
        rows.append(_row(f"http://b{number % 40}.example/{number}.jpg", coarse, pair.other))
    for number, name in enumerate(chosen[len(pairs) :]):
        caption = Path(name).stem.replace("_", " ").replace("-", " ")
        rows.append(_row(f"http://c{number}.example/{number}.png", images[name], caption))
    pq.write_table(pa.Table.from_pylist(rows), work / "list.parquet")
    dataset = Dataset.create(work / "dataset", "contexts")
    clip = ClipSettings(model="mini", compile="no")
    with dataset.lock():
        download(dataset, [str(work / "list.parquet")])
        embed(dataset, clip)
        score(dataset, ScoreSettings(scores=("pdq", "similarity")), clip)
        dedup(dataset)
    with Catalog(dataset) as catalog:
        told = catalog.table(["contradicting", "also_seen"], order="key").to_pylist()
    if len(told) != len(rows):
        raise SystemExit(f"{len(rows)} images were planted and {len(told)} stored")
    found = [told[2 * at]["contradicting"] > 0 for at in range(len(pairs))]
    strays = sum(one["contradicting"] > 0 for one in told[2 * len(pairs) :])
    wanted = [pair.contradicts for pair in pairs]
    right = sum(f and w for f, w in zip(found, wanted, strict=True))
    kinds = sorted({pair.kind for pair in pairs})
    result = {
        "contradicting": sum(wanted),
        "agreeing": len(wanted) - sum(wanted),
        "alone": ALONE,
        "recall": right / sum(wanted),
        "precision": right / max(1, sum(found) + strays),
        "found_by_kind": {
            kind: [
                sum(f for f, pair in zip(found, pairs, strict=True) if pair.kind == kind),
                sum(pair.kind == kind for pair in pairs),
            ]
            for kind in kinds
        },
        "not_recognised_as_one_image": sum(
            told[2 * at]["also_seen"] < 1 for at in range(len(pairs))
        ),
        "load_before": load,
        "versions": common.our_versions("numpy", "pdqhash"),
    }
    print(result["found_by_kind"], "not recognised:", result["not_recognised_as_one_image"])
    common.keep("contexts", result, GOALS)


def _pairs() -> list[Pair]:
    """Those of the subjects of odd number."""
    made = []
    for subject in SUBJECTS[1::2]:
        said = subject.caption
        made += [Pair(said, other, True, "another caption") for other in subject.other]
        for one, other in YEARS:
            made.append(Pair(one.format(said), other.format(said), True, "another year"))
        made += [Pair(said, same, False, "other words") for same in subject.same]
        made += [Pair(said, text.format(said), False, "a template") for text in TEMPLATES]
        for one, other in ONE_YEAR:
            made.append(Pair(one.format(said), other.format(said), False, "the same year"))
    return made


def _images() -> dict[str, bytes]:
    """The bundled sample's images of some detail, each once, by name."""
    found: dict[bytes, tuple[str, bytes]] = {}
    data = files("frenchcat.sample_data").joinpath("pictures.tar").read_bytes()
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for member in tar:
            body = tar.extractfile(member)
            if body is None:
                continue
            content = body.read()
            try:
                image = Image.open(io.BytesIO(content)).convert("RGB")
            except (OSError, Image.DecompressionBombError):
                continue
            if min(image.size) >= 128:
                found.setdefault(image.tobytes(), (member.name, content))
    return dict(found.values())


def _coarser(data: bytes) -> bytes:
    """The image at four fifths of its size, as JPEG of quality 50."""
    image = Image.open(io.BytesIO(data)).convert("RGB")
    small = image.resize((image.width * 4 // 5, image.height * 4 // 5))
    out = io.BytesIO()
    small.save(out, "JPEG", quality=50)
    return out.getvalue()


def _row(url: str, data: bytes, caption: str) -> dict[str, object]:
    return {"image": {"bytes": data, "path": url.rpartition("/")[2]}, "text": caption, "page": url}


if __name__ == "__main__":
    main()
