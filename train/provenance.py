"""Content Credentials (C2PA): drawn pictures are signed, and a signature is read in words.

Reads and writes bytes of pictures and a key in the user's configuration folder; asks no server. A
manifest says that a picture was made by a model (`trainedAlgorithmicMedia`), and in an assertion of
our own by which: run, checkpoint, selection, prompt, seed. The key is self-issued, made at the
first use, or the user's own.

A signature tells that a file is as its signer left it, and by which key. A self-issued key proves
no name, and a manifest can be cut out by whoever likes: a picture without one says nothing.
"""

from __future__ import annotations

import io
import json
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from frenchcat.curate.download.rights.provenance import TYPES
from frenchcat.curate.errors import UserError
from frenchcat.train.credentials import Credentials, algorithm, own_certificates

LABEL = "org.frenchcat.generation"
SOURCE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
_PNG = b"\x89PNG\r\n\x1a\n"
_PURPOSES = "1.3.6.1.5.5.7.3.4\n1.3.6.1.5.5.7.3.36"  # e-mail protection, document signing

Key = Literal["own", "known", "unknown"]


@dataclass(frozen=True)
class Finding:
    """What a picture's manifest says, and whether it holds."""

    signed: bool
    intact: bool = False  # every byte is as the signer left it
    key: Key = "unknown"
    signer: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)  # of our assertion
    generated: bool = False  # says of itself that a trained model made it
    troubles: tuple[str, ...] = ()


def signed(picture: bytes, facts: Mapping[str, Any], credentials: Credentials) -> bytes:
    """A PNG with a manifest that names its makers. Raises `UserError` where the key does not sign.

    `facts` are what our assertion says: model, checkpoint, selection, prompt, seed and the like.
    """
    from importlib.metadata import version

    from c2pa import Builder, C2paError, C2paSignerInfo, Context, Settings, Signer

    created = {
        "action": "c2pa.created",
        "digitalSourceType": SOURCE,
        "softwareAgent": {"name": "frenchcat", "version": version("frenchcat")},
    }
    manifest = {
        "claim_generator_info": [{"name": "frenchcat", "version": version("frenchcat")}],
        "title": str(facts.get("prompt", "picture")),
        "assertions": [
            {"label": "c2pa.actions", "data": {"actions": [created]}},
            {"label": LABEL, "data": dict(facts)},
        ],
    }
    out = io.BytesIO()
    info = C2paSignerInfo(algorithm(credentials), credentials.certificates, credentials.key, None)
    context = Context(Settings.from_dict({"builder": {"thumbnail": {"enabled": False}}}))
    try:
        with Signer.from_info(info) as signer, Builder(manifest, context=context) as builder:
            builder.sign(signer, "image/png", io.BytesIO(picture), out)
    except C2paError as error:
        raise UserError(f"the key does not sign a picture ({error}); give another") from None
    return out.getvalue()


def verified(data: bytes, kind: str, known: bytes = b"", own: bytes | None = None) -> Finding:
    """What the manifest in a picture's bytes says, and whether one byte of them was changed.

    `kind` is its format as in rights.provenance.TYPES, `known` certificates to trust (PEM), `own`
    the user's; by default those of the configuration folder.
    """
    own = own_certificates() if own is None else own
    troubles = _png_troubles(data) if kind == "png" else []
    try:
        store = _store(data, TYPES[kind], own + known)
        mine = _trusted(_store(data, TYPES[kind], own) if known else store)
    except ValueError as error:
        told = str(error).splitlines()[0]
        if "ManifestNotFound" in told or "no JUMBF" in told:
            there = b"jumbc2pa" in data or b"jumdc2pa" in data
            return Finding(
                False, troubles=tuple(troubles + ["a manifest that lost its place"] * there)
            )
        return Finding(True, troubles=(f"the manifest cannot be read: {told}", *troubles))
    try:
        return _found(store, troubles, mine)
    except (KeyError, TypeError, AttributeError):  # a damaged one may lack any part of itself
        return Finding(True, troubles=("the manifest is malformed", *troubles))


def _trusted(store: dict[str, Any]) -> bool:
    return store.get("validation_state") == "Trusted"


def _found(store: dict[str, Any], troubles: list[str], mine: bool) -> Finding:
    manifest = store["manifests"][store["active_manifest"]]
    said: dict[str, Any] = {"facts": {}, "generated": False}
    for assertion in manifest.get("assertions", ()):
        if assertion["label"] == LABEL:
            said["facts"] = assertion["data"]
        if assertion["label"].startswith("c2pa.actions"):
            actions = assertion["data"].get("actions", ())
            said["generated"] = any(one.get("digitalSourceType") == SOURCE for one in actions)
    failures = store.get("validation_results", {}).get("activeManifest", {}).get("failure", ())
    troubles = [
        f"{failure['code']}: {failure.get('explanation', '')}"
        for failure in failures
        if failure["code"] != "signingCredential.untrusted"
    ] + troubles
    about = manifest.get("signature_info", {})
    state = store.get("validation_state")
    key: Key = "unknown"
    if _trusted(store):
        key = "own" if mine else "known"
    return Finding(
        True,
        intact=state in ("Valid", "Trusted") and not troubles,
        key=key,
        signer=about.get("common_name") or about.get("issuer"),
        troubles=tuple(troubles),
        **said,
    )


def _store(data: bytes, media: str, anchors: bytes) -> dict[str, Any]:
    """The manifest store as JSON. Raises ValueError where there is none, or a broken one."""
    from c2pa import C2paError, Context, Reader, Settings

    verify = {"remote_manifest_fetch": False, "ocsp_fetch": False, "verify_trust": True}
    trust = {"user_anchors": anchors.decode(), "trust_config": _PURPOSES} if anchors else {}
    context = Context(Settings.from_dict({"verify": verify, "trust": trust}))
    try:
        with Reader(media, io.BytesIO(data), context=context) as reader:
            found: dict[str, Any] = json.loads(reader.json())
    except C2paError as error:
        raise ValueError(f"{type(error).__name__}: {error}") from None
    return found


def _png_troubles(data: bytes) -> list[str]:
    """What is wrong with a PNG's frame: each chunk has a CRC, the manifest's padding with it."""
    if not data.startswith(_PNG):
        return ["its first bytes are not a PNG's"]
    at, last = len(_PNG), b""
    while at < len(data):
        if last == b"IEND":
            return [f"{len(data) - at} bytes behind its end"]
        (length,) = struct.unpack(">I", data[at : at + 4].rjust(4, b"\0"))
        end = at + 12 + length
        if end > len(data):
            return [f"the chunk at byte {at} is cut short"]
        last = data[at + 4 : at + 8]
        if zlib.crc32(data[at + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
            return [f"the chunk at byte {at} was changed: its check sum differs"]
        at = end
    return [] if last == b"IEND" else ["its end is missing"]
