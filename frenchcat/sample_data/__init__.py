"""The bundled sample: about 700 public-domain pictures, and a URL list that is partly bad.

Reads ``urls.parquet`` (one row a URL) and ``pictures.tar`` (the bodies, named by URL path) beside
this file; writes a URL list for the address at which the sample is really served.
Made by ``tools/sample``; README.md says what is in it.
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

HERE = Path(__file__).parent
URLS = HERE / "urls.parquet"
PICTURES = HERE / "pictures.tar"
DEFAULT_PORT = 8418  # tried first, so that a second demo writes the same list
PLANTED = {
    "dead_link": "the address is not found (404)",
    "gone": "the picture was taken away for good (410)",
    "server_error": "the server fails every time (500)",
    "flaky": "busy at the first request, fine at the next (503 with Retry-After)",
    "dead_host": "nobody listens at that port",
    "html_as_jpg": "a web page under a picture's name and type",
    "truncated": "half a picture: a cut file, or a connection cut in the middle",
    "not_image": "plain text",
    "svg": "a drawing of another format than pixels",
    "tiny": "an icon of 16 x 16 px",
    "bomb": "110 kB that unpack to 900 million pixels",
    "oversize": "64 MiB: with its length said, unsaid, or packed into 64 kB",
    "drip": "a byte every 0.2 s, without end",
    "redirect_private": "a redirect to a private address or to a local file",
    "redirect_loop": "two redirects that lead to each other",
    "redirect_ok": "two redirects that lead to a picture",
    "exact_duplicate": "the same bytes as another row, at another address",
    "reencoded_duplicate": "another row's picture, smaller or coarser",
    "watermark": "stamped all over, as stock agencies do",
    "noai": "header X-Robots-Tag: noai",
    "noai_agent": "header X-Robots-Tag: noai, googlebot: nofollow",
    "noimageai": "header X-Robots-Tag: noimageai",
    "tdm_reserved": "header tdm-reservation: 1",
    "xmp_noai": "the file's own metadata prohibits data mining (XMP, PLUS)",
    "robots_txt": "disallowed for us in robots.txt",
    "wrong_caption": "another picture's caption",
    "empty_caption": "no caption",
    "short_caption": "a file name or a word in place of a caption",
}
"""What is wrong with the rows of each ``planted`` kind."""

BUNDLED_BASE_URL = f"http://127.0.0.1:{DEFAULT_PORT}"


def read_list(base_url: str = BUNDLED_BASE_URL) -> "pa.Table":
    """The list: strings ``url, caption, title, creator, license, source, planted``.

    ``source`` is the picture's path in Open Clip Art ("" for none), ``planted`` names what is
    wrong with the row on purpose ("" for an ordinary row). URLs start with ``base_url``; those
    that nobody must answer use the next port up.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(URLS)
    moves = {dead_base_url(BUNDLED_BASE_URL): dead_base_url(base_url), BUNDLED_BASE_URL: base_url}
    urls = [_moved(url, moves) for url in table["url"].to_pylist()]
    return table.set_column(0, "url", pa.array(urls, pa.string()))


def write_urls(path: Path, base_url: str) -> int:
    """Write the list for a site at ``base_url`` ("http://127.0.0.1:8418") to ``path``; its rows.

    The same ``base_url`` gives the same bytes. The file appears whole or not at all.
    """
    import pyarrow.parquet as pq

    table = read_list(base_url)
    partial = path.with_name(path.name + ".partial")
    pq.write_table(table, partial, compression="zstd")
    partial.replace(path)
    return len(table)


def dead_base_url(base_url: str) -> str:
    """Where nobody answers: the port after the site's, which the site keeps bound and unheard."""
    host, port = base_url.rsplit(":", 1)
    return f"{host}:{int(port) + 1}"


def _moved(url: str, moves: dict[str, str]) -> str:
    for old, new in moves.items():
        if url.startswith(old + "/"):
            return new + url.removeprefix(old)
    return url
