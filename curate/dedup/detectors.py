"""What ties rows together, strongest evidence first: each detector with what it reads and is set.

Reads a dataset's gathered rows and vectors, writes nothing but a scratch file of vectors. To add a
detector: write its comparison as a pure function over arrays in a module of its own, and here its
class, its settings and its place in DETECTORS. The rest follows from these: `dedup.methods`, the
column `kind`, what has the comparison made again, the report.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from frenchcat.curate.command_text import shell_command
from frenchcat.curate.config import settings
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.dedup.cluster import Edges, no_edges
from frenchcat.curate.dedup.earlier import CLUSTER, IMAGE
from frenchcat.curate.dedup.rows import StoredRows, read_vectors, vectors_digest
from frenchcat.curate.errors import UserError
from frenchcat.curate.hashes import PDQ_DISTANCE, PDQ_QUALITY
from frenchcat.curate.makers import score_command
from frenchcat.curate.urls import canonical_url

Added = NDArray[np.bool_] | None
"""Which rows are new; None where all rows are compared."""
NEAR_COSINE = 0.96
"""Of two CLIP vectors: the images are near copies; removals take it, too."""


@settings
class PerceptualSettings:
    """When two hashes of looks are near."""

    perceptual_distance: int = Field(default=PDQ_DISTANCE, ge=0, le=64)
    """Bits (of 256) by which PDQ hashes of duplicates may differ."""
    perceptual_quality: int = Field(default=PDQ_QUALITY, ge=0, le=100)
    """PDQ hashes of images with less detail than this tie nothing."""
    perceptual_mirrored: bool = False
    """Whether images mirrored left to right are duplicates, too."""
    perceptual_cut: bool = False
    """Whether images of which a few percent are cut off are duplicates, too."""


@settings
class SemanticSettings:
    """When two vectors are near."""

    semantic_cosine: float = Field(default=NEAR_COSINE, gt=0.5, lt=1.0)
    """Least cosine of the image vectors of duplicates."""


@settings
class DetectorSettings(PerceptualSettings, SemanticSettings):
    """Those of all detectors."""


class Detector(Protocol):
    """What the stage asks of a detector."""

    @property
    def name(self) -> str:
        """In `dedup.methods`, and the `kind` of the rows that it ties."""
        ...

    @property
    def scores(self) -> Mapping[str, str]:
        """The columns of scores/ that it reads, with their Arrow types."""
        ...

    def inputs(self, dataset: Dataset, shard: str, scores: Mapping[str, str]) -> Mapping[str, str]:
        """Name -> digest of what it reads of a shard beside the sidecar.

        `scores` has the digest of each score of the shard. Raises `UserError` where what it needs
        is not there, with what to run.
        """
        ...

    @property
    def grows(self) -> str | None:
        """The column of duplicates/ with the clusters onto which the edges of new rows are put.

        None: it compares all rows each time.
        """
        ...

    def edges(
        self, dataset: Dataset, rows: StoredRows, settings: DetectorSettings, added: Added = None
    ) -> Edges:
        """(E, 2) int64: numbers of rows that are duplicates.

        With `added` (rows,) pairs of two rows that are not added may be left out.
        """
        ...


class Exact:
    """Equal bytes, of the original or as stored, or one URL in any spelling."""

    name = "exact"
    grows = None
    scores: Mapping[str, str] = {}

    def inputs(self, dataset: Dataset, shard: str, scores: Mapping[str, str]) -> Mapping[str, str]:
        """The sidecar alone."""
        return {}

    def edges(
        self, dataset: Dataset, rows: StoredRows, settings: DetectorSettings, added: Added = None
    ) -> Edges:
        """Rows that share a hash or a URL."""
        from frenchcat.curate.dedup.exact import equal_values

        urls = [canonical_url(url) for url in rows.table["url"].to_pylist()]
        hashes = [rows.table[name].to_pylist() for name in ("sha256", "stored_sha256")]
        return np.concatenate([equal_values(values) for values in (*hashes, urls)])


class Perceptual:
    """PDQ hashes that differ in few bits."""

    name = "perceptual"
    grows = IMAGE
    scores: Mapping[str, str] = {"pdq": "string", "pdq_quality": "int64"}

    def inputs(self, dataset: Dataset, shard: str, scores: Mapping[str, str]) -> Mapping[str, str]:
        """The hashes, whose digest `rows.inputs` names in any case."""
        if "pdq" in scores:
            return {}
        without = without_method(dataset, self.name)
        raise UserError(
            f"shard {shard} of {dataset.root} has no perceptual hashes; run: "
            f"{score_command(dataset, ['pdq'])}, or compare without them: {without}"
        )

    def edges(
        self, dataset: Dataset, rows: StoredRows, settings: DetectorSettings, added: Added = None
    ) -> Edges:
        """Rows whose hashes are near, of those with enough detail."""
        from frenchcat.curate.dedup.perceptual import Copies, near_hashes

        numbers, pdq = hashes_of(rows, settings.perceptual_quality)
        new = None if added is None else added[numbers]
        copies = Copies(settings.perceptual_mirrored, settings.perceptual_cut)
        return numbers[near_hashes(pdq, settings.perceptual_distance, new, copies)]


def without_method(dataset: Dataset, method: str) -> str:
    """The command that compares by all methods but one."""
    others = ", ".join(f'"{name}"' for name in DETECTORS if name != method)
    return shell_command("dedup", dataset.root, "--set", f"dedup.methods=[{others}]")


def hashes_of(rows: StoredRows, least_quality: int) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Numbers and PDQ hashes (n, 32) of the rows whose hash has enough quality."""
    pairs = zip(rows.table["pdq"].to_pylist(), rows.table["pdq_quality"].to_pylist(), strict=True)
    good = [
        (row, bytes.fromhex(pdq))
        for row, (pdq, quality) in enumerate(pairs)
        if pdq is not None and (quality is None or quality >= least_quality)
    ]
    hashes = np.frombuffer(b"".join(pdq for _, pdq in good), np.uint8).reshape(-1, 32)
    return np.array([row for row, _ in good], np.int64), hashes


class Semantic:
    """CLIP vectors of high cosine."""

    name = "semantic"
    grows = CLUSTER
    scores: Mapping[str, str] = {}

    def inputs(self, dataset: Dataset, shard: str, scores: Mapping[str, str]) -> Mapping[str, str]:
        """The image vectors; whose they are, `rows.inputs` names in any case."""
        found = vectors_digest(dataset, shard)
        if found is None:
            raise UserError(
                f"shard {shard} of {dataset.root} has no vectors; run: "
                f"{shell_command('embed', dataset.root)}, or compare without them: "
                f"{without_method(dataset, self.name)}"
            )
        return found

    def edges(
        self, dataset: Dataset, rows: StoredRows, settings: DetectorSettings, added: Added = None
    ) -> Edges:
        """Rows whose vectors are near."""
        from frenchcat.curate.dedup.semantic import near_vectors

        with dataset.scratch("dedup") as folder:
            numbers, vectors = read_vectors(dataset, rows, folder)
            if not len(numbers):
                return no_edges()
            new = None if added is None else added[numbers]
            return numbers[near_vectors(vectors, settings.semantic_cosine, added=new)]


_ALL: tuple[Detector, ...] = (Exact(), Perceptual(), Semantic())
DETECTORS = {detector.name: detector for detector in _ALL}
"""Name -> detector; a row's `kind` is the first that ties it to its survivor."""
