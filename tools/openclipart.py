"""Which Open Clip Art pictures the bundled model never trained on.

Reads nothing, writes nothing: the rule is a pure function of a picture's path, so that the
training recipe (tools/mini/) and the bundled sample agree without sharing a list.
"""

import hashlib
from fnmatch import fnmatch

RESERVED_SHARE = 4  # one picture in four is kept out of training
HOUSECATS = (  # all of them: the sample is what everybody's first query is asked of
    "animals/mammals/housecats/*",
    "animals/mammals/cartoon_cat*",
    "animals/cani_e_gatti*",
)


def reserved(rel: str) -> bool:
    """True when a picture must not be trained on (and may be in the bundled sample).

    ``rel`` is the PNG's path below the Open Clip Art png folder, with forward slashes,
    e.g. ``"animals/foo.png"``.
    """
    if any(fnmatch(rel, pattern) for pattern in HOUSECATS):
        return True
    return int(hashlib.sha256(rel.encode()).hexdigest(), 16) % RESERVED_SHARE == 0
