"""Imported by the fork server, for what it imports."""

import contextlib
import gc
import importlib
import os

from tools.mutants.child import LIBRARIES

os.environ.update(
    OMP_NUM_THREADS="1",
    HF_HUB_OFFLINE="1",
    NO_ALBUMENTATIONS_UPDATE="1",
    HF_HUB_DISABLE_TELEMETRY="1",
)
for _name in LIBRARIES:
    with contextlib.suppress(ImportError):
        importlib.import_module(_name)
gc.collect()
gc.freeze()  # a test's collections need not walk through the libraries' objects
