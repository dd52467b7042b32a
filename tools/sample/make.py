"""Make the bundled sample again: ``python -m tools.sample.make --work /some/empty/folder``.

Reads Debian's openclipart-png and openclipart-svg (fetched with apt-get download and unpacked
with dpkg -x below the work folder; no root), writes ``frenchcat/sample_data/urls.parquet`` and
``pictures.tar``. The same packages and Pillow give the same bytes.
"""

import argparse
import io
import subprocess
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from frenchcat import sample_data as bundled
from tools.sample.choose import choose
from tools.sample.plant import Row, Sample, build

PACKAGES = ("openclipart-png", "openclipart-svg")


def main() -> None:
    """Fetch, choose, plant, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="a folder outside the repository")
    library = fetch_library(parser.parse_args().work)
    sample = build(library, choose(library))
    write_list(sample, bundled.URLS)
    write_tar(sample, bundled.PICTURES)
    size_mb = (bundled.URLS.stat().st_size + bundled.PICTURES.stat().st_size) / 1e6
    print(f"{len(sample.rows)} rows, {len(sample.bodies)} bodies, {size_mb:.1f} MB")


def fetch_library(work: Path) -> Path:
    """The unpacked packages' folder with png/ and svg/; nothing is fetched twice."""
    library = work / "root/usr/share/openclipart"
    if not ((library / "png").is_dir() and (library / "svg").is_dir()):
        work.mkdir(parents=True, exist_ok=True)
        subprocess.run(["apt-get", "download", *PACKAGES], cwd=work, check=True)
        for name in PACKAGES:
            [package] = work.glob(f"{name}_*.deb")
            subprocess.run(["dpkg", "-x", str(package), str(work / "root")], check=True)
    return library


def write_list(sample: Sample, path: Path) -> None:
    """The URL list, at the address that ``bundled.read_list`` replaces."""
    table = pa.table(
        {
            "url": [_url(row) for row in sample.rows],
            "caption": [row.caption for row in sample.rows],
            "title": [row.title for row in sample.rows],
            "creator": [row.creator for row in sample.rows],
            "license": [row.license for row in sample.rows],
            "source": [row.source for row in sample.rows],
            "planted": [row.planted for row in sample.rows],
        }
    )
    pq.write_table(table, path, compression="zstd")


def write_tar(sample: Sample, path: Path) -> None:
    """The bodies in path order, with fixed times and owners: same bodies, same bytes."""
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name, body in sorted(sample.bodies.items()):
            member = tarfile.TarInfo(name)
            member.size = len(body)
            tar.addfile(member, io.BytesIO(body))


def _url(row: Row) -> str:
    base = bundled.BUNDLED_BASE_URL
    return f"{bundled.dead_base_url(base) if row.dead_host else base}/{row.path}"


if __name__ == "__main__":
    main()
