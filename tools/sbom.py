"""What a default install brings along: an SBOM in CycloneDX's JSON, and each package's licence.

    python -m tools.sbom > frenchcat.cdx.json        # make sbom
    python -m tools.sbom --licences

Reads the metadata of the installed packages, from frenchcat through all that it requires without
extras. The output depends on them alone: it has no time and no random number. Exits with 1 if a
package has a licence that is refused, or none that is named. CycloneDX's own tools would bring a
dozen packages for what is one walk over importlib.metadata.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from packaging.requirements import Requirement

from tools.pin import canonical

ROOT = "frenchcat"
REFUSED = re.compile(
    r"AGPL|Affero|SSPL|Server Side Public|Business Source|\bNC\b|Commons Clause", re.I
)
"""Licences that reach whoever serves a page, or that forbid a use."""
UNSAID = {"cuda-toolkit": "LicenseRef-NVIDIA-Proprietary"}
"""Licences of packages whose metadata name none, as their owners' pages say."""
_TEXTS = {"MIT License": "MIT", "BSD 3-Clause License": "BSD-3-Clause"}
"""How a licence begins whose whole text stands in a name's place."""


@dataclass(frozen=True)
class Component:
    """A package that is installed."""

    name: str
    version: str
    licence: str  # an SPDX expression or the owner's words; "" if the metadata name none
    requires: tuple[str, ...]  # the names of other components

    @property
    def purl(self) -> str:
        """Its address, as package-url has it."""
        return f"pkg:pypi/{self.name}@{self.version}"


def components(root: str = ROOT) -> list[Component]:
    """The root and all that it requires, sorted by name. Raises PackageNotFoundError."""
    needs: dict[str, set[str]] = {}
    seen, todo = set[tuple[str, str]](), [(canonical(root), "")]
    while todo:
        name, extra = todo.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        asked = list(_asked(metadata.distribution(name), extra))
        needs.setdefault(name, set()).update(canonical(one.name) for one in asked)
        todo += [(canonical(one.name), more) for one in asked for more in ("", *one.extras)]
    return [_component(name, needed) for name, needed in sorted(needs.items())]


def _asked(distribution: metadata.Distribution, extra: str) -> Iterator[Requirement]:
    for one in map(Requirement, distribution.requires or ()):
        if one.marker is None or one.marker.evaluate({"extra": extra}):
            yield one


def _component(name: str, needed: set[str]) -> Component:
    distribution = metadata.distribution(name)
    requires = tuple(sorted(needed - {name}))
    return Component(name, distribution.version, licence_of(distribution), requires)


def licence_of(distribution: metadata.Distribution) -> str:
    """What the metadata name: the SPDX expression, else the classifiers, else the first line."""
    said = distribution.metadata
    if expression := said.get("License-Expression"):
        return str(expression)
    names = [
        str(text).rsplit(" :: ", 1)[1]
        for text in said.get_all("Classifier") or ()
        if str(text).startswith("License :: ") and str(text) != "License :: OSI Approved"
    ]
    if names:
        return " OR ".join(names)
    first = str(said.get("License") or "").strip().split("\n")[0].strip()
    return _TEXTS.get(first, first) or UNSAID.get(canonical(said["Name"]), "")


def faults(found: Sequence[Component]) -> list[str]:
    """One line per package whose licence is refused or not named."""
    unnamed = [f"{one.name} {one.version} names no licence" for one in found if not one.licence]
    refused = [
        f"{one.name} {one.version} is under {one.licence}, which is refused"
        for one in found
        if REFUSED.search(one.licence)
    ]
    return unnamed + refused


def sbom(found: Sequence[Component], root: str = ROOT) -> dict[str, Any]:
    """The components as a CycloneDX 1.6 document."""
    refs = {one.name: one.purl for one in found}
    entries = [
        {
            "type": "application" if one.name == canonical(root) else "library",
            "bom-ref": one.purl,
            "name": one.name,
            "version": one.version,
            "purl": one.purl,
            "licenses": [{"license": {"name": one.licence}}],
        }
        for one in found
    ]
    (main,) = [entry for entry in entries if entry["name"] == canonical(root)]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": main},
        "components": [entry for entry in entries if entry is not main],
        "dependencies": [
            {"ref": one.purl, "dependsOn": sorted(refs[name] for name in one.requires)}
            for one in found
        ],
    }


def main() -> int:
    """Print the SBOM, or the licences; gives the exit status."""
    parser = argparse.ArgumentParser(description="What a default install brings along.")
    parser.add_argument("--licences", action="store_true", help="print a line per package")
    asked = parser.parse_args()
    found = components()
    if asked.licences:
        for one in found:
            print(f"{one.name} {one.version}: {one.licence}")
    else:
        print(json.dumps(sbom(found), indent=1, sort_keys=True))
    for fault in faults(found):
        print(f"tools.sbom: {fault}", file=sys.stderr)
    return 1 if faults(found) else 0


if __name__ == "__main__":
    sys.exit(main())
