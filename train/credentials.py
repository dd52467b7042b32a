"""The key that signs drawn images: self-issued, made at the first use, or the user's own.

Reads and writes PEM files in the user's configuration folder. A self-issued key proves no name: it
lets its owner tell images drawn here from others.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from frenchcat.curate.atomic import write_whole
from frenchcat.curate.errors import UserError, first_line

_YEARS = 10
_ISSUER = "frenchcat, self-issued"


@dataclass(frozen=True)
class Credentials:
    """A private key and its certificates, both PEM, the signer's first."""

    key: bytes = field(repr=False)
    certificates: bytes


def config_folder() -> Path:
    """The folder of the user's key: XDG_CONFIG_HOME/frenchcat, or ~/.config/frenchcat."""
    base = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(base) / "frenchcat"


def own_credentials(folder: Path | None = None) -> Credentials:
    """The user's self-issued key, made at the first use; readable only by the user.

    Raises `UserError` if the folder cannot be written.
    """
    folder = folder or config_folder()
    key, certificates = folder / "signing-key.pem", folder / "signing-certificates.pem"
    if not (key.exists() and certificates.exists()):
        made = self_issued()
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_whole(certificates, made.certificates, private=True)
            write_whole(key, made.key, private=True)
        except OSError as error:
            raise UserError(
                f"the signing key cannot be written to {folder} ({error.strerror}); set "
                "XDG_CONFIG_HOME to a folder that can be written, or give --key and --certificates"
            ) from None
    return read_credentials(key, certificates)


def read_credentials(key: Path, certificates: Path) -> Credentials:
    """A key and its certificates from PEM files, in the form C2PA requires.

    A key in SEC1's or PKCS#1's form becomes PKCS#8; certificates are sorted, the signer's first.
    Raises `UserError` for other files, or if they do not belong together.
    """
    try:
        found = Credentials(key.read_bytes(), certificates.read_bytes())
    except OSError as error:
        raise UserError(f"{error.filename} cannot be read ({error.strerror})") from None
    algorithm(found, key)
    if b"BEGIN CERTIFICATE" not in found.certificates:
        raise UserError(
            f"{certificates} contains no PEM certificate; give the signer's, then the issuers'"
        )
    try:
        ready = as_c2pa_wants(found)
    except ValueError as error:
        raise UserError(
            f"{certificates} contains a certificate that cannot be read ({error})"
        ) from None
    if ready is None:
        raise UserError(
            f"none of the certificates in {certificates} is that of the key {key}; give the one "
            "that was issued for it, then its issuers'"
        )
    return ready


def check_certificates(pem: bytes, named: str) -> None:
    """Raise `UserError` where a file called `named` holds no certificates, or damaged ones."""
    from cryptography import x509

    if b"BEGIN CERTIFICATE" not in pem:
        raise UserError(f"{named} holds no PEM certificate; give one of a signer or an issuer")
    try:
        x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        reason = first_line(error, 120)
        raise UserError(
            f"{named} holds a certificate that cannot be read ({reason}); give it whole"
        ) from None


def as_c2pa_wants(found: Credentials) -> Credentials | None:
    """The key as PKCS#8, the certificates from the signer's to the root's.

    None if no certificate belongs to the key; certificates outside its chain are left out. Raises
    ValueError for certificates that cannot be read.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization

    left = x509.load_pem_x509_certificates(found.certificates)
    key = serialization.load_pem_private_key(found.key, None)
    mine = _public_bytes(key)
    last = next((one for one in left if _public_bytes(one) == mine), None)
    if last is None:
        return None
    chain = []
    while last is not None:
        chain.append(last)
        left.remove(last)
        issuer = last.issuer
        last = next((one for one in left if one.subject == issuer), None)
    pem = serialization.Encoding.PEM
    pkcs8 = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return Credentials(pkcs8, b"".join(one.public_bytes(pem) for one in chain))


def _public_bytes(one: Any) -> bytes:
    """The public key of a key or a certificate."""
    from cryptography.hazmat.primitives import serialization

    encoded: bytes = one.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return encoded


def validity_end(certificates: bytes) -> str:
    """The validity of the signer's certificate, as `2026-01-01 to 2027-01-01`."""
    from cryptography import x509

    first = x509.load_pem_x509_certificates(certificates)[0]
    return f"{first.not_valid_before_utc:%Y-%m-%d} to {first.not_valid_after_utc:%Y-%m-%d}"


def own_certificates() -> bytes:
    """The certificates of the user's self-issued key; empty before its first use."""
    path = config_folder() / "signing-certificates.pem"
    return path.read_bytes() if path.exists() else b""


def algorithm(credentials: Credentials, path: Path | None = None) -> bytes:
    """C2PA's name of a key's algorithm."""
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    named = path or "the key"
    try:
        key = load_pem_private_key(credentials.key, None)
    except (ValueError, TypeError) as error:
        reason = first_line(error, 120)
        cure = _cure(credentials.key, str(named))
        raise UserError(f"{named} is not a plain PEM private key ({reason}){cure}") from None
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.key_size in (256, 384):
        return f"es{key.curve.key_size}".encode()
    if isinstance(key, rsa.RSAPrivateKey):
        return b"ps256"
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return b"ed25519"
    raise UserError(f"{named} is of a kind that C2PA cannot sign with; use EC, RSA or Ed25519")


def _cure(key: bytes, named: str) -> str:
    if b"ENCRYPTED" in key:
        return f"; remove its password with: openssl pkey -in {named} -out key.pem"
    if b"BEGIN" not in key:
        return f"; if it is DER, convert it with: openssl pkey -inform DER -in {named} -out key.pem"
    return ""


def self_issued() -> Credentials:
    """A new key, certified by an issuer whose own key is discarded at once.

    C2PA refuses a signer that certified itself (specification 2.1, section 14.5.1).
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    root, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    chain = [_certificate("signer", key, root), _certificate("issuer", root, root)]
    pem = serialization.Encoding.PEM
    return Credentials(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
        b"".join(one.public_bytes(pem) for one in chain),
    )


def _certificate(name: str, key: Any, issuer_key: Any) -> Any:
    import datetime

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes

    root, now = key is issuer_key, datetime.datetime.now(datetime.UTC)
    uses = (
        "digital_signature content_commitment key_encipherment data_encipherment key_agreement "
        "key_cert_sign crl_sign encipher_only decipher_only"
    ).split()
    usage = dict.fromkeys(uses, False) | {"digital_signature": not root, "key_cert_sign": root}
    issued_by = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(_name("issuer"))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=365 * _YEARS))
        .add_extension(x509.BasicConstraints(root, None), critical=True)
        .add_extension(x509.KeyUsage(**usage), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(issued_by, critical=False)
    )
    if not root:
        purposes = x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.EMAIL_PROTECTION])
        builder = builder.add_extension(purposes, critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


def _name(common: str) -> Any:
    from cryptography import x509

    names = {x509.oid.NameOID.COMMON_NAME: common, x509.oid.NameOID.ORGANIZATION_NAME: _ISSUER}
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in names.items()])
