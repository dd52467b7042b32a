"""What an image's C2PA manifests (Content Credentials) say: of mining, of who made it and how.

Reads a file's original bytes, writes nothing and contacts no server: remote manifests are not
fetched. Every manifest in the file counts, with a valid signature or not: it says what its maker
wants, and nobody gains by forging a wish to be left out.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from frenchcat.curate.download.rights.signal import ALLOW, FACT, OPT_OUT, Signal, shortened
from frenchcat.curate.download.rights.synthetic import of_manifests, signer_facts

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


class Manifests:
    """The manifests of one file; `kind` is its format as `Fetched` has it. Never raises."""

    def __init__(self, body: bytes, kind: str, time: str | None = None) -> None:
        """Read them, where there are any; `time` is that of the answer that brought the file."""
        self.store: Mapping[str, Any] = {}
        self.time = time
        self._body = body if _MARK in body and kind in TYPES else b""
        self._broken: str | None = None
        try:
            if self._body:
                self.store = _store(body, TYPES[kind])
        except Exception as error:  # no manifest after all, or a broken one
            self._broken = type(error).__name__

    def uses(self) -> list[Signal]:
        """What they say of mining and training."""
        if self._broken is not None:
            return self._of_broken(self._broken)
        found = [
            Signal(signal, shortened(value), f"c2pa:{manifest}", self.time, decision)
            for manifest, content in self.store.get("manifests", {}).items()
            for signal, value, decision in _of_manifest(content)
        ]
        if any(signal.decision for signal in found):
            return found
        # An assertion that was passed over, or that holds nothing we know, may still say no.
        left = self._of_broken("unclear")
        return [signal for signal in left if signal.decision == OPT_OUT] or found

    def facts(self) -> list[Signal]:
        """Who signed them, whether the file was changed since, and whether it is synthetic."""
        said = [*of_manifests(self.store), *signer_facts(self.store)]
        return [Signal(name, shortened(value), "c2pa", self.time) for name, value in said]

    def _of_broken(self, why: str) -> list[Signal]:
        """What is left of an assertion that cannot be read: broken is not allowed."""
        said_no = any(word in self._body for word in (b"notAllowed", b"constrained"))
        return [
            Signal(signal, f"not read: {why}", "c2pa", self.time, OPT_OUT if said_no else FACT)
            for label, signal in LABELS.items()
            if label.encode() in self._body
        ]


def _store(body: bytes, media: str) -> Mapping[str, Any]:
    from c2pa import Reader

    with Reader(media, io.BytesIO(body), context=_offline()) as reader:
        store: Mapping[str, Any] = json.loads(reader.json())
    return store


@cache
def _offline() -> Any:
    from c2pa import Context, Settings

    # Signatures are not judged here, so nothing is fetched to judge them.
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
    # `constrained` allows under conditions that only a human can judge.
    if any(use in ("notAllowed", "constrained") for use in uses):
        return OPT_OUT
    return ALLOW if uses and all(use == "allowed" for use in uses) else FACT
