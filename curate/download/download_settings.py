"""Settings of the whole download: how a list is read, a shard made, an image stored and fetched."""

from __future__ import annotations

from pydantic import Field

from frenchcat.curate.config import settings
from frenchcat.curate.download.list_source import BadRows, Captions, Quotes
from frenchcat.curate.download.pictures import DECODE_MARGIN, ResizeSettings
from frenchcat.curate.download.rights.settings import RightsSettings
from frenchcat.curate.download.settings import FetchSettings
from frenchcat.curate.image.shrunk import MIN_MARGIN


@settings
class DownloadSettings:
    """All settings of the download."""

    url_column: str | None = None
    """The list's column of URLs; none: found by its usual names."""
    caption_column: str | None = None
    """The list's column of captions; none: found by its usual names, or there are no captions."""
    image_column: str | None = None
    """The list's column of images, if it contains them; none: found by its usual names."""
    columns: tuple[str, ...] = ()
    """The names of the columns of a csv or tsv without a header, in their order."""
    captions: Captions = "first"
    """Which of several captions in a row is taken: first, longest, or all, as rows of their own."""
    quotes: Quotes = "auto"
    """Quotation marks in csv and tsv. csv: by RFC 4180; none: characters like any other; auto: a
    mark that nobody closes swallows no row."""
    encoding: str | None = None
    """The encoding of a list's text; none: UTF-8, or what its first bytes say."""
    bad_rows: BadRows = "refuse"
    """What to do about an unreadable line. refuse: the list is refused; keep: it becomes a row
    without a URL, which fails and is counted.
    """
    samples_per_shard: int = Field(default=1000, ge=1, le=10_000)
    """Rows per shard (count). Existing shards keep theirs."""
    threads: int | None = Field(default=None, ge=1)
    """Threads that resize, per process; none: by the number of cores."""
    resize: ResizeSettings = ResizeSettings()
    """How images are resized and encoded."""
    decode_margin: float | None = Field(default=DECODE_MARGIN, ge=MIN_MARGIN)
    """A JPEG is decoded at 1/2, 1/4 or 1/8 of its size while that is still so many times as large
    as it is stored, if `resize.downscale_interpolation` is area: faster, in less memory, and nearly
    the same. none: at its full size, as all datasets made before this setting have it.
    """
    verify_hashes: bool = True
    """Whether an image is refused that has another hash than the list's sha256, md5 or pdq."""
    block: tuple[str, ...] = ()
    """Files of hashes (md5, SHA-256, .pdq) of images that must not be stored."""
    rights: RightsSettings = RightsSettings()
    """What is done about opt-outs."""
    fetch: FetchSettings = FetchSettings()
    """How URLs are fetched."""
