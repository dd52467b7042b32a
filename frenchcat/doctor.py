"""What is installed and free on this machine, and whether a dataset is healthy.

Reads the packages' metadata, the system's counters and a dataset's markers; writes nothing but a
temporary folder to see whether it may. Loads no model. Cost: one small file read per shard and
stage; `every_byte` reads the dataset once.
"""

from __future__ import annotations

import os
import platform
import re
import resource
import shutil
import tempfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from frenchcat.curate.command_text import shell_command
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.errors import FrenchcatError, UserError
from frenchcat.curate.extras import how_to_install
from frenchcat.curate.health import Diagnosis, counted, health
from frenchcat.curate.markers import marker
from frenchcat.curate.system_errors import check_writable, sized

if TYPE_CHECKING:
    from packaging.requirements import Requirement

PACKAGE = "frenchcat"
LOW_DISK_BYTES = 2e9
"""A shard of 10,000 images takes 0.3 GB, and every core has one in hand."""
LOW_MEMORY_BYTES = 1.5e9
"""A process that has loaded torch and the bundled model takes 0.9 GB."""
LOW_OPEN_FILES = 1024
"""A download keeps hundreds of connections, the service up to 800."""


def examine(dataset: str | Path | None = None, *, every_byte: bool = False) -> Iterator[Diagnosis]:
    """What is found of this installation and machine, and of a dataset if one is given."""
    yield from installation()
    yield from machine(Path.cwd() if dataset is None else dataset)
    if dataset is not None:
        yield from of_dataset(dataset, every_byte=every_byte)


def installation() -> Iterator[Diagnosis]:
    """Python, the packages of a default install, and the extras."""
    yield _python()
    yield from _packages()


def machine(place: str | Path) -> Iterator[Diagnosis]:
    """Disk and write permission at `place` and for temporary files, memory, open files."""
    if "://" not in str(place):
        yield _disk("disk", Path(place))
        yield _writable("disk", Path(place))
    temporary = Path(tempfile.gettempdir())
    yield _disk("temporary files", temporary)
    yield _writable("temporary files", temporary)
    yield _memory()
    yield _open_files()


def of_dataset(root: str | Path, *, every_byte: bool = False) -> Iterator[Diagnosis]:
    """What is found of a dataset; one that cannot be opened is a finding, too."""
    try:
        opened = Dataset.open(root)
    except FrenchcatError as error:
        yield Diagnosis("dataset", "fault", *_halves(error))
        return
    yield Diagnosis("dataset", "ok", f"{opened.manifest().name}, at {opened.root}")
    yield from health(opened, every_byte=every_byte)
    yield from _index(opened, every_byte)
    yield from _settings(opened)


# -- the installation ------------------------------------------------------------------------------


def _python() -> Diagnosis:
    found = f"{platform.python_implementation()} {platform.python_version()}, {platform.platform()}"
    wanted = metadata.metadata(PACKAGE)["Requires-Python"]
    from packaging.specifiers import SpecifierSet

    if platform.python_version() in SpecifierSet(wanted or ""):
        return Diagnosis("python", "ok", found)
    return Diagnosis("python", "fault", f"{found}; frenchcat needs {wanted}", "install that Python")


def _packages() -> Iterator[Diagnosis]:
    """The packages of a default install, and each extra."""
    asked = _requirements()
    wrong = {extra: [said for one in given if (said := _wrong(one))] for extra, given in asked}
    if wrong[""]:
        cure = "install again with the pinned versions: pip install -c constraints.txt ."
        yield Diagnosis("packages", "fault", "; ".join(wrong[""]), cure)
    else:
        number = len(asked[0][1])
        yield Diagnosis(
            "packages", "ok", f"frenchcat {metadata.version(PACKAGE)}, {number} packages"
        )
    there = [extra for extra in wrong if extra and not wrong[extra]]
    absent = [extra for extra in wrong if wrong[extra] and extra]
    yield Diagnosis("extras", "ok", f"installed: {', '.join(there) or 'none'}")
    if absent:
        said = f"not installed: {', '.join(absent)}"
        yield Diagnosis("extras", "note", said, f"if you need one, {how_to_install(absent[0])}")


def _requirements() -> list[tuple[str, list[Requirement]]]:
    """Of a default install ("") and of each extra for users, what it asks for."""
    from packaging.requirements import Requirement

    given = [Requirement(text) for text in metadata.requires(PACKAGE) or []]
    extras = metadata.metadata(PACKAGE).get_all("Provides-Extra") or []
    own = {
        extra: [one for one in given if one.marker and one.marker.evaluate({"extra": extra})]
        for extra in extras
        if extra != "dev"  # what this project's own tests need
    }
    always = [one for one in given if one.marker is None or one.marker.evaluate({"extra": ""})]
    return [("", always), *own.items()]


def _wrong(asked: Requirement) -> str:
    """What is wrong with a package: it is absent or of another version. "" if nothing."""
    try:
        version = metadata.version(asked.name)
    except metadata.PackageNotFoundError:
        return f"{asked.name} is not installed"
    if asked.specifier.contains(version, prereleases=True):
        return ""
    return f"{asked.name} is {version}, not {asked.specifier}"


# -- the machine -----------------------------------------------------------------------------------


def _disk(what: str, folder: Path) -> Diagnosis:
    there = next(one for one in (folder.absolute(), *folder.absolute().parents) if one.exists())
    free = shutil.disk_usage(there).free
    found = f"{sized(free)} free at {folder}"
    if free < LOW_DISK_BYTES:
        return Diagnosis(what, "fault", found, f"free {sized(LOW_DISK_BYTES)} at least")
    return Diagnosis(what, "ok", found)


def _writable(what: str, folder: Path) -> Diagnosis:
    try:
        check_writable(folder, "folder")
    except UserError as error:
        return Diagnosis(what, "fault", *_halves(error))
    return Diagnosis(what, "ok", f"{folder} can be written")


def _memory() -> Diagnosis:
    free = free_memory_bytes()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    if free is None:
        return Diagnosis("memory", "note", f"{cores} cores; free memory is not told by this system")
    found = f"{sized(free)} free, {cores} cores"
    if free < LOW_MEMORY_BYTES:
        cure = f"end other programs: a model takes up to {sized(LOW_MEMORY_BYTES)}"
        return Diagnosis("memory", "fault", found, cure)
    return Diagnosis("memory", "ok", found)


def free_memory_bytes() -> int | None:
    """Memory that this process may still take: the system's, or less where a container bounds it.

    None on a system that does not tell.
    """
    try:
        told = Path("/proc/meminfo").read_text(encoding="ascii")
    except OSError:
        return None
    found = re.search(r"^MemAvailable:\s+(\d+) kB", told, re.M)
    free = None if found is None else int(found[1]) * 1024
    group = Path("/sys/fs/cgroup")
    try:
        limit = (group / "memory.max").read_text(encoding="ascii").strip()
        used = int((group / "memory.current").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return free
    if limit == "max":
        return free
    left = max(0, int(limit) - used)
    return left if free is None else min(free, left)


def _open_files() -> Diagnosis:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    found = "no limit" if soft == resource.RLIM_INFINITY else f"{soft} open files per process"
    if soft != resource.RLIM_INFINITY and soft < LOW_OPEN_FILES:
        return Diagnosis("open files", "fault", found, "raise it: ulimit -n 4096")
    return Diagnosis("open files", "ok", found)


# -- the dataset beyond its shards -----------------------------------------------------------------


def _index(dataset: Dataset, every_byte: bool) -> Iterator[Diagnosis]:
    from frenchcat.curate.embeddings import STAGE
    from frenchcat.index.build import current, entries
    from frenchcat.index.check import check_files, verify

    again = shell_command("index", dataset.root)
    found = current(dataset)
    if found is None:
        yield Diagnosis("index", "note", "there is none, so the dataset cannot be searched", again)
        return
    parts = entries(found)
    gone = [name for part in parts for name in part.files if dataset.size(name) is None]
    if gone:
        yield Diagnosis("index", "fault", counted("files are missing", sorted(gone)), again)
        return
    try:
        for part in parts:
            check_files(dataset, part)
        if every_byte:
            verify(dataset)
    except FrenchcatError as error:
        yield Diagnosis("index", "fault", *_halves(error))
        return
    indexed = found["made_of"]["shards"]
    embedded = {shard: _digest(dataset, shard) for shard in dataset.shards(STAGE)}
    if behind := [s for s, digest in embedded.items() if indexed.get(s) != digest]:
        said = f"{len(behind)} of {len(embedded)} embedded shards are not in it as they are now"
        yield Diagnosis("index", "fault", said, again)
    else:
        yield Diagnosis("index", "ok", f"{found['rows']} rows of {len(indexed)} shards")


def _digest(dataset: Dataset, shard: str) -> str | None:
    """What a shard's vectors were made of; None where its marker cannot be read."""
    from frenchcat.curate.embeddings import STAGE

    try:
        made = marker(dataset, STAGE, shard)
    except FrenchcatError:  # a finding of its own
        return None
    return None if made is None else made.digest


def _settings(dataset: Dataset) -> Iterator[Diagnosis]:
    """Whether the remembered settings can be used here."""
    from frenchcat.curate.adopted import without_images
    from frenchcat.curate.clip.weights import find_weights
    from frenchcat.curate.embeddings import STAGE
    from frenchcat.pipeline import saved_settings, versions

    try:
        settings = saved_settings(dataset)
    except FrenchcatError as error:
        yield Diagnosis("settings", "fault", *_halves(error))
        return
    made_by = dataset.manifest().entry(STAGE)
    if made_by.settings is not None:
        try:
            weights = find_weights(settings.clip)
        except FrenchcatError as error:
            yield Diagnosis("model", "fault", *_halves(error))
        else:
            if weights.digest == made_by.setting("weights"):
                yield Diagnosis("model", "ok", f"{weights.name}, which made the vectors")
            elif without_images(dataset):
                said = f"{made_by.setting('model')} made the vectors, and no image is here"
                named = ("adopt", "FOLDER", "--out", dataset.root, "--config", "FILE")
                yield Diagnosis("model", "note", said, shell_command(*named))
            else:
                said = (
                    f"the settings name {weights.name}, but {made_by.setting('model')} with other "
                    "weights made the vectors"
                )
                yield Diagnosis("model", "fault", said, shell_command("embed", dataset.root))
    then, now = dataset.manifest().versions, versions()
    other = [f"{name} {v} -> {now[name]}" for name, v in then.items() if now.get(name, v) != v]
    if other:
        said = f"other versions than those that made it: {', '.join(sorted(other))}"
        yield Diagnosis("settings", "note", said, "new shards may differ in bytes from old ones")
    else:
        yield Diagnosis("settings", "ok", "the remembered settings can be used")


def _halves(error: FrenchcatError) -> tuple[str, str]:
    """An error's line as what was found and what to do."""
    found, _, cure = str(error).rpartition("; ")
    return (found, cure) if found else (cure, "")
