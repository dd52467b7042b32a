"""The stages of an open dataset: calling one again resumes it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from frenchcat.curate.errors import UserError
from frenchcat.verbs.base import DatasetVerbs

if TYPE_CHECKING:
    from frenchcat.curate.config import Overrides
    from frenchcat.curate.stage import Progress
    from frenchcat.described import DescribedSetting
    from frenchcat.train.encode_dataset import Encoded


class StageVerbs(DatasetVerbs):
    """Run one stage of the pipeline."""

    def retry_failed(
        self, *, permanent: bool = False, progress: Progress | None = None, **how: Any
    ) -> Self:
        """Request failed rows again; with `permanent` also those that failed for good (404, 410).

        Only settings of download.fetch are allowed, and they are remembered.
        """
        from frenchcat.curate.config import as_overrides, changed
        from frenchcat.curate.download import retry_failed
        from frenchcat.pipeline import save_settings, saved_settings

        for override in as_overrides(how.get("set", ())):
            if not override.strip().startswith(
                ("download.fetch.", "download.block", "download.th")
            ):
                raise UserError(
                    f"--set {override}: failed rows are requested again with the dataset's other "
                    "settings as they are; give settings of download.fetch"
                )
        settings, engine = self._how("download", **how)
        with self.dataset.lock():
            told = self._metered(progress, engine)
            retry_failed(self.dataset, settings.download, engine, told, permanent=permanent)
            saved = saved_settings(self.dataset)
            download = changed(saved.download, fetch=settings.download.fetch)
            save_settings(self.dataset, changed(saved, download=download), "download")
        return self

    def embed(self, *, yes: bool = False, progress: Progress | None = None, **how: Any) -> Self:
        """Embed images and captions with CLIP; takes config, set, engine and workers.

        Raises `ConfirmationNeeded` before shards are embedded again because a setting changed,
        unless `yes` is true.
        """
        from frenchcat.curate.embed import embed
        from frenchcat.curate.redo import confirm
        from frenchcat.pipeline import redone, remembering

        settings, engine = self._how("embed", **how)
        with self.dataset.lock():
            confirm(redone(self.dataset, settings, "clip"), yes)
            metered = self._metered(progress, engine)
            with remembering(self.dataset, settings, "clip", progress=metered) as told:
                embed(self.dataset, settings.clip, engine, told)
        return self

    def latents(
        self,
        config: str | Path | None = None,
        *,
        set: Overrides = (),
        selection: str | None = None,
        precision: str = "fp16",
        yes: bool = False,
        progress: Progress | None = None,
    ) -> Encoded:
        """Encode images and captions for training, as a training with these settings would.

        `config` and `set` are those of `frenchcat.train`; `selection` is the dataset's, by default
        that of `data.selection`, and all stored rows without one. Raises `ConfirmationNeeded`
        before encodings of other settings are made again, unless `yes` is true.
        """
        from frenchcat.curate.config import as_overrides, load_settings
        from frenchcat.train.settings import TrainSettings

        settings = load_settings(TrainSettings, config, as_overrides(set))
        from frenchcat.train.encode_dataset import data_of, encode_dataset  # with torch

        name = selection if selection is not None else settings.data.selection
        settings = data_of(settings, self.root, name)
        with self.dataset.lock():
            told = self._metered(progress)
            return encode_dataset(self.dataset, settings, name, precision, told, yes)

    def score(self, *, progress: Progress | None = None, **how: Any) -> Any:
        """Score images and captions; takes config, set, engine, workers; returns a StageReport."""
        from frenchcat.curate.score.stage import score
        from frenchcat.pipeline import remembering

        settings, engine = self._how("score", **how)
        with self.dataset.lock():
            metered = self._metered(progress, engine)
            with remembering(self.dataset, settings, "score", progress=metered) as told:
                return score(self.dataset, settings.score, settings.clip, engine, told)

    def dedup(self, *, progress: Progress | None = None, **how: Any) -> Any:
        """Find duplicates; takes config and set; returns a DedupReport."""
        from frenchcat.curate.dedup import dedup
        from frenchcat.pipeline import remembering

        settings, _ = self._how("dedup", **how)
        with self.dataset.lock(), remembering(self.dataset, settings, "dedup"):
            return dedup(self.dataset, settings.dedup, self._metered(progress))

    def verdict(
        self, rules: str | Path | None = None, *, progress: Progress | None = None, **how: Any
    ) -> Self:
        """Keep or drop each row by named rules: a TOML file, a preset, or by default the settings'.

        The dataset remembers the rules: later builds judge by them.
        """
        from frenchcat.curate.config import changed, resolve
        from frenchcat.curate.verdict.settings import VerdictSettings, read_rules
        from frenchcat.curate.verdict.stage import verdict
        from frenchcat.pipeline import remembering

        settings, engine = self._how("verdict", **how)
        if rules is not None:
            only = resolve(VerdictSettings, {"rules": read_rules(str(rules))}, str(rules))
            settings = changed(settings, verdict=only)
        with self.dataset.lock():
            metered = self._metered(progress, engine)
            with remembering(self.dataset, settings, "verdict", progress=metered) as told:
                verdict(self.dataset, settings.verdict, engine, told)
        return self

    def index(self, *, progress: Progress | None = None, **how: Any) -> Self:
        """Build the kNN index, or add new shards to it; takes config and set."""
        from frenchcat.index.build import build_index
        from frenchcat.pipeline import remembering

        settings, _ = self._how("index", **how)
        with self.dataset.lock(), remembering(self.dataset, settings, "index"):
            build_index(self.dataset, settings.index, self._metered(progress))
        return self

    def settings(
        self, *, config: str | Path | None = None, set: Overrides = ()
    ) -> list[DescribedSetting]:
        """Every setting with its meaning, its value for the next build, and the value's origin."""
        from frenchcat.described import described
        from frenchcat.pipeline import resolved_for

        return described(resolved_for(self.dataset, config, set), self.dataset)
