"""The decoders that a default install lacks: HEIC and JPEG XL, as Pillow plugins.

Registers a plugin the first time that its kind of file is opened; reads and writes nothing.
HEIC: pi-heif (decodes only; libheif and libde265 under the LGPL) or, where it is installed,
pillow-heif. JPEG XL: pillow-jxl-plugin (GPL-3.0), and brotli (MIT), since rights/metadata.py must
be able to read what such a file says of its use.
"""

import importlib
from functools import cache

_HEIC = ("pi_heif", "pillow_heif")
PACKAGES = {"heic": "pi-heif", "jxl": "pillow-jxl-plugin brotli"}
"""Kind of file -> the package that reads it."""


@cache
def register(kind: str) -> bool:
    """Have Pillow read files of a kind of `sniff.IMAGE_KINDS`; False where it cannot."""
    if kind == "jxl":
        return all(_imported(name) for name in ("brotli", "pillow_jxl"))
    if kind == "heic":
        found = next((module for name in _HEIC if (module := _imported(name))), None)
        if found is None:
            return False
        found.register_heif_opener()
    return True


def _imported(name: str):  # type: ignore[no-untyped-def]  # modules that may be absent
    try:
        return importlib.import_module(name)
    except ImportError:
        return None
