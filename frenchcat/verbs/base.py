"""What all verbs of an open dataset share: the dataset, and the settings of a stage."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frenchcat.curate.dataset import Dataset

if TYPE_CHECKING:
    from frenchcat.curate.config import Overrides
    from frenchcat.curate.stage import Engine, Progress
    from frenchcat.pipeline import BuildSettings


class DatasetVerbs:
    """An open dataset; the classes beside this one add its verbs by theme."""

    def __init__(self, dataset: Dataset, notes: Sequence[str] = ()) -> None:
        """Open `dataset`; `notes` are an adoption's remarks, one sentence each."""
        self.dataset, self.notes = dataset, tuple(notes)

    @property
    def root(self) -> str:
        """The dataset's path or address."""
        return self.dataset.root

    def _metered(self, progress: Progress | None, engine: Engine | None = None) -> Progress:
        """Progress that also keeps what each stage cost."""
        from frenchcat.curate.costs import Metered

        return Metered(self.dataset, progress, engine)

    def _how(
        self,
        verb: str,
        *,
        config: str | Path | None = None,
        set: Overrides = (),
        engine: str = "local",
        workers: int | None = None,
        allow_hosts: Sequence[str] = (),
    ) -> tuple[BuildSettings, Any]:
        from frenchcat.pipeline import engine_of, only_used, settings_for

        only_used(verb, config, set)
        settings = settings_for(self.dataset, config, set, allow_hosts)
        return settings, engine_of(engine, workers)
