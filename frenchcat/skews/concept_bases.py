"""The concepts of an audit with their prompts' vectors and base rates.

Cost: at most SAMPLE vectors are read for the base rates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from frenchcat.curate.errors import UserError
from frenchcat.skews.concepts import (
    AuditedConcept,
    called,
    check_confusion,
    confusion_of,
)
from frenchcat.skews.report import ConceptBasis
from frenchcat.skews.rows import BaseRows

if TYPE_CHECKING:
    from frenchcat.index.search import Searcher


SAMPLE = 20_000
"""Rows that the base rate of a concept is counted over, at most."""


@dataclass(frozen=True)
class ConceptBases:
    """The concepts with their prompts' vectors and base rates."""

    bases: list[ConceptBasis]
    prompts: list[tuple[NDArray[np.float32], NDArray[np.float32]]]  # of yes, of no

    @classmethod
    def of(
        cls,
        searcher: Searcher,
        rows: BaseRows,
        concepts: Sequence[AuditedConcept],
        random: np.random.Generator,
    ) -> ConceptBases:
        """Encode the prompts, and count what is called so among sampled and labelled rows.

        Raises `UserError` for a labelled key that no search may show, and for prompts that do no
        better than chance.
        """
        made = cls([], [])
        if not concepts:
            return made
        chosen = np.sort(random.permutation(len(rows))[:SAMPLE])
        images = searcher.vectors(rows.positions[chosen])
        place = {key: at for at, key in enumerate(rows.keys)}
        for concept in concepts:
            yes, no = (
                searcher.clip.encode_texts(list(texts)) for texts in (concept.yes, concept.no)
            )
            confusion = concept.confusion
            if concept.labels is not None:
                if lost := [key for key in concept.labels if key not in place]:
                    raise UserError(
                        f"{concept.source} labels {lost[0]!r}, which is not a row that a search of "
                        f"{searcher.dataset.root} may show ({len(lost)} of {len(concept.labels)} "
                        "are not); label rows of this dataset"
                    )
                at = rows.positions[[place[key] for key in concept.labels]]
                labels = np.array(list(concept.labels.values()), bool)
                confusion = confusion_of(labels, called(searcher.vectors(at), yes, no))
                check_confusion(concept.name, confusion, concept.source)
            share = float(called(images, yes, no).mean())
            made.bases.append(ConceptBasis(concept, confusion, share, len(images)))
            made.prompts.append((yes, no))
        return made

    def called(self, images: NDArray[np.float32] | None) -> NDArray[np.bool_]:
        """(n, C) which image is called what."""
        if images is None:
            return np.zeros((0, 0), bool)
        return np.stack([called(images, yes, no) for yes, no in self.prompts], axis=1)
