"""URL lists -> shards: freezing lists, fetching safely, resizing and writing."""

from frenchcat.curate.download.pictures import ResizeSettings
from frenchcat.curate.download.settings import FetchSettings
from frenchcat.curate.download.stage import (
    DownloadSettings,
    DownloadStage,
    check_lists,
    download,
    retry_failed,
)

__all__ = [
    "DownloadSettings",
    "DownloadStage",
    "FetchSettings",
    "ResizeSettings",
    "check_lists",
    "download",
    "retry_failed",
]
