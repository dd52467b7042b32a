"""What the artist learns from, by package name: drawings as SVG, and their names in CLDR.

Reads packages of the npm registry (``npm pack``) and Debian's ``unicode-cldr-core`` (``apt-get
download``); unpacks them below a work folder, and installs nothing. What is there is kept.
"""

from __future__ import annotations

import json
import re
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CLDR = "unicode-cldr-core"
SKIN = re.compile(
    r"skin-tone|-tone\d|(^|-)(medium-)?(light|dark|medium)(-(medium-)?(light|dark|medium))?$"
)
"""Names of drawings that differ from another one by their skin alone."""


class Missing(Exception):
    """A package that cannot be had here; one line says which, and why."""


@dataclass(frozen=True)
class Source:
    """A package of drawings: one style."""

    package: str
    version: str
    style: str  # the word that captions have for it
    licence: str  # SPDX
    creator: str
    home: str

    @property
    def name(self) -> str:
        """The package's name without its scope."""
        return self.package.rpartition("/")[2]


SOURCES = (
    Source(
        "@iconify-json/noto",
        "1.2.9",
        "shaded",
        "Apache-2.0",
        "Google Inc (Noto Emoji)",
        "https://github.com/googlefonts/noto-emoji",
    ),
    Source(
        "@iconify-json/noto-v1",
        "1.2.5",
        "blob",
        "Apache-2.0",
        "Google Inc (Noto Emoji, first version)",
        "https://github.com/googlefonts/noto-emoji",
    ),
    Source(
        "@iconify-json/fluent-emoji",
        "1.2.7",
        "glossy",
        "MIT",
        "Microsoft Corporation (Fluent Emoji)",
        "https://github.com/microsoft/fluentui-emoji",
    ),
    Source(
        "@iconify-json/fluent-emoji-flat",
        "1.2.6",
        "flat",
        "MIT",
        "Microsoft Corporation (Fluent Emoji)",
        "https://github.com/microsoft/fluentui-emoji",
    ),
    Source(
        "@iconify-json/twemoji",
        "1.2.5",
        "simple",
        "CC-BY-4.0",
        "Twitter, Inc and other contributors (Twemoji)",
        "https://github.com/jdecked/twemoji",
    ),
)


@dataclass(frozen=True)
class Drawing:
    """One drawing of one style."""

    name: str  # "red apple"
    source: Source
    svg: str

    @property
    def slug(self) -> str:
        """The name as a file's."""
        return self.name.replace(" ", "-")


def fetch(work: Path) -> None:
    """Bring every package into the work folder. Raises `Missing` for one that cannot be had."""
    for source in SOURCES:
        folder = work / "npm" / source.name
        if not (folder / "package" / "icons.json").exists():
            folder.mkdir(parents=True, exist_ok=True)
            wanted = f"{source.package}@{source.version}"
            _run(["npm", "pack", wanted, "--silent"], folder, wanted)
            [packed] = folder.glob("*.tgz")
            with tarfile.open(packed) as tar:
                tar.extractall(folder, filter="data")
            packed.unlink()
    if not annotations(work).exists():
        debs = work / "deb"
        debs.mkdir(parents=True, exist_ok=True)
        _run(["apt-get", "download", CLDR], debs, CLDR)
        [deb] = debs.glob(f"{CLDR}_*.deb")
        _run(["dpkg-deb", "-x", str(deb), str(work / "root")], debs, CLDR)


def annotations(work: Path) -> Path:
    """The folder of CLDR's annotations, as tools.mini.cldr reads them."""
    return work / "root" / "usr" / "share" / "unicode" / "cldr" / "common" / "annotations"


def drawings(work: Path) -> Iterator[Drawing]:
    """Every drawing without skin tones, style by style, by name; one for each name of a style."""
    for source in SOURCES:
        path = work / "npm" / source.name / "package" / "icons.json"
        found = json.loads(path.read_text(encoding="utf-8"))
        seen: set[str] = set()  # some flags are there by two names
        for name, icon in sorted(found["icons"].items()):
            if not SKIN.search(name) and plain(name) not in seen:
                seen.add(plain(name))
                yield Drawing(plain(name), source, _svg(icon, found))


def plain(name: str) -> str:
    """A package's name for a drawing, in words: ``flag-for-flag-france`` -> ``flag france``."""
    return name.replace("flag-for-flag-", "flag-").replace("flag-for-", "flag-").replace("-", " ")


def _svg(icon: dict[str, Any], package: dict[str, Any]) -> str:
    left, top = icon.get("left", 0), icon.get("top", 0)
    width = icon.get("width", package.get("width", 16))
    height = icon.get("height", package.get("height", 16))
    space = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    return f'<svg {space} viewBox="{left} {top} {width} {height}">{icon["body"]}</svg>'


def _run(command: list[str], folder: Path, wanted: str) -> None:
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=600)
    except (OSError, subprocess.SubprocessError) as error:
        told = (getattr(error, "stderr", "") or str(error)).strip().splitlines()
        reason = told[0] if told else type(error).__name__
        raise Missing(f"{wanted} cannot be had by `{command[0]}` here: {reason}") from None
