"""Training and mining assertions in a picture's C2PA manifests (Content Credentials).

Reads a file's original bytes, writes nothing and asks nobody: manifests that lie elsewhere are not
fetched. What any manifest in the file says counts, valid signature or not: it tells what its maker
wants, and nobody gains by a forged wish to be left out.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from frenchcat.curate.download.rights.signal import ALLOW, FACT, OPT_OUT, Signal, shortened

LABELS = {
    "c2pa.training-mining": "c2pa_training_mining",  # C2PA specification 1.3
    "cawg.training-mining": "cawg_training_mining",  # CAWG 1.0, its successor
}
_MARK = b"c2pa"  # in the label of every manifest store
_OURS = ("data_mining", "ai_training", "ai_generative_training", "ai_inference")
"""The entries that name something that is done with a dataset here."""
TYPES = {
    "jpeg": "image/jpeg",
    "png": "image/png",
    "webp": "image/webp",
    "avif": "image/avif",
    "heic": "image/heic",
    "jxl": "image/jxl",
    "tiff": "image/tiff",
    "gif": "image/gif",
}


def provenance_signals(body: bytes, kind: str, time: str | None = None) -> list[Signal]:
    """What the manifests of a file say; `kind` is its format as `Fetched` has it. Never raises."""
    if _MARK not in body or kind not in TYPES:
        return []
    try:
        store = _manifests(body, TYPES[kind])
    except Exception as error:  # no manifest after all, or a broken one
        return _of_broken(body, type(error).__name__, time)
    found = [
        Signal(signal, shortened(value), f"c2pa:{manifest}", time, decision)
        for manifest, content in store.items()
        for signal, value, decision in _of_manifest(content)
    ]
    if any(signal.decision for signal in found):
        return found
    # An assertion that was passed over, or that holds nothing we know, may still say no.
    left = _of_broken(body, "unclear", time)
    return [signal for signal in left if signal.decision == OPT_OUT] or found


def _of_broken(body: bytes, why: str, time: str | None) -> list[Signal]:
    """What is left of an assertion in a manifest that cannot be read: broken is not allowed."""
    decision = OPT_OUT if any(word in body for word in (b"notAllowed", b"constrained")) else FACT
    return [
        Signal(signal, f"not read: {why}", "c2pa", time, decision)
        for label, signal in LABELS.items()
        if label.encode() in body
    ]


def _manifests(body: bytes, media: str) -> Mapping[str, Any]:
    from c2pa import Reader

    with Reader(media, io.BytesIO(body), context=_offline()) as reader:
        store = json.loads(reader.json())
    manifests: Mapping[str, Any] = store.get("manifests", {})
    return manifests


@cache
def _offline() -> Any:
    from c2pa import Context, Settings

    # Signatures are not judged here, so nothing is asked for to judge them.
    verify = {"remote_manifest_fetch": False, "ocsp_fetch": False, "verify_trust": False}
    return Context(Settings.from_dict({"verify": verify}))


def _of_manifest(manifest: Any) -> Iterator[tuple[str, str, str | None]]:
    for assertion in manifest.get("assertions", ()):
        # A second assertion of a label is called label__1, a later version label.v2.
        label = str(assertion.get("label", "")).split("__")[0].split(".v")[0]
        if label not in LABELS:
            continue
        data = assertion.get("data")
        entries = data.get("entries", {}) if isinstance(data, dict) else {}
        yield LABELS[label], json.dumps(entries, sort_keys=True), _decision(entries)


def _decision(entries: Any) -> str | None:
    if not isinstance(entries, dict):
        return FACT
    uses = [
        str(entry.get("use", "")) if isinstance(entry, dict) else str(entry)
        for name, entry in entries.items()
        if name.split(".", 1)[-1] in _OURS
    ]
    # `constrained` allows under conditions that only a reader can weigh.
    if any(use in ("notAllowed", "constrained") for use in uses):
        return OPT_OUT
    return ALLOW if uses and all(use == "allowed" for use in uses) else FACT
