"""Detached signatures: read by another implementation, noticed where a byte differs."""

import base64
import json
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from frenchcat.curate.errors import UserError
from frenchcat.train.credentials import Credentials, self_issued
from frenchcat.train.signatures import signed, verified_bytes

DATA = b'{"found": 3}\n'


def with_key(key: object, valid_from: datetime = datetime(2020, 1, 1, tzinfo=UTC)) -> Credentials:
    """Credentials of a key that certified itself."""
    name = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, "press office")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())  # type: ignore[attr-defined]
        .serial_number(1)
        .not_valid_before(valid_from)
        .not_valid_after(valid_from + timedelta(days=36_500))
        .sign(key, None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256())  # type: ignore[arg-type]
    )
    pem = serialization.Encoding.PEM
    return Credentials(
        key.private_bytes(  # type: ignore[attr-defined]
            pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
        made.public_bytes(pem),
    )


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP256R1()),
        ec.generate_private_key(ec.SECP384R1()),
        ed25519.Ed25519PrivateKey.generate(),
        rsa.generate_private_key(65_537, 2048),
    ],
    ids=["es256", "es384", "ed25519", "ps256"],
)
def test_a_signature_is_of_its_bytes_alone(key: object) -> None:
    made = with_key(key)
    text = signed(DATA, made)
    found = verified_bytes(DATA, text)
    assert (found.intact, found.signer, found.key) == (True, "press office", "unknown")
    assert (found.begins.year, found.ends.year) == (2020, 2119)
    assert verified_bytes(DATA, text, made.certificates).key == "known"
    assert not verified_bytes(DATA.replace(b"3", b"4"), text).intact
    other = signed(DATA, with_key(key)).split(".")
    assert other[1] == ""


def test_the_form_is_that_of_rfc_7515() -> None:
    """Verified here by its text alone: header, an empty payload, r and s."""
    made = self_issued()
    protected, payload, signature = signed(DATA, made).split(".")
    header = json.loads(base64.urlsafe_b64decode(protected + "=="))
    assert (header["alg"], payload, len(header["x5c"])) == ("ES256", "", 2)
    raw = base64.urlsafe_b64decode(signature + "==")
    assert len(raw) == 64
    leaf = x509.load_der_x509_certificate(base64.b64decode(header["x5c"][0]))
    told = f"{protected}.{base64.urlsafe_b64encode(DATA).rstrip(b'=').decode()}".encode()
    r, s = (int.from_bytes(part, "big") for part in (raw[:32], raw[32:]))
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

    key = leaf.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    key.verify(encode_dss_signature(r, s), told, ec.ECDSA(hashes.SHA256()))


def test_an_issuer_that_is_trusted_makes_the_signer_known_and_a_signer_issues_none() -> None:
    made = self_issued()
    leaf, issuer = x509.load_pem_x509_certificates(made.certificates)
    trust = issuer.public_bytes(serialization.Encoding.PEM)
    text = signed(DATA, made)
    assert verified_bytes(DATA, text, trust).key == "known"
    assert verified_bytes(DATA, text).key == "unknown"
    assert verified_bytes(DATA, text, self_issued().certificates).key == "unknown"
    # a certificate that the signer's key issued, though it is no authority
    key = serialization.load_pem_private_key(made.key, None)
    child_key = ec.generate_private_key(ec.SECP256R1())
    child = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, "impostor")]))
        .issuer_name(leaf.subject)
        .public_key(child_key.public_key())
        .serial_number(2)
        .not_valid_before(leaf.not_valid_before_utc)
        .not_valid_after(leaf.not_valid_after_utc)
        .sign(key, hashes.SHA256())  # type: ignore[arg-type]
    )
    pem = serialization.Encoding.PEM
    pkcs8 = child_key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    forged = Credentials(pkcs8, child.public_bytes(pem) + made.certificates)
    assert verified_bytes(DATA, signed(DATA, forged), trust).key == "unknown"


@pytest.mark.parametrize("year", [1999, 2121])
def test_a_clock_outside_the_certificates_validity_is_one_line(year: int) -> None:
    made = with_key(ec.generate_private_key(ec.SECP256R1()))
    with pytest.raises(UserError, match=rf"clock says {year}-.*valid from 2020-.*set the clock"):
        signed(DATA, made, datetime(year, 5, 1, tzinfo=UTC))


@pytest.mark.parametrize("text", ["", "a.b", "e30..", "e30.e30.e30", "!!..!!"])
def test_what_is_no_signature_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="not a detached signature"):
        verified_bytes(DATA, text)
