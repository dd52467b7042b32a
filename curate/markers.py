"""Markers: ``stages/<stage>/<shard>.json`` says what made a shard's files, and what they are.

A marker is signed by a stage's name, version and settings together with the digests of a shard's
inputs. A shard for which none of these changed is up to date; any other is made again. A marker is
published with the files that it names. A stage's entry in dataset.json sums up its markers.

Cost: one small file read per shard.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from frenchcat.curate.dataset import (
    MANIFEST,
    Dataset,
    Publication,
    canonical_json,
    digest_of,
    file_sha256,
)
from frenchcat.curate.manifest import StageEntry
from frenchcat.curate.typed_json import loaded

Counts = Mapping[str, int]
Inputs = Mapping[str, str]
"""Name -> digest of everything but version and settings on which a shard's output depends."""


@dataclass(frozen=True)
class Signature:
    """What a stage's markers are signed with."""

    name: str
    """Names the markers' folder and the entry in dataset.json."""
    version: int
    """Bump it when the output for the same input changes: every shard is then made again."""
    settings: Mapping[str, Any]
    """The settings on which the output depends, JSON-able."""

    def digest(self, inputs: Inputs) -> str:
        """The digest of all that a shard's output depends on."""
        return digest_of(
            {
                "stage": self.name,
                "version": self.version,
                "settings": self.settings,
                "inputs": dict(inputs),
            }
        )


@dataclass(frozen=True)
class OutputFile:
    """A file as it was when it was published."""

    bytes: int
    sha256: str

    @classmethod
    def of(cls, path: Path) -> OutputFile:
        """The size and digest of a local file."""
        return cls(path.stat().st_size, file_sha256(path))


@dataclass(frozen=True)
class Marker:
    """What made a shard's files: digest and inputs; what they are: outputs by path, and counts."""

    digest: str
    inputs: Inputs
    outputs: Mapping[str, OutputFile]
    counts: Counts


# -- reading -------------------------------------------------------------------------------------


def marker_path(stage: str, shard: str) -> str:
    """Where a shard's marker lies."""
    return f"stages/{stage}/{shard}.json"


def marker(dataset: Dataset, stage: str, shard: str) -> Marker | None:
    """A shard's marker; None if the stage has not finished it. Raises `Damaged`."""
    relative = marker_path(stage, shard)
    if not dataset.exists(relative):
        return None
    cure = "delete it and build again"
    return loaded(Marker, dataset.read_bytes(relative), dataset.path(relative), cure)


def outputs_of(dataset: Dataset, stage: str, shard: str) -> Mapping[str, OutputFile]:
    """The files that a stage made of a shard; none if it has not finished it."""
    found = marker(dataset, stage, shard)
    return {} if found is None else found.outputs


def counts_of(dataset: Dataset, stage: str, shard: str) -> Counts:
    """A stage's counts of a shard; none if it has not finished it."""
    found = marker(dataset, stage, shard)
    return {} if found is None else found.counts


def output_sha256(dataset: Dataset, stage: str, shard: str, relative: str) -> str:
    """The digest of a file that a stage published. Raises KeyError where it did not."""
    return outputs_of(dataset, stage, shard)[relative].sha256


def is_made(
    dataset: Dataset, signature: Signature, shard: str, inputs: Callable[[], Inputs]
) -> bool:
    """Whether a shard's files are there, whole in size, and were made from the same inputs.

    `inputs` is called only where there is a marker to compare with.
    """
    found = marker(dataset, signature.name, shard)
    if found is None or found.digest != signature.digest(inputs()):
        return False
    return all(dataset.size(rel) == output.bytes for rel, output in found.outputs.items())


# -- writing -------------------------------------------------------------------------------------


def write_marker(
    publication: Publication,
    signature: Signature,
    shard: str,
    inputs: Inputs,
    counts: Counts,
    outputs: Iterable[str] | None = None,
) -> None:
    """Add the marker that names what made the publication's files (or `outputs`); call it last."""
    made = {
        relative: OutputFile.of(path)
        for relative in (publication.relatives if outputs is None else outputs)
        if (path := publication.folder / relative).exists()
    }
    made_from = Marker(signature.digest(inputs), dict(inputs), made, dict(counts))
    put_marker(publication, signature.name, shard, made_from)


def put_marker(publication: Publication, stage: str, shard: str, marker: Marker) -> None:
    """Add a shard's marker as it is to a publication."""
    text = canonical_json(asdict(marker))
    publication.path(marker_path(stage, shard)).write_text(text + "\n", encoding="utf-8")


# -- dataset.json --------------------------------------------------------------------------------


def record(dataset: Dataset, signature: Signature, shards: Sequence[str]) -> dict[str, int]:
    """Write a stage's settings, digest and summed counts into dataset.json; gives the counts."""
    entry = replace(
        summed(dataset, signature.name, shards),
        version=signature.version,
        settings=dict(signature.settings),
    )
    record_entry(dataset, signature.name, entry)
    return dict(entry.counts)


def summed(dataset: Dataset, stage: str, shards: Sequence[str]) -> StageEntry:
    """How many of the shards a stage has finished, their counts summed, and one digest of all."""
    counts: dict[str, int] = {}
    digests: dict[str, str] = {}
    for shard in shards:
        if found := marker(dataset, stage, shard):
            digests[shard] = found.digest
            for name, number in found.counts.items():
                counts[name] = counts.get(name, 0) + number
    return StageEntry(shards=len(digests), counts=counts, digest=digest_of(digests))


def record_entry(dataset: Dataset, name: str, entry: StageEntry | None) -> None:
    """Set one stage's entry in dataset.json, or take it out; what is so already is left alone."""
    dataset.manifest()  # what is wrong with it is said by name
    # The other entries go back as they came, with whatever a later version keeps in them.
    stages = {k: v for k, v in dataset.read_json(MANIFEST)["stages"].items() if k != name}
    if entry is not None:
        stages[name] = entry.as_json()
    dataset.update_manifest({"stages": stages})
