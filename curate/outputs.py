"""Where a command may write what is not part of a dataset: a page, an export, drawings, a run.

Reads the beginning of a file that would be replaced; writes pages, and nothing else. What lies
inside a dataset is not seen by its removals, and a page's option that names a list, an image or a
device by mistake must not replace it. A page that frenchcat or anybody wrote is replaced, so that a
command can be run again.
"""

from __future__ import annotations

import os
from pathlib import Path

from frenchcat.curate.atomic import write_whole
from frenchcat.curate.command_text import shell_word
from frenchcat.curate.dataset import Dataset, dataset_around
from frenchcat.curate.errors import UserError
from frenchcat.curate.system_errors import check_writable, writing

_PAGE = (b"<!doctype html", b"<html")
FILE_ENDINGS = frozenset(
    ".csv .tsv .json .jsonl .parquet .npy .tar .zip .html .htm .txt .png .jpg .jpeg .webp".split()
)
_ENDINGS = (".html", ".htm")  # by which browsers and servers know a page


def check_outside(path: str | Path, option: str) -> None:
    """Raise `UserError` where a local path lies in a dataset, or is one."""
    if (found := dataset_around(path)) is not None:
        raise UserError(
            f"{path} is inside the dataset {found}, where a removal would not find it; "
            f"name another place with {option}, such as beside the dataset"
        )


def check_folder_name(folder: str | Path, option: str, instead: str | None = None) -> None:
    """Raise `UserError` where a new folder would have the name of a file, such as ``x.csv``.

    Who names one wants one file. Where a folder of that name exists, it is meant. `instead` is the
    whole command that makes a folder.
    """
    name = Path(folder)
    if name.exists() or name.suffix.lower() not in FILE_ENDINGS:
        return
    cure = f"name a folder: {option} {shell_word(name.with_suffix(''))}"
    raise UserError(
        f"{folder} is the name of a file, and {option} makes a folder; "
        f"{cure if instead is None else f'run: {instead}'}"
    )


def check_page(path: Path, option: str) -> None:
    """Check where an HTML page is to go, before long work.

    Raises `UserError` for a folder, a place inside a dataset or one that cannot be written, a file
    that is there and is not an HTML page, and a name that is not one of an HTML page.
    """
    if path.is_dir():
        page = shell_word(path / "page.html")
        raise UserError(f"{path} is a folder; name a file for the page: {option} {page}")
    check_outside(path, option)
    check_writable(path.parent, f"file with {option}")
    if path.exists() and not _is_page(path):
        raise UserError(
            f"{path} already exists and is not an HTML page; name another file with {option}"
        )
    if path.suffix.lower() not in _ENDINGS:
        raise UserError(
            f"{path} is not the name of an HTML page, which is what is written; "
            f"let it end in .html: {option} {shell_word(path.with_suffix('.html'))}"
        )


def page_path(dataset: Dataset, path: Path | None, kind: str) -> Path:
    """Where a page about a dataset goes: `path`, or by default `default_path`.

    Raises `UserError` where it cannot be written, lies inside a dataset, or would replace what is
    not a page.
    """
    path = default_path(dataset, kind) if path is None else path
    check_page(path, "--out")
    return path


def default_path(dataset: Dataset, kind: str) -> Path:
    """``<folder>-<kind>.html``, beside a local dataset, here for a remote one."""
    name = f"{dataset.root.rsplit('/', 1)[-1]}-{kind}.html"
    return Path(dataset.root).with_name(name) if dataset.local else Path(name)


def write_page(path: Path, text: str, option: str = "") -> None:
    """Write an HTML page, in a folder that is made if need be.

    `option` is that of the command line which names the file. Raises `NoSpace` and `Unwritable`.
    """
    with writing(path, f"name another file{option and f' with {option}'}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text)


def _is_page(path: Path) -> bool:
    """Whether a file may be replaced by a page: it is one, or is empty."""
    if not path.is_file():  # a device, a pipe
        return False
    if not os.access(path, os.R_OK):
        return False
    with open(path, "rb") as file:
        head = file.read(256).removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    return head.startswith(_PAGE) or not head
