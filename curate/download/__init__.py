"""URL lists -> shards: freezing lists, fetching safely, resizing and writing."""

from frenchcat.curate.download.crawl import check_lists, download, retry_failed
from frenchcat.curate.download.download_settings import DownloadSettings
from frenchcat.curate.download.pictures import ResizeSettings
from frenchcat.curate.download.settings import FetchSettings
from frenchcat.curate.download.stage import DownloadStage

__all__ = [
    "DownloadSettings",
    "DownloadStage",
    "FetchSettings",
    "ResizeSettings",
    "check_lists",
    "download",
    "retry_failed",
]
