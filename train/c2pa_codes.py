"""What each failure code of C2PA means in words, and what it is about: bytes, manifest or signer.

Reads and writes nothing. The codes are those of the C2PA specification 2.1, section 15.2.2, and of
the library that checks them. Only codes of the kinds `changed` and `broken` concern the image;
codes of the kind `signer` mean that its bytes are as they were signed.
"""

from __future__ import annotations

from typing import Literal

Kind = Literal["changed", "broken", "signer"]

_CHANGED = {
    "assertion.dataHash.mismatch": "the image's bytes are not those that were signed",
    "assertion.bmffHash.mismatch": "the file's boxes are not those that were signed",
    "assertion.boxesHash.mismatch": "the file's boxes are not those that were signed",
    "assertion.collectionHash.mismatch": "the collection's files are not those that were signed",
    "assertion.multiAssetHash.mismatch": "the file's parts are not those that were signed",
    "assertion.boxesHash.unknownBox": "the file has a box that was not signed",
    "assertion.hashedURI.mismatch": "an assertion of the manifest is not the one that was signed",
    "hashedURI.mismatch": "a part of the manifest is not the one that was signed",
    "claimSignature.mismatch": "the signature does not fit what the manifest claims",
    "ingredient.hashedURI.mismatch": "an image that it was made from is not the one it names",
    "ingredient.manifest.mismatch": "the manifest of an image that it was made from was changed",
    "ingredient.claimSignature.mismatch": "the signature of an image it comes from does not fit",
    "manifest.mismatch": "the manifest is not the one that is named",
    "assertion.action.ingredientMismatch": "an action names an image that the manifest lacks",
}
_BROKEN = {
    "claim.missing": "the manifest has no claim",
    "claim.multiple": "the manifest has more than one claim",
    "claim.hardBindings.missing": "the claim is not bound to the image's bytes",
    "claim.required.missing": "the claim lacks a field",
    "claim.malformed": "the claim cannot be read",
    "claim.cbor.invalid": "the claim cannot be read",
    "claimSignature.missing": "the manifest has no signature",
    "assertion.missing": "an assertion that the claim names is missing",
    "assertion.undeclared": "the manifest has an assertion that its claim does not name",
    "assertion.multipleHardBindings": "the claim is bound to the image's bytes more than once",
    "assertion.inaccessible": "an assertion cannot be reached",
    "assertion.notRedacted": "an assertion is still there that was said to be removed",
    "assertion.selfRedacted": "the manifest removes an assertion of its own",
    "assertion.required.missing": "an assertion that has to be there is missing",
    "assertion.json.invalid": "an assertion is not JSON",
    "assertion.cbor.invalid": "an assertion is not CBOR",
    "assertion.metadata.disallowed": "an assertion holds metadata that are not allowed",
    "assertion.metadata.malformed": "an assertion of metadata cannot be read",
    "assertion.dataHash.malformed": "the hash of the image's bytes cannot be read",
    "assertion.dataHash.redacted": "the hash of the image's bytes was removed",
    "assertion.bmffHash.malformed": "the hash of the file's boxes cannot be read",
    "assertion.boxesHash.malformed": "the hash of the file's boxes cannot be read",
    "assertion.collectionHash.malformed": "the hash of the collection cannot be read",
    "assertion.collectionHash.incorrectItemCount": "the collection has more or fewer files",
    "assertion.collectionHash.invalidURI": "the collection names a file that cannot be named so",
    "assertion.multiAssetHash.malformed": "the hash of the file's parts cannot be read",
    "assertion.multiAssetHash.missingPart": "a part of the file is missing",
    "assertion.hardBinding.redacted": "what binds the claim to the image's bytes was removed",
    "assertion.action.malformed": "an action cannot be read",
    "assertion.action.redacted": "an action was removed",
    "assertion.action.redactionMismatch": "an action tells of another removal than there was",
    "assertion.action.softBindingMissing": "an action names a mark that the manifest lacks",
    "assertion.ingredient.malformed": "what it says of an image that it was made from is broken",
    "assertion.cloud-data.hardBinding": "what binds the claim to the bytes lies elsewhere",
    "assertion.cloud-data.actions": "the actions lie elsewhere, where they may not lie",
    "assertion.cloud-data.labelMismatch": "an assertion that lies elsewhere is not the one named",
    "assertion.cloud-data.malformed": "an assertion that lies elsewhere cannot be read",
    "assertion.external-reference.malformed": "a reference to something elsewhere cannot be read",
    "assertion.outsideManifest": "the claim names an assertion of another manifest",
    "assertion.timestamp.malformed": "an assertion of time stamps cannot be read",
    "manifest.compressed.invalid": "a packed manifest cannot be unpacked",
    "manifest.timestamp.invalid": "a manifest of time stamps has what it may not have",
    "manifest.timestamp.wrongParents": "a manifest of time stamps names the wrong parents",
    "manifest.unreferenced": "there is a manifest that no other names",
    "manifest.missing": "a manifest that is named is missing",
    "manifest.inaccessible": "a manifest that is named cannot be reached",
    "manifest.multipleParents": "the manifest names more than one parent",
    "manifest.update.invalid": "the manifest updates another in a way that is not allowed",
    "manifest.update.wrongParents": "the manifest updates another and does not name it as parent",
    "ingredient.manifest.missing": "the manifest of an image that it was made from is missing",
    "ingredient.claimSignature.missing": "an image that it was made from has no signature",
    "ingredient.malformed": "what it says of an image that it was made from cannot be read",
    "hashedURI.missing": "a part of the manifest that is named is missing",
    "general.error": "the manifest cannot be checked",
}
_SIGNER = {
    "signingCredential.invalid": "the signer's certificate is not one for C2PA",
    "signingCredential.expired": "the signer's certificate has expired, or this machine's clock is "
    "wrong; no time stamp proves that it was valid at signing",
    "signingCredential.revoked": "the signer's certificate was revoked",
    "signingCredential.ocsp.revoked": "the signer's certificate was revoked",
    "signingCredential.ocsp.unknown": "the issuer does not know the signer's certificate",
    "signingCredential.ocsp.inaccessible": "nobody could say whether the certificate was revoked",
    "claimSignature.outsideValidity": "it was signed while the signer's certificate was not valid",
    "timeOfSigning.outsideValidity": "it was signed while the signer's certificate was not valid",
    "timeStamp.mismatch": "the time stamp is that of another signature",
    "timeStamp.malformed": "the time stamp cannot be read",
    "timeStamp.outsideValidity": "the time stamp was made while its certificate was not valid",
    "timeStamp.untrusted": "the time stamp is of somebody who is not known here",
    "algorithm.unsupported": "the signature's algorithm is not known here",
    "algorithm.deprecated": "the signature's algorithm is no longer safe",
}
_IDENTITY = "who made it, as a person or an organisation says in it, cannot be confirmed here"
"""The words of failures of CAWG's identity assertions, beside the signature (cawg.io, 1.1)."""
_BY_END = {
    "malformed": ("broken", "cannot be read"),
    "mismatch": ("changed", "does not fit"),
    "missing": ("broken", "is missing"),
    "invalid": ("broken", "is not valid"),
}
TRUST = "signingCredential.untrusted"
"""The code of an unknown key, which the finding's `key` reports."""


def meaning_of(code: str) -> tuple[Kind, str]:
    """What a failure is about, and its words; an unknown code is quoted as it is."""
    for kind, known in (("changed", _CHANGED), ("broken", _BROKEN), ("signer", _SIGNER)):
        if code in known:
            return kind, known[code]  # type: ignore[return-value]
    part, _, end = code.rpartition(".")
    if part.startswith("cawg"):
        return "signer", _IDENTITY
    if part.startswith(("signingCredential", "timeStamp", "timeOfSigning", "algorithm")):
        return "signer", "the signer's credentials have a failure that is not known here"
    kind, words = _BY_END.get(end, ("broken", "has a failure that is not known here"))
    return kind, f"{part or 'the manifest'} {words}"  # type: ignore[return-value]
