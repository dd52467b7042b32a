"""Every failure of C2PA in words of its own; certificates and keys as issuers hand them out."""

import io
import re
import subprocess
from pathlib import Path
from typing import Any

import c2pa
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from PIL import Image

from frenchcat.curate.errors import UserError
from frenchcat.train.c2pa_codes import meaning_of
from frenchcat.train.credentials import Credentials, read_credentials, self_issued
from frenchcat.train.provenance import signed, verified
from frenchcat.verify_file import _words, verify_file
from tests.train.certificates import EMAIL, PEM, certificate, private
from tests.train.test_credentials import png

DOCUMENTS = "1.3.6.1.5.5.7.3.36"
C2PA, MICROSOFT = "1.3.6.1.4.1.62558.2.1", "1.3.6.1.4.1.311.76.59.1.9"
FILES = Path(__file__).parent / "files"
"""A picture signed while its certificate of ten seconds was valid, and that certificate's root."""


def chain(key: Any, purposes: list[str], days: int = 9) -> list[bytes]:
    """A signer's certificate, that of its issuer and that of the root, PEM each."""
    root, middle = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    made = [
        certificate(key, middle, "Someone", "An issuer", purposes, days),
        certificate(middle, root, "An issuer", "A root", [], 900),
        certificate(root, root, "A root", "A root", [], 900),
    ]
    return [one.public_bytes(PEM) for one in made]


@pytest.mark.parametrize("purpose", [EMAIL, DOCUMENTS, C2PA, MICROSOFT])
def test_certificates_of_every_purpose_that_c2pa_allows(purpose: str) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    certificates = b"".join(chain(key, [purpose]))
    data = signed(png(), {"prompt": "a cat"}, Credentials(private(key), certificates))
    for known, expected in ((b"", "unknown"), (certificates, "known")):
        found = verified(data, "png", known=known, own=b"")
        assert (found.intact, found.key, found.troubles, found.doubts) == (True, expected, (), ())
    changed = bytearray(data)
    changed[-20] ^= 1
    assert not verified(bytes(changed), "png", known=certificates, own=b"").intact


def test_an_expired_certificate_leaves_the_picture_unchanged(tmp_path: Path) -> None:
    path = FILES / "signed-by-an-expired-certificate.png"
    for trust in (None, FILES / "expired-root.pem"):
        found = verify_file(path, trust)
        assert found["intact"]
        assert found["key"] == "unknown"
        assert "unchanged since it was signed" in found["words"][0]
        assert "certificate has expired, or this machine's clock is wrong" in found["words"][1]
        assert not any("CHANGED" in line for line in found["words"])
    changed = bytearray(path.read_bytes())
    changed[-20] ^= 1  # pixels
    (tmp_path / "changed.png").write_bytes(changed)
    found = verify_file(tmp_path / "changed.png")
    assert not found["intact"]
    assert "CHANGED" in found["words"][0]


@pytest.mark.parametrize(
    ("kind", "codes"),
    [
        ("changed", ["assertion.dataHash.mismatch", "claimSignature.mismatch", "a.new.mismatch"]),
        ("broken", ["claim.missing", "assertion.cbor.invalid", "claim.malformed", "some.thing"]),
        (
            "signer",
            ["signingCredential.expired", "signingCredential.invalid", "timeStamp.untrusted"],
        ),
        # Of an identity assertion (CAWG), as creators' pictures carry it beside the signature.
        ("signer", ["cawg.identity.assertion.mismatch"]),
        ("signer", ["cawg.ica.untrusted_issuer"]),
        ("signer", ["cawg.x509.signature.mismatch"]),
    ],
)
def test_codes_are_of_the_bytes_the_manifest_or_the_signer(kind: str, codes: list[str]) -> None:
    said = [meaning_of(code) for code in codes]
    assert {one for one, _ in said} == {kind}
    assert len({words for _, words in said}) == len(codes)


def test_every_code_of_the_library_has_words_of_its_own() -> None:
    """Those that c2pa's binary knows, as its strings; a rule for endings would say less."""
    library = next((Path(c2pa.__file__).parent / "libs").glob("libc2pa_c.*o*"))
    known = (
        rb"assertion\.(?:dataHash|bmffHash|boxesHash|collectionHash|action|ingredient|cloud-data|"
        rb"external-reference|timestamp|hardBinding)\.(?:malformed|mismatch|unknownBox|redacted|"
        rb"ingredientMismatch|redactionMismatch|softBindingMissing|invalidURI|actions|hardBinding)"
    )
    codes = {one.decode() for one in re.findall(known, library.read_bytes())}
    assert len(codes) > 15
    for code in codes - {"assertion.timestamp.redacted"}:
        kind, words = meaning_of(code)
        assert kind in ("changed", "broken")
        assert "assertion." not in words, code  # the code's own part, for want of words


def test_a_manifest_that_cannot_be_checked_is_not_called_changed(tmp_path: Path) -> None:
    """Its bytes may be those that were signed: nobody can say."""
    path = tmp_path / "a.png"
    path.write_bytes(signed(png(), {}, self_issued()))
    found = verify_file(path)
    told = {**found, "intact": False, "changed": False, "troubles": ("it cannot be checked",)}
    first, *others = _words(told)
    assert first.startswith("NOT CHECKED: whether it was changed")
    assert others == ["  it cannot be checked"]
    assert _words({**told, "changed": True})[0].startswith("CHANGED since it was signed")


def test_certificates_to_trust_that_cannot_be_read_are_the_user_s_mistake(tmp_path: Path) -> None:
    """And no fault of the picture."""
    (tmp_path / "a.png").write_bytes(signed(png(), {}, self_issued()))
    for text, said in (
        (b"hello", "no PEM certificate"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "a certificate that"),
    ):
        (tmp_path / "trust.pem").write_bytes(text)
        with pytest.raises(UserError, match=rf"--trust .*trust\.pem holds {said}") as caught:
            verify_file(tmp_path / "a.png", tmp_path / "trust.pem")
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("make", "form"),
    [
        (lambda: ec.generate_private_key(ec.SECP256R1()), "TraditionalOpenSSL"),  # SEC1
        (lambda: rsa.generate_private_key(65537, 2048), "TraditionalOpenSSL"),  # PKCS#1
    ],
)
def test_keys_in_older_forms_sign(tmp_path: Path, make: Any, form: str) -> None:
    key = make()
    (tmp_path / "key.pem").write_bytes(private(key, form))
    assert b"BEGIN PRIVATE KEY" not in (tmp_path / "key.pem").read_bytes()
    (tmp_path / "chain.pem").write_bytes(b"".join(chain(key, [EMAIL])))
    found = read_credentials(tmp_path / "key.pem", tmp_path / "chain.pem")
    assert verified(signed(png(), {}, found), "png", own=b"").intact
    straight = Credentials(private(key, form), b"".join(chain(key, [EMAIL])))
    assert verified(signed(png(), {}, straight), "png", own=b"").intact


@pytest.mark.parametrize("order", [(2, 1, 0), (1, 0, 2), (0, 2, 1), (1, 0)])
def test_certificates_in_any_order_are_put_in_theirs(
    tmp_path: Path, order: tuple[int, ...]
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    made, stranger = chain(key, [EMAIL]), chain(ec.generate_private_key(ec.SECP256R1()), [EMAIL])[0]
    (tmp_path / "key.pem").write_bytes(private(key))
    (tmp_path / "chain.pem").write_bytes(b"".join([*(made[n] for n in order), stranger]))
    found = read_credentials(tmp_path / "key.pem", tmp_path / "chain.pem")
    assert found.certificates == b"".join(made[n] for n in sorted(order))
    data = signed(png(), {}, found)
    assert verified(data, "png", known=made[2], own=b"").key == "known"
    with Image.open(io.BytesIO(data)) as picture:
        picture.load()


def test_what_does_not_sign_is_said_with_its_cure(tmp_path: Path) -> None:
    key, other = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    pem, certificates = tmp_path / "key.pem", tmp_path / "chain.pem"
    pem.write_bytes(private(key))
    certificates.write_bytes(b"".join(chain(other, [EMAIL])))
    with pytest.raises(UserError, match=r"none of the certificates in .* is that of the key"):
        read_credentials(pem, certificates)
    locked = serialization.BestAvailableEncryption(b"secret")
    pem.write_bytes(key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, locked))
    with pytest.raises(UserError, match="remove its password with: openssl pkey -in") as caught:
        read_credentials(pem, certificates)
    pem.write_bytes(private(other))
    command = str(caught.value).partition("with: ")[2].partition(" -in")[0].split()
    assert command == ["openssl", "pkey"]
    der = serialization.Encoding.DER
    plain = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    pem.write_bytes(other.private_bytes(der, *plain))
    with pytest.raises(UserError, match="openssl pkey -inform DER") as caught:
        read_credentials(pem, certificates)
    said = (
        str(caught.value).partition("with: ")[2].replace("-out key.pem", f"-out {tmp_path}/new.pem")
    )
    subprocess.run(said.split(), check=True, capture_output=True)
    assert read_credentials(tmp_path / "new.pem", certificates).key.startswith(b"-----BEGIN")
    for purposes, days, match in (
        ([EMAIL], -3, "is not valid today"),
        (["1.3.6.1.5.5.7.3.2"], 9, "is not one for C2PA"),
    ):
        made = Credentials(private(key), b"".join(chain(key, purposes, days)))
        with pytest.raises(UserError, match=match):
            signed(png(), {}, made)
