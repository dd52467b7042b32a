"""From a list of image URLs with captions to a dataset that you can search, clean and train on.

    import frenchcat

    cats = frenchcat.build("urls.parquet", "data/cats")
    cats.search("french cat", k=5)
    frenchcat.open("data/cats").select("large", "width >= 512").batches(batch=32, size=64)

The names below are the public interface; docs/python.md shows each. Importing the package loads
none of what they need.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    **dict.fromkeys(("OpenDataset", "open"), "frenchcat.opened"),
    **dict.fromkeys(("RemoteDataset", "connect"), "frenchcat.connected"),
    "RemoteSelection": "frenchcat.remote.selection",
    "OpenSelection": "frenchcat.selected",
    "FrenchcatError": "frenchcat.errors",
    **dict.fromkeys(
        (
            *("adopt", "audit", "build", "credits", "diff", "download", "evaluate"),
            *("sample", "scale_plan", "serve", "verify"),
        ),
        "frenchcat.api",
    ),
    "train": "frenchcat.train",  # the package, which can be called: it trains
}
__all__ = [
    "FrenchcatError",
    "OpenDataset",
    "OpenSelection",
    "RemoteDataset",
    "RemoteSelection",
    "adopt",
    "audit",
    "build",
    "connect",
    "credits",
    "diff",
    "download",
    "evaluate",
    "open",
    "sample",
    "scale_plan",
    "serve",
    "train",
    "verify",
]

if TYPE_CHECKING:
    from frenchcat.api import (
        adopt,
        audit,
        build,
        credits,
        diff,
        download,
        evaluate,
        sample,
        scale_plan,
        serve,
        train,
        verify,
    )
    from frenchcat.connected import RemoteDataset, connect
    from frenchcat.errors import FrenchcatError
    from frenchcat.opened import OpenDataset, open
    from frenchcat.remote.selection import RemoteSelection
    from frenchcat.selected import OpenSelection


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(f"module 'frenchcat' has no attribute {name!r}")
    module = import_module(_HOMES[name])
    return module if name == "train" else getattr(module, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
