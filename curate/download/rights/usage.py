"""Usage preferences of the IETF's AI Preferences group: ``train-ai=n, search=y``.

Reads a text, writes nothing. A dictionary as in RFC 9651, of which we read tokens and booleans; the
last of equal keys counts (draft-ietf-aipref-vocab). The drafts changed the names of their
categories; all published names are known here.
"""

from __future__ import annotations

from frenchcat.curate.download.rights.signal import ALLOW, FACT, OPT_OUT

_TRAINING = ("train-ai", "train-genai", "ai-training", "genai", "ai")
"""Uses that a dataset like ours is for."""
_ALL = ("bots", "tdm")
"""All automated processing, unless one of the above says otherwise."""
_NO = frozenset({"n", "?0", '"n"'})
_YES = frozenset({"y", "?1", '"y"', ""})


def decision(preference: str) -> str | None:
    """What a preference says about training: opt_out, allow or nothing."""
    said: dict[str, str] = {}
    for member in preference.lower().split(","):
        name, _, value = member.partition(";")[0].partition("=")
        said[name.strip()] = value.strip()
    for names in (_TRAINING, _ALL):
        values = [said[name] for name in names if name in said]
        if any(value in _NO for value in values):
            return OPT_OUT
        if values and all(value in _YES for value in values):
            return ALLOW
    return FACT
