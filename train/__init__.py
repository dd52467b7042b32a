"""Selections -> batches -> diffusion model -> images.

The package is callable, since it has the name of a verb: ``frenchcat.train("train-demo")`` trains
(frenchcat/api.py), while ``frenchcat.train.loop`` remains a module.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any


class _Verb(ModuleType):
    def __call__(self, *arguments: Any, **named: Any) -> Path:
        from frenchcat.train.by_name import train_by_name

        return train_by_name(*arguments, **named)


sys.modules[__name__].__class__ = _Verb
