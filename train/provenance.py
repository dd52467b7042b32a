"""Content Credentials (C2PA): signs drawn images, and explains a signature in words.

Reads and writes bytes of images and a key in the user's configuration folder; contacts no server. A
manifest says that an image was made by a model (`trainedAlgorithmicMedia`); our own assertion says
by which: run, checkpoint, selection, prompt, seed. The key is self-issued, made at the first use,
or the user's own.

A signature shows that a file is as its signer left it, and by which key. A self-issued key proves
no name, and anybody can cut a manifest out: an image without one says nothing.
"""

from __future__ import annotations

import io
import json
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from frenchcat.curate.download.rights.provenance import TYPES
from frenchcat.curate.errors import UserError
from frenchcat.train.c2pa_codes import TRUST, meaning_of
from frenchcat.train.credentials import (
    Credentials,
    algorithm,
    as_c2pa_wants,
    own_certificates,
    validity_end,
)

if TYPE_CHECKING:
    from PIL.Image import Image

LABEL = "org.frenchcat.generation"
SOURCE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
_XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
    '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about="" '
    'xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" '
    f'Iptc4xmpExt:DigitalSourceType="{SOURCE}"/></rdf:RDF></x:xmpmeta>'
)
"""IPTC Photo Metadata 2022.1, Digital Source Type, as an XMP packet."""
_PNG = b"\x89PNG\r\n\x1a\n"
_PURPOSES = "\n".join(
    (
        "1.3.6.1.5.5.7.3.4",  # e-mail protection
        "1.3.6.1.5.5.7.3.36",  # document signing
        "1.3.6.1.4.1.62558.2.1",  # C2PA's own: claim signing
        "1.3.6.1.4.1.311.76.59.1.9",  # Microsoft's for C2PA
    )
)
"""Permitted purposes of a signer's certificate (C2PA 2.1, section 14.4.1), as extended key
usages.
"""

Key = Literal["own", "known", "unknown"]


@dataclass(frozen=True)
class Finding:
    """What an image's manifest says, and whether it is valid."""

    signed: bool
    intact: bool = False  # every byte is as it was signed
    key: Key = "unknown"
    signer: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)  # of our assertion
    generated: bool = False  # declares that a trained model made it
    troubles: tuple[str, ...] = ()  # problems of the bytes or the manifest, in words
    doubts: tuple[str, ...] = ()  # problems of the signer, in words; the bytes are as signed


def with_source_type(picture: Image, kind: str) -> bytes:
    """An image's file with IPTC's digital source type in its XMP; `kind` is png, jpeg or webp."""
    from PIL.PngImagePlugin import PngInfo

    out, packet = io.BytesIO(), _XMP.encode()
    if kind == "png":
        texts = PngInfo()
        texts.add_itxt("XML:com.adobe.xmp", _XMP)
        picture.save(out, "PNG", pnginfo=texts)
    else:
        picture.save(out, kind.upper(), quality=95, xmp=packet)
    return out.getvalue()


def source_types(data: bytes) -> list[str]:
    """IPTC's digital source types in the metadata of an image's file; of manifests, none."""
    from frenchcat.curate.download.rights.metadata import metadata_signals

    said = (one.value for one in metadata_signals(data) if one.signal == "digital_source_type")
    return list(dict.fromkeys(value.rstrip("/").rsplit("/", 1)[-1] for value in said))


def signed(
    picture: bytes, facts: Mapping[str, Any], credentials: Credentials, kind: str = "png"
) -> bytes:
    """A file with a manifest that names its makers. Raises `UserError` if the key cannot sign.

    `kind` is its format, as in rights.provenance.TYPES. `facts` are the content of our assertion:
    model, checkpoint, selection, prompt, seed and the like.
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
        "title": str(facts.get("prompt", "image")),
        "assertions": [
            {"label": "c2pa.actions", "data": {"actions": [created]}},
            {"label": LABEL, "data": dict(facts)},
        ],
    }
    out = io.BytesIO()
    name = algorithm(credentials)
    ready = as_c2pa_wants(credentials) or credentials
    info = C2paSignerInfo(name, ready.certificates, ready.key, None)
    trust = {"trust_config": _PURPOSES}
    context = Context(
        Settings.from_dict({"builder": {"thumbnail": {"enabled": False}}, "trust": trust})
    )
    try:
        with Signer.from_info(info) as signer, Builder(manifest, context=context) as builder:
            builder.sign(signer, TYPES[kind], io.BytesIO(picture), out)
    except C2paError as error:
        raise UserError(_why_not(str(error), credentials)) from None
    return out.getvalue()


def verified(data: bytes, kind: str, known: bytes = b"", own: bytes | None = None) -> Finding:
    """What the manifest in an image's bytes says, and whether any of the bytes changed.

    `kind` is its format as in rights.provenance.TYPES, `known` are certificates to trust (PEM),
    `own` the user's, by default those of the configuration folder.
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
    except (KeyError, TypeError, AttributeError):  # a damaged manifest may lack any part
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
    failures = _failures(store)
    told = [(*meaning_of(code), code) for code in failures if code != TRUST]
    doubts = tuple(f"{words} ({code})" for kind, words, code in told if kind == "signer")
    troubles = [f"{words} ({code})" for kind, words, code in told if kind != "signer"] + troubles
    about = manifest.get("signature_info", {})
    state = store.get("validation_state")
    if state not in ("Valid", "Trusted") and not failures:
        troubles.append("the manifest is not valid, for an unknown reason")
    key: Key = "unknown"
    if _trusted(store):
        key = "own" if mine else "known"
    return Finding(
        True,
        intact=not troubles and _bytes_fit(store),
        key=key,
        signer=about.get("common_name") or about.get("issuer"),
        troubles=tuple(troubles),
        doubts=doubts,
        **said,
    )


def _failures(store: dict[str, Any]) -> list[str]:
    """The codes of all failures, of the manifest and of those of images it was made from."""
    results = store.get("validation_results", {})
    parts = [results.get("activeManifest", {})]
    parts += [one.get("validationDeltas", {}) for one in results.get("ingredientDeltas") or ()]
    found = [failure["code"] for part in parts for failure in part.get("failure") or ()]
    return list(dict.fromkeys(found))


def _bytes_fit(store: dict[str, Any]) -> bool:
    """Whether the signature and the hash of the image's bytes were checked and are valid."""
    results = store.get("validation_results", {}).get("activeManifest", {})
    held = {one["code"] for one in results.get("success") or ()}
    hashed = any(code.endswith("Hash.match") for code in held)
    return hashed and "claimSignature.validated" in held


def _why_not(error: str, credentials: Credentials) -> str:
    """Why a key or its certificates cannot sign, and the cure."""
    end = validity_end(credentials.certificates)
    if "not valid at time" in error:
        return f"the signer's certificate is not valid today ({end}); renew it"
    if "EKU" in error or "certificate is invalid" in error:
        return (
            "the signer's certificate is not one for C2PA (it has to be for e-mail protection, "
            "document signing or C2PA claim signing, and not self-signed); ask its issuer for such "
            "a one, or leave out --key"
        )
    return f"the key cannot sign an image ({' '.join(error.split())[:200]}); give another"


def _store(data: bytes, media: str, anchors: bytes) -> dict[str, Any]:
    """The manifest store as JSON. Raises ValueError if there is none, or a broken one."""
    from c2pa import C2paError, Context, Reader, Settings

    verify = {"remote_manifest_fetch": False, "ocsp_fetch": False, "verify_trust": True}
    trust = {"trust_config": _PURPOSES} | ({"user_anchors": anchors.decode()} if anchors else {})
    context = Context(Settings.from_dict({"verify": verify, "trust": trust}))
    try:
        with Reader(media, io.BytesIO(data), context=context) as reader:
            found: dict[str, Any] = json.loads(reader.json())
    except C2paError as error:
        raise ValueError(f"{type(error).__name__}: {error}") from None
    return found


def _png_troubles(data: bytes) -> list[str]:
    """What is wrong with a PNG's structure: each chunk has a CRC, even the manifest's padding."""
    if not data.startswith(_PNG):
        return ["its first bytes are not a PNG's"]
    at, last = len(_PNG), b""
    while at < len(data):
        if last == b"IEND":
            return [f"{len(data) - at} bytes after its end"]
        (length,) = struct.unpack(">I", data[at : at + 4].rjust(4, b"\0"))
        end = at + 12 + length
        if end > len(data):
            return [f"the chunk at byte {at} is cut short"]
        last = data[at + 4 : at + 8]
        if zlib.crc32(data[at + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
            return [f"the chunk at byte {at} was changed: its check sum differs"]
        at = end
    return [] if last == b"IEND" else ["its end is missing"]
