"""Wheel and sdist, byte for byte reproducible: the same commit gives the same files anywhere.

    python -m tools.release [--out dist]        # make release

Builds from a copy of the files that git tracks, so that nothing else gets in, with the commit's
time (or SOURCE_DATE_EPOCH) for every file. setuptools writes the wheel reproducibly then; its sdist
has the times and the owner of the build, so it is packed again without them.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_BUILD = "import sys; from setuptools import build_meta as b; print(b.build_{}(sys.argv[1]))"


def release(out: Path, root: Path = ROOT) -> list[Path]:
    """Build both into a folder; gives their paths."""
    out.mkdir(parents=True, exist_ok=True)
    epoch = int(os.environ.get("SOURCE_DATE_EPOCH") or _git(root, "log", "-1", "--format=%ct"))
    made = []
    for kind in ("wheel", "sdist"):  # each from its own copy: a build leaves files behind
        with tempfile.TemporaryDirectory(prefix="frenchcat-release-") as folder:
            source, built = Path(folder) / "source", Path(folder) / "built"
            built.mkdir()
            _copy(root, source, epoch)
            environment = {**os.environ, "SOURCE_DATE_EPOCH": str(epoch), "PYTHONHASHSEED": "0"}
            command = [sys.executable, "-c", _BUILD.format(kind), str(built)]
            # What setuptools writes has permissions by the umask, and an archive keeps them.
            done = subprocess.run(
                command,
                cwd=source,
                env=environment,
                umask=0o022,
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                raise SystemExit(f"tools.release: {kind} failed: {done.stderr.strip()[-2000:]}")
            (file,) = built.iterdir()
            target = out / file.name
            if kind == "sdist":
                _packed_again(file, target, epoch)
            else:
                shutil.copyfile(file, target)
            made.append(target)
    return made


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def _copy(root: Path, source: Path, epoch: int) -> None:
    """The tracked files as they are now, links as links, with one time and plain permissions."""
    for name in _git(root, "ls-files", "-z").strip("\0").split("\0"):
        there, here = root / name, source / name
        here.parent.mkdir(parents=True, exist_ok=True)
        if there.is_symlink():
            here.symlink_to(os.readlink(there))
        elif there.exists():
            shutil.copyfile(there, here)
            here.chmod(0o755 if os.access(there, os.X_OK) else 0o644)
            os.utime(here, (epoch, epoch))


def _packed_again(file: Path, target: Path, epoch: int) -> None:
    """The tar's members by name, without times, owners and the file's own name."""
    with (
        tarfile.open(file) as before,
        open(target, "wb") as raw,
        gzip.GzipFile("", "wb", mtime=epoch, fileobj=raw) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as after,
    ):
        for member in sorted(before.getmembers(), key=lambda one: one.name):
            member.mtime, member.uid, member.gid = epoch, 0, 0
            member.uname = member.gname = ""
            member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
            member.pax_headers = {}
            after.addfile(member, before.extractfile(member) if member.isfile() else None)


def main() -> None:
    """Build, and print each file with its digest."""
    parser = argparse.ArgumentParser(description="A reproducible wheel and sdist.")
    parser.add_argument("--out", type=Path, default=ROOT / "dist")
    for file in release(parser.parse_args().out):
        print(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file}")


if __name__ == "__main__":
    main()
