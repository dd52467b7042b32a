"""Write constraints.txt: the installed version of everything that frenchcat's dependencies need.

Reads pyproject.toml and the environment it runs in; run it in one where the suite passes::

    .venv/bin/python tools/pin.py
"""

import re
import tomllib
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
HEAD = "# What was seen to work together (Python 3.11). Made by tools/pin.py; do not edit.\n"


def canonical(name: str) -> str:
    """A distribution's name in its normal form (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def closure(requirements: list[str]) -> dict[str, str]:
    """Name -> installed version of the requirements and of all that they need in turn."""
    found: dict[str, str] = {}
    waiting = [(Requirement(text), "") for text in requirements]
    seen: set[tuple[str, str]] = set()
    while waiting:
        requirement, extra = waiting.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = canonical(requirement.name)
        for wanted in {"", *requirement.extras}:
            if (name, wanted) in seen or name == "frenchcat":
                continue
            seen.add((name, wanted))
            try:
                distribution = metadata.distribution(name)
            except metadata.PackageNotFoundError:
                print(f"not installed, left out: {requirement}")
                continue
            found[name] = distribution.version
            waiting += [(Requirement(text), wanted) for text in distribution.requires or ()]
    return found


def main() -> None:
    """Write constraints.txt beside pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = list(project["dependencies"])
    for extra in project["optional-dependencies"].values():
        wanted += extra
    pins = [f"{name}=={version}" for name, version in sorted(closure(wanted).items())]
    (ROOT / "constraints.txt").write_text(HEAD + "\n".join(pins) + "\n")
    print(f"{len(pins)} pins")


if __name__ == "__main__":
    main()
