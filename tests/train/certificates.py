"""Certificates and keys as issuers make them, by openssl's library."""

import datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

PEM = serialization.Encoding.PEM
EMAIL = "1.3.6.1.5.5.7.3.4"


def certificate(
    key: Any,
    issuer: Any,
    name: str,
    by: str,
    purposes: list[str],
    days: int,
    since: int = 900,
    serial: int | None = None,
) -> Any:
    """One of a key by an issuer's, valid from so many days ago; without purposes an authority's."""
    authority, now = not purposes, datetime.datetime.now(datetime.UTC)
    uses = "content_commitment key_encipherment data_encipherment key_agreement crl_sign "
    usage = dict.fromkeys((uses + "encipher_only decipher_only").split(), False)
    usage |= {"digital_signature": not authority, "key_cert_sign": authority}
    by_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key())
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.oid.NameOID.ORGANIZATION_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(x509.oid.NameOID.ORGANIZATION_NAME, by)]))
        .public_key(key.public_key())
        .serial_number(serial or x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=since))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.BasicConstraints(authority, None), critical=True)
        .add_extension(x509.KeyUsage(**usage), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(by_key, critical=False)
    )
    if purposes:
        oids = [x509.ObjectIdentifier(one) for one in purposes]
        builder = builder.add_extension(x509.ExtendedKeyUsage(oids), critical=False)
    return builder.sign(issuer, hashes.SHA256())


def private(key: Any, form: str = "PKCS8") -> bytes:
    plain = serialization.NoEncryption()
    found: bytes = key.private_bytes(PEM, getattr(serialization.PrivateFormat, form), plain)
    return found
