"""The errors that frenchcat raises on purpose, for `except` clauses; see `FrenchcatError`."""

from frenchcat.curate.errors import (
    AlreadyThere,
    BadCondition,
    Busy,
    ConfirmationNeeded,
    Damaged,
    FrenchcatError,
    ModelMismatch,
    ModelUnavailable,
    NoSpace,
    NotFound,
    NothingDownloaded,
    UnknownColumn,
    UnreadableImage,
    Unwritable,
    UserError,
)

__all__ = [
    "AlreadyThere",
    "BadCondition",
    "Busy",
    "ConfirmationNeeded",
    "Damaged",
    "FrenchcatError",
    "ModelMismatch",
    "ModelUnavailable",
    "NoSpace",
    "NotFound",
    "NothingDownloaded",
    "UnknownColumn",
    "UnreadableImage",
    "Unwritable",
    "UserError",
]
