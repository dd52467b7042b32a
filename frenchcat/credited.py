"""The credits of a selection or of a training run: behind `frenchcat.credits`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from frenchcat.curate.command_text import shell_command
from frenchcat.curate.credits import Credits, credits_of, write_credits
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.errors import UserError
from frenchcat.curate.export import new_folder
from frenchcat.curate.select import names, open_selection
from frenchcat.train.run import ABOUT
from frenchcat.train.trained_on import dataset_of
from frenchcat.train.used import draws_of

_ROW_BYTES = 200  # of a credit in both files, at least


def credited(source: Path, name: str | None, to: Path | None) -> Credits:
    """The credits of the selection `name` of a dataset, or of what a run has trained on.

    With `to`, credits.csv and credits.html are written into that new or empty folder. Raises
    `NotFound` and `UserError`.
    """
    is_run = (source / ABOUT).exists()
    found = _of_run(source, name) if is_run else _of_selection(source, name)
    if to is not None:
        with new_folder(to, _ROW_BYTES * len(found.rows), f"credits of {found.name}") as folder:
            write_credits(found, folder)
    return found


def _of_selection(source: Path, name: str | None) -> Credits:
    dataset = Dataset.open(source)
    if name is None:
        make = shell_command("select", dataset.root, "NAME")
        known = ", ".join(names(dataset)) or f"none yet; make one with: {make}"
        raise UserError(f"name a selection of {dataset.root}; there are: {known}")
    selection = open_selection(dataset, name)
    keys: Mapping[str, None] = dict.fromkeys(selection.table["key"].to_pylist())
    return Credits(name, credits_of(dataset, keys), about={"digest": selection.digest})


def _of_run(run: Path, name: str | None) -> Credits:
    if name is not None:
        raise UserError(
            f"{run} is a training run, which has no selection {name!r}; leave the name out, or "
            "give the dataset's folder"
        )
    drawn = draws_of(run)
    if drawn.dataset is None:
        raise UserError(
            f"{run} was trained on tars outside a dataset, of which no ledger is kept; to keep "
            "one: frenchcat adopt FOLDER --out DATASET, then train on a selection of it"
        )
    rows = credits_of(dataset_of(run, drawn.dataset), drawn.times)
    about = {"selection": drawn.selection, "steps": drawn.step}
    return Credits(str(run), rows, len(drawn.times) - len(rows), about)
