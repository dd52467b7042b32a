"""Where the recipe's materials lie, and how they get there.

Reads Debian packages by name (``apt-get download``), writes their unpacked files under
``<work>/root`` without installing them. Everything later reads from that folder.

    python -m tools.mini.materials --work ~/.cache/mini
"""

import argparse
import os
import subprocess
from pathlib import Path

DICTIONARY_PAIRS = [
    "eng-fra",
    "fra-eng",
    "eng-deu",
    "deu-eng",
    "eng-spa",
    "spa-eng",
    "eng-ita",
    "ita-eng",
    "eng-jpn",
    "jpn-eng",
    "fra-jpn",
    "jpn-fra",
    "ita-jpn",
    "jpn-deu",
    "fra-deu",
    "fra-spa",
    "fra-ita",
    "ita-spa",
    "deu-fra",
    "deu-spa",
    "deu-ita",
    "spa-deu",
    "ita-deu",
]
PACKAGES = [
    "openclipart-png",
    "openclipart-svg",
    "unicode-cldr-core",
    "wordnet-base",
    "fonts-noto-color-emoji",
    "tuxpaint-stamps-default",
    "edict",
    *(f"dict-freedict-{pair}" for pair in DICTIONARY_PAIRS),
]


def work_folder(text: str | None = None) -> Path:
    """The folder of every intermediate file: ``text``, else MINI_WORK, else ~/.cache/mini."""
    return Path(text or os.environ.get("MINI_WORK", "~/.cache/mini")).expanduser()


def share(work: Path, *parts: str) -> Path:
    """A path below the unpacked packages' /usr/share."""
    return work.joinpath("root", "usr", "share", *parts)


def fetch(work: Path) -> None:
    """Download and unpack PACKAGES into ``work``; a package already there is kept."""
    debs = work / "deb"
    debs.mkdir(parents=True, exist_ok=True)
    missing = [name for name in PACKAGES if not list(debs.glob(f"{name}_*.deb"))]
    if missing:
        subprocess.run(["apt-get", "download", *missing], cwd=debs, check=True)
    for deb in sorted(debs.glob("*.deb")):
        subprocess.run(["dpkg-deb", "-x", str(deb), str(work / "root")], check=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Fetch the training materials.")
    parser.add_argument("--work")
    fetch(work_folder(parser.parse_args().work))
