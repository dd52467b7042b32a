"""Settings of the scores. Imports nothing heavy."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field

from frenchcat.curate.config import known, settings
from frenchcat.curate.score.builtin import COLUMNS

Name = Annotated[str, known("score", COLUMNS)]
IDENTITY = ("key", "sha256", "stored_sha256")
"""Columns that are always there."""
COLUMN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
"""What a column may be named."""


@settings
class HeadSettings:
    """A user's own head: layers on CLIP image vectors that give one number per image."""

    name: str
    """The column's name (`AESTHETIC_SCORE`, `punsafe`, …)."""
    file: str
    """A safetensors file: weights and biases of linear layers, in order of their names."""
    activation: Literal["relu", "none"] = "relu"
    """Between layers. LAION's aesthetic predictors have none, its NSFW heads have relu."""
    output: Literal["linear", "sigmoid"] = "linear"
    """What becomes of the last layer's number; two numbers always go through softmax and the
    second is taken."""
    model: str | None = None
    """The CLIP model whose vectors it was trained on, as `frenchcat info` names it; vectors of
    another are refused. None: only the dimension is checked."""


@settings
class ScoreSettings:
    """Which scores a dataset gets."""

    scores: tuple[Name, ...] = tuple(COLUMNS)
    """By name; each has its module in curate/score/."""
    heads: tuple[HeadSettings, ...] = ()
    """Further scores by a user's own heads."""
    concepts: dict[str, tuple[str, str]] = Field(default_factory=dict)
    """Column -> (prompt, counter-prompt): the probability that an image is the former, as CLIP
    sees it. For example violence = ["a picture of violence", "a peaceful picture"]."""
    extra: tuple[str, ...] = ()
    """Further scores by classes of your own, as package.module:Class (docs/scores.md)."""

    def __post_init__(self) -> None:
        ours = [column for score in self.scores for column in COLUMNS[score]]
        theirs = [*(head.name for head in self.heads), *self.concepts]
        # A score's own name is taken, too: the file keeps a digest a name.
        names = [*ours, *(name for name in self.scores if name not in ours), *theirs]
        seen = {name.lower() for name in IDENTITY}
        for name in names:
            if not COLUMN.fullmatch(name):
                raise ValueError(f"{name!r} is not a column name; use letters, digits and _")
            if name.lower() in seen:
                raise ValueError(f"two scores are named {name!r}; rename one or leave one out")
            seen.add(name.lower())
