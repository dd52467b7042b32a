"""The dataset folder: paths, schemas, manifest, atomic publish. The contract; read it first.

A dataset is a folder, local or at any fsspec address. Everything in it is a file that was written
under a temporary name and then renamed, so a reader sees whole files or none::

    dataset.json                                 name, stages: settings, versions, counts, digests
    lists/00000.parquet                          the rows of the URL list, frozen, a file per shard
    shards/00000.tar .parquet _stats.json        img2dataset's layout
    embeddings/{img_emb,text_emb,metadata}/…     clip-retrieval's layout
    stages/<stage>/00000.json                    what made a shard's files, with digests
    index/  selections/  removals/  …            written by their own modules

No file holds a time, a host or a path outside the dataset, so the same input gives the same bytes.

The trade-off: a shard's files are published together. On a local disk that is a redo log (one
rename decides, `Dataset.recover` finishes the rest); on an object store, which has no rename,
files are uploaded one by one and the stage's marker last.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from frenchcat.curate.atomic import make_folder, sync
from frenchcat.curate.command_text import shell_command
from frenchcat.curate.errors import Damaged, NotFound, UserError
from frenchcat.curate.extras import how_to_install
from frenchcat.curate.json_text import json_text
from frenchcat.curate.manifest import FormatOnly, Manifest
from frenchcat.curate.system_errors import writing
from frenchcat.curate.typed_json import loaded

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

M = TypeVar("M")
MANIFEST = "dataset.json"
FORMAT = 1
_TEMPORARY = ".tmp"
_COMMITTED = ".commit"
_ELSEWHERE = "name another folder or work on a copy"
_LOCK = ".lock"
_WORKERS = ".workers"


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spare spaces: equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest_of(value: Any) -> str:
    """SHA-256 (hex) of a JSON-able value's canonical text."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def file_sha256(path: str | Path) -> str:
    """SHA-256 (hex) of a local file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True)
class Dataset:
    """A dataset folder at `root` (a local path or an fsspec address such as ``s3://bucket/cats``)."""

    root: str

    # -- opening -------------------------------------------------------------------------------

    @classmethod
    def open(cls, root: str | Path) -> Dataset:
        """The dataset at `root`.

        Raises `NotFound` where there is none, `Damaged` where dataset.json is broken, `UserError`
        where another version of frenchcat made it.
        """
        dataset = cls(_tidy(root))
        if dataset.local and os.path.isfile(dataset.root):
            raise NotFound(f"{root} is a file; name the folder of a dataset")
        if not dataset.exists(MANIFEST):
            raise NotFound(
                f"{root} is not a dataset: it has no {MANIFEST}; "
                f"make one with: {shell_command('build', 'URLS', '--out', root)}"
            )
        found = dataset._read_manifest(FormatOnly).format
        if found != FORMAT:
            raise UserError(
                f"{root} has format {found!r}; this version of frenchcat reads {FORMAT}"
            )
        dataset.manifest()  # what is wrong with it is said now
        return dataset

    @classmethod
    def create(cls, root: str | Path, name: str) -> Dataset:
        """The dataset at `root`, made there when the folder is missing or empty."""
        dataset = cls(_tidy(root))
        if dataset.exists(MANIFEST):
            return cls.open(root)
        if dataset.local and (around := dataset_around(dataset.root)) is not None:
            raise UserError(
                f"{root} is inside the dataset {around}, which holds its own files only; "
                "give a folder outside it"
            )
        if foreign := [f for f in dataset.files("") if f.split("/")[0] not in _OWN]:
            raise UserError(
                f"{root} is not empty and is not a dataset (it holds {foreign[0]!r}); "
                "give an empty or a new folder"
            )
        made = [
            place
            for place in (Path(dataset.root), *Path(dataset.root).parents)
            if dataset.local and not place.exists()
        ]
        try:
            dataset.write_json(MANIFEST, {"format": FORMAT, "name": name, "stages": {}})
        except BaseException:  # a full disk leaves no folder of a dataset that is none
            for folder in (Path(dataset.path(_TEMPORARY)), *made) if dataset.local else ():
                with contextlib.suppress(OSError):
                    folder.rmdir()
            raise
        return dataset

    # -- reading -------------------------------------------------------------------------------

    @property
    def local(self) -> bool:
        """Whether the folder is on this machine's file system."""
        return "://" not in self.root

    @property
    def fs(self) -> AbstractFileSystem:
        """The fsspec file system that holds the dataset."""
        import fsspec

        # A kept listing would miss what other processes write: workers, another build.
        try:
            fs: AbstractFileSystem = fsspec.core.url_to_fs(self.root, use_listings_cache=False)[0]
        except (ImportError, ValueError) as error:  # no driver, or no such protocol
            kind = self.root.split("://")[0]
            cure = how_to_install("s3") if kind in ("s3", "s3a") else "see fsspec's list of drivers"
            raise UserError(f"{self.root} cannot be opened ({error}); {cure}") from None
        return fs

    def path(self, relative: str = "") -> str:
        """The full path or address of a file of the dataset."""
        return f"{self.root}/{relative}" if relative else self.root

    def exists(self, relative: str) -> bool:
        """Whether the dataset has this file or folder."""
        if self.local:
            return os.path.exists(self.path(relative))
        return bool(self.fs.exists(self.path(relative)))

    def size(self, relative: str) -> int | None:
        """A file's size in bytes; None where there is no such file."""
        try:
            if self.local:
                return os.stat(self.path(relative)).st_size
            return int(self.fs.size(self.path(relative)))
        except FileNotFoundError:
            return None

    def files(self, folder: str) -> list[str]:
        """The names directly in a folder of the dataset, sorted; empty where it is missing."""
        try:
            if self.local:
                return sorted(os.listdir(self.path(folder)))
            listed = self.fs.ls(self.path(folder), detail=False)
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(str(name).rstrip("/").rsplit("/", 1)[-1] for name in listed)

    def read_bytes(self, relative: str) -> bytes:
        """A file's bytes. Raises FileNotFoundError."""
        if self.local:
            return Path(self.path(relative)).read_bytes()
        return bytes(self.fs.cat_file(self.path(relative)))

    def read_json(self, relative: str) -> Any:
        """A JSON file's value. Raises `UserError` where it is broken."""
        try:
            return json.loads(self.read_bytes(relative))
        except ValueError as error:
            raise Damaged(
                f"{self.path(relative)} is not JSON ({error}); remove it and build again"
            ) from None

    @contextlib.contextmanager
    def as_local(self, relative: str) -> Iterator[Path]:
        """The file as a local path, fetched into a temporary one where the dataset is remote."""
        if self.local:
            yield Path(self.path(relative))
            return
        with tempfile.TemporaryDirectory(prefix="frenchcat-") as folder:
            copy = Path(folder) / Path(relative).name
            self.fs.get_file(self.path(relative), str(copy))
            yield copy

    def manifest(self) -> Manifest:
        """The value of dataset.json. Raises `Damaged`, which names what is wrong in it."""
        return self._read_manifest(Manifest)

    def _read_manifest(self, kind: type[M]) -> M:
        data, cure = self.read_bytes(MANIFEST), "restore it or build again"
        return loaded(kind, data, self.path(MANIFEST), cure)

    def shards(self, stage: str = "download") -> list[str]:
        """The ids of the shards that a stage has finished, sorted (``00000``, ``00001``, …)."""
        names = self.files(f"stages/{stage}")
        return [name.removesuffix(".json") for name in names if name.endswith(".json")]

    def require_shards(self) -> list[str]:
        """The shards that are downloaded. Raises `NotFound` where there are none."""
        if not (shards := self.shards("download")):
            raise NotFound(f"{self.root} has no shards; first: {self.fetch_command()}")
        return shards

    def fetch_command(self) -> str:
        """The command that makes shards: a download, or where there is no list another adoption."""
        if self.manifest().adopted_from is not None:
            return shell_command("adopt", "FOLDER", "--out", "NEW")
        return shell_command("download", "URLS", "--out", self.root)

    # -- writing -------------------------------------------------------------------------------

    @contextlib.contextmanager
    def publish(self, name: str) -> Iterator[Publication]:
        """Write several files that appear together, or not at all, when the block ends.

        `name` tells this publication from others at work at the same time (``embed-00003``).
        Nothing appears when the block raises. Raises `Unwritable` and `NoSpace` for the disk.
        """
        with writing(self.root, _ELSEWHERE), self.scratch(name) as folder:
            publication = Publication(folder, {})
            yield publication
            if self.local:
                self._commit(publication, name)
            else:
                for relative in publication.relatives:
                    self._upload(folder / relative, self.path(relative))

    @contextlib.contextmanager
    def scratch(self, name: str) -> Iterator[Path]:
        """A local folder for work in progress; gone afterwards, after a crash by `recover`.

        Raises `Unwritable` and `NoSpace`, which name the dataset and no file of the folder.
        """
        base = Path(self.path(_TEMPORARY)) if self.local else Path(tempfile.gettempdir())
        place, cure = (self.root, _ELSEWHERE) if self.local else (base, "set TMPDIR to another")
        with writing(place, cure):
            base.mkdir(parents=True, exist_ok=True)
            folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=base))
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)

    def write_json(self, relative: str, value: Any) -> None:
        """Publish one JSON file, indented, keys sorted."""
        with self.publish(relative.replace("/", "-")) as publication:
            text = json_text(value, indent=1, sort_keys=True) + "\n"
            publication.path(relative).write_text(text, encoding="utf-8")

    def update_manifest(self, values: Mapping[str, Any]) -> None:
        """Set keys of dataset.json and leave the others; nothing is written if nothing changes."""
        before = self.read_json(MANIFEST)
        after = {**before, **values}
        if canonical_json(after) != canonical_json(before):
            self.write_json(MANIFEST, after)

    def remove(self, relative: str) -> None:
        """Delete a file if it is there."""
        with contextlib.suppress(FileNotFoundError):
            if self.local:
                os.unlink(self.path(relative))
            else:
                self.fs.rm_file(self.path(relative))

    def recover(self) -> None:
        """Finish publications that a crash cut short and drop what was never decided.

        Call it with the lock held: files of a build at work would be taken for leftovers.
        """
        if not self.local:
            return
        for folder in sorted(Path(self.path(_COMMITTED)).glob("*")):
            self._finish(folder)
        shutil.rmtree(self.path(_TEMPORARY), ignore_errors=True)

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the dataset for one writer; recovers it first and leaves no lock file behind it.

        Raises `UserError` when another process holds it. The lock of a killed process is free.
        """
        from frenchcat.curate.lock import hold, wait_for_workers

        with contextlib.ExitStack() as held:
            with writing(self.root, _ELSEWHERE):
                held.enter_context(hold(self, _LOCK))
                wait_for_workers(self, _WORKERS)
                self.recover()
            try:
                yield
            finally:
                self.remove(_WORKERS)
                if self.local:
                    for leftover in (_TEMPORARY, _COMMITTED):
                        with contextlib.suppress(OSError):
                            os.rmdir(self.path(leftover))

    def is_locked(self) -> bool:
        """Whether another process holds the dataset now; the lock is not taken."""
        from frenchcat.curate.lock import is_held

        return is_held(self, _LOCK)

    def leftovers(self) -> list[str]:
        """The folders of work that is under way or was interrupted; see `recover`."""
        both = (_COMMITTED, _TEMPORARY)
        return [name for name in both if self.local and self.files(name)]

    def working(self) -> AbstractContextManager[None]:
        """Entered by a worker process while it may write, so that `lock` waits for orphans."""
        from frenchcat.curate.lock import work_under

        return work_under(self, _WORKERS)

    def _upload(self, source: Path, address: str) -> None:
        try:
            self.fs.put_file(str(source), address)
        except FileNotFoundError:  # a store that has folders wants them made
            self.fs.makedirs(address.rsplit("/", 1)[0], exist_ok=True)
            self.fs.put_file(str(source), address)

    def _commit(self, publication: Publication, name: str) -> None:
        decided = Path(self.path(_COMMITTED)) / name
        if decided.exists():
            self._finish(decided)
        for relative in publication.relatives:
            sync(publication.folder / relative)
        if len(publication.relatives) == 1:  # its rename decides
            self._move(publication.folder, publication.relatives)
            return
        order = publication.folder / ".order"
        order.write_text("\n".join(publication.relatives), encoding="utf-8")
        sync(order)
        for folder in {parent for rel in publication.relatives for parent in Path(rel).parents}:
            sync(publication.folder / folder)
        make_folder(decided.parent)
        os.rename(publication.folder, decided)  # from here on `recover` completes it
        sync(decided.parent)  # the decision has to last before a move that nobody would undo
        self._finish(decided)

    def _finish(self, decided: Path) -> None:
        # Without its .order a folder was being deleted when the crash came: all moves were done.
        order = decided / ".order"
        if order.exists():
            self._move(decided, order.read_text(encoding="utf-8").splitlines())
        shutil.rmtree(decided)

    def _move(self, source: Path, relatives: Collection[str]) -> None:
        """Move files to where they belong; they are there for good when it returns."""
        targets = {relative: Path(self.path(relative)) for relative in relatives}
        for relative, target in targets.items():
            make_folder(target.parent)
            with contextlib.suppress(FileNotFoundError):  # moved before the crash
                os.replace(source / relative, target)
        for folder in {target.parent for target in targets.values()}:
            sync(folder)


@dataclass(frozen=True)
class Publication:
    """Files being written, to appear in the dataset together in the order they were named."""

    folder: Path
    relatives: dict[str, None]  # in order; a dict, since a list's shards are many

    def path(self, relative: str) -> Path:
        """Where to write the file that will be `relative` in the dataset (made here: parents)."""
        target = self.folder / relative
        if relative not in self.relatives:
            target.parent.mkdir(parents=True, exist_ok=True)
            self.relatives[relative] = None
        return target


_OWN = frozenset({_TEMPORARY, _COMMITTED, _LOCK, _WORKERS})


def _tidy(root: str | Path) -> str:
    text = str(root)
    if "://" in text:
        return text.rstrip("/")
    return os.path.abspath(os.path.expanduser(text))


def dataset_around(path: str | Path) -> str | None:
    """The local dataset that a path lies in or is; None for one outside, or at an address."""
    if "://" in str(path):
        return None
    place = os.path.realpath(os.path.expanduser(path))
    while not _looks_like_one(place):
        if (above := os.path.dirname(place)) == place:
            return None
        place = above
    return place


def _looks_like_one(folder: str) -> bool:
    """Whether a folder has a dataset's manifest and folders; other tools have a dataset.json."""
    parts = ("stages", "shards", "lists")
    return os.path.isfile(os.path.join(folder, MANIFEST)) and any(
        os.path.isdir(os.path.join(folder, name)) for name in parts
    )
