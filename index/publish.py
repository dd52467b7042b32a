"""A dataset's vectors and columns, published to a vector database, shard by shard.

Reads embeddings/, the catalog and the log of removals; writes to the database
(curate/vector_stores), and ``published.json``. A shard is put again only if its digest changed:
that of its files and of its removed rows. So the same command adds new shards, follows new scores
and verdicts, and goes on where it stopped. Rows that the log names are never put. Cost: one pass
over the shards that changed; memory for one shard.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from frenchcat.curate import embeddings, files
from frenchcat.curate.catalog import Catalog
from frenchcat.curate.dataset import Dataset, digest_of
from frenchcat.curate.errors import (
    AlreadyThere,
    Busy,
    NoSpace,
    Unreachable,
    Unwritable,
)
from frenchcat.curate.keys import by_shard
from frenchcat.curate.list_names import KEY, PLACE, score_columns, shown_of_hit
from frenchcat.curate.markers import outputs_of
from frenchcat.curate.promote import folded
from frenchcat.curate.removals import removed_keys
from frenchcat.curate.stage import Progress, Silent
from frenchcat.curate.vector_stores import published
from frenchcat.curate.vector_stores.address import StoreAddress, open_store
from frenchcat.curate.vector_stores.store import TYPES, Contents, VectorDatabase, Vectors
from frenchcat.index.published_rows import rows_as_taken, rows_of_shard
from frenchcat.index.rows import stored_name

if TYPE_CHECKING:
    pass

VERSION = 1
"""Bump it when what is put of a shard changes: every shard is then put again."""
TARGET_RECALL = 0.99
SAMPLED_SHARDS, SAMPLED_ROWS = 8, 8
_TRIES = 3
_READ = (files.TAR, files.SIDECAR, files.RIGHTS, files.METADATA, files.IMG_EMB, files.TEXT_EMB)
_RESERVED = "frenchcat_"


@dataclass(frozen=True)
class Published:
    """What a publication did."""

    address: str
    rows: int  # that are there now
    put: int  # shards written now
    kept: int  # shards that were up to date
    dropped: int  # shards deleted there, since the dataset has them no longer
    recall: float  # of the 10 nearest, measured
    left_out: dict[str, str] = field(default_factory=dict)  # column -> why it is not there
    replaced_texts: int = 0  # texts with a character NUL, which became U+FFFD
    cut_texts: int = 0  # texts that were longer than the database takes
    nulled_numbers: int = 0  # NaN and infinite numbers, which the database does not take

    def as_dict(self) -> dict[str, Any]:
        """The counts, ready for JSON."""
        return asdict(self)


def publish(
    dataset: Dataset, to: str, *, replace: bool = False, progress: Progress | None = None
) -> Published:
    """Bring what is published at an address up to date with the dataset.

    Raises `AlreadyThere` where another dataset's rows, or vectors of another dimension, are there
    and `replace` is false; `Unreachable`, `NoSpace` and `Unwritable` for the database, saying how
    many shards are published; `NotFound` where nothing is embedded.
    """
    progress = progress or Silent()
    model = embeddings.model_of(dataset)
    address = StoreAddress.of(to)
    with open_store(address) as store:
        _take_over(dataset, store, int(model["dimension"]), replace)
        token = published.remember(dataset, address)
        work = _PublishRun.of(dataset, store, model, token)
        return work.run(progress)


def _take_over(dataset: Dataset, store: VectorDatabase, dimension: int, replace: bool) -> None:
    """Refuse rows of others, or delete them where that is agreed to."""
    there = store.contents()
    if there is None:
        return
    known = published.addresses(dataset).get(str(store.address))
    said = ""
    if not store.is_of(known):
        said = f"{store.address} holds {store.count()} rows of the dataset {there.name!r}"
    elif there.dimension != dimension:
        said = f"{store.address} holds vectors of {there.dimension} numbers, not {dimension}"
    if said and not replace:
        raise AlreadyThere(f"{said}; give another ?table=NAME, or --replace to delete them")
    if said:
        store.clear()


@dataclass(frozen=True)
class _PublishRun:
    """One publication."""

    dataset: Dataset
    store: VectorDatabase
    contents: Contents
    digests: Mapping[str, str]  # shard -> what it is to be
    left_out: Mapping[str, str]

    @classmethod
    def of(
        cls, dataset: Dataset, store: VectorDatabase, model: Mapping[str, Any], owner: str
    ) -> _PublishRun:
        """What is to be there."""
        with Catalog(dataset) as catalog:
            kinds = {**catalog.columns(), "domain": "VARCHAR"}
        columns, left_out = dict[str, str](), dict[str, str]()
        for name, kind in kinds.items():
            if name in PLACE:
                continue
            if kind not in TYPES:
                left_out[name] = f"it is of type {kind}"
            elif not store.takes(name) or folded(name).startswith(_RESERVED):
                left_out[name] = "the database cannot have a column of its name"
            else:
                columns[name] = kind
        hit_columns = [name for name in _hit_columns(dataset) if name in columns]
        contents = Contents(
            name=dataset.manifest().name,
            owner=owner,
            root=dataset.root if not dataset.local else _absolute(dataset.root),
            dimension=int(model["dimension"]),
            model=str(model["model"]),
            weights=str(model["weights"]),
            clip=dict(dataset.manifest().settings.get("clip", {})),
            columns=columns,
            hit_columns=hit_columns,
            stage_columns=[name for name in _stage_columns(dataset) if name in columns],
            shards=len(dataset.shards(embeddings.STAGE)),
        )
        shape = _shape(contents)
        gone = by_shard(dataset, removed_keys(dataset))
        digests = {
            shard: _digest(dataset, shard, shape, gone.get(shard, ()))
            for shard in dataset.shards(embeddings.STAGE)
        }
        return cls(dataset, store, contents, digests, left_out)

    def run(self, progress: Progress) -> Published:
        """Put what changed."""
        before = self.store.contents()
        known = {} if before is None else self.store.shards()
        old = [shard for shard in known if shard not in self.digests]
        todo = [shard for shard, digest in self.digests.items() if known.get(shard) != digest]
        now = self.contents
        if before is not None:
            now = now.changed(complete=before.complete, search=before.search)
        if todo or old or before != now:
            self.store.prepare(now.changed(complete=False))
        changed, done = Counter[str](), 0
        progress.begin("publish", len(todo))
        try:
            for shard in todo:
                changed += self._put(shard, progress)
                done += 1
            for shard in old:
                self.store.drop_shard(shard)
            search = now.search
            if todo or old or not search:
                search = self.store.build_index(self._queries(), TARGET_RECALL)
            if todo or old or before is None or not before.complete or before != now:
                self.store.record(now.changed(complete=True, search=search))
        except (Unreachable, NoSpace, Unwritable) as error:
            total = len(self.digests)
            raise type(error)(
                f"{error}; {total - len(todo) + done} of {total} shards are published there, and "
                "the same command goes on"
            ) from None
        finally:
            progress.end()
        return Published(
            address=str(self.store.address),
            rows=self.store.count(),
            put=len(todo),
            kept=len(self.digests) - len(todo),
            dropped=len(old),
            recall=float(search["recall@10"]),
            left_out=dict(self.left_out),
            replaced_texts=changed["nul"],
            cut_texts=changed["cut"],
            nulled_numbers=changed["nulled"],
        )

    def _put(self, shard: str, progress: Progress) -> Counter[str]:
        """Put one shard as it is now; gives how many values were changed, by how."""
        shape = _shape(self.contents)
        for _ in range(_TRIES):
            gone = removed_keys(self.dataset)
            digest = self._digest_now(shard, shape, gone)
            rows, vectors = rows_of_shard(self.dataset, shard, self.contents.columns, gone)
            if self._digest_now(shard, shape, removed_keys(self.dataset)) == digest:
                break
        else:
            raise Busy(f"shard {shard} of {self.dataset.root} changes too fast; publish it later")
        rows, changed = rows_as_taken(rows, self.store)
        self.store.put(shard, digest, rows, vectors)
        if later := removed_keys(self.dataset) - gone:  # logged while the shard was on its way
            self.store.delete(later)
        progress.advance(rows.num_rows)
        progress.shard_done(shard, {"rows": rows.num_rows})
        return changed

    def _digest_now(self, shard: str, shape: str, gone: frozenset[str]) -> str:
        removed = by_shard(self.dataset, gone).get(shard, ())
        return _digest(self.dataset, shard, shape, removed)

    def _queries(self) -> dict[str, Vectors]:
        """Stored vectors of both modalities, evenly spread, to measure recall with."""
        shards = list(self.digests)
        chosen = [shards[n] for n in np.linspace(0, len(shards) - 1, SAMPLED_SHARDS).astype(int)]
        found: dict[str, Vectors] = {}
        for by in ("image", "text"):
            parts = []
            for shard in dict.fromkeys(chosen):
                rows = embeddings.vectors_of_shard(self.dataset, shard, by)[1]
                if len(rows):
                    at = np.linspace(0, len(rows) - 1, SAMPLED_ROWS).astype(int)
                    parts.append(np.asarray(rows[np.unique(at)], np.float32))
            empty = np.empty((0, self.contents.dimension), np.float32)
            found[by] = np.concatenate(parts) if parts else empty
        # Captions look for images, as people do.
        return {"image": np.concatenate([found["image"], found["text"]]), "text": found["text"]}


def _absolute(root: str) -> str:
    from pathlib import Path

    return str(Path(root).absolute())


def _shape(contents: Contents) -> str:
    """What every shard's rows depend on."""
    columns = [dict(contents.columns), list(contents.hit_columns)]
    return digest_of([VERSION, columns, contents.dimension])


def _digest(dataset: Dataset, shard: str, shape: str, removed: Collection[str]) -> str:
    """What the published rows of a shard depend on; `removed` are those of its keys that are."""
    read = (*_READ, *files.joined().values())
    outputs = {stage: outputs_of(dataset, stage, shard) for stage in {one.stage for one in read}}
    found = {
        relative: output.sha256
        for one in read
        if (output := outputs[one.stage].get(relative := one.of(shard))) is not None
    }
    return digest_of({"shape": shape, "files": found, "removed": sorted(removed)})


def _hit_columns(dataset: Dataset) -> Iterator[str]:
    """The columns that a hit of the local index has, as they are called there."""
    import pyarrow.parquet as pq

    names: dict[str, None] = {}
    for shard in dataset.shards(embeddings.STAGE):
        with dataset.as_local(files.METADATA.of(shard)) as path:
            there = pq.read_schema(path).names
        names |= dict.fromkeys(stored_name(name) for name in there if name not in ("key", KEY))
    called = shown_of_hit(names, score_columns(dataset))
    yield from (name for name in called.values() if name not in ("url", "caption"))


def _stage_columns(dataset: Dataset) -> list[str]:
    """The columns that the service adds to a hit, without those that a hit's own fields give."""
    from frenchcat.index.service.stage_columns import FROM_HIT, StageColumns

    shards = dataset.shards("download")
    named = StageColumns(dataset).names(shards[:1] + shards[-1:])
    return [name for name in named if name not in FROM_HIT]


def publication_notes(done: Published) -> Sequence[str]:
    """What a publication left out or replaced, one sentence each."""
    notes = [f"column {name} is not published, since {why}" for name, why in done.left_out.items()]
    if done.replaced_texts:
        notes.append(f"{done.replaced_texts} texts contained NUL, which became U+FFFD there")
    if done.cut_texts:
        notes.append(f"{done.cut_texts} texts are longer than the database takes, and were cut")
    if done.nulled_numbers:
        notes.append(
            f"{done.nulled_numbers} numbers are NaN or infinite, which the database does not take: "
            "they are null there"
        )
    return notes
