"""A run on a selection of a small dataset that the bundled model embedded, with an index."""

import hashlib
import io
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from frenchcat.curate.clip import ClipSettings
from frenchcat.curate.clip.model import Clip, load_clip
from frenchcat.curate.config import resolve
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.manifest import StageEntry
from frenchcat.curate.markers import record_entry
from frenchcat.curate.select import Choice, select
from frenchcat.index.build import build_index
from frenchcat.pipeline import BuildSettings, save_settings
from frenchcat.train.loop import train
from tests.sample.embedded import add_shard
from tests.sample.pictures import picture
from tests.train.runs import settings

ROWS = 40
CHOSEN = 30  # the rows below are in the selection


FP32 = resolve(ClipSettings, {"precision": "fp32", "compile": "no"})
"""So that a processor with instructions for bfloat16 gives the figures of one without."""


def mini() -> Clip:
    return load_clip(FP32)


def make_dataset(folder: Path, clip: Clip, file: Callable[[int], bytes] = picture) -> Dataset:
    """Rows of one colour each, or of these files, with creator and licence."""
    dataset = Dataset.create(folder, "colours")
    files = [file(n) for n in range(ROWS)]
    pictures = [Image.open(io.BytesIO(one)).convert("RGB") for one in files]
    captions = [f"a patch of colour {n}" for n in range(ROWS)]
    vectors, texts = clip.encode_images(pictures), clip.encode_texts(captions)
    creators = [f"painter {n}" for n in range(ROWS)]
    licences = ["https://creativecommons.org/licenses/by/4.0/"] * ROWS
    digests = [hashlib.sha256(one).hexdigest() for one in files]
    told = {"creator": creators, "license": licences, "stored_sha256": digests}
    add_shard(dataset, "00000", vectors, texts, captions, files, **told)
    made = {"model": clip.name, "weights": clip.digest, "dimension": clip.dimension}
    record_entry(dataset, "embed", StageEntry(settings={**made, "precision": "fp32"}))
    save_settings(dataset, BuildSettings(clip=FP32), "clip")
    build_index(dataset)
    return dataset


def train_on_selection(folder: Path, clip: Clip, file: Callable[[int], bytes] = picture) -> Path:
    """A run of two steps on the first CHOSEN rows."""
    dataset = make_dataset(folder / "dataset", clip, file)
    select(dataset, "some", Choice(where=f"key < '00000{CHOSEN:04d}'"))
    data = {"tars": None, "dataset": dataset.root, "selection": "some"}
    few = {"steps": 2, "warmup": 1}
    return train(settings(folder / "none", folder / "run", data=data, optimizer=few))
