"""Detached signatures over a file's bytes: JSON Web Signature (RFC 7515, appendix F) with x5c.

    header..signature       compact serialization without its payload, which is the file itself

The header carries the signer's certificates, so that a reader needs nothing else. Any JOSE library
verifies it: put the file's base64url between the two dots. Reads and writes nothing itself but the
user's own certificates. A self-issued key proves no name (credentials.py).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from frenchcat.curate.errors import UserError
from frenchcat.train.credentials import (
    Credentials,
    algorithm,
    config_folder,
    own_certificates,
)

_ALGORITHMS = {b"es256": "ES256", b"es384": "ES384", b"ps256": "PS256", b"ed25519": "EdDSA"}
"""C2PA's name -> JOSE's (RFC 7518, RFC 8037)."""


@dataclass(frozen=True)
class SignatureFinding:
    """What a signature says of the bytes beside it."""

    intact: bool  # the bytes are those that were signed
    signer: str  # the common name of the signer's certificate; "" if there is none
    key: str  # own, known (trusted), unknown
    begins: datetime  # the validity of the signer's certificate
    ends: datetime


def check_clock(credentials: Credentials, now: datetime) -> None:
    """Raise `UserError` if the signer's certificate is not valid at this time."""
    first = _certificates(credentials.certificates)[0]
    begins, ends = first.not_valid_before_utc, first.not_valid_after_utc
    if not begins <= now <= ends:
        raise UserError(
            f"this machine's clock says {now:%Y-%m-%d %H:%M} UTC, but the signing certificate is "
            f"valid from {begins:%Y-%m-%d} to {ends:%Y-%m-%d}; set the clock"
            f"{_otherwise(credentials)}"
        )


def _otherwise(credentials: Credentials) -> str:
    """What to do about a certificate if the clock is right."""
    if credentials.certificates == own_certificates():
        return f", or if it is right, delete {config_folder()}: a new key is made"
    return ", or give another key"


def signed(data: bytes, credentials: Credentials, now: datetime | None = None) -> str:
    """The signature of bytes, one line of ASCII. Raises `UserError` as `check_clock` does."""
    from cryptography.hazmat.primitives import serialization

    check_clock(credentials, now or datetime.now(UTC))
    der = serialization.Encoding.DER
    chain = [one.public_bytes(der) for one in _certificates(credentials.certificates)]
    header: dict[str, Any] = {
        "alg": _ALGORITHMS[algorithm(credentials)],
        "typ": "JOSE",
        "x5c": [base64.b64encode(one).decode() for one in chain],
    }
    protected = _encoded(json.dumps(header, separators=(",", ":")).encode())
    key = serialization.load_pem_private_key(credentials.key, None)
    signature = _sign(key, header["alg"], f"{protected}.{_encoded(data)}".encode())
    return f"{protected}..{_encoded(signature)}"


def verified_bytes(data: bytes, signature: str, trust: bytes = b"") -> SignatureFinding:
    """Whether a signature is that of these bytes, and whose; `trust` are PEM certificates.

    Raises `UserError` for a text that is not a detached signature.
    """
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

    try:
        protected, payload, told = signature.strip().split(".")
        header = json.loads(_decoded(protected))
        chain = [x509.load_der_x509_certificate(base64.b64decode(c)) for c in header["x5c"]]
        name, made = str(header["alg"]), _decoded(told)
        if payload or not chain:
            raise ValueError("it has a payload of its own, or no certificate")
        key = chain[0].public_key()
    except (ValueError, KeyError, TypeError, UnsupportedAlgorithm) as error:
        raise UserError(f"this is not a detached signature with certificates ({error})") from None
    try:
        _verify(key, name, made, f"{protected}.{_encoded(data)}".encode())
        intact = True
    except InvalidSignature:
        intact = False
    valid = chain[0].not_valid_before_utc, chain[0].not_valid_after_utc
    return SignatureFinding(intact, _common_name(chain[0]), _known(chain, trust), *valid)


def _sign(key: Any, name: str, data: bytes) -> bytes:
    from cryptography.hazmat.primitives.asymmetric import ec, utils

    if name == "EdDSA":
        return bytes(key.sign(data))
    if name == "PS256":
        return bytes(key.sign(data, *_padding()))
    r, s = utils.decode_dss_signature(key.sign(data, ec.ECDSA(_hash(name))))
    size = _size(name)
    return r.to_bytes(size, "big") + s.to_bytes(size, "big")


def _verify(key: Any, name: str, signature: bytes, data: bytes) -> None:
    """Raises `InvalidSignature`, also if the key is not one of the algorithm's."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa, utils

    if name == "EdDSA" and isinstance(key, ed25519.Ed25519PublicKey):
        key.verify(signature, data)
    elif name == "PS256" and isinstance(key, rsa.RSAPublicKey):
        key.verify(signature, data, *_padding())
    elif name in ("ES256", "ES384") and isinstance(key, ec.EllipticCurvePublicKey):
        size = _size(name)
        if len(signature) != 2 * size:
            raise InvalidSignature
        r, s = (int.from_bytes(part, "big") for part in (signature[:size], signature[size:]))
        key.verify(utils.encode_dss_signature(r, s), data, ec.ECDSA(_hash(name)))
    else:
        raise InvalidSignature


def _hash(name: str) -> Any:
    from cryptography.hazmat.primitives import hashes

    return hashes.SHA384() if name == "ES384" else hashes.SHA256()


def _size(name: str) -> int:
    """Bytes of r and of s."""
    return 48 if name == "ES384" else 32


def _padding() -> tuple[Any, Any]:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding

    return padding.PSS(padding.MGF1(hashes.SHA256()), hashes.SHA256.digest_size), hashes.SHA256()


def _known(chain: Sequence[Any], trust: bytes) -> str:
    """own, known or unknown: the certificates lead to a trusted one, each issued by the next."""
    own = own_certificates()
    if own and chain[0] == _certificates(own)[0]:
        return "own"
    trusted = _certificates(trust) if trust else []
    for at, one in enumerate(chain):
        if one in trusted or any(_issued(one, above) for above in trusted):
            return "known"
        if not any(_issued(one, above) for above in chain[at + 1 : at + 2]):
            break
    return "unknown"


def _issued(one: Any, above: Any) -> bool:
    """Whether an authority's certificate issued another; a signer's own may issue none."""
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature

    try:
        one.verify_directly_issued_by(above)
        return bool(above.extensions.get_extension_for_class(x509.BasicConstraints).value.ca)
    except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
        return False


def _certificates(pem: bytes) -> list[Any]:
    from cryptography import x509

    return list(x509.load_pem_x509_certificates(pem))


def _common_name(certificate: Any) -> str:
    from cryptography import x509

    names = certificate.subject.get_attributes_for_oid(x509.oid.NameOID.COMMON_NAME)
    return str(names[0].value) if names else ""


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
