"""A copy of the checkout in which mutants are tried, so that the working tree is never touched."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tools.mutants.mutant import PACKAGES, Applied

ROOT = Path(__file__).resolve().parents[2]
# Copies and results; another folder lets two runs go on side by side.
WORK = Path(os.environ.get("FRENCHCAT_MUTANTS") or ROOT / ".mutants").resolve()


def copy_to(folder: Path, place: Callable[[str], str | None] = str) -> Path:
    """Bring `folder` in line with the checkout's tracked and new files; gives the folder.

    `place` says where a file of the checkout lies in the copy; None leaves it out.
    """
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
    ).stdout.decode()
    names = [name for name in listed.split("\0") if name and os.path.lexists(ROOT / name)]
    wanted = {placed: ROOT / name for name in names if (placed := place(name)) is not None}
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(folder.rglob("*"), reverse=True):
        name = str(path.relative_to(folder))
        ours = not name.startswith("mutants/") and path.parent.name != "__pycache__"
        if not ours or name in wanted:
            continue
        if path.is_symlink() or path.is_file():
            path.unlink()
        elif not any(path.iterdir()):  # an empty .egg-info would pass for an installed package
            path.rmdir()
    for name, source in wanted.items():
        target = folder / name
        if os.path.lexists(target) and not source.is_symlink() and _same(source, target):
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        shutil.copy2(source, target, follow_symlinks=False)
    return folder


def compile_in(folder: Path) -> None:
    """Keep bytecode of a copy's modules, checked by the digest of their text, and of its tests.

    Bytecode as Python keeps it is checked by a file's size and second, and a mutant may change
    neither. The tests' own, which pytest rewrites, is kept by collecting them once.
    """
    packages = [name for name in PACKAGES if (folder / name).is_dir()]
    command = [sys.executable, "-m", "compileall", "-q", "--invalidation-mode", "checked-hash"]
    subprocess.run([*command, *packages], cwd=folder, check=True)
    env = environment(folder)
    del env["PYTHONDONTWRITEBYTECODE"]
    collect = [sys.executable, "-m", "pytest", "--collect-only", "-q"]
    subprocess.run(collect, cwd=folder, env=env, check=True, stdout=subprocess.DEVNULL)


def environment(folder: Path) -> dict[str, str]:
    """Environment variables with which `frenchcat` is imported from the copy, in children too.

    No bytecode is written while a mutant is in place (see `compile_in`).
    One thread each, since several copies are at work. Properties stop at the first example that
    fails (tests/conftest.py).
    """
    ours = {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    ours["FRENCHCAT_HYPOTHESIS"] = "mutants"
    return {**os.environ, **ours}


@contextmanager
def mutated(folder: Path, applied: Applied) -> Iterator[None]:
    """The copy with one file changed, and as it was afterwards."""
    path = folder / applied.file
    before = path.read_bytes()
    try:
        path.write_text(applied.source, encoding="utf-8")
        yield
    finally:
        path.write_bytes(before)


def _same(one: Path, other: Path) -> bool:
    a, b = one.stat(), other.stat()
    return (a.st_size, a.st_mtime_ns) == (b.st_size, b.st_mtime_ns)
