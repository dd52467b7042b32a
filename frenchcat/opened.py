"""An open dataset: search, read, judge, select from and clean it by method calls.

    cats = frenchcat.open("data/mine")
    cats.search("french cat", k=5)
    cats.rows(["key", "caption"], where="width >= 256")

Each method is one verb of the command line. Methods that write hold the dataset's lock while they
do; calling one again resumes what was interrupted. Nothing is loaded before it is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frenchcat.curate import files
from frenchcat.curate.atomic import write_whole
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.errors import NotFound, UnknownColumn, UserError
from frenchcat.only_one import only_one

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray
    from PIL.Image import Image

    from frenchcat.curate.config import Overrides
    from frenchcat.curate.decisions import Decision
    from frenchcat.curate.info import Info
    from frenchcat.curate.lineage import Origin
    from frenchcat.curate.recheck import Rechecked
    from frenchcat.curate.removals import Request
    from frenchcat.curate.remove import Match, RemovalQuery
    from frenchcat.curate.stage import Progress
    from frenchcat.curate.tars import Member
    from frenchcat.described import DescribedSetting
    from frenchcat.index.search import Hit, Searcher
    from frenchcat.index.terms import Terms
    from frenchcat.pipeline import BuildSettings
    from frenchcat.selected import OpenSelection
    from frenchcat.skews.report import SkewReport
    from frenchcat.train.credentials import Credentials
    from frenchcat.train.encode_dataset import Encoded
    from frenchcat.used import Uses

Agree = Callable[[Sequence["Match"]], bool]
"""Called with the rows that a removal names, before anything is removed."""


def open(root: str | Path) -> OpenDataset:
    """Open the dataset at a local path or an fsspec address. Raises `NotFound` if there is none."""
    return OpenDataset(Dataset.open(root))


class OpenDataset:
    """A dataset folder, as `frenchcat.open` returns it."""

    def __init__(self, dataset: Dataset, notes: Sequence[str] = ()) -> None:
        """Open `dataset`; `notes` are an adoption's remarks, one sentence each."""
        self.dataset, self.notes = dataset, tuple(notes)
        self._searcher: Searcher | None = None
        self._members: dict[str, dict[str, Member]] = {}  # shard's tar's digest -> key -> picture

    def __repr__(self) -> str:
        return f"frenchcat.open({self.root!r})"

    @property
    def root(self) -> str:
        """The dataset's path or address."""
        return self.dataset.root

    # -- reading -----------------------------------------------------------------------------------

    def info(self) -> Info:
        """Count rows by what became of them: failed, kept, dropped, each by reason."""
        from frenchcat.curate.info import info

        return info(self.dataset)

    def columns(self) -> dict[str, str]:
        """Name -> DuckDB type of every column that a condition may use."""
        from frenchcat.curate.catalog import Catalog

        with Catalog(self.dataset) as catalog:
            return {**catalog.columns(), "domain": "VARCHAR"}  # worked out where it is named

    def rows(self, columns: Sequence[str] | None = None, where: str | None = None) -> pa.Table:
        """The stored images' rows that meet a condition, as an Arrow table in key order.

        `columns` defaults to all. Removed rows are left out; dropped ones have ``keep = false``.
        Raises `UnknownColumn` and `BadCondition`.
        """
        from frenchcat.curate.catalog import Catalog

        with Catalog(self.dataset) as catalog:
            catalog.add_for(where, *(["domain"] if "domain" in (columns or ()) else []))
            known = catalog.columns()
            for name in columns or ():
                if name not in known:
                    raise UnknownColumn(f"no column {name!r}; known: {', '.join(known)}", name)
            return catalog.table("*" if columns is None else columns, where, order="key")

    def vectors(
        self, keys: Iterable[str] | None = None, by: str = "image"
    ) -> tuple[list[str], NDArray[np.float16]]:
        """Keys, and their CLIP vectors of images or captions: (N, D) float16 unit rows.

        Without `keys`: all stored vectors of rows that were not removed, in key order. Raises
        `NotFound` for a key without a vector.
        """
        import numpy as np

        from frenchcat.curate.embed import vectors_of_shard
        from frenchcat.curate.removals import removed_keys

        wanted = None if keys is None else list(keys)
        gone, found = removed_keys(self.dataset), dict[str, Any]()
        for shard in self.dataset.shards("embed"):
            if wanted is not None and not any(key.startswith(shard) for key in wanted):
                continue
            names, rows = vectors_of_shard(self.dataset, shard, by)
            there = zip(names, rows, strict=True)
            found |= {key: row for key, row in there if key not in gone}
        order = sorted(found) if wanted is None else wanted
        if missing := [key for key in order if key not in found]:
            raise NotFound(f"{self.root} has no vector of {missing[0]!r}")
        return order, np.array([found[key] for key in order], np.float16)

    def picture(self, key: str) -> Image:
        """The stored image of a row, upright, mode RGB.

        Raises `NotFound` for a key without an image, `UnreadableImage` if it is broken.
        """
        from frenchcat.curate.image import open_image

        return open_image(self.picture_bytes(key))

    def picture_bytes(self, key: str) -> bytes:
        """The stored image's bytes, as they are in the shard's tar. Raises `NotFound`."""
        from frenchcat.curate.keys import shard_of
        from frenchcat.curate.removals import removed_keys
        from frenchcat.curate.tars import read

        shard = shard_of(self.dataset, key)
        member = None if shard is None else self._pictures_of(shard).get(key)
        if shard is None or member is None or key in removed_keys(self.dataset):
            raise NotFound(f"{self.root} has no image of {key!r}")
        with self.dataset.as_local(files.TAR.of(shard)) as tar:
            return read(tar, member)

    def search(
        self,
        query: str | None = None,
        *,
        image: str | Path | bytes | Image | None = None,
        vector: Sequence[float] | NDArray[np.floating[Any]] | None = None,
        terms: Terms | None = None,
        k: int = 10,
        by: str = "image",
        where: str | None = None,
        unsafe: bool = False,
        duplicates: bool = False,
        dropped: bool = False,
        hybrid: bool = False,
        min_similarity: float | None = None,
    ) -> list[Hit]:
        """The k rows nearest to a text, an image, a vector or weighted terms, nearest first.

        Hits whose cosine to the query is below `min_similarity` are left out. The index is opened
        at the first search, and again when a build or a compaction has replaced it. See
        `frenchcat.index.search.Searcher.query` for terms. Raises `NotFound` without an index,
        `BadCondition`, and `UserError` unless there is exactly one kind of query.
        """
        return self.searcher().query(
            text=query,
            picture=image,
            vector=vector,
            terms=terms,
            k=k,
            by=by,
            where=where,
            safe=not unsafe,
            duplicates=duplicates,
            dropped=dropped,
            hybrid=hybrid,
            min_similarity=min_similarity,
        )

    def facets(
        self,
        columns: Sequence[str] | None = None,
        where: str | None = None,
        *,
        bins: int = 20,
        top: int = 10,
        unsafe: bool = False,
        duplicates: bool = False,
        dropped: bool = False,
    ) -> dict[str, dict[str, Any]]:
        """How the indexed rows that a search may find are spread over columns.

        Of numbers a histogram (`min`, `max`, `mean` and `bins`: `from`, `to`, `rows`), of texts
        the `top` most frequent `values` (`value`, `rows`), how many are `distinct`, and `others`;
        of both `rows` and `missing`. `columns` default to the usual ones. Raises `NotFound`
        without an index, `BadCondition` and `UnknownColumn`.
        """
        from frenchcat.index.service.column_values import ColumnValues, usual_of
        from frenchcat.index.visible import View

        searcher = self.searcher()
        mask = searcher.visible.mask(View(where, not unsafe, duplicates, dropped))
        positions = None if mask is None else mask.nonzero()[0]
        names = usual_of(self.columns()) if columns is None else columns
        return ColumnValues(searcher).facets(names, positions, bins, top)

    def searcher(self) -> Searcher:
        """The current index, open; the model stays loaded when the index is replaced."""
        from frenchcat.index.build import index_version
        from frenchcat.index.search import Searcher

        found = self._searcher
        if found is None or found.version != index_version(self.dataset):
            found = Searcher(self.dataset, None if found is None else found.loaded_clip())
            self._searcher = found
        return found

    def lineage(self, file: str) -> list[Origin]:
        """What made a file of the dataset, back to the URL list."""
        from frenchcat.curate.lineage import lineage

        return lineage(self.dataset, file)

    def report(
        self,
        out: str | Path | None = None,
        *,
        terms: Sequence[str] = (),
        set: Overrides = (),
    ) -> Path:
        """Write one HTML page about the dataset; returns its path."""
        from frenchcat.curate.config import as_overrides, changed, load_settings
        from frenchcat.curate.report.settings import ReportSettings
        from frenchcat.curate.report.write import write_report

        settings = load_settings(ReportSettings, overrides=as_overrides(set))
        settings = changed(settings, terms=(*settings.terms, *terms))
        return write_report(self.dataset, None if out is None else Path(out), settings)

    def skews(
        self,
        terms: Sequence[str] = ("occupations",),
        *,
        attributes: Sequence[str] = ("people", "places"),
        concepts: str | Path | None = None,
        k: int = 100,
        language: str = "en",
        template: str = "{}",
        where: str | None = None,
        duplicates: bool = False,
        run: str | Path | None = None,
        drawings: int = 16,
        rebalance: str | None = None,
        selection: str | None = None,
        bound: float = 5.0,
        replace: bool = False,
        out: str | Path | None = None,
        seed: int = 0,
    ) -> tuple[Path, SkewReport]:
        """Audit queries: what the results and drawings of each show, beside the base rates.

        `terms` and `attributes` are word lists; `concepts` is a file of prompts of your own.
        Returns the path of an HTML page, and what was measured. With `rebalance`, a selection of
        that name is written whose weights undo what stands out. See docs/answering.md. Raises
        `UserError` for a bad list, `NotFound` without an index, and `AlreadyThere` where another
        selection has the name, unless `replace` is true.
        """
        from frenchcat.curate.report.write import checked_path
        from frenchcat.index.visible import View
        from frenchcat.skews.audit import audit_queries
        from frenchcat.skews.page import page
        from frenchcat.skews.rebalance import rebalanced
        from frenchcat.skews.request import SkewRequest

        request = SkewRequest(
            terms=tuple(terms),
            attributes=tuple(attributes),
            concepts=None if concepts is None else Path(concepts),
            k=k,
            language=language,
            template=template,
            view=View(where, duplicates=duplicates),
            run=None if run is None else Path(run),
            drawings=drawings,
            seed=seed,
        )
        path = checked_path(self.dataset, None if out is None else Path(out), "skews")
        report = audit_queries(self.dataset, self.searcher(), request)
        if rebalance is not None:
            with self.dataset.lock():
                report = rebalanced(self.dataset, report, rebalance, selection, bound, replace)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, page(report))
        return path, report

    # -- stages ------------------------------------------------------------------------------------

    def retry_failed(
        self, *, permanent: bool = False, progress: Progress | None = None, **how: Any
    ) -> OpenDataset:
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
            retry_failed(self.dataset, settings.download, engine, progress, permanent=permanent)
            saved = saved_settings(self.dataset)
            download = changed(saved.download, fetch=settings.download.fetch)
            save_settings(self.dataset, changed(saved, download=download), "download")
        return self

    def embed(
        self, *, yes: bool = False, progress: Progress | None = None, **how: Any
    ) -> OpenDataset:
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
            with remembering(self.dataset, settings, "clip", progress=progress) as told:
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
        from frenchcat.train.encode_dataset import data_of, encode_dataset
        from frenchcat.train.settings import TrainSettings

        settings = load_settings(TrainSettings, config, as_overrides(set))
        name = selection if selection is not None else settings.data.selection
        settings = data_of(settings, self.root, name)
        with self.dataset.lock():
            return encode_dataset(self.dataset, settings, name, precision, progress, yes)

    def score(self, *, progress: Progress | None = None, **how: Any) -> Any:
        """Score images and captions; takes config, set, engine, workers; returns a StageReport."""
        from frenchcat.curate.score.stage import score
        from frenchcat.pipeline import remembering

        settings, engine = self._how("score", **how)
        with self.dataset.lock():
            with remembering(self.dataset, settings, "score", progress=progress) as told:
                return score(self.dataset, settings.score, settings.clip, engine, told)

    def dedup(self, *, progress: Progress | None = None, **how: Any) -> Any:
        """Find duplicates; takes config and set; returns a DedupReport."""
        from frenchcat.curate.dedup import dedup
        from frenchcat.pipeline import remembering

        settings, _ = self._how("dedup", **how)
        with self.dataset.lock(), remembering(self.dataset, settings, "dedup"):
            return dedup(self.dataset, settings.dedup, progress)

    def verdict(
        self, rules: str | Path | None = None, *, progress: Progress | None = None, **how: Any
    ) -> OpenDataset:
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
            with remembering(self.dataset, settings, "verdict", progress=progress) as told:
                verdict(self.dataset, settings.verdict, engine, told)
        return self

    def index(self, *, progress: Progress | None = None, **how: Any) -> OpenDataset:
        """Build the kNN index, or add new shards to it; takes config and set."""
        from frenchcat.index.build import build_index
        from frenchcat.pipeline import remembering

        settings, _ = self._how("index", **how)
        with self.dataset.lock(), remembering(self.dataset, settings, "index"):
            build_index(self.dataset, settings.index, progress)
        return self

    def settings(
        self, *, config: str | Path | None = None, set: Overrides = ()
    ) -> list[DescribedSetting]:
        """Every setting with its meaning, its value for the next build, and the value's origin."""
        from frenchcat.described import described
        from frenchcat.pipeline import resolved_for

        return described(resolved_for(self.dataset, config, set), self.dataset)

    # -- decisions ---------------------------------------------------------------------------------

    def keep(
        self, keys: str | Iterable[str] = (), *, where: str | None = None, note: str = ""
    ) -> Decision:
        """Keep rows whatever the rules of the verdicts say; by keys, or all that meet a condition.

        Logged, and undone by `undo_decision`. Search and new selections follow at once. Removed
        rows stay removed, those without a vector dropped. Raises `NotFound` for a key that is no
        stored picture's, `BadCondition`, and `UserError` where no row is named.
        """
        return self._decide(True, keys, where, note)

    def drop(
        self, keys: str | Iterable[str] = (), *, where: str | None = None, note: str = ""
    ) -> Decision:
        """Drop rows whatever the rules of the verdicts say; their reason is `by_hand`.

        As `keep`. Nothing is deleted: `remove` takes rows out for good.
        """
        return self._decide(False, keys, where, note)

    def decisions(self) -> list[Decision]:
        """What was kept and dropped by hand, in order; those that undo others among them."""
        from frenchcat.curate.decisions import decisions

        return decisions(self.dataset)

    def undo_decision(self, number: int, note: str = "") -> Decision:
        """Take a decision back: the rules say again what becomes of its rows; gives it."""
        from frenchcat.curate.decisions import undo
        from frenchcat.curate.verdict.stage import judge_again

        with self.dataset.lock():
            found = undo(self.dataset, number, note)
            judge_again(self.dataset)
        return found

    def _decide(
        self, keep: bool, keys: str | Iterable[str], where: str | None, note: str
    ) -> Decision:
        from frenchcat.curate.catalog import Catalog
        from frenchcat.curate.decisions import decide, named
        from frenchcat.curate.verdict.stage import judge_again

        def matching(condition: str) -> list[str]:
            with Catalog(self.dataset) as catalog:
                catalog.add_for(condition)
                return catalog.keys(condition)

        chosen = named(keys, where, matching)
        with self.dataset.lock():
            made = decide(self.dataset, keep, chosen, note)
            judge_again(self.dataset)
        return made

    # -- selections --------------------------------------------------------------------------------

    def select(
        self,
        name: str,
        where: str | None = None,
        *,
        limit: int | None = None,
        balance: str | None = None,
        weight: str | None = None,
        label: str | None = None,
        seed: int = 0,
        replace: bool = False,
        licences: Sequence[str] = (),
    ) -> OpenSelection:
        """Freeze the rows that meet a condition under a name.

        `licences` keeps only rows that state one of them: "CC BY" (every version), CC0-1.0.
        Raises `BadCondition`, `UnknownColumn`, `UserError` if no row meets the condition, and
        `AlreadyThere` if another selection has the name, unless `replace` is true.
        """
        from frenchcat.curate.expression import checked
        from frenchcat.curate.licence import licence_condition
        from frenchcat.curate.select import Choice, select
        from frenchcat.selected import OpenSelection

        if licences:
            only = licence_condition(licences)
            where = only if where is None else f"{checked(where)} AND {only}"
        with self.dataset.lock():
            choice = Choice(where, limit, balance, weight, seed, label)
            return OpenSelection(self.dataset, select(self.dataset, name, choice, replace))

    def selection(self, name: str) -> OpenSelection:
        """A frozen selection. Raises `NotFound`."""
        from frenchcat.curate.select import open_selection
        from frenchcat.selected import OpenSelection

        return OpenSelection(self.dataset, open_selection(self.dataset, name))

    def selections(self) -> list[str]:
        """The names of the selections."""
        from frenchcat.curate.select import names

        return names(self.dataset)

    # -- removal -----------------------------------------------------------------------------------

    def matches(self, *, near: bool = False, **what: str | Path) -> list[Match]:
        """The rows that a removal would match, by one of url, domain, sha256, uid, key, like."""
        from frenchcat.curate.remove import matches

        asked_for = _wish(what, near)
        return matches(
            self.dataset, asked_for, self._encode_picture() if asked_for.by == "like" else None
        )

    def used(
        self,
        *,
        near: bool = False,
        runs: Sequence[Path] | None = None,
        checkpoint: str | None = None,
        **what: str | Path,
    ) -> Uses:
        """In which selections, training steps and checkpoints the rows of an image are.

        Takes one of url, domain, sha256, uid, key, like, creator. `runs` are folders of training
        runs; None: those beside the dataset. `checkpoint` names one of theirs. Raises `NotFound`
        for a folder that is not a run, and for a run without that checkpoint.
        """
        return self._used(what, near, runs, checkpoint)

    def _used(
        self,
        what: Mapping[str, str | Path],
        near: bool,
        runs: Sequence[Path] | None,
        checkpoint: str | None = None,
    ) -> Uses:
        from frenchcat.curate.remove import KINDS
        from frenchcat.used import by_creator, uses_of

        by, value = only_one(what, "say what to look for", (*KINDS, "creator"))
        if by == "creator":
            found = by_creator(self.dataset, str(value))
        else:
            found = self.matches(near=near, **what)
        return uses_of(self.dataset, (by, str(value)), found, runs, checkpoint)

    def remove_used(
        self,
        *,
        near: bool = False,
        runs: Sequence[Path] | None = None,
        note: str = "",
        agree: Callable[[Uses], bool] | None = None,
        **what: str | Path,
    ) -> tuple[Uses, Request | None]:
        """What `used` finds, and the request by which its rows were removed.

        `agree` is called with what was found; if it returns false, nothing is removed and the
        request is None. Raises `UserError` for a creator whom no row names.
        """
        from frenchcat.curate.remove import remove
        from frenchcat.used import removal_of

        with self.dataset.lock():
            found = self._used(what, near, runs)
            if agree is not None and not agree(found):
                return found, None
            return found, remove(self.dataset, removal_of(found, near), found.matches, note)

    def write_statement(
        self,
        uses: Uses,
        folder: str | Path,
        removal: Request | None = None,
        credentials: Credentials | None = None,
    ) -> Path:
        """Write a signed statement of what was found and done into a new or empty folder.

        `credentials` default to the user's self-issued key. Raises `UserError` if the clock is
        outside the certificate's validity, or behind the log of removals.
        """
        from datetime import UTC, datetime

        from frenchcat.statement import statement_of, write_statement
        from frenchcat.train.credentials import own_credentials

        value = statement_of(self.dataset, uses, removal, datetime.now(UTC))
        write_statement(value, Path(folder), credentials or own_credentials())
        return Path(folder)

    def remove(
        self,
        *,
        near: bool = False,
        note: str = "",
        agree: Agree | None = None,
        **what: str | Path,
    ) -> Request | None:
        """Remove rows by one of url, domain, sha256, uid, key, like: they vanish at once, for good.

        `near` includes near-duplicates. `agree` is called with the rows first; if it returns false,
        nothing is removed and the result is None. `compact` deletes the bytes.
        """
        from frenchcat.curate.remove import remove

        asked_for = _wish(what, near)
        with self.dataset.lock():
            found = self.matches(near=near, **what)
            if agree is not None and not agree(found):
                return None
            return remove(self.dataset, asked_for, found, note)

    def recheck(
        self,
        *,
        limit: int | None = None,
        older_than_days: float = 30.0,
        images: bool = True,
        progress: Progress | None = None,
        set: Overrides = (),
        allow_hosts: Sequence[str] = (),
    ) -> Rechecked:
        """Ask sites again what they say about the use of stored images; what changed since.

        Rows that were asked within the last days are skipped, so the same call resumes. `limit`
        bounds the rows, `images` says whether the headers of each are asked for, too; `set` takes
        settings of download.fetch and download.rights. Raises `UserError` for a clock that is
        behind an earlier recheck.
        """
        from datetime import UTC, datetime

        from frenchcat.curate.recheck import recheck

        settings, _ = self._how("recheck", set=set, allow_hosts=allow_hosts)
        with self.dataset.lock():
            return recheck(
                self.dataset,
                settings.download,
                datetime.now(UTC),
                older_than_days=older_than_days,
                limit=limit,
                images=images,
                progress=progress,
            )

    def remove_opted_out(self, agree: Callable[[int], bool] | None = None) -> Request | None:
        """Remove the rows that any recheck found opted out since their crawl.

        `agree` is called with their number; if it returns false, or there is none, nothing is
        removed and the result is None.
        """
        from collections import Counter

        from frenchcat.curate.recheck import opted_out_since
        from frenchcat.curate.remove import RemovalQuery, matches, remove

        with self.dataset.lock():
            found = opted_out_since(self.dataset)
            if not found or (agree is not None and not agree(len(found))):
                return None
            first, *others = found
            query = RemovalQuery("key", first, keys=tuple(others))
            counts = ", ".join(f"{name} {n}" for name, n in sorted(Counter(found.values()).items()))
            note = f"opted out since the crawl: {counts}"
            return remove(self.dataset, query, matches(self.dataset, query), note)

    def undo_removal(self, number: int, note: str = "") -> Request:
        """Undo a removal request before it is compacted; returns the request."""
        from frenchcat.curate.remove import undo

        with self.dataset.lock():
            return undo(self.dataset, number, note)

    def compact(self, *, progress: Progress | None = None) -> Mapping[str, int]:
        """Rewrite every file without the removed rows; returns counts of rows and shards."""
        from frenchcat import pipeline
        from frenchcat.curate.remove import compact

        stages = self.dataset.manifest().stages

        def remake(stale: bool) -> None:
            pipeline.made_anew(self.dataset, stages, progress, stale)

        with self.dataset.lock():
            return compact(self.dataset, progress, remake)

    # -- inside ------------------------------------------------------------------------------------

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

    def _pictures_of(self, shard: str) -> dict[str, Member]:
        from frenchcat.curate.markers import output_sha256
        from frenchcat.curate.tars import pictures

        relative = files.TAR.of(shard)
        try:
            digest = output_sha256(self.dataset, "download", shard, relative)
        except KeyError:  # adopted without pictures
            return {}
        if digest not in self._members:
            with self.dataset.as_local(relative) as tar:
                self._members[digest] = pictures(tar)
        return self._members[digest]

    def _encode_picture(self) -> Callable[[Path], NDArray[np.float32]] | None:
        """The dataset's own model, as `matches` needs it; None if nothing is embedded."""
        from frenchcat.curate.embed import STAGE

        if STAGE not in self.dataset.manifest().stages:
            return None
        from frenchcat.curate.clip.model import load_clip
        from frenchcat.curate.embed import require_same_model
        from frenchcat.curate.image import open_image
        from frenchcat.index.search import clip_settings

        clip = load_clip(clip_settings(self.dataset))
        require_same_model(self.dataset, clip)
        return lambda path: clip.encode_pictures([open_image(path)])[0]


def _wish(what: Mapping[str, str | Path], near: bool) -> RemovalQuery:
    from frenchcat.curate.remove import KINDS, RemovalQuery

    by, value = only_one(what, "say what to remove", KINDS)
    return RemovalQuery(by, str(value), near)


__all__ = ["Agree", "OpenDataset", "open"]
