"""Opening an image: the one form that every stage, query and removal request sees.

Everything that looks at pixels starts here: `open_image` (opening.py) returns upright, 8-bit RGB in
sRGB, on white. sniff.py recognises a file by its bytes, header.py reads its size before anything is
decoded, colour.py turns any mode and depth into RGB, profile.py applies ICC profiles, plugins.py
finds the optional decoders, orientation.py turns an image upright, shrunk.py decodes a JPEG smaller
than it is.
"""

from frenchcat.curate.image.opening import (
    MAX_PIXELS,
    is_plain,
    open_image,
    read_image,
    upright_size,
)

__all__ = ["MAX_PIXELS", "is_plain", "open_image", "read_image", "upright_size"]
