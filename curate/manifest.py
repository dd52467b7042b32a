"""What dataset.json says: the dataset's name, the settings of its build, one entry per stage.

The types only; `Dataset.manifest` reads them, markers.py records a stage's entry.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

ADOPTED = "adopted"
"""Setting of the stage `download` that only an adoption has: what kind of folder the rows came
from."""


@dataclass(frozen=True)
class ListFile:
    """A file of a URL list as it was given."""

    name: str
    sha256: str
    rows: int
    notes: tuple[str, ...] | None = None  # what was replaced in it, or kept in spite of a fault


@dataclass(frozen=True)
class GivenList:
    """A URL list that was given to `download`: its files, and the columns that were named."""

    url_column: str | None
    caption_column: str | None
    files: tuple[ListFile, ...]
    reading: Mapping[str, Any] | None = None  # further settings of how it was read, if any


@dataclass(frozen=True)
class StageEntry:
    """What dataset.json says of one stage; None is what its stage does not record."""

    version: int | None = None
    settings: Mapping[str, Any] | None = None
    shards: int | None = None  # that are done
    counts: Mapping[str, int] = field(default_factory=dict)  # summed over the shards
    digest: str | None = None  # tells whether any shard is another
    given: tuple[GivenList, ...] | None = None  # of `lists` alone

    def setting(self, name: str, default: Any = None) -> Any:
        """One of the settings; `default` where it is not recorded."""
        return (self.settings or {}).get(name, default)

    def as_json(self) -> dict[str, Any]:
        """The entry as dataset.json has it."""
        entry = asdict(self, dict_factory=_without_unsaid)
        return {name: value for name, value in entry.items() if value is not None}


def _without_unsaid(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return {name: v for name, v in pairs if v is not None or name not in ("notes", "reading")}


NO_ENTRY = StageEntry()
"""Stands for a stage that was not run to its end."""


@dataclass(frozen=True)
class Manifest:
    """The value of dataset.json."""

    format: int
    name: str
    stages: Mapping[str, StageEntry]
    settings: Mapping[str, Any] = field(default_factory=dict)  # of the build, by section
    versions: Mapping[str, str] = field(default_factory=dict)  # package -> version

    def entry(self, stage: str) -> StageEntry:
        """What is said of a stage; an entry that says nothing where it was not run to its end."""
        return self.stages.get(stage, NO_ENTRY)

    @property
    def adopted_from(self) -> str | None:
        """The kind of folder that it was adopted from; None for one that was downloaded."""
        found: str | None = self.entry("download").setting(ADOPTED)
        return found


@dataclass(frozen=True)
class FormatOnly:
    """As much of dataset.json as every version of frenchcat can read."""

    format: Any = None
