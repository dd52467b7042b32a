"""All stages as a state machine: any step after any other, killed anywhere, every row accounted.

Builds, grows, scores, compares, judges, selects, removes, compacts in any order against the plain
model of road.py. After each step the files hold what the model says and nothing else changed; a
search finds what brute force finds; what was removed is in no answer, after a compaction in no
file. A step that is killed leaves readers in peace, and run again it ends in the very bytes of one
that was not.
"""

import atexit
import contextlib
import functools
import io
import itertools
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from frenchcat.curate import files
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.dedup import DedupSettings, dedup
from frenchcat.curate.errors import UserError
from frenchcat.curate.info import info
from frenchcat.curate.remove import RemovalQuery, compact, matches, remove
from frenchcat.curate.score.settings import HeadSettings, ScoreSettings
from frenchcat.curate.score.stage import score
from frenchcat.curate.select import Choice, open_selection, select
from frenchcat.curate.stage import Engine
from frenchcat.curate.verdict import VerdictSettings, verdict
from frenchcat.index.build import build_index, index_version
from frenchcat.index.search import Searcher
from frenchcat.pipeline import BuildSettings, made_anew, save_settings
from tests.end_to_end import road
from tests.end_to_end.road import WHERE, WORLD, Killed, Model
from tests.trees import tree_digest

ROOT = Path(__file__).parents[2]
ONE = Engine(workers=1)
SEQUENCES, STEPS = 200, 5  # `make soak` takes 20,000
Run = Callable[[Dataset], Any]
Change = Callable[[Model], None]


# -- steps ----------------------------------------------------------------------------------------


def as_settings(model: Model, heads: Path) -> BuildSettings:
    """The model's settings as the command line would have them."""
    rules = {name: road.RULES[name][0] for name in model.rules}
    head = HeadSettings(name="taste", file=road.head(heads, model.head))
    survivor = {"resolution": ("resolution", "similarity", "key"), "key": ("key",)}[model.rule]
    return BuildSettings(
        score=ScoreSettings(scores=("similarity", "caption", "pdq"), heads=(head,)),
        dedup=DedupSettings(methods=model.methods, survivor=survivor),  # type: ignore[arg-type]
        verdict=VerdictSettings(rules=rules),
    )


def go_on(dataset: Dataset, wanted: BuildSettings) -> dict[str, int]:
    """All stages behind the download; gives the shards that each worked on."""
    done = {"score": score(dataset, wanted.score, engine=ONE).done}
    done["dedup"] = int(not dedup(dataset, wanted.dedup).skipped)
    done["verdict"] = verdict(dataset, wanted.verdict, ONE).done
    build_index(dataset, wanted.index)
    return done


def compacted(dataset: Dataset, wanted: BuildSettings) -> None:
    """`frenchcat compact`, for a dataset whose new shards are scored first."""
    score(dataset, wanted.score, engine=ONE)
    stages = dataset.manifest().stages
    compact(dataset, remake=lambda stale: made_anew(dataset, stages, None, stale))


def locked(dataset: Dataset, run: Run) -> None:
    with dataset.lock():
        run(dataset)


@functools.cache
def beginning() -> tuple[Path, Model]:
    """A dataset of two shards that went the whole road, to be copied."""
    folder = road.scratch()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    model = Model.empty()
    model.grow(10)
    dataset = Dataset.create(folder / "dataset", "road")
    with dataset.lock():
        wanted = as_settings(model, folder)
        save_settings(dataset, wanted)
        road.fetch(dataset, road.listed(folder, 10))
        go_on(dataset, wanted)
    model.score()
    model.dedup()
    model.judge()
    model.index()
    return folder, model


# -- the machine ----------------------------------------------------------------------------------

DYING = st.sampled_from([None] * 60 + [part / 20 for part in range(20)])
"""Where in a step its process is killed, as a part of its operations on files; mostly nowhere."""
HASHES = [spec.sha256 for spec in WORLD if spec.picture][:6]


class Road(RuleBasedStateMachine):
    """One dataset, and what it has to be."""

    def __init__(self) -> None:
        super().__init__()
        self.template, model = beginning()
        self.model = model.copy()
        self.folder = road.scratch()
        shutil.copytree(self.template / "dataset", self.folder / "dataset")
        self.dataset = Dataset.open(self.folder / "dataset")
        self.searcher = Searcher(self.dataset)
        self.stats = self._stats()
        self.seen: dict[str, tuple[Any, Any]] = {}  # file -> its state when read, what it held
        self.selections: dict[str, list[Any]] = {}
        self.digests: dict[str, str] = {}  # of a selection's rows, as text -> its digest
        self.before: tuple[int, tuple[str, ...], str, tuple[str, ...]] | None = None
        self.bytes: dict[str, dict[str, str]] = {}  # configuration -> files
        self.turn = itertools.count()

    def teardown(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    # -- rules ------------------------------------------------------------------------------------

    @rule(rows=st.integers(1, 7), dying=DYING)
    def grow(self, rows: int, dying: float | None) -> None:
        """The list has more rows than before."""
        given = min(len(WORLD), self.model.given + rows)
        urls = road.listed(self.template, given)
        old = set(self.model.shards)
        self._do(lambda d: road.fetch(d, urls), lambda m: m.grow(given), dying)
        new = set(self.model.shards) - old
        self._changed(*(f"*{shard}*" for shard in new), "dataset.json")

    @rule(dying=DYING)
    def build(self, dying: float | None) -> None:
        """Everything that is out of date is made anew; again, nothing is."""
        wanted = self._save()
        self._do(lambda d: go_on(d, wanted), self._all, dying)
        self._changed("scores", "duplicates", "verdicts", "index", "stages", "dataset.json")
        with self.dataset.lock():
            assert go_on(self.dataset, wanted) == {"score": 0, "dedup": 0, "verdict": 0}
        self._changed()
        self._remembered()

    @rule(head=st.integers(0, 3), dying=DYING)
    def rescore(self, head: int, dying: float | None) -> None:
        """Another head scores the pictures; who else depends on it stays as it was."""
        self._keep()
        self.model.head = head
        wanted = self._save()
        self._do(lambda d: score(d, wanted.score, engine=ONE), Model.score, dying)
        assert score(self.dataset, wanted.score, engine=ONE).done == 0
        self._changed("scores", "stages/score", "dataset.json")

    @rule(
        methods=st.sampled_from([("exact",), ("exact", "perceptual"), ("semantic",), road.METHODS]),
        survivor=st.sampled_from(["resolution", "key"]),
        dying=DYING,
    )
    def compare(self, methods: tuple[str, ...], survivor: str, dying: float | None) -> None:
        """What counts as a duplicate changes."""
        self._keep()
        self.model.methods, self.model.rule = methods, survivor
        wanted = self._save()

        def run(dataset: Dataset) -> None:
            score(dataset, wanted.score, engine=ONE)
            dedup(dataset, wanted.dedup)

        def change(model: Model) -> None:
            model.score()
            model.dedup()

        self._do(run, change, dying)
        assert dedup(self.dataset, wanted.dedup).skipped
        self._changed("scores", "duplicates", "stages/score", "stages/dedup", "dataset.json")

    @rule(names=st.permutations(list(road.RULES)), count=st.integers(0, 3), dying=DYING)
    def judge(self, names: list[str], count: int, dying: float | None) -> None:
        """Other rules, or the same in another order."""
        self._keep()
        self.model.rules = tuple(names[:count])
        wanted = self._save()
        self._do(lambda d: verdict(d, wanted.verdict, ONE), Model.judge, dying)
        assert verdict(self.dataset, wanted.verdict, ONE).done == 0
        self._changed("verdicts", "stages/verdict", "dataset.json")

    @precondition(lambda self: self.before is not None)
    @rule()
    def undo(self) -> None:
        """The settings of before: all of it is as it was."""
        assert self.before is not None
        model, kept = self.model, self.before
        self._keep()
        model.head, model.methods, model.rule, model.rules = kept
        self.build(None)

    @rule(
        name=st.sampled_from(["all", "some"]),
        where=st.sampled_from(list(WHERE)),
        weight=st.sampled_from([None, "coalesce(multiplicity, 1)"]),
        dying=DYING,
    )
    def select(self, name: str, where: str | None, weight: str | None, dying: float | None) -> None:
        """A condition, frozen."""
        model, choice = self.model, Choice(where=where, weight=weight)
        rows = [
            (
                key,
                model.rows[key].caption,
                model.rows[key].stored_sha256,
                float(model.cluster(key)[3]) if weight else 1.0,
            )
            for key in model.chosen(where)
        ]
        if not rows:
            with pytest.raises(UserError):
                select(self.dataset, name, choice)
        else:
            self._do(lambda d: select(d, name, choice), lambda m: None, dying)
            self.selections[name] = rows
        self._changed(f"selections/{name}.parquet")

    @rule(data=st.data(), by=st.sampled_from(["key", "url", "sha256", "like", "domain"]))
    def remove(self, data: st.DataObject, by: str) -> None:
        """A request: its rows are absent from here on."""
        there = self.model.present()
        if len(there) < 3:
            return
        failed = [k for k in self.model.rows if k not in {*there, *self.model.removed}]
        key = data.draw(st.sampled_from(there + (failed if by in ("url", "domain") else [])))
        close = by != "domain" and data.draw(st.booleans())
        spec = self.model.rows[key]
        value = {
            "key": key,
            "url": spec.url.replace("http://", "HTTP://"),
            "sha256": data.draw(st.sampled_from([spec.sha256, spec.stored_sha256])),
            "like": str(self.folder / "like.jpg"),
            "domain": data.draw(st.sampled_from(sorted(road.DOMAINS[road.host(spec)]))),
        }[by]
        (self.folder / "like.jpg").write_bytes(spec.picture or b"")
        keys = self.model.matching(by, value, close, spec.picture)
        asked_for = RemovalQuery(by, value, close)
        found = matches(self.dataset, asked_for)
        assert sorted(match.key for match in found) == keys
        name = f"removals/{self.model.requests + 1:06d}.json"

        def run(dataset: Dataset) -> None:
            if not dataset.exists(name):
                remove(dataset, asked_for, found)

        dying = data.draw(DYING)
        self._do(run, lambda m: m.remove(keys, by, value), dying)
        self._changed(name)

    @precondition(lambda self: self.model.removed)
    @rule(dying=DYING)
    def compact(self, dying: float | None) -> None:
        """The bytes of removed rows go; nobody else is fetched, embedded or scored again."""
        going = self.model.removed & self.model.rows.keys()
        if not going:
            with self.dataset.lock():
                assert compact(self.dataset) == {"rows": 0, "shards": 0}
            return self._changed("dataset.json")
        wanted = self._save()
        shards = {key[:5] for key in going}
        kept = {path for path in self.stats if not any(shard in path for shard in shards)}

        def change(model: Model) -> None:
            model.score()
            model.compact()
            model.dedup()
            model.judge()
            model.index()

        self._do(lambda d: compacted(d, wanted), change, dying)
        again = ("scores", "duplicates", "verdicts", "index", "stages", "dataset.json")
        self._changed(*(f"*{shard}*" for shard in shards), "selections", *again)
        fixed = [path for path in kept if path.startswith(("shards", "lists", "embed", "rights"))]
        assert all(path in self.stats for path in fixed)
        with self.dataset.lock():
            road.fetch(self.dataset, road.listed(self.template, self.model.given))
            assert go_on(self.dataset, wanted) == {"score": 0, "dedup": 0, "verdict": 0}
        self._changed()
        self._no_traces()

    # -- how a step is taken ----------------------------------------------------------------------

    def _all(self, model: Model) -> None:
        model.score()
        model.dedup()
        model.judge()
        model.index()

    def _keep(self) -> None:
        model = self.model
        self.before = (model.head, model.methods, model.rule, model.rules)

    def _save(self) -> BuildSettings:
        wanted = as_settings(self.model, self.template)
        save_settings(self.dataset, wanted)
        return wanted

    def _do(self, run: Run, change: Change, dying: float | None) -> None:
        """Take a step with the lock held; killed on the way and taken again, if `dying` says so."""
        if dying is None:
            locked(self.dataset, run)
            change(self.model)
            return
        twin = Dataset(str(self.folder / "twin"))
        shutil.copytree(self.dataset.root, twin.root)
        with road.killed(10**9) as left:
            locked(twin, run)
        total = 10**9 - left[0]
        with contextlib.suppress(Killed), road.killed(int(dying * total)):
            locked(self.dataset, run)
            raise AssertionError("it was not killed")
        self._readers()
        locked(self.dataset, run)
        assert _timeless(Path(self.dataset.root)) == _timeless(Path(twin.root))
        shutil.rmtree(twin.root)
        change(self.model)

    def _readers(self) -> None:
        """Behind a kill, what is open goes on, what opens is whole, and nobody comes back."""
        opened = [self.searcher]
        if index_version(self.dataset) != self.searcher.version:
            with contextlib.suppress(UserError):
                opened.append(Searcher(self.dataset))
        for searcher in opened:
            hits = searcher.query(vector=road.UNIT[1], k=100, duplicates=True, safe=False)
            assert not self.model.removed & {hit.key for hit in hits}
            assert {hit.url for hit in hits} <= road.BY_URL.keys()

    # -- what holds after each step ---------------------------------------------------------------

    @invariant()
    def files_hold_what_the_model_says(self) -> None:
        model, dataset = self.model, self.dataset
        assert not {".tmp", ".commit", ".lock", ".workers"} & set(dataset.files(""))
        stored, embedded = set(model.stored()), set(model.embedded())
        assert dataset.shards("download") == sorted(model.shards)
        for shard, listed in model.shards.items():
            there = [key for key in listed if key in model.rows]
            pictures = [key for key in there if key in stored]
            vectors = [key for key in there if key in embedded]
            frozen = [model.rows[key].url if key in model.rows else None for key in listed]
            assert self._read(f"lists/{shard}.parquet", _urls) == frozen
            assert self._read(f"shards/{shard}.parquet", _sidecar) == [
                (key, model.rows[key].url, model.rows[key].caption, model.rows[key].failed)
                for key in there
            ]
            held = self._read(f"shards/{shard}.tar", _pictures)
            assert held == {key: model.rows[key].picture for key in pictures}
            assert self._read(files.METADATA.of(shard), _column("image_path")) == vectors
            for file, name in ((files.IMG_EMB, "vector"), (files.TEXT_EMB, "text")):
                wanted = [getattr(model.rows[key], name).astype(np.float16) for key in vectors]
                assert self._read(file.of(shard), np.load).tolist() == [
                    row.tolist() for row in wanted
                ]
            failed = self._read(f"embeddings/failed/failed_{shard}.parquet", _column("key"))
            assert failed == [key for key in pictures if key not in embedded]
            assert self._read(f"rights/{shard}.parquet", _column("key")) == pictures
            if (model.scored or {}).get(shard) is not None:
                self._scores(shard, pictures)
        self._by_key("duplicates", _duplicates, model.clusters or {})
        self._by_key("verdicts", _verdicts, model.reasons or {})

    @invariant()
    def every_row_is_counted_once(self) -> None:
        model, found = self.model, info(self.dataset)
        stored = model.stored()
        assert (found.rows, found.downloaded) == (len(model.rows), len(stored))
        failed = Counter(spec.failed.split(":")[0] for spec in model.rows.values() if spec.failed)
        assert found.failed_reasons == dict(failed)
        reasons = Counter(reason for key in stored if (reason := model.now(key)))
        assert found.dropped == dict(reasons)
        assert found.kept + sum(found.dropped.values()) == found.downloaded
        assert found.embedded == len(model.embedded())
        assert found.indexed == len(model.indexed or [])

    @invariant()
    def a_search_finds_what_brute_force_finds(self) -> None:
        if self.searcher.version != index_version(self.dataset):
            self.searcher = Searcher(self.dataset)
        turn = next(self.turn)
        by = ("image", "text")[turn % 2]
        query = road.UNIT[(7 * turn) % len(WORLD)]
        where = list(WHERE)[1] if turn % 8 == 3 else None
        for view in ((where, True, False, False), (None, False, True, True)):
            shown = self.model.shown(*view)
            names = ("where", "safe", "duplicates", "dropped")
            near = {key: _cosine(self.model.rows[key], by, query) for key in shown}
            best = sorted(near.values(), reverse=True)
            for k in (1, 4, 100):
                hits = self.searcher.query(
                    vector=query, k=k, by=by, **dict(zip(names, view, strict=True))
                )
                assert len({hit.key for hit in hits}) == len(hits) == min(k, len(shown))
                assert {hit.key for hit in hits} <= shown
                np.testing.assert_allclose([hit.similarity for hit in hits], best[:k], atol=2e-3)
                for hit in hits:
                    assert hit.similarity == pytest.approx(near[hit.key], abs=2e-3)
                    spec = self.model.rows[hit.key]
                    assert (hit.url, hit.caption) == (spec.url, spec.caption)

    @invariant()
    def selections_name_their_rows(self) -> None:
        for name, rows in self.selections.items():
            found = open_selection(self.dataset, name)
            left = [row for row in rows if row[0] not in self.model.removed]
            columns = ("key", "caption", "stored_sha256", "weight")
            held = [tuple(row[column] for column in columns) for row in found.table.to_pylist()]
            assert held == left
            text = repr(left)
            assert self.digests.setdefault(text, found.digest) == found.digest
            assert len(set(self.digests.values())) == len(self.digests)
            for row in found.table.to_pylist():
                with open(self.dataset.path(f"shards/{row['shard']}.tar"), "rb") as tar:
                    tar.seek(row["offset"])
                    assert tar.read(row["size"]) == self.model.rows[row["key"]].picture

    # -- checks -----------------------------------------------------------------------------------

    def _scores(self, shard: str, keys: list[str]) -> None:
        held = self._read(f"scores/{shard}.parquet", _scored)
        assert list(held) == keys
        head = (self.model.scored or {})[shard]
        for key, (words, digest, tasted) in held.items():
            spec = self.model.rows[key]
            assert (words, digest) == (len(spec.caption.split()), spec.stored_sha256)
            assert (tasted is None) == (spec.vector is None)
            if spec.vector is not None:
                assert tasted == pytest.approx(road.taste(spec, head), abs=1e-4)

    def _by_key(self, folder: str, read: Callable[[Path], Any], wanted: Any) -> None:
        held: dict[str, Any] = {}
        for name in self.dataset.files(folder):
            held |= self._read(f"{folder}/{name}", read)
        other = {key: (held.get(key), wanted.get(key)) for key in held.keys() | wanted.keys()}
        assert not {key: pair for key, pair in other.items() if pair[0] != pair[1] or not pair}

    def _read(self, relative: str, read: Callable[[Path], Any]) -> Any:
        """What a file holds, read once while it stays the same."""
        path = Path(self.dataset.path(relative))
        state = self.stats.get(relative)
        known = self.seen.get(relative)
        if known is None or known[0] != state:
            known = (state, read(path))
            self.seen[relative] = known
        return known[1]

    def _stats(self) -> dict[str, Any]:
        return dict(_files(self.dataset.root, ""))

    def _changed(self, *places: str) -> None:
        """Only these changed since the last look: folders, files, or `*part of a name*`."""
        now = self._stats()
        both = now.keys() | self.stats.keys()
        touched = [path for path in both if now.get(path) != self.stats.get(path)]
        parts = [place.strip("*") for place in places if place.startswith("*")]
        wrong = [
            path
            for path in touched
            if not path.startswith(places) and not any(part in path for part in parts)
        ]
        assert not wrong
        self.stats = now

    def _remembered(self) -> None:
        """The same rows and settings give the same bytes, whatever came between."""
        model = self.model
        of = [model.head, model.methods, model.rule, model.rules]
        of += [sorted(model.rows), sorted(model.removed)]
        files = tree_digest(Path(self.dataset.root))
        made = {
            name: digest
            for name, digest in files.items()
            if name.startswith(("scores", "duplicates", "verdicts"))
        }
        assert self.bytes.setdefault(repr(of), made) == made

    def _no_traces(self) -> None:
        traces = self.model.traces()
        root = Path(self.dataset.root)
        for path in sorted(root.rglob("*")) if traces else ():
            if path.is_file() and path.parent.name != "removals":
                text, raw = road.plain(path)
                left = [
                    name
                    for name, trace in traces.items()
                    if trace in text or (len(trace) > 9 and trace in raw)
                ]
                assert not left, (path.relative_to(root), left)


def _cosine(spec: road.Spec, by: str, query: road.Vector) -> float:
    stored = spec.stored if by == "image" else spec.text.astype(np.float16).astype(np.float32)
    return float(stored @ query)


def _files(folder: str, prefix: str) -> Iterator[tuple[str, Any]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                yield from _files(entry.path, f"{prefix}{entry.name}/")
            else:
                yield f"{prefix}{entry.name}", _state(entry)


def _state(path: Path | os.DirEntry[str]) -> Any:
    status = path.stat()
    return status.st_ino, status.st_mtime_ns, status.st_size


def _timeless(root: Path) -> dict[str, str]:
    """A folder's digests; the time of a removal is left out."""
    found = tree_digest(root)
    for name in found:
        if name.startswith("removals/"):
            value = json.loads((root / name).read_text())
            found[name] = repr({**value, "time": None})
    return found


def _urls(path: Path) -> Any:
    return pq.read_table(path, columns=["url"])["url"].to_pylist()


def _column(name: str) -> Callable[[Path], Any]:
    return lambda path: pq.read_table(path, columns=[name])[name].to_pylist()


def _sidecar(path: Path) -> Any:
    rows = pq.read_table(path).to_pylist()
    return [(row["key"], row["url"], row["caption"], row["error_message"]) for row in rows]


def _pictures(path: Path) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(path.read_bytes())) as tar:
        return {
            member.name.removesuffix(".jpg"): tar.extractfile(member).read()  # type: ignore[union-attr]
            for member in tar
            if member.name.endswith(".jpg")
        }


def _scored(path: Path) -> Any:
    rows = pq.read_table(path).to_pylist()
    return {row["key"]: (row["caption_words"], row["stored_sha256"], row["taste"]) for row in rows}


def _duplicates(path: Path) -> Any:
    names = ("cluster", "duplicate_of", "kind", "multiplicity")
    rows = pq.read_table(path).to_pylist()
    return {row["key"]: tuple(row[name] for name in names) for row in rows}


def _verdicts(path: Path) -> Any:
    rows = pq.read_table(path).to_pylist()
    assert all(row["keep"] == (row["reason"] is None) for row in rows)
    return {row["key"]: row["reason"] for row in rows}


# -- runs -----------------------------------------------------------------------------------------


def drive(sequences: int, steps: int = STEPS, derandomize: bool = True) -> None:
    """Let the machine take so many sequences of steps. A failure is printed as its steps."""
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    with road.one_duckdb():
        run_state_machine_as_test(
            Road,
            settings=settings(
                max_examples=sequences,
                stateful_step_count=steps,
                derandomize=derandomize,
                database=None,
                deadline=None,
                phases=(Phase.generate,),  # few steps as they are; add Phase.shrink to have fewer
                suppress_health_check=list(HealthCheck),
            ),
        )
    faiss.omp_set_num_threads(threads)


@pytest.mark.timeout(1200)  # some three minutes on a quiet machine
def test_any_steps_in_any_order_killed_anywhere_keep_every_promise() -> None:
    drive(SEQUENCES)


@pytest.mark.slow
@pytest.mark.timeout(12 * 3600)
def test_twenty_thousand_longer_roads() -> None:
    drive(20_000, steps=10, derandomize=False)


@pytest.mark.slow
@pytest.mark.timeout(3 * 3600)
def test_the_machine_alone_finds_each_mutant_of_the_road(tmp_path: Path) -> None:
    this = str(Path(__file__).relative_to(ROOT))
    done = subprocess.run(
        [sys.executable, "-m", "tools.mutants", "lifecycle", "--jobs", "1", "--tests", this],
        cwd=ROOT,
        env={**os.environ, "FRENCHCAT_MUTANTS": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("killed") >= 10
