"""The licences of all that a default install brings along, and the SBOM that names them."""

import json
from importlib import metadata

import pytest

from tools.sbom import Component, components, faults, sbom


@pytest.fixture(scope="module")
def installed() -> list[Component]:
    return components()


def test_every_dependency_names_a_licence_and_none_is_refused(installed: list[Component]) -> None:
    assert faults(installed) == []
    licences = {one.name: one.licence for one in installed}
    assert licences["frenchcat"] == "Apache-2.0"
    assert licences["certifi"].startswith("Mozilla Public License")
    assert licences["numpy"].startswith("BSD-3-Clause")


@pytest.mark.parametrize(
    ("licence", "is_refused"),
    [
        *((name, True) for name in ("AGPL-3.0-or-later", "GNU Affero General Public License v3")),
        *((name, True) for name in ("SSPL-1.0", "Business Source License 1.1", "CC BY NC 4.0", "")),
        *((name, False) for name in ("MIT", "MPL-2.0", "LGPL-3.0-only", "Apache-2.0 AND MIT")),
    ],
)
def test_what_reaches_whoever_serves_a_page_is_refused(licence: str, is_refused: bool) -> None:
    found = faults([Component("some", "1.0", licence, ())])
    assert bool(found) is is_refused
    assert all(one.startswith("some 1.0 ") for one in found)


def test_the_walk_reaches_what_dependencies_need(installed: list[Component]) -> None:
    names = {one.name for one in installed}
    assert {"torch", "sympy", "mpmath"} <= names  # each needs the next
    assert names.isdisjoint({"pytest", "mypy"})  # of an extra
    assert all(set(one.requires) <= names for one in installed)


def test_an_sbom_names_each_package_once_with_its_version(installed: list[Component]) -> None:
    made = json.loads(json.dumps(sbom(installed)))
    assert (made["bomFormat"], made["specVersion"]) == ("CycloneDX", "1.6")
    assert made["metadata"]["component"]["name"] == "frenchcat"
    versions = {one["name"]: one["version"] for one in made["components"]}
    assert len(versions) == len(made["components"]) == len(installed) - 1
    assert versions["numpy"] == metadata.version("numpy")
    refs = [one["bom-ref"] for one in (made["metadata"]["component"], *made["components"])]
    assert sorted(one["ref"] for one in made["dependencies"]) == sorted(refs)
    assert all(set(one["dependsOn"]) <= set(refs) for one in made["dependencies"])
