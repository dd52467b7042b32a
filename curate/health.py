"""Whether a dataset's files are as their stages left them, and what is still to do.

Reads markers and the sizes of the files that they name, or every byte of them (`every_byte`);
writes nothing, and takes no lock. Cost: one small file read per shard and stage.

A finding is a fault where a command has to be run before the dataset can be relied on, and a note
where work is merely unfinished: the same build goes on with it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from frenchcat.curate.command_text import shell_command
from frenchcat.curate.dataset import Dataset, file_sha256
from frenchcat.curate.errors import FrenchcatError
from frenchcat.curate.markers import Marker, marker, marker_path

State = Literal["ok", "note", "fault"]
AFTER = ("embed", "score", "dedup", "verdict")
"""Stages that make something of every downloaded shard, in their order."""
SHOWN = 3  # files of one kind that are named


@dataclass(frozen=True)
class Diagnosis:
    """One thing that was looked at."""

    check: str  # what was looked at
    state: State
    found: str
    cure: str = ""  # a command, or what to change

    def as_dict(self) -> dict[str, Any]:
        """The finding, ready for JSON."""
        return asdict(self)


def health(dataset: Dataset, *, every_byte: bool = False) -> Iterator[Diagnosis]:
    """What is found of a dataset's writers and shards, one finding per kind."""
    yield _writer(dataset)
    markers, broken = _markers(dataset)
    yield from broken
    yield from _files(dataset, markers, every_byte)
    yield from _stale(dataset, markers)
    yield from _unfinished(dataset, markers)


def counted(what: str, names: list[str]) -> str:
    """``3 files are missing: a, b, c``, of which at most `SHOWN` are named."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{len(names)} {what}: {', '.join(names[:SHOWN])}{more}"


# -- who writes ----------------------------------------------------------------------------------


def _writer(dataset: Dataset) -> Diagnosis:
    if dataset.is_locked():
        found = "another process is writing; what it has in hand counts as unfinished here"
        return Diagnosis("writers", "note", found, "wait for it to end")
    if left := dataset.leftovers():
        found = f"a command was interrupted: {' and '.join(left)} hold what it left"
        return Diagnosis(
            "writers", "note", found, "the next command that writes finishes or drops it"
        )
    return Diagnosis("writers", "ok", "no process is writing, and none was interrupted")


# -- shards --------------------------------------------------------------------------------------

Markers = Mapping[str, Mapping[str, Marker]]
"""Stage -> shard -> its marker."""


def _markers(dataset: Dataset) -> tuple[Markers, list[Diagnosis]]:
    """All markers that can be read, and a finding where one cannot."""
    found: dict[str, dict[str, Marker]] = {}
    broken: list[str] = []
    for stage in dataset.files("stages"):
        found[stage] = {}
        for shard in dataset.shards(stage):
            try:
                made = marker(dataset, stage, shard)
            except FrenchcatError:
                broken.append(marker_path(stage, shard))
                continue
            if made is not None:
                found[stage][shard] = made
    if not broken:
        return found, []
    said = counted("markers cannot be read", broken)
    return found, [Diagnosis("markers", "fault", said, "delete them and build again")]


def _files(dataset: Dataset, markers: Markers, every_byte: bool) -> Iterator[Diagnosis]:
    """Whether each file is there, whole in size, and, if asked, of the same bytes."""
    missing: list[str] = []
    changed: list[str] = []
    files, size = 0, 0
    for made in (one for shards in markers.values() for one in shards.values()):
        for relative, output in made.outputs.items():
            files, size = files + 1, size + output.bytes
            now = dataset.size(relative)
            if now is None:
                missing.append(relative)
            elif now != output.bytes or (
                every_byte and _sha256(dataset, relative) != output.sha256
            ):
                changed.append(relative)
    again = "restore them, or run the same build again: it makes what is missing or cut short"
    if missing:
        yield Diagnosis("shards", "fault", counted("files are missing", sorted(missing)), again)
    if changed:
        said = counted("files are not as their stage left them", sorted(changed))
        cure = "restore them, or delete them and run the same build again"
        yield Diagnosis("shards", "fault", said, cure)
    if not missing and not changed:
        how = "by digest" if every_byte else "by size; --every-byte compares digests"
        yield Diagnosis("shards", "ok", f"{files} files, {size} bytes, are as left ({how})")


def _sha256(dataset: Dataset, relative: str) -> str:
    with dataset.as_local(relative) as path:
        return file_sha256(path)


def _stale(dataset: Dataset, markers: Markers) -> Iterator[Diagnosis]:
    """Shards of which a stage read files that another stage has made anew since."""
    now = {
        relative: output.sha256
        for shards in markers.values()
        for made in shards.values()
        for relative, output in made.outputs.items()
    }
    stale = Counter(
        stage
        for stage, shards in markers.items()
        for made in shards.values()
        if any(now.get(name, digest) != digest for name, digest in made.inputs.items())
    )
    for stage, shards_of in sorted(stale.items()):
        yield Diagnosis(
            stage,
            "fault",
            f"{shards_of} shards were made from files that have changed since",
            _again(dataset, stage),
        )


def _unfinished(dataset: Dataset, markers: Markers) -> Iterator[Diagnosis]:
    """What a stage that was begun, or the one before it, leaves to do."""
    counts = {stage: len(shards) for stage, shards in markers.items()}
    listed, there = counts.get("lists", 0), counts.get("download", 0)
    if listed > there:
        left = f"{listed - there} of {listed} shards are not downloaded"
        yield Diagnosis("download", "note", left, dataset.fetch_command())
    if not there:
        yield Diagnosis("download", "fault", "no shard is downloaded", dataset.fetch_command())
    for stage in AFTER:
        missing = set(markers.get("download", {})) - set(markers.get(stage, {}))
        if not missing:
            continue
        begun = counts.get(stage, 0) > 0
        said = f"{len(missing)} of {there} shards are not done" if begun else "was not run"
        yield Diagnosis(stage, "note", said, _again(dataset, stage))


def _again(dataset: Dataset, stage: str) -> str:
    if stage not in AFTER:
        return "run the same command again"
    return shell_command(stage, dataset.root)
