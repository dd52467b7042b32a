"""A dataset's report as one HTML file, beside the dataset.

Gathers it (report.py), draws the page (page.py) and puts it in place by a rename.
"""

from __future__ import annotations

from pathlib import Path

from frenchcat.curate.dataset import Dataset
from frenchcat.curate.outputs import check_page, write_page
from frenchcat.curate.report.page import page
from frenchcat.curate.report.report import make_report
from frenchcat.curate.report.settings import ReportSettings
from frenchcat.curate.report.thumbnails import ReportThumbnails


def write_report(
    dataset: Dataset, path: Path | None = None, settings: ReportSettings | None = None
) -> Path:
    """Write the report's page; gives its path. By default it lies beside the dataset's folder.

    Not in it: the page holds images and captions, which a removal could not take back from
    there. Raises `UserError` where it cannot be written, lies inside a dataset, or would replace
    what is not a page.
    """
    settings = settings or ReportSettings()
    path = checked_path(dataset, path)
    report = make_report(dataset, settings)
    thumbnails = ReportThumbnails(dataset, int(settings.thumbnails_mb * 1e6), settings.blur_above)
    thumbnails.load(report.pictures())
    write_page(path, page(report, thumbnails), "--out")
    return path


def checked_path(dataset: Dataset, path: Path | None, kind: str = "report") -> Path:
    """Where a page goes: `path`, or by default `default_path`.

    Raises `UserError` where it cannot be written, lies inside a dataset, or would replace what is
    not a page.
    """
    path = default_path(dataset, kind) if path is None else path
    check_page(path, "--out")
    return path


def default_path(dataset: Dataset, kind: str = "report") -> Path:
    """``<folder>-report.html``, beside a local dataset, here for a remote one."""
    name = f"{dataset.root.rsplit('/', 1)[-1]}-{kind}.html"
    return Path(dataset.root).with_name(name) if dataset.local else Path(name)
