"""Pictures with C2PA manifests, signed with a certificate chain that is made on the spot."""

import datetime
import io
import json
from functools import cache
from typing import Any

from c2pa import Builder, C2paSigningAlg, Signer
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


@cache
def _chain() -> tuple[ec.EllipticCurvePrivateKey, str]:
    """The signer's key, and its certificate with that of its issuer, as PEM."""
    root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root = _certificate("Test root", "Test root", root_key, root_key, is_root=True)
    leaf = _certificate("Test signer", "Test root", key, root_key, is_root=False)
    pem = [c.public_bytes(serialization.Encoding.PEM).decode() for c in (leaf, root)]
    return key, "".join(pem)


def _certificate(
    subject: str,
    issuer: str,
    key: ec.EllipticCurvePrivateKey,
    issuer_key: ec.EllipticCurvePrivateKey,
    *,
    is_root: bool,
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    usage = dict.fromkeys(
        (
            "content_commitment key_encipherment data_encipherment key_agreement "
            "encipher_only decipher_only"
        ).split(),
        False,
    )
    usage |= {"digital_signature": not is_root, "key_cert_sign": is_root, "crl_sign": is_root}
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=30))
        .add_extension(x509.BasicConstraints(is_root, None), critical=True)
        .add_extension(x509.KeyUsage(**usage), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()),
            critical=False,
        )
    )
    if not is_root:
        purposes = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
        builder = builder.add_extension(purposes, critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


def _name(common: str) -> x509.Name:
    names = {NameOID.COMMON_NAME: common, NameOID.ORGANIZATION_NAME: "Test"}
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in names.items()])


def signed(
    body: bytes,
    assertions: list[dict[str, Any]],
    media: str = "image/jpeg",
    *,
    ingredient: bytes | None = None,
    remote: str | None = None,
    source: str = "http://c2pa.org/digitalsourcetype/empty",
    generator: str = "test",
) -> bytes:
    """A picture with a manifest that makes these assertions.

    `ingredient`: a JPEG whose manifests are taken over. `remote`: where the manifest is said to
    lie, instead of in the picture. `source`: the digital source type of what it says was done.
    """
    key, certificates = _chain()

    def sign(data: bytes) -> bytes:
        r, s = decode_dss_signature(key.sign(data, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    created = {"action": "c2pa.created", "digitalSourceType": source}
    manifest = {
        "claim_generator_info": [{"name": generator, "version": "1"}],
        "title": "picture",
        "assertions": [
            {"label": "c2pa.actions", "data": {"actions": [created]}},
            *assertions,
        ],
    }
    out = io.BytesIO()
    with (
        Signer.from_callback(sign, C2paSigningAlg.ES256, certificates) as signer,
        Builder(json.dumps(manifest)) as builder,
    ):
        if ingredient is not None:
            about = json.dumps({"title": "older", "relationship": "componentOf"})
            builder.add_ingredient(about, "image/jpeg", io.BytesIO(ingredient))
        if remote is not None:
            builder.set_remote_url(remote)
            builder.set_no_embed()
        builder.sign(signer, media, io.BytesIO(body), out)
    return out.getvalue()


def mining(label: str, **uses: str) -> dict[str, Any]:
    """A training-mining assertion: entry name -> use."""
    prefix = label.split(".")[0]
    entries = {f"{prefix}.{name}": {"use": use} for name, use in uses.items()}
    return {"label": label, "data": {"entries": entries}}
