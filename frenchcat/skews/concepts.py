"""Concepts that a user writes: prompts that tell images apart, and how often they err.

Reads a TOML file, and the CSV files that it names; writes nothing::

    title = "What the images show"

    [concepts.outdoors]
    yes = ["a photo taken outdoors", "a landscape"]
    no = ["a photo taken indoors"]
    labels = "outdoors.csv"            # key,label: images of the dataset, labelled yes or no
    # or the counts themselves: [[are and called so, are and not], [are not but called so, neither]]
    # confusion = [[45, 5], [8, 92]]

An image is called so where the mean vector of `yes` is nearer to it than that of `no`: zero-shot
classification with the dataset's own model (Radford et al. 2103.00020). Such a classifier errs, and
how often is known from a labelled sample alone. Without one, the share of images that are called so
is told and never tested. No concept comes with frenchcat, so that nobody's traits are guessed
unless somebody writes down which, and by which words.
"""

from __future__ import annotations

import csv
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from frenchcat.curate.config import resolve, settings
from frenchcat.curate.errors import UserError
from frenchcat.skews.shares import Confusion

_YES, _NO = ("yes", "1", "true", "y"), ("no", "0", "false", "n")
_EXAMPLE = "[concepts.outdoors] with yes = ['a photo taken outdoors'] and no = ['an indoor photo']"
_Count = Annotated[int, Field(ge=0)]
_Pair = tuple[_Count, _Count]


@settings
class ConceptEntry:
    """A concept as the file has it."""

    yes: tuple[str, ...]
    """Prompts of images that are."""
    no: tuple[str, ...]
    """Prompts of images that are not."""
    labels: str | None = None
    """A CSV file of `key,label`, beside the list."""
    confusion: tuple[_Pair, _Pair] | None = None
    """Counts of a labelled sample: rows are the truth, columns what is called; yes before no."""


@settings
class ConceptList:
    """A list of concepts as its file has it."""

    title: str
    concepts: dict[str, ConceptEntry] = Field(default_factory=dict)


@dataclass(frozen=True)
class AuditedConcept:
    """Prompts, and what is known about their error: labels of images, counts, or nothing."""

    name: str
    yes: tuple[str, ...]
    no: tuple[str, ...]
    labels: Mapping[str, bool] | None = None  # key -> label
    confusion: Confusion | None = None
    source: str = ""  # where the labels are from


def load_concepts(file: Path) -> list[AuditedConcept]:
    """The concepts of a list. Raises `UserError` for a missing or bad file, naming the fault."""
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UserError(f"{file} cannot be read ({error.strerror}); give a TOML file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{file} is not TOML: {error}") from None
    listed = resolve(ConceptList, values, str(file))
    if not listed.concepts:
        raise UserError(f"{file} contains no concept; write one as {_EXAMPLE}")
    return [_concept(file, name, entry) for name, entry in listed.concepts.items()]


def _concept(file: Path, name: str, entry: ConceptEntry) -> AuditedConcept:
    for side, prompts in (("yes", entry.yes), ("no", entry.no)):
        if not prompts or not all(prompt.strip() for prompt in prompts):
            raise UserError(f"{file}: the concept {name!r} has no prompt under {side}; {_EXAMPLE}")
    if entry.labels is not None and entry.confusion is not None:
        raise UserError(
            f"{file}: the concept {name!r} has labels and a confusion; give one of them"
        )
    if entry.labels is not None:
        path = file.parent / entry.labels
        return AuditedConcept(name, entry.yes, entry.no, _labels(path), source=path.name)
    if entry.confusion is None:
        return AuditedConcept(name, entry.yes, entry.no)
    (true_yes, false_no), (false_yes, true_no) = entry.confusion
    found = Confusion(true_yes, false_no, false_yes, true_no)
    check_confusion(name, found, str(file))
    return AuditedConcept(name, entry.yes, entry.no, None, found, file.name)


def _labels(path: Path) -> dict[str, bool]:
    """Key -> label of a CSV file."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); give a CSV file") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 ({error.reason}); save it as CSV in UTF-8") from None
    rows = csv.DictReader(text.splitlines())
    if not {"key", "label"} <= set(rows.fieldnames or ()):
        raise UserError(f"{path} has no columns key and label; begin it with the line key,label")
    found: dict[str, bool] = {}
    for row in rows:
        key, said = row["key"] or "", (row["label"] or "").strip().lower()
        if said not in (*_YES, *_NO):
            raise UserError(f"{path}, line {rows.line_num}: label {said!r}; give yes or no")
        if found.setdefault(key, said in _YES) != (said in _YES):
            raise UserError(
                f"{path}, line {rows.line_num}: {key} is labelled yes and no; leave one of them"
            )
    return found


def check_confusion(name: str, found: Confusion, where: str) -> None:
    """Raise `UserError` where a sample lacks images of one side, or is no better than chance."""
    if not found.true_yes + found.false_no or not found.false_yes + found.true_no:
        raise UserError(
            f"{where}: the sample of the concept {name!r} needs images labelled yes, and no"
        )
    if not found.informative(np.random.default_rng(0)):
        raise UserError(
            f"{where}: by its sample of {found.true_yes + found.false_no} yes and "
            f"{found.false_yes + found.true_no} no, the prompts of the concept {name!r} tell "
            f"images apart no better than chance (sensitivity {found.sensitivity:.2f}, specificity "
            f"{found.specificity:.2f}); write other prompts, or label more images"
        )


def called(
    images: NDArray[np.float32], yes: NDArray[np.float32], no: NDArray[np.float32]
) -> NDArray[np.bool_]:
    """(n,) whether images (n, D) are nearer to the mean of `yes` (y, D) than of `no` (m, D)."""
    direction = _mean(yes) - _mean(no)
    return np.asarray(images @ direction > 0)


def _mean(prompts: NDArray[np.float32]) -> NDArray[np.float32]:
    mean = prompts.mean(axis=0)
    return np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-12), np.float32)


def confusion_of(labels: NDArray[np.bool_], found: NDArray[np.bool_]) -> Confusion:
    """Counts of a labelled sample: (n,) labels, and what the images are called."""
    yes, no = found[labels], found[~labels]
    return Confusion(int(yes.sum()), int((~yes).sum()), int(no.sum()), int((~no).sum()))
