"""The bundled sample: about 700 public-domain images, and a URL list with planted faults.

Reads ``urls.parquet`` (one row per URL) and ``pictures.tar`` (the bodies, named by URL path) beside
this file; writes a URL list for the address at which the sample is served. Made by
``tools/sample``; README.md says what it contains.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from frenchcat.curate.atomic import whole_file
from frenchcat.curate.parquets import read_parquet

if TYPE_CHECKING:
    import pyarrow as pa

HERE = Path(__file__).parent
URLS = HERE / "urls.parquet"
PICTURES = HERE / "pictures.tar"
DEFAULT_PORT = 8418  # tried first, so that every demo writes the same list
PLANTED = {
    "dead_link": "the address is not found (404)",
    "gone": "the image was removed for good (410)",
    "server_error": "the server fails every time (500)",
    "flaky": "busy at the first request, fine at the next (503 with Retry-After)",
    "dead_host": "nothing listens on that port",
    "html_as_jpg": "a web page with an image's name and type",
    "truncated": "half an image: a truncated file, or a broken connection",
    "not_image": "plain text",
    "svg": "a vector drawing",
    "tiny": "an icon of 16 x 16 px",
    "bomb": "110 kB that unpack to 900 million pixels",
    "oversize": "64 MiB: with or without a stated length, or packed into 64 kB",
    "drip": "one byte every 0.2 s, endlessly",
    "redirect_private": "a redirect to a private address or to a local file",
    "redirect_loop": "two redirects that lead to each other",
    "redirect_ok": "two redirects that lead to an image",
    "exact_duplicate": "the same bytes as another row, at another address",
    "reencoded_duplicate": "another row's image, smaller or coarser",
    "watermark": "covered with stamps, as stock agencies do",
    "noai": "header X-Robots-Tag: noai",
    "noai_agent": "header X-Robots-Tag: noai, googlebot: nofollow",
    "noimageai": "header X-Robots-Tag: noimageai",
    "tdm_reserved": "header tdm-reservation: 1",
    "xmp_noai": "the file's own metadata prohibits data mining (XMP, PLUS)",
    "robots_txt": "disallowed for us in robots.txt",
    "wrong_caption": "another image's caption",
    "empty_caption": "no caption",
    "short_caption": "a file name or a single word as caption",
}
"""What is wrong with the rows of each ``planted`` kind."""

BUNDLED_BASE_URL = f"http://127.0.0.1:{DEFAULT_PORT}"


def read_list(base_url: str = BUNDLED_BASE_URL) -> "pa.Table":
    """The list: strings ``url, caption, title, creator, license, source, planted``.

    ``source`` is the image's path in Open Clip Art ("" if it has none); ``planted`` names a fault
    that was planted ("" for an ordinary row). URLs start with ``base_url``; those of a dead host
    use the next port.
    """
    import pyarrow as pa

    table = read_parquet(URLS)
    moves = {dead_base_url(BUNDLED_BASE_URL): dead_base_url(base_url), BUNDLED_BASE_URL: base_url}
    urls = [_moved(url, moves) for url in table["url"].to_pylist()]
    return table.set_column(0, "url", pa.array(urls, pa.string()))


def write_urls(path: Path, base_url: str) -> int:
    """Write the list for a site at ``base_url`` ("http://127.0.0.1:8418") to ``path``; returns its
    rows.

    The same ``base_url`` gives the same bytes. The file appears whole or not at all.
    """
    import pyarrow.parquet as pq

    table = read_list(base_url)
    with whole_file(path) as file:
        pq.write_table(table, file, compression="zstd")
    return len(table)


def dead_base_url(base_url: str) -> str:
    """The address of the dead host: the port after the site's, which the site holds but does not
    serve.
    """
    host, port = base_url.rsplit(":", 1)
    return f"{host}:{int(port) + 1}"


def _moved(url: str, moves: dict[str, str]) -> str:
    for old, new in moves.items():
        if url.startswith(old + "/"):
            return new + url.removeprefix(old)
    return url
