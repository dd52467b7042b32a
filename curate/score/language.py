"""`language`: which language a caption is in, by py3langid's bundled model (139 languages).

Reads captions, gives an ISO 639 code and the model's confidence in [0, 1]; LAION's LANGUAGE was
made by CLD3, so codes agree but not every verdict on short captions does. "zxx" is what is not
language (numbers, markup), "und" what the model can say nothing about; None where there is no
caption. Cost: about a millisecond a caption.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from frenchcat.curate.score.kinds import Column, Columns

if TYPE_CHECKING:
    import pyarrow as pa

UNDETERMINED_BELOW = 0.02
"""A text of which the model knows no part gets a confidence of 1/71 = .014: not an answer."""


class Language:
    """The score."""

    name = "language"
    version = 1
    columns = (
        Column("language", "string", "ISO 639 code of the caption's language"),
        Column(
            "language_confidence",
            "float32",
            "how sure the language of the caption is",
            probability=True,
        ),
    )

    def settings(self) -> Mapping[str, Any]:
        """The model is the package's."""
        from importlib.metadata import version

        return {"py3langid": version("py3langid")}

    def of_rows(self, rows: pa.Table) -> Columns:
        """One call a caption."""
        found = [
            identifier().classify(caption) if caption and caption.strip() else (None, None)
            for caption in rows["caption"].to_pylist()
        ]
        return {
            "language": [code for code, _ in found],
            "language_confidence": [confidence for _, confidence in found],
        }


@cache
def identifier() -> Any:
    """The loaded model, probabilities normalised."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(
        MODEL_FILE, norm_probs=True, min_confidence=UNDETERMINED_BELOW
    )
