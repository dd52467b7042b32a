"""Lineage: what made a file of a dataset, and what made what that was made of.

Reads the markers of the stages, dataset.json, index/index.json and the metadata of selections;
writes nothing. A file is followed back to the URL lists that were given, with the settings,
versions and digests of every step. Cost: a few small files; one read of the file that is asked for.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from typing import Any

from frenchcat.curate import files
from frenchcat.curate.dataset import Dataset, file_sha256
from frenchcat.curate.errors import UserError
from frenchcat.curate.manifest import GivenList, Manifest
from frenchcat.curate.markers import marker, outputs_of
from frenchcat.curate.select import open_selection

_SHARD = re.compile(r"(?:^|[/_])(\d{5,})(?:[._]|$)")


@dataclass(frozen=True)
class Origin:
    """What made one file."""

    file: str
    made_by: str  # a stage, or `select`
    sha256: str | None = None  # as recorded when it was made
    version: int | None = None  # of the stage's code
    settings: dict[str, Any] = field(default_factory=dict)  # on which the file depends
    digest: str | None = None  # of version, settings and inputs together
    inputs: dict[str, str] = field(default_factory=dict)  # file of the dataset, or a name -> digest
    given: tuple[GivenList, ...] = ()  # the URL lists, for a frozen list

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)


def origin(dataset: Dataset, file: str) -> Origin:
    """What made a file. Raises `UserError` where it is missing or no stage's."""
    manifest = dataset.manifest()
    if not dataset.exists(file):
        raise UserError(f"{dataset.root} has no file {file!r}; give a path inside the dataset")
    found = _of_stage(dataset, manifest, file)
    if found is None and file.startswith("selections/"):
        found = _of_selection(dataset, file)
    if found is None and file.startswith("index/"):
        found = _of_index(dataset, manifest, file)
    if found is None:
        folders = dict.fromkeys(one.folder.split("/")[0] for one in files.SHARD_FILES)
        raise UserError(
            f"{file} was not made by a stage; give a file of "
            f"{'/, '.join(folders)}/, index/ or selections/"
        )
    return found


def lineage(dataset: Dataset, file: str) -> list[Origin]:
    """A file's origin, then those of the files it was made from, and so on; each once.

    Raises `UserError` as `origin` does, and where the file is not as it was made.
    """
    first = origin(dataset, file)
    with dataset.as_local(file) as path:
        if first.sha256 not in (None, file_sha256(path)):
            raise UserError(
                f"{dataset.path(file)} changed after {first.made_by} made it (sha256 differs from "
                f"{first.sha256}); delete it and build again"
            )
    found, queue = {file: first}, [first]
    for made in queue:
        for name in made.inputs:
            if name not in found and dataset.exists(name):
                found[name] = origin(dataset, name)
                queue.append(found[name])
    return queue


def _of_stage(dataset: Dataset, manifest: Manifest, file: str) -> Origin | None:
    """From the marker of the shard that a file's name names."""
    for shard in _SHARD.findall(file):
        for stage in dataset.files("stages"):
            made = marker(dataset, stage, shard)
            if made is None or file not in made.outputs:
                continue
            entry = manifest.entry(stage)
            return Origin(
                file,
                stage,
                made.outputs[file].sha256,
                entry.version,
                dict(entry.settings or {}),
                made.digest,
                {**made.inputs, **_listed(dataset, stage, shard)},
                entry.given or (),
            )
    return None


def _listed(dataset: Dataset, stage: str, shard: str) -> dict[str, str]:
    """A downloaded shard was made from its frozen list, which its marker names by digest alone."""
    if stage != "download":
        return {}
    outputs = outputs_of(dataset, files.LIST.stage, shard)
    return {file: out.sha256 for file, out in outputs.items()}


def _of_selection(dataset: Dataset, file: str) -> Origin:
    name = file.removeprefix("selections/").removesuffix(".parquet")
    found = open_selection(dataset, name)
    wanted = {"sql": found.sql, "choice": asdict(found.choice)}
    inputs: dict[str, str] = {}
    for shard in sorted(set(found.table["shard"].to_pylist())):
        for read in (files.SIDECAR, files.RIGHTS, *files.joined().values()):
            outputs, relative = outputs_of(dataset, read.stage, shard), read.of(shard)
            inputs |= {relative: outputs[relative].sha256} if relative in outputs else {}
    return Origin(file, "select", None, None, wanted, found.digest, inputs)


def _of_index(dataset: Dataset, manifest: Manifest, file: str) -> Origin | None:
    """From index.json: each part of an index has its files and its shards."""
    entry = manifest.stages.get("index")
    parts = dataset.read_json("index/index.json").get("parts", []) if entry else []
    part = next((part for part in parts if file in part["files"]), None)
    if entry is None or part is None:
        return None
    inputs: dict[str, str] = {}
    for shard in part["shards"]:
        inputs |= {name: o.sha256 for name, o in outputs_of(dataset, "embed", shard).items()}
    digest, settings = part["files"][file]["sha256"], dict(entry.settings or {})
    return Origin(file, "index", digest, entry.version, settings, entry.digest, inputs)
