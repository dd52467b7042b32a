"""Bodies and answers of the routes that draw."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from frenchcat.index.service.models.fields import Strict


class DrawRequest(Strict):
    """What to draw."""

    prompt: str = Field(max_length=500)
    negative: str = Field("", max_length=500, description="What not to draw.")
    number: int = Field(
        1, ge=1, le=16, description="The number of images; their seeds count up from `seed`."
    )
    guidance: float = Field(
        3.0, ge=0, le=30, allow_inf_nan=False, description="The weight of the prompt; 0 ignores it."
    )
    steps: int = Field(20, ge=1, le=200, description="The number of sampler steps.")
    seed: int = Field(0, ge=0, le=2**31 - 1)
    safe: bool = Field(True, description="Withhold images that --safety-head finds unsafe.")
    violence: bool = Field(False, description="Also give images that --violence finds.")


class Near(BaseModel):
    """A training image similar to a drawn one; only its key where it may not be shown."""

    key: str
    similarity: float = Field(description="The cosine, -1 to 1.")
    url: str | None = None
    caption: str | None = None
    creator: str | None = None
    licence: str | None = None
    picture: str | None = Field(None, description="Path of the stored image.")
    thumbnail: str | None = Field(None, description="Path of a small version.")
    stored: bool | None = None


class DrawnPicture(BaseModel):
    """An image that a model drew."""

    png: str = Field(description="The file with its Content Credentials, base64.")
    made: dict[str, Any] = Field(
        description="What made it: the model, checkpoint, selection, seed and more."
    )
    nearest: list[Near] = Field(
        description="The most similar training images, the most similar first."
    )


class Drawing(BaseModel):
    """Drawn images."""

    dataset: str | None = Field(description="The dataset of the training images, if it is served.")
    pictures: list[DrawnPicture]
    withheld: int = Field(description="The number of images that were judged unsafe or violent.")
    compared: int = Field(description="The number of training images that were compared.")
    about: str = Field(description="What similarity says, and what it does not.")
    took_ms: float
