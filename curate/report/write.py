"""A dataset's report as one HTML file, beside the dataset.

Gathers it (report.py), draws the page (page.py) and puts it in place by a rename.
"""

from __future__ import annotations

from pathlib import Path

from frenchcat.curate.atomic import write_whole
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.errors import UserError
from frenchcat.curate.report.page import page
from frenchcat.curate.report.report import make_report
from frenchcat.curate.report.settings import ReportSettings
from frenchcat.curate.report.thumbnails import ReportThumbnails
from frenchcat.curate.system_errors import check_writable


def write_report(
    dataset: Dataset, path: Path | None = None, settings: ReportSettings | None = None
) -> Path:
    """Write the report's page; gives its path. By default it lies beside the dataset's folder.

    Not in it: the page holds pictures and captions, which a removal could not take back from
    there. Raises `UserError` where it cannot be written or lies inside the dataset.
    """
    settings = settings or ReportSettings()
    path = checked_path(dataset, path)
    report = make_report(dataset, settings)
    thumbnails = ReportThumbnails(dataset, int(settings.thumbnails_mb * 1e6), settings.blur_above)
    thumbnails.load(report.pictures())
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, page(report, thumbnails))
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror}); name another file") from None
    return path


def checked_path(dataset: Dataset, path: Path | None, kind: str = "report") -> Path:
    """Where a page goes: `path`, or by default `default_path`.

    Raises `UserError` where it cannot be written or lies inside the dataset.
    """
    path = default_path(dataset, kind) if path is None else path
    _check_path(dataset, path, kind)
    if path.is_dir():
        raise UserError(f"{path} is a folder; name a file for the page: --out {path}/{kind}.html")
    check_writable(path.parent, "file with --out")
    return path


def default_path(dataset: Dataset, kind: str = "report") -> Path:
    """``<folder>-report.html``, beside a local dataset, here for a remote one."""
    name = f"{dataset.root.rsplit('/', 1)[-1]}-{kind}.html"
    return Path(dataset.root).with_name(name) if dataset.local else Path(name)


def _check_path(dataset: Dataset, path: Path, kind: str) -> None:
    if dataset.local and Path(dataset.root).resolve() in path.resolve().parents:
        raise UserError(
            f"{path} is inside the dataset, where a removal would not find its images; "
            f"write it beside the dataset: --out {default_path(dataset, kind)}"
        )
