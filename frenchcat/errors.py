"""The errors that frenchcat raises on purpose, for `except` clauses; see `FrenchcatError`."""

from frenchcat.curate.errors import (
    BadCondition,
    Busy,
    Damaged,
    FrenchcatError,
    ModelMismatch,
    ModelUnavailable,
    NoSpace,
    NotFound,
    UnknownColumn,
    Unwritable,
    UserError,
)

__all__ = [
    "BadCondition",
    "Busy",
    "Damaged",
    "FrenchcatError",
    "ModelMismatch",
    "ModelUnavailable",
    "NoSpace",
    "NotFound",
    "UnknownColumn",
    "Unwritable",
    "UserError",
]
