"""Several captions per image, each in a column of its own, as variants of one (text.separator).

A row's captions are joined once, when rows are laid out; which of them is drawn follows from
`text.weights`, in the columns' order. Where an image lacks one, the first of its other captions
takes that place, so that each weight stays with its column.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from frenchcat.curate.dataset import Dataset
from frenchcat.curate.errors import UnknownColumn, UserError

if TYPE_CHECKING:
    from frenchcat.train.settings import TrainSettings


@dataclass(frozen=True)
class CaptionColumns:
    """The columns of a dataset, or the keys of a sample's JSON, that have captions."""

    names: tuple[str, ...]
    separator: str

    def joined(self, texts: Sequence[str | None]) -> str | None:
        """An image's captions in the order of `names`; None if it has none."""
        parts = [(text or "").split(self.separator) for text in texts]
        plain = [" ".join(map(str.strip, some)).strip() for some in parts]
        first = next((text for text in plain if text), None)
        if first is None:
            return None
        return self.separator.join(text or first for text in plain)

    def of_dataset(self, dataset: Dataset, keys: Sequence[str]) -> list[str]:
        """The captions of rows. Raises `UnknownColumn`, and `UserError` if one has no texts."""
        from frenchcat.curate.catalog import Catalog

        with Catalog(dataset) as catalog:
            known = catalog.columns()
            for name in self.names:
                if name not in known:
                    raise UnknownColumn(
                        f"data.captions names {name!r}, and {dataset.root} has no such column; "
                        f"known: {', '.join(known)}",
                        name,
                    )
                if known[name] != "VARCHAR":
                    raise UserError(
                        f"data.captions names {name!r}, which has {known[name]} and not texts; "
                        "leave it out"
                    )
            table = catalog.table(["key", *self.names]).to_pydict()
        columns = zip(*(table[name] for name in self.names), strict=True)
        texts = dict(zip(table["key"], columns, strict=True))
        none = (None,) * len(self.names)
        return [self.joined(texts.get(key, none)) or "" for key in keys]


def caption_columns_of(settings: TrainSettings) -> CaptionColumns | None:
    """What `data.captions` names; None if it is empty. Raises `UserError` for what does not fit."""
    names, separator = settings.data.captions, settings.text.separator
    if not names:
        return None
    if settings.data.caption is not None:
        raise UserError("data.caption and data.captions both name captions; leave one of them out")
    if separator is None:
        raise UserError(
            "data.captions are kept as variants of one caption, and text.separator, which "
            'separates them, is none; set it, too, such as text.separator="|"'
        )
    if len(settings.text.weights) > len(names):
        raise UserError(
            f"text.weights has {len(settings.text.weights)} numbers for {len(names)} "
            "data.captions; give one for each"
        )
    return CaptionColumns(names, separator)
