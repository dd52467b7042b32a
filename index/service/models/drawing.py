"""Bodies and answers of the routes that draw."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from frenchcat.index.service.models.fields import Strict


class DrawRequest(Strict):
    """What shall be drawn."""

    prompt: str = Field(max_length=500)
    negative: str = Field("", max_length=500, description="What not to draw.")
    number: int = Field(1, ge=1, le=16, description="Pictures, with seeds from `seed` on.")
    guidance: float = Field(
        3.0, ge=0, le=30, allow_inf_nan=False, description="Weight of the prompt; 0: left out."
    )
    steps: int = Field(20, ge=1, le=200, description="Of the sampler.")
    seed: int = Field(0, ge=0, le=2**31 - 1)
    safe: bool = Field(True, description="Withhold what --safety-head finds.")
    violence: bool = Field(False, description="Let through what --violence finds.")


class Near(BaseModel):
    """A training picture near to a drawn one; by key alone where it may not be shown."""

    key: str
    similarity: float = Field(description="Cosine, -1 to 1.")
    url: str | None = None
    caption: str | None = None
    creator: str | None = None
    licence: str | None = None
    picture: str | None = Field(None, description="Path of the stored picture.")
    thumbnail: str | None = Field(None, description="Path of a small one.")
    stored: bool | None = None


class DrawnPicture(BaseModel):
    """A picture that a model drew."""

    png: str = Field(description="The file with its Content Credentials, base64.")
    made: dict[str, Any] = Field(description="What made it: model, checkpoint, selection, seed …")
    nearest: list[Near] = Field(description="Nearest training pictures, nearest first.")


class Drawing(BaseModel):
    """Pictures that were drawn, not found."""

    dataset: str | None = Field(description="That of the training pictures, where it is served.")
    pictures: list[DrawnPicture]
    withheld: int = Field(description="Pictures that were taken for unsafe or violent.")
    compared: int = Field(description="Training pictures that were compared.")
    about: str = Field(description="What nearness says, and what it does not.")
    took_ms: float
