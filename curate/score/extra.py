"""Scores by classes of the user's own: `score.extra = ["package.module:Class"]`.

Reads what Python imports, writes nothing. Such a class is what kinds.py says of a score; `version`
and `settings` may be left out. It is made without arguments, and everything it gives is checked,
since what it does wrong should be told by name and not end as a shifted column. Its digest holds
the class's full name and version: bump the version when the same input gives other numbers.

The folder one works in is searched last, as ``python -m`` searches it first: a module that lies
there is found, and hides none that is installed.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from frenchcat.curate import files
from frenchcat.curate.errors import UserError
from frenchcat.curate.score.builtin import COLUMNS
from frenchcat.curate.score.kinds import Column, Columns, DecodedImage, Measure, Score
from frenchcat.curate.score.settings import COLUMN, IDENTITY, ScoreSettings

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Extra:
    """A user's score as the stage sees it; pickled by its reference, so that workers import it."""

    reference: str
    score: Any  # of the user's class

    @property
    def name(self) -> str:
        """As the class names it."""
        return str(self.score.name)

    @property
    def version(self) -> int:
        """1 where the class has none."""
        return int(getattr(self.score, "version", 1))

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        """As the class has them."""
        return tuple(self.score.columns)

    def settings(self) -> Mapping[str, Any]:
        """Which class it is, and the settings that it says it depends on."""
        own = self.score.settings() if hasattr(self.score, "settings") else {}
        return {"class": self.reference, "settings": dict(own)}

    def __reduce__(self) -> tuple[Any, ...]:
        return load_one, (self.reference,)

    def checked(self, made: Any, rows: int) -> Columns:
        """What the class gave: a value per row for each of its columns. Raises `UserError`."""
        import pyarrow as pa

        if not isinstance(made, Mapping):
            raise UserError(
                f"score {self.reference} gives a {type(made).__name__}; "
                "give a mapping from each column's name to its values"
            )
        for column in self.columns:
            if column.name not in made:
                raise UserError(
                    f"score {self.reference} gives no values of its column {column.name!r}; "
                    "give one per row, or remove the column from its columns"
                )
            if (given := len(made[column.name])) != rows:
                raise UserError(
                    f"score {self.reference} gives {given} values of {column.name!r} for {rows} "
                    "rows; give one per row, None if there is no value"
                )
            try:
                kind = pa.type_for_alias(column.type)
                pa.array(made[column.name], kind)
                pa.array(made[column.name]).cast(kind)  # the former cuts 1.5 to a whole number
            except (pa.ArrowException, TypeError, ValueError) as error:
                raise UserError(
                    f"score {self.reference} gives values of {column.name!r} that are not "
                    f"{column.type} ({str(error).splitlines()[0]}); give such, or name their type"
                ) from None
        return dict(made)


class ExtraOfRows(Extra):
    """One made from the sidecar's columns."""

    def of_rows(self, rows: pa.Table) -> Columns:
        """The class's columns for a shard's stored rows."""
        return self.checked(self.score.of_rows(rows), rows.num_rows)


class ExtraOfVectors(Extra):
    """One made from CLIP vectors."""

    def of_vectors(self, pictures: NDArray[np.float32], texts: NDArray[np.float32]) -> Columns:
        """The class's columns for (N, D) unit rows of images and of their captions."""
        return self.checked(self.score.of_vectors(pictures, texts), len(pictures))


class ExtraOfImages(Extra):
    """One made from pixels."""

    def load(self) -> Measure:
        """The class's function from a batch of images to their columns."""
        measure = self.score.load()

        def checked(batch: Sequence[DecodedImage]) -> Columns:
            return self.checked(measure(batch), len(batch))

        return checked


_AnyExtra = ExtraOfRows | ExtraOfVectors | ExtraOfImages
_KINDS: dict[str, type[_AnyExtra]] = {
    "of_rows": ExtraOfRows,
    "of_vectors": ExtraOfVectors,
    "load": ExtraOfImages,
}


def load_extra(settings: ScoreSettings, listed: Sequence[str] = ()) -> Iterator[Score]:
    """The user's own scores of the settings; `listed` are the columns of the dataset's sidecars.

    Raises `UserError` for a class that cannot be imported or is not a score, and for a name or a
    column that something else has.
    """
    taken = _taken(settings, listed)
    for reference in settings.extra:
        score = load_one(reference)
        for name in dict.fromkeys((score.name, *(column.name for column in score.columns))):
            if owner := taken.get(name.lower()):
                raise UserError(
                    f"score.extra: {reference} makes {name!r}, which is a column or a score of "
                    f"{owner} already; rename it in the class"
                )
            taken[name.lower()] = reference
        yield score


def load_one(reference: str) -> _AnyExtra:
    """The score of one class. Raises `UserError` where it cannot be imported or is not a score."""
    found = _imported(reference)
    kinds = [kind for kind in _KINDS if callable(getattr(found, kind, None))]
    if not isinstance(found, type) or len(kinds) != 1:
        has = f"it has {' and '.join(kinds)}" if kinds else "it has none of them"
        raise UserError(
            f"score.extra: {reference} is not a score: a class with one of "
            f"{', '.join(_KINDS)} is ({has}); docs/scores.md has an example"
        )
    try:
        made = found()
    except Exception as error:
        raise UserError(
            f"score.extra: {reference} cannot be made ({type(error).__name__}: {error}); "
            "its constructor takes no arguments"
        ) from None
    _check_names(reference, made)
    return _KINDS[kinds[0]](reference, made)


def _imported(reference: str) -> Any:
    module, _, name = reference.partition(":")
    if not (module and name.isidentifier()):
        raise UserError(f"score.extra: {reference!r} is not of the form package.module:Class")
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        return getattr(importlib.import_module(module), name)
    except Exception as error:  # a module may fail in any way it likes
        raise UserError(
            f"score.extra: {reference} cannot be imported ({type(error).__name__}: {error}); "
            "name a class of a module that is installed or lies in this folder"
        ) from None


def _check_names(reference: str, made: Any) -> None:
    import pyarrow as pa

    name, columns = getattr(made, "name", None), getattr(made, "columns", ())
    if not isinstance(columns, list | tuple) or not columns:
        raise UserError(f"score.extra: {reference} has no columns; give it a tuple of Column")
    for column in columns:
        if not isinstance(column, Column) or not COLUMN.fullmatch(column.name):
            raise UserError(
                f"score.extra: {reference} has the column {column!r}; "
                "give a Column whose name is letters, digits and _"
            )
        try:
            pa.type_for_alias(column.type)
        except ValueError:
            raise UserError(
                f"score.extra: {reference}: the type of {column.name!r} is {column.type!r}, "
                "which Arrow does not have; give float32, int64, bool or string"
            ) from None
    if not isinstance(name, str) or not COLUMN.fullmatch(name):
        raise UserError(f"score.extra: {reference} is named {name!r}; use letters, digits and _")


def _taken(settings: ScoreSettings, listed: Sequence[str]) -> dict[str, str]:
    """Name in small letters -> whose it is."""
    owners: dict[str, str] = dict.fromkeys((*IDENTITY, *files.DERIVED), "every dataset")
    for file in files.SHARD_FILES:
        owners |= dict.fromkeys(file.columns, f"the stage {file.stage}")
    for name in listed:
        owners[name.lower()] = "the URL list or its download"
    for score in settings.scores:
        owners |= dict.fromkeys((score, *COLUMNS[score]), f"the score {score}")
    for head in settings.heads:
        owners[head.name.lower()] = "a head"
    for concept in settings.concepts:
        owners[concept.lower()] = "a concept"
    return owners
