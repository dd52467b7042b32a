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
    return table.num_rows


def dead_base_url(base_url: str) -> str:
    """Where nobody answers: the port after the site's, which the site keeps bound and unheard."""
    host, port = base_url.rsplit(":", 1)
    return f"{host}:{int(port) + 1}"


def _moved(url: str, moves: dict[str, str]) -> str:
    for old, new in moves.items():
        if url.startswith(old + "/"):
            return new + url.removeprefix(old)
    return url
