"""A model of all stages: twenty-odd rows, what each stage makes of them, and a kill.

`WORLD` is the list, in order; a row's picture, vector and failure are chosen, so that no model and
no network is needed and every verdict can be worked out with a dict. Downloads and embeddings are
written by the project's own stages with the fetch and the network exchanged for `WORLD`; all that
is behind them (scores, duplicates, verdicts, index, selections, removals) is the real thing.
"""

import contextlib
import hashlib
import io
import itertools
import os
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image
from safetensors.numpy import save_file

from frenchcat.curate.clip.settings import ClipSettings
from frenchcat.curate.clip.weights import ClipWeights
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.download import DownloadSettings, ResizeSettings, lists
from frenchcat.curate.download.columns import uid_of
from frenchcat.curate.download.rights.signal import FACT, OPT_OUT
from frenchcat.curate.download.shards import Outcome, write
from frenchcat.curate.download.stage import DownloadStage
from frenchcat.curate.failures import Failure
from frenchcat.curate.hashes import PDQ_DISTANCE, PDQ_QUALITY, pdq_and_quality
from frenchcat.curate.keys import key_of
from frenchcat.curate.markers import Counts
from frenchcat.curate.run_stage import run_stage
from frenchcat.curate.stage import Engine, Output, ShardFunction
from tests.curate.download.loopback import jpeg
from tests.sample import pictures
from tests.sample.stages import Chosen
from tests.sample.vectors import at_cosine, unit_rows

Vector = NDArray[np.float32]
PER_SHARD = 5
DIMENSION = 16
WEIGHTS = ClipWeights("chosen", "chosen", None, "ab" * 32, DIMENSION)
DOWNLOAD = DownloadSettings(samples_per_shard=PER_SHARD, resize=ResizeSettings(image_size=64))
UNIT = unit_rows(80, DIMENSION, seed=20)


@dataclass(frozen=True)
class Spec:
    """A row of the list and what becomes of it."""

    url: str
    caption: str
    picture: bytes | None  # None: it fails
    vector: Vector | None  # None: its picture cannot be embedded
    text: Vector
    side: int = 96  # pixels of the original
    failed: str | None = None
    opted_out: bool = False  # by a signal that the download wrote down and did not obey

    @property
    def sha256(self) -> str:
        return hashlib.sha256(b"original " + (self.picture or b"")).hexdigest()

    @property
    def stored_sha256(self) -> str:
        return hashlib.sha256(self.picture or b"").hexdigest()

    @property
    def stored(self) -> Vector:
        """The vector as the dataset keeps it."""
        assert self.vector is not None
        return self.vector.astype(np.float16).astype(np.float32)

    @property
    def similarity(self) -> float:
        return float(self.stored @ self.text.astype(np.float16).astype(np.float32))


HOSTS = ("example.org", "cats.example.org", "notexample.org", "pets.co.uk", "img.other.net")
WORDS = "tabby kitten asleep sofa window garden nude winter hat mouse basket sun".split()


def near(vector: Vector, seed: int, cosine: float = 0.985) -> Vector:
    """A unit vector at a cosine to another."""
    return at_cosine(vector, cosine, UNIT[seed]).astype(np.float32)


@cache
def coarser(number: int) -> bytes:
    """The picture `number`, compressed harder: another file, the same PDQ hash but for bits."""
    return pictures.jpeg(Image.open(io.BytesIO(jpeg(number))), quality=55)


def _world() -> tuple[Spec, ...]:
    rng = np.random.default_rng(5)
    made = []
    for number in range(26):
        words = [str(word) for word in rng.choice(WORDS, int(rng.integers(1, 5)), replace=False)]
        side = int(rng.choice([96, 120]))
        host = HOSTS[int(rng.integers(len(HOSTS)))]
        made.append(
            Spec(
                url=f"http://{host}/cat-{number}.jpg",
                caption=" ".join([f"no{number}x", *words][: None if number % 3 else 1]),
                picture=jpeg(number),
                vector=UNIT[number],
                text=near(UNIT[number], 40 + number, 0.3 + 0.02 * (number % 7)),
                side=side,
                opted_out=number % 9 == 5,
            )
        )

    def like(number: int, other: int, *what: str) -> None:
        made[number] = replace(made[number], **{name: getattr(made[other], name) for name in what})

    like(7, 1, "picture", "vector")  # the same bytes
    like(16, 1, "picture", "vector")
    made[8] = replace(made[8], picture=coarser(2), vector=near(UNIT[2], 60))  # a near copy
    made[9] = replace(made[9], vector=near(UNIT[4], 61))  # like it to the model alone
    made[12] = replace(made[12], vector=near(made[9].vector, 62))  # of a chain
    made[11] = replace(made[11], url=made[3].url.replace("http://", "HTTP://") + "#top")
    made[14] = replace(made[14], picture=coarser(6))  # to the eye alone
    made[17] = replace(made[17], picture=coarser(1), vector=near(UNIT[1], 63))
    for number in (6, 13):
        made[number] = replace(made[number], vector=None)
    for number, reason in ((5, "http_404"), (10, "timeout: 3 s"), (19, "http_404")):
        made[number] = replace(made[number], picture=None, vector=None, failed=reason)
    return tuple(made)


WORLD = _world()
BY_URL = {spec.url: spec for spec in WORLD}
HASHES = {
    spec.picture: pdq_and_quality(Image.open(io.BytesIO(spec.picture)))
    for spec in WORLD
    if spec.picture
}


def distance(one: Spec, other: Spec) -> int:
    """Bits between two pictures' PDQ hashes."""
    assert one.picture
    assert other.picture
    bits = [int.from_bytes(HASHES[spec.picture][0], "big") for spec in (one, other)]
    return (bits[0] ^ bits[1]).bit_count()


def listed(folder: Path, rows: int) -> str:
    """A URL list of the first `rows` rows; the same file for the same number."""
    path = folder / f"urls-{rows}.parquet"
    if not path.exists():
        chosen = WORLD[:rows]
        columns = {"url": [s.url for s in chosen], "caption": [s.caption for s in chosen]}
        pq.write_table(pa.table(columns), path)
    return str(path)


# -- stages without a network ---------------------------------------------------------------------


@dataclass(frozen=True)
class Served(DownloadStage):
    """The download, with `WORLD` for the web."""

    @contextlib.contextmanager
    def start(self, dataset: Dataset) -> Iterator[ShardFunction]:
        yield lambda shard, output: _download(dataset, shard, output)


def _download(dataset: Dataset, shard: str, output: Output) -> Counts:
    rows = pq.read_table(dataset.path(lists.relative(shard)))
    specs = [BY_URL.get(url) for url in rows["url"].to_pylist()]
    outcomes = [_outcome(spec) for spec in specs]
    pictures = {n: spec.picture for n, spec in enumerate(specs) if spec and spec.picture}
    counts = write(output, shard, rows, outcomes, pictures.__getitem__, "jpg")
    said = [
        (key_of(shard, n), "tdm_reservation", "1", spec.url, None, OPT_OUT)
        if spec.opted_out
        else (key_of(shard, n), "copyright", f"c {spec.caption}", spec.url, None, FACT)
        for n, spec in enumerate(specs)
        if spec and spec.picture
    ]
    names = ("key", "signal", "value", "where", "time", "decision")
    schema = pa.schema([(name, pa.string()) for name in names])
    table = pa.Table.from_pylist([dict(zip(names, row, strict=True)) for row in said], schema)
    pq.write_table(table, output.path(f"rights/{shard}.parquet"))
    return counts


def _outcome(spec: Spec | None) -> Outcome:
    if spec is None or spec.picture is None:
        reason, _, detail = (spec.failed if spec and spec.failed else "no_url").partition(": ")
        failure = Failure(reason, detail=detail or None)
        return Outcome.failed("failed_to_download", failure)
    stored = (spec.sha256, spec.stored_sha256)
    return Outcome("success", None, 96, 64, spec.side, 64, "{}", *stored)


@dataclass(frozen=True)
class Embedded(Chosen):
    """The embeddings, with the vectors of `WORLD`."""

    def choose(self, row: Mapping[str, Any]) -> tuple[Vector, Vector] | str:
        spec = BY_URL[row["url"]]
        return "undecodable" if spec.vector is None else (spec.vector, spec.text)


def fetch(dataset: Dataset, urls: str) -> None:
    """Freeze a list's new rows, download and embed them."""
    shape = lists.Shape(samples_per_shard=PER_SHARD)
    shards = lists.freeze(dataset, urls, shape)
    run_stage(dataset, Served(DOWNLOAD), shards, Engine(workers=1))
    run_stage(dataset, Embedded(ClipSettings(), WEIGHTS, 0), shards)


# -- what can be set ------------------------------------------------------------------------------


def head(folder: Path, number: int) -> str:
    """A file with the `number`-th direction as a head; the score is the dot product with it."""
    path = folder / f"head-{number}.safetensors"
    if not path.exists():
        save_file({"weight": UNIT[70 + number][None], "bias": np.zeros(1, np.float32)}, path)
    return str(path)


def taste(spec: Spec, number: int) -> float:
    """What that head says."""
    return float(spec.stored @ UNIT[70 + number])


METHODS = ("exact", "perceptual", "semantic")
Facts = Mapping[str, Any]
RULES: dict[str, tuple[str, Callable[[Spec, Facts], bool | None]]] = {
    "short": ("caption_words < 2", lambda spec, facts: facts["words"] and facts["words"] < 2),
    "bland": ("taste < 0", lambda spec, facts: facts["taste"] is not None and facts["taste"] < 0),
    "unsafe_words": ("caption like '%nude%'", lambda spec, facts: "nude" in spec.caption),
    "duplicate": ("duplicate_of is not null", lambda spec, facts: facts["duplicate_of"]),
    "opted_out": ("opted_out is not null", lambda spec, facts: spec.opted_out),
}


def clusters(
    rows: Mapping[str, Spec], methods: Sequence[str], cosine: float, rule: str
) -> dict[str, tuple[str, str | None, str | None, int]]:
    """Key -> cluster, duplicate_of, kind, multiplicity; by comparing all with all."""
    keys = sorted(rows)
    labels = {key: key for key in keys}
    after: dict[str, dict[str, str]] = {}
    for method in METHODS:
        if method in methods:
            for number, one in enumerate(keys):
                for other in keys[number + 1 :]:
                    if _alike(rows[one], rows[other], method, cosine):
                        low, high = sorted((labels[one], labels[other]))
                        labels = {k: low if v == high else v for k, v in labels.items()}
            after[method] = dict(labels)
    found = {}
    for key in keys:
        members = [other for other in keys if labels[other] == labels[key]]
        stays = min(members, key=lambda other: _rank(rows[other], rule, other))
        kind = next((m for m, by in after.items() if by[key] == by[stays]), None)
        alone = key == stays
        found[key] = (
            labels[key],
            None if alone else stays,
            None if alone else kind,
            len(members),
        )
    return found


def _rank(spec: Spec, rule: str, key: str) -> tuple[float, float, str]:
    if rule == "key":
        return 0.0, 0.0, key
    similarity = -np.inf if spec.vector is None else float(np.float32(spec.similarity))
    return -spec.side * 64.0, -similarity, key


def canonical(url: str) -> str:
    return url.lower().split("#")[0]


def _alike(one: Spec, other: Spec, method: str, cosine: float) -> bool:
    if method == "exact":
        same = one.stored_sha256 == other.stored_sha256
        return same or canonical(one.url) == canonical(other.url)
    if method == "perceptual":
        good = all(HASHES[spec.picture or b""][1] >= PDQ_QUALITY for spec in (one, other))
        return good and distance(one, other) <= PDQ_DISTANCE
    if one.vector is None or other.vector is None:
        return False
    return float(one.stored @ other.stored) >= cosine


# -- a kill ---------------------------------------------------------------------------------------


class Killed(BaseException):
    """The process is gone."""


@contextlib.contextmanager
def killed(after: int) -> Iterator[list[int]]:
    """Die at the operation on files behind so many; gives a list that holds what is left.

    A rename, a deletion or an fsync is where the disk can show a difference. From the moment of
    death on nothing is renamed or deleted any more, whatever `finally` blocks try: the disk is as
    `kill -9` leaves it, and the locks that the system frees are freed.
    """
    left = [after]
    real = {name: getattr(os, name) for name in ("rename", "replace", "unlink", "rmdir", "fsync")}
    others, held = {"open": os.open, "close": os.close}, set[int]()

    def dying(name: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if left[0] < 0:
                return None
            left[0] -= 1
            if left[0] < 0:
                raise Killed
            return real[name](*args, **kwargs)

        return call

    def opening(path: Any, *args: Any, **kwargs: Any) -> int:
        descriptor = others["open"](path, *args, **kwargs)
        if str(path).endswith(".lock"):
            held.add(descriptor)
        return descriptor

    def closing(descriptor: int) -> None:
        held.discard(descriptor)
        others["close"](descriptor)

    for name in real:
        setattr(os, name, dying(name))
    os.open, os.close = opening, closing
    try:
        yield left
    finally:
        for name, function in (real | others).items():
            setattr(os, name, function)
        for descriptor in held:
            os.close(descriptor)


class _Lent:
    """A database of its own within one instance of DuckDB, handed out as a connection."""

    def __init__(self, instance: Any, name: str) -> None:
        self._cursor, self._name = instance.cursor(), name
        self._cursor.execute(f"ATTACH ':memory:' AS {name}")
        self._cursor.execute(f"USE {name}")

    def execute(self, sql: str, *values: Any) -> Any:
        # The catalog's settings are one instance's, which is lent to all: they are tried elsewhere.
        return None if sql.startswith("SET ") else self._cursor.execute(sql, *values)

    def create_function(self, name: str, *given: Any, **how: Any) -> None:
        # Functions are an instance's, too: the first that is lent has made it.
        import duckdb

        with contextlib.suppress(duckdb.CatalogException):
            self._cursor.create_function(name, *given, **how)

    def close(self) -> None:
        self._cursor.execute("USE memory")
        self._cursor.execute(f"DETACH {self._name}")
        self._cursor.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)


@contextlib.contextmanager
def one_duckdb() -> Iterator[None]:
    """Lend one instance of one thread to every catalog: making one costs more than a step."""
    import duckdb

    connect, number = duckdb.connect, itertools.count()
    instance = connect(config={"threads": 1})

    def lend(*args: Any, **kwargs: Any) -> Any:
        if args or kwargs:
            return connect(*args, **kwargs)
        return _Lent(instance, f"lent_{next(number)}")

    duckdb.connect = lend  # type: ignore[assignment]
    try:
        yield
    finally:
        duckdb.connect = connect
        instance.close()


def scratch() -> Path:
    """A new folder, in memory where there is such a file system: thousands of files are synced."""
    memory = Path("/dev/shm")
    where = memory if memory.is_dir() and os.access(memory, os.W_OK) else None
    return Path(tempfile.mkdtemp(prefix="frenchcat-road-", dir=where))


# -- the model ------------------------------------------------------------------------------------

DOMAINS = {
    "example.org": {"example.org"},
    "cats.example.org": {"example.org", "cats.example.org"},
    "notexample.org": {"notexample.org"},
    "pets.co.uk": {"pets.co.uk"},
    "img.other.net": {"other.net", "img.other.net"},
}
WHERE: dict[str | None, Callable[["Model", str], bool]] = {
    None: lambda model, key: True,
    "caption_words >= 2": lambda model, key: (model.words(key) or 0) >= 2,
    "original_width > 100 or duplicate_of is not null": lambda model, key: (
        model.rows[key].side > 100 or model.cluster(key)[1] is not None
    ),
}


def host(spec: Spec) -> str:
    return spec.url.split("/")[2].lower()


@dataclass
class Model:
    """What each row's fate has to be, by what was done so far; keys lead to everything."""

    rows: dict[str, Spec]  # what the files hold, removed rows until they are compacted
    gone: dict[str, Spec]  # compacted away
    removed: set[str]
    shards: dict[str, list[str]]  # the keys of the frozen lists
    given: int  # rows of WORLD
    blocked: set[str]  # canonical URLs and domains of removal requests
    head: int = 0
    methods: tuple[str, ...] = METHODS
    rule: str = "resolution"
    rules: tuple[str, ...] = ("unsafe_words", "bland")
    # as the stages last found it
    scored: dict[str, int] | None = None  # shard -> head
    clusters: dict[str, tuple[str, str | None, str | None, int]] | None = None
    reasons: dict[str, str | None] | None = None
    indexed: list[str] | None = None
    requests: int = 0

    @classmethod
    def empty(cls) -> "Model":
        """Of a dataset that was just made."""
        return cls({}, {}, set(), {}, 0, set(), scored={}, clusters={}, reasons={})

    def copy(self) -> "Model":
        """One that changes alone."""
        own = {
            name: type(value)(value)
            for name, value in vars(self).items()
            if isinstance(value, (dict, set, list))
        }
        own["shards"] = {shard: list(keys) for shard, keys in self.shards.items()}
        return replace(self, **own)

    # -- fates ------------------------------------------------------------------------------------

    def stored(self) -> list[str]:
        """The rows that have a picture in the files, removed ones with them."""
        return sorted(key for key, spec in self.rows.items() if spec.picture is not None)

    def present(self) -> list[str]:
        """Those that may be seen."""
        return [key for key in self.stored() if key not in self.removed]

    def embedded(self) -> list[str]:
        return [key for key in self.stored() if self.rows[key].vector is not None]

    def words(self, key: str) -> int | None:
        scored = self.scored is not None and key[:5] in self.scored
        return len(self.rows[key].caption.split()) if scored else None

    def cluster(self, key: str) -> tuple[str, str | None, str | None, int]:
        return (self.clusters or {}).get(key, (key, None, None, 1))

    def reason(self, key: str) -> str | None:
        """What the rules say now."""
        spec = self.rows[key]
        if key in self.removed:
            return "removed"
        if spec.vector is None:
            return "not_embedded:undecodable"
        head = (self.scored or {}).get(key[:5])
        facts = {
            "words": self.words(key),
            "taste": None if head is None else taste(spec, head),
            "duplicate_of": self.cluster(key)[1],
        }
        return next((name for name in self.rules if RULES[name][1](spec, facts)), None)

    def now(self, key: str) -> str | None:
        """Why a stored row is not kept at this moment, for `info`."""
        if key in self.removed:
            return "removed"
        if self.rows[key].vector is None:
            return "not_embedded:undecodable"
        return (self.reasons or {}).get(key)

    # -- what the steps do ------------------------------------------------------------------------

    def grow(self, given: int) -> None:
        known = {spec.url for spec in (*self.rows.values(), *self.gone.values())}
        new = [s for s in WORLD[:given] if s.url not in known and not self.is_blocked(s)]
        for start in range(0, len(new), PER_SHARD):
            shard = f"{len(self.shards):05d}"
            part = new[start : start + PER_SHARD]
            self.shards[shard] = [key_of(shard, number) for number in range(len(part))]
            self.rows |= dict(zip(self.shards[shard], part, strict=True))
        self.given = given

    def is_blocked(self, spec: Spec, by: set[str] | None = None) -> bool:
        """Whether removal requests (or what else is named) keep a row of a list out."""
        asked = self.blocked if by is None else by
        return bool(asked & {canonical(spec.url), *DOMAINS[host(spec)]})

    def score(self) -> None:
        self.scored = dict.fromkeys(self.shards, self.head)

    def dedup(self) -> None:
        there = {key: self.rows[key] for key in self.present()}
        self.clusters = clusters(there, self.methods, 0.96, self.rule)

    def judge(self) -> None:
        self.reasons = {key: self.reason(key) for key in self.stored()}

    def index(self) -> None:
        self.indexed = self.embedded()

    def matching(self, by: str, value: str, close: bool, picture: bytes | None) -> list[str]:
        """The rows that a removal names."""
        there = self.present()
        named = {
            "url": lambda spec: canonical(spec.url) == canonical(value),
            "domain": lambda spec: value in DOMAINS[host(spec)],
            "sha256": lambda spec: value in (spec.sha256, spec.stored_sha256),
            "like": lambda spec: spec.picture == picture,
        }
        found = {
            key for key in there if (key == value if by == "key" else named[by](self.rows[key]))
        }
        exact = [self.rows[key] for key in found]
        if close or by == "like":
            eyes = [self.rows[key] for key in found if key[:5] in (self.scored or {})]
            if by == "like":
                eyes.append(next(spec for spec in WORLD if spec.picture == picture))
            for key in there:
                spec = self.rows[key]
                seen = key[:5] in (self.scored or {})
                if seen and any(distance(spec, one) <= PDQ_DISTANCE for one in eyes):
                    found.add(key)
                if any(_alike(spec, one, "semantic", 0.96) for one in exact):
                    found.add(key)
        return sorted(found)

    def remove(self, keys: Sequence[str], by: str, value: str) -> None:
        asked = {canonical(self.rows[key].url) for key in keys}
        asked |= {canonical(value)} if by in ("url", "domain") else set()
        self.blocked |= asked
        failed = {key for key, spec in self.rows.items() if spec.picture is None}
        self.removed |= {*keys, *(key for key in failed if self.is_blocked(self.rows[key], asked))}
        self.requests += 1

    def compact(self) -> None:
        for key in self.removed & self.rows.keys():
            self.gone[key] = self.rows.pop(key)

    # -- what is shown ----------------------------------------------------------------------------

    def chosen(self, where: str | None) -> list[str]:
        """The rows of a selection."""
        kept = [key for key in self.present() if (self.reasons or {}).get(key) is None]
        return [key for key in kept if WHERE[where](self, key)]

    def shown(self, where: str | None, safe: bool, duplicates: bool, dropped: bool) -> set[str]:
        """The rows that a search may find, see index/visible.py."""
        found = []
        for key in self.indexed or []:
            said = (self.reasons or {}).get(key) or ""
            if key in self.removed or not WHERE[where](self, key):
                continue
            unsafe, double = said.startswith("unsafe"), said.startswith("duplicate")
            hidden = bool(said) and not unsafe and not double and said != "removed"
            if (unsafe and safe) or (hidden and not dropped):
                continue
            found.append(key)
        if duplicates:
            return set(found)
        stands: dict[str, str] = {}
        for key in sorted(found, key=lambda key: (self.cluster(key)[1] is not None, key)):
            stands.setdefault(self.cluster(key)[0], key)
        return set(stands.values())

    def traces(self) -> dict[str, bytes]:
        """What would give a row away that is gone, but for what present rows have too."""
        left = {trace for key, spec in self.rows.items() for trace in _traces(key, spec)}
        return {
            f"{key}: {trace[:40]!r}": trace
            for key, spec in self.gone.items()
            for trace in _traces(key, spec) - left
        }


def _traces(key: str, spec: Spec) -> set[bytes]:
    words = spec.caption.split()[0], uid_of(spec.url, spec.caption)
    found = {key.encode(), spec.url.encode(), *(word.encode() for word in words)}
    if spec.picture:
        found |= {spec.sha256.encode(), spec.stored_sha256.encode(), spec.picture}
        found.add(HASHES[spec.picture][0].hex().encode())
    if spec.vector is not None:
        found |= {spec.vector.astype(np.float16).tobytes(), spec.text.astype(np.float16).tobytes()}
    return found


def plain(path: Path) -> tuple[bytes, bytes]:
    """A file's values as text, where it is a table, and its bytes; else its bytes twice.

    In a table's bytes one key follows the other, and what their digits make together looks like
    another: keys are to be looked for in the text.
    """
    raw = path.read_bytes()
    if path.suffix == ".parquet":
        table = pq.read_table(path)
    elif path.suffix == ".arrow":
        with pa.OSFile(str(path)) as source:
            table = pa.ipc.open_file(source).read_all()
    elif path.suffix == ".tar":
        data = bytearray(raw)
        with tarfile.open(path) as tar:
            for member in tar:  # sizes and times, whose digits look like a key's, too
                for header in (member.offset, member.offset_data - 512):
                    data[header + 100 : header + 156] = bytes(56)
        return bytes(data), bytes(data)
    else:
        return raw, raw
    return repr((table.to_pylist(), table.schema.metadata)).encode(), raw
