"""Concept scores: how probable a prompt is of an image against its counter-prompt, by CLIP.

Reads image vectors and two prompts' vectors, gives softmax(logit_scale * [p·v, n·v]) of the
first, CLIP's zero-shot rule (Radford et al. 2021, section 3.1). Above .5 the image is nearer to
the prompt than to its counter-prompt, which is the decision of clip-retrieval's violence filter
(the nearer of two prompt vectors). Any pair will do; a pair that differs in one thing works best.
Cost: two dot products an image, and the model once for the prompts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from frenchcat.curate.score.head import sigmoid
from frenchcat.curate.score.kinds import Column, Columns

if TYPE_CHECKING:
    from frenchcat.curate.clip.model import Clip


@dataclass(frozen=True)
class Direction:
    """What the prompts came to: a vector for which logits are `vectors @ vector`."""

    vector: tuple[float, ...]  # logit_scale * (prompt - counter-prompt), (D,)


@dataclass(frozen=True)
class Concept:
    """The score of one pair; in [0, 1]. `direction` is needed to compute, not to tell apart."""

    name: str
    prompts: tuple[str, str]
    direction: Direction | None = None
    version: int = 1

    def settings(self) -> Mapping[str, Any]:
        """The prompts; the model is in the vectors' own digests."""
        return {"prompts": list(self.prompts)}

    @property
    def columns(self) -> tuple[Column, ...]:
        """One float."""
        return (Column(self.name, "float32"),)

    def of_vectors(self, pictures: NDArray[np.float32], texts: NDArray[np.float32]) -> Columns:
        """The probability for (N, D) unit rows."""
        assert self.direction is not None, "directions() was not called"
        return {self.name: sigmoid(pictures @ np.array(self.direction.vector, np.float32))}


def with_direction(concept: Concept, clip: Clip) -> Concept:
    """The concept, its prompts encoded by the dataset's model."""
    positive, negative = clip.encode_texts(list(concept.prompts))
    vector = clip.logit_scale * (positive - negative)
    return Concept(concept.name, concept.prompts, Direction(tuple(map(float, vector))))
