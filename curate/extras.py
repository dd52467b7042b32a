"""How to get what a default install leaves out. frenchcat is in no package registry."""

from __future__ import annotations


def how_to_install(extra: str) -> str:
    """The commands that add an extra: ``ray``, ``s3`` or ``hdf5``; see docs/command-line.md."""
    return (
        f"install the extra {extra!r}: pip install '.[{extra}]' in the checkout, "
        f"or pip install 'WHEEL[{extra}]' with the wheel's file"
    )
