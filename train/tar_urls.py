"""What `data.tars` names: files, folders, globs, addresses, and webdataset's forms of them.

    laion/{00000..00009}.tar        braces, by webdataset's own expansion
    a/*.tar::s3://bucket/b.tar      several, with ::
    pipe:gunzip -c a.tar.gz         what a command prints; stored once in the run's folder, because
                                    samples are read by offset

Reads names, writes what commands print. Cost of a pipe: a copy of its tar on disk.
"""

from __future__ import annotations

import glob
import os
import subprocess
from pathlib import Path

from frenchcat.curate.atomic import whole_file, write_whole
from frenchcat.curate.errors import UserError

_PIPE, _FILE = "pipe:", "file:"


def tars_of(named: str, piped: Path) -> list[str]:
    """The tars that a text names, in order; the output of commands is stored in the folder `piped`.

    Raises `UserError` if a part matches nothing, a tar is named twice, or a command fails.
    """
    found: dict[str, None] = {}
    commands = 0
    for part in parts_of(named):
        if part.startswith(_PIPE):
            paths = [_stored(part.removeprefix(_PIPE).strip(), piped / f"{commands:05d}.tar")]
            commands += 1
        else:
            paths = _matched(part)
        for path in paths:
            if path in found:
                raise UserError(f"data.tars {named} names {path} twice; name each tar once")
            found[path] = None
    return list(found)


def parts_of(named: str) -> list[str]:
    """A text split at `::`, its braces expanded. Raises `UserError` for unclosed braces.

    A text that is the literal name of an existing file stays as it is.
    """
    from webdataset.shardlists import expand_urls

    found: list[str] = []
    for part in named.split("::"):
        if "{" not in part or Path(part).exists():
            found.append(part)
            continue
        try:
            found += expand_urls(part)
        except ValueError as error:
            raise UserError(
                f"data.tars {part} cannot be expanded ({error}); close each {{"
            ) from None
    return [part for part in found if part]


def anchored(named: str) -> str:
    """The same text with absolute paths, so that it works from any folder."""
    return "::".join(_absolute(part) for part in named.split("::") if part)


def _absolute(part: str) -> str:
    if part.startswith(_PIPE) or "://" in part:
        return part
    return os.path.abspath(os.path.expanduser(part.removeprefix(_FILE)))


def _matched(part: str) -> list[str]:
    """The files of one part: a folder's tars, or what the pattern matches; sorted."""
    if "://" in part:
        return _remote(part)
    path = Path(part.removeprefix(_FILE)).expanduser()
    if path.is_dir():
        paths = sorted(path.glob("*.tar"))
        if not paths:
            others = sorted({one.suffix or one.name for one in path.iterdir() if one.is_file()})
            there = f"; it holds {', '.join(others[:5])}" if others else ""
            raise UserError(f"data.tars {part} matches no file: the folder has no .tar{there}")
        return [str(one) for one in paths]
    if path.is_file():
        return [str(path)]
    found = sorted(glob.glob(str(path)))
    if not found:
        raise UserError(f"data.tars {part} matches no file; name a tar, a folder or a glob")
    return found


def _remote(part: str) -> list[str]:
    import fsspec

    pattern = part if part.endswith(".tar") else part.rstrip("/") + "/*.tar"
    try:
        found = [file.full_name for file in fsspec.open_files(pattern, "rb")]
    except (OSError, ValueError, ImportError) as error:
        raise UserError(f"data.tars {part} cannot be listed ({error}); check the address") from None
    if not found:
        raise UserError(f"data.tars {part} matches no file; name a tar, a folder or a glob")
    protocol = part.split("://")[0]
    return sorted(name if "://" in name else f"{protocol}://{name}" for name in found)


def _stored(command: str, path: Path) -> str:
    """The output of a command, in a file; the command runs unless the file exists."""
    about = path.with_suffix(".command")
    if path.exists() and about.exists() and about.read_text(encoding="utf-8") == command:
        return str(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as sink:
        # A shell, as in webdataset: the settings' author may run commands anyway.
        ran = subprocess.run(command, shell=True, stdout=sink, stderr=subprocess.PIPE, check=False)
        if ran.returncode or not os.fstat(sink.fileno()).st_size:
            lines = ran.stderr.decode(errors="replace").strip().splitlines()
            said = lines[-1] if lines else "it prints nothing"
            raise UserError(
                f"data.tars pipe:{command} failed with status {ran.returncode} ({said[:200]}); "
                "fix the command, which must print a tar"
            )
    write_whole(about, command)
    return str(path)
