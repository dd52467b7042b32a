"""The stage `dedup`: a dataset's duplicates -> ``duplicates/00000.parquet``, a file per shard.

Reads the sidecars, scores/ (pdq, similarity), embeddings/img_emb and the removal log; writes for
every stored image that is not removed, in key order::

    key           as everywhere
    cluster       the first key of its cluster; its own where it is alone
    duplicate_of  the key that stays in its place; null for a row that stays
    kind          exact, perceptual, semantic: the strongest evidence that ties it to the row that
                  stays; null for a row that stays
    multiplicity  how many rows its cluster has, itself included
    also_seen          how many other rows show the same image, by bytes, URL or looks
    also_seen_domains  on how many domains all rows with that image are
    contradicting      how many of the others say something else of it (context.py)
    also_seen_as       the key of the one of them that says the most different; null: none does
    caption_distance   from its caption to the most distant one of the image; null: none is known

The last five are null where images were compared by meaning alone.

A row added anywhere may join two clusters elsewhere, so the stage is one step over all shards. When
nothing changed it is skipped. Where shards were only added, new rows are compared with all others
and old ones keep their clusters, which may grow together (earlier.py). When anything else changed,
all images are compared again. Cost: that of perceptual.py and semantic.py, near-linear in rows.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from frenchcat.curate import files
from frenchcat.curate.adopted import without_images
from frenchcat.curate.config import as_dict, changed
from frenchcat.curate.dataset import Dataset, Publication, digest_of
from frenchcat.curate.dedup import rows as gather
from frenchcat.curate.dedup.cluster import components, sizes
from frenchcat.curate.dedup.context import Contexts, contexts, read_captions
from frenchcat.curate.dedup.detectors import DETECTORS, Detector
from frenchcat.curate.dedup.earlier import IMAGE, Earlier, compared_shards, made_of, read_earlier
from frenchcat.curate.dedup.rows import StoredRows
from frenchcat.curate.dedup.settings import DedupSettings
from frenchcat.curate.dedup.survivor import survivors
from frenchcat.curate.markers import Inputs, Signature, is_made, record, write_marker
from frenchcat.curate.stage import Progress, Silent

if TYPE_CHECKING:
    import pyarrow as pa

STAGE = "dedup"
KINDS = tuple(DETECTORS)
VERSION = 3  # vectors are sought by their sketches, with other misses among a thousand pairs
_LOOKS = ("exact", "perceptual")
"""The methods that tell the same image; the others tell images of the same thing."""


@dataclass(frozen=True)
class DedupReport:
    """What was found; all numbers are rows, but for `clusters`: those of more than one row."""

    rows: int
    duplicates: int
    clusters: int
    kinds: dict[str, int] = field(default_factory=dict)  # of the duplicates
    contradicted: int = 0  # rows whose image others say something else of
    skipped: bool = False  # all was up to date
    compared: int = field(default=0, compare=False)  # rows compared with all others, this time
    notes: tuple[str, ...] = ()  # what was asked for and not done, with the reason


@dataclass(frozen=True)
class DuplicateRows:
    """The answer for every row: numbers of rows, and -1 where `kind` is none."""

    cluster: NDArray[np.int64]
    survivor: NDArray[np.int64]
    kind: NDArray[np.int64]  # place in KINDS
    multiplicity: NDArray[np.int64]
    contexts: Contexts
    image: NDArray[np.int64] | None  # the cluster by looks; None where these were not compared


def dedup(
    dataset: Dataset,
    settings: DedupSettings | None = None,
    progress: Progress | None = None,
) -> DedupReport:
    """Find a dataset's duplicates unless that is done; the lock is held.

    Looks are not compared, with a note, where the dataset was adopted without images. Raises
    `UserError` where nothing was downloaded, or scores or vectors that the chosen methods need are
    missing.
    """
    from frenchcat.curate.removals import removed_keys

    settings, progress = settings or DedupSettings(), progress or Silent()
    shards = dataset.require_shards()
    settings, notes = _possible(dataset, settings)
    chosen = _chosen(settings)
    inputs = {shard: gather.inputs(dataset, shard, chosen) for shard in shards}
    if gone := removed_keys(dataset):
        inputs["removed"] = {"keys": digest_of(sorted(gone))}
    signature, now = signature_of(settings), made_of(inputs)
    skipped = all(is_made(dataset, signature, shard, lambda: now) for shard in shards)
    compared = 0
    if not skipped:
        old = compared_shards(dataset, signature, inputs, shards)
        compared = _run(dataset, settings, now, shards, old, progress)
    counts = record(dataset, signature, shards)
    kinds: dict[str, int] = {name: counts[name] for name in KINDS if counts.get(name)}
    return DedupReport(
        rows=counts["rows"],
        duplicates=sum(kinds.values()),
        clusters=counts["clusters"],
        kinds=kinds,
        contradicted=counts["contradicted"],
        skipped=skipped,
        compared=compared,
        notes=notes,
    )


def _possible(dataset: Dataset, settings: DedupSettings) -> tuple[DedupSettings, tuple[str, ...]]:
    """The settings with the methods that have their input, and what to say of the others."""
    looks = DETECTORS["perceptual"].name
    if looks not in settings.methods or not without_images(dataset):
        return settings, ()
    left = tuple(method for method in settings.methods if method != looks)
    note = f"{looks}: not compared, the dataset was adopted without images"
    return changed(settings, methods=left), (note,)


def signature_of(settings: DedupSettings) -> Signature:
    """What the markers are signed with: all the settings shape the output."""
    return Signature(STAGE, VERSION, as_dict(settings))


def _run(
    dataset: Dataset,
    settings: DedupSettings,
    inputs: Inputs,
    shards: Sequence[str],
    old: Sequence[str],
    progress: Progress,
) -> int:
    """Compare and publish; how many rows were compared with all others."""
    signature = signature_of(settings)
    with contextlib.ExitStack() as stack:
        progress.begin(STAGE, len(shards))
        stack.callback(progress.end)
        columns = {k: v for one in _chosen(settings) for k, v in one.scores.items()}
        rows = gather.read_rows(dataset, shards, columns)
        earlier = _worth_using(read_earlier(dataset, rows, old)) if old else None
        found = find(dataset, rows, settings, earlier)
        publication = stack.enter_context(dataset.publish(STAGE))
        keys = np.array(rows.keys, object)
        start = 0
        for shard, count in rows.shards:
            part = slice(start, start + count)
            counts = _write(publication, shard, keys, found, part)
            outputs = [relative(shard)]
            write_marker(publication, signature, shard, inputs, counts, outputs)
            start += count
            progress.advance(count)
            progress.shard_done(shard, counts)
    return rows.table.num_rows if earlier is None else int(earlier.added.sum())


def _worth_using(earlier: Earlier) -> Earlier | None:
    """None where so many rows are new that comparing all anew is quicker."""
    return earlier if 2 * earlier.added.sum() <= len(earlier.added) else None


def _chosen(settings: DedupSettings) -> list[Detector]:
    """The detectors that are asked for, strongest evidence first."""
    return [detector for name, detector in DETECTORS.items() if name in settings.methods]


def relative(shard: str) -> str:
    """Where a shard's duplicates lie."""
    return files.DUPLICATES.of(shard)


def find(
    dataset: Dataset, rows: StoredRows, settings: DedupSettings, earlier: Earlier | None = None
) -> DuplicateRows:
    """Clusters, survivors and kinds of all rows; those of an earlier search grow."""
    total = rows.table.num_rows
    added = None if earlier is None else earlier.added
    stages: list[tuple[str, NDArray[np.int64]]] = []
    labels = np.arange(total, dtype=np.int64)
    for detector in _chosen(settings):
        labels = components(total, detector.edges(dataset, rows, settings, added), labels)
        if earlier is not None and detector.grows is not None:
            labels = components(total, earlier.edges[detector.grows], labels)
        stages.append((detector.name, labels))
    stays = survivors(labels, rows.qualities(), settings.survivor)
    kind = np.full(total, -1, np.int64)
    for method, by in reversed(stages):  # the strongest is written last
        kind[by == by[stays]] = KINDS.index(method)
    kind[stays == np.arange(total)] = -1
    # Detectors are chosen in the order of their evidence: the last of these has the others' links.
    images = [by for method, by in stages if method in _LOOKS]
    image = images[-1] if images else None
    said = contexts(
        image,
        rows.table["caption"].to_pylist(),
        rows.table["url"].to_pylist(),
        read_captions(dataset, rows, image),
        settings.context_distance,
    )
    return DuplicateRows(labels, stays, kind, sizes(labels), said, image)


def _write(
    publication: Publication,
    shard: str,
    keys: NDArray[np.object_],
    found: DuplicateRows,
    part: slice,
) -> dict[str, int]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    own = np.arange(part.start, part.stop)
    stays = found.survivor[part]
    kinds = [None if kind < 0 else KINDS[kind] for kind in found.kind[part]]
    table = pa.table(
        {
            "key": pa.array(keys[part], pa.string()),
            "cluster": pa.array(keys[found.cluster[part]], pa.string()),
            "duplicate_of": pa.array(keys[stays], pa.string(), mask=stays == own),
            "kind": pa.array(kinds, pa.string()),
            "multiplicity": pa.array(found.multiplicity[part], pa.int32()),
            **_contexts(keys, found.contexts, part),
            IMAGE: _images(keys, found.image, part),
        }
    )
    pq.write_table(table, publication.path(relative(shard)), compression="zstd")
    tied = Counter(kind for kind in kinds if kind is not None)
    contradicted = int((found.contexts.contradicting[part] > 0).sum())
    heads = int(np.sum((found.cluster[part] == own) & (found.multiplicity[part] > 1)))
    counts = {"rows": len(own), "clusters": heads, "contradicted": contradicted}
    return {**counts, **dict(sorted(tied.items()))}


def _images(keys: NDArray[np.object_], image: NDArray[np.int64] | None, part: slice) -> pa.Array:
    import pyarrow as pa

    if image is None:
        return pa.nulls(part.stop - part.start, pa.string())
    return pa.array(keys[image[part]], pa.string())


def _contexts(keys: NDArray[np.object_], found: Contexts, part: slice) -> dict[str, pa.Array]:
    """The columns of what is said of the same image."""
    import pyarrow as pa

    most, distance = found.most[part], found.distance[part]
    unknown = np.full(len(most), not found.compared)
    return {
        "also_seen": pa.array(found.seen[part], pa.int32(), mask=unknown),
        "also_seen_domains": pa.array(found.domains[part], pa.int32(), mask=unknown),
        "contradicting": pa.array(found.contradicting[part], pa.int32(), mask=unknown),
        "also_seen_as": pa.array(keys[most], pa.string(), mask=most < 0),
        "caption_distance": pa.array(distance, pa.float32(), mask=np.isnan(distance)),
    }
