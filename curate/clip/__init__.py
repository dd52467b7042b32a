"""CLIP: images or texts -> unit vectors, with any open_clip model or the bundled one."""

from frenchcat.curate.clip.settings import ClipSettings

__all__ = ["ClipSettings"]
