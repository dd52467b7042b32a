"""Keys and certificates against openssl (by `cryptography`) and c2pa's own reader."""

import datetime
import http.server
import io
import json
import threading
import zlib
from pathlib import Path
from typing import Any

import pytest
from c2pa import Builder, C2paSignerInfo, Context, Reader, Settings, Signer
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from PIL import Image

from frenchcat.curate.errors import UserError
from frenchcat.train.credentials import Credentials, own_credentials, read_credentials, self_issued
from frenchcat.train.provenance import signed, verified
from tests.sample.pictures import noise
from tests.train.certificates import EMAIL, PEM, certificate, private

FACTS = {"prompt": "a cat", "selection": "5" * 64}
NOW = datetime.datetime.now(datetime.UTC)
SOURCES = "http://cv.iptc.org/newscodes/digitalsourcetype"


def png() -> bytes:
    out = io.BytesIO()
    noise(0).save(out, "PNG")
    return out.getvalue()


def issued(key: Any, serial: int | None = None) -> Credentials:
    """A key certified by an issuer of its own, as openssl's library makes it."""
    root = ec.generate_private_key(ec.SECP256R1())
    authority = "Someone's root"
    chain = [
        certificate(key, root, "Someone", authority, [EMAIL], 9, since=9, serial=serial),
        certificate(root, root, authority, authority, [], 9, since=9),
    ]
    return Credentials(private(key), b"".join(one.public_bytes(PEM) for one in chain))


KEYS: dict[str, Any] = {
    "es256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "es384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "ps256": lambda: rsa.generate_private_key(65537, 2048),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
}


@pytest.mark.parametrize("kind", KEYS)
def test_ones_own_key_of_every_kind_signs_what_c2pa_reads(kind: str, tmp_path: Path) -> None:
    made = issued(KEYS[kind]())
    key, certificates = tmp_path / "key.pem", tmp_path / "certificates.pem"
    key.write_bytes(made.key)
    certificates.write_bytes(made.certificates)
    data = signed(png(), FACTS, read_credentials(key, certificates))
    with Reader("image/png", io.BytesIO(data)) as reader:
        store = json.loads(reader.json())
    about = store["manifests"][store["active_manifest"]]["signature_info"]
    assert about["alg"].lower() == kind
    found = verified(data, "png", known=made.certificates, own=b"")
    assert (found.intact, found.key, found.facts) == (True, "known", FACTS)
    assert verified(data, "png", own=b"").key == "unknown"


@pytest.mark.parametrize(
    "key",
    [ec.generate_private_key(ec.SECP256K1()), dsa.generate_private_key(1024)],
    ids=["secp256k1", "dsa"],
)
def test_a_key_that_c2pa_has_no_name_for_is_one_line(key: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError) as raised:
        signed(png(), FACTS, Credentials(private(key), self_issued().certificates))
    assert "\n" not in str(raised.value)


def test_a_key_behind_a_password_is_one_line(tmp_path: Path) -> None:
    locked = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"secret")
    )
    (tmp_path / "key.pem").write_bytes(locked)
    (tmp_path / "chain.pem").write_bytes(self_issued().certificates)
    with pytest.raises(UserError, match=r"key\.pem is not a plain PEM private key") as raised:
        read_credentials(tmp_path / "key.pem", tmp_path / "chain.pem")
    assert "\n" not in str(raised.value)


def test_a_self_issued_chain_holds_for_openssl() -> None:
    made = self_issued()
    key: Any = serialization.load_pem_private_key(made.key, None)
    signer, issuer = x509.load_pem_x509_certificates(made.certificates)
    signer.verify_directly_issued_by(issuer)
    issuer.verify_directly_issued_by(issuer)
    assert signer.public_key() == key.public_key()
    assert issuer.public_key() != key.public_key()  # whose own key nobody has any more
    with pytest.raises(InvalidSignature):
        signer.verify_directly_issued_by(x509.load_pem_x509_certificate(issued_like(issuer)))
    years = (signer.not_valid_after_utc - NOW).days / 365
    assert 9.9 < years < 10.1
    assert signer.not_valid_before_utc <= NOW
    for one, is_issuer in ((signer, False), (issuer, True)):
        basic = one.extensions.get_extension_for_class(x509.BasicConstraints)
        usage = one.extensions.get_extension_for_class(x509.KeyUsage)
        assert (basic.critical, basic.value.ca) == (True, is_issuer)
        assert (usage.value.digital_signature, usage.value.key_cert_sign) == (
            not is_issuer,
            is_issuer,
        )
    purposes = signer.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(purposes) == [x509.oid.ExtendedKeyUsageOID.EMAIL_PROTECTION]


def issued_like(issuer: x509.Certificate) -> bytes:
    """Another issuer of the same name."""
    other = x509.load_pem_x509_certificates(self_issued().certificates)[1]
    assert other.subject == issuer.subject
    return other.public_bytes(PEM)


def test_keys_are_each_ones_own() -> None:
    one, other = self_issued(), self_issued()
    serials = [x509.load_pem_x509_certificate(c.certificates).serial_number for c in (one, other)]
    assert one.key != other.key
    assert serials[0] != serials[1]


def test_a_trusted_signer_with_my_serial_number_is_not_me() -> None:
    """The number of my certificate is told by every picture of mine."""
    mine = self_issued()
    serial = x509.load_pem_x509_certificate(mine.certificates).serial_number
    theirs = issued(ec.generate_private_key(ec.SECP256R1()), serial=serial)
    data = signed(png(), FACTS, theirs)
    assert verified(data, "png", known=theirs.certificates, own=mine.certificates).key == "known"
    ours = signed(png(), FACTS, mine)
    assert verified(ours, "png", known=theirs.certificates, own=mine.certificates).key == "own"
    assert verified(ours, "png", known=mine.certificates, own=theirs.certificates).key == "known"


def by_hand(picture: bytes, media: str, credentials: Credentials, **more: Any) -> bytes:
    """What c2pa's own library signs, with a manifest of another program."""
    taken = {"action": "c2pa.created", "digitalSourceType": f"{SOURCES}/digitalCapture"}
    actions = {"label": "c2pa.actions", "data": {"actions": [taken]}}
    manifest = {"claim_generator_info": [{"name": "another"}], "assertions": [actions]}
    info = C2paSignerInfo(b"es256", credentials.certificates, credentials.key, None)
    out = io.BytesIO()
    loose = {"verify": {"verify_after_sign": False}, "builder": {"thumbnail": {"enabled": False}}}
    context = Context(Settings.from_dict(loose))
    with Signer.from_info(info) as signer, Builder(manifest, context=context) as builder:
        if url := more.get("remote"):
            builder.set_no_embed()
            builder.set_remote_url(url)
        builder.sign(signer, media, io.BytesIO(picture), out)
    return out.getvalue()


def jpeg() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (32, 32), (9, 99, 199)).save(out, "JPEG")
    return out.getvalue()


def test_another_programs_signature_is_read_and_says_nothing_of_ours() -> None:
    made = issued(ec.generate_private_key(ec.SECP256R1()))
    data = by_hand(jpeg(), "image/jpeg", made)
    found = verified(data, "jpeg", own=b"")
    assert (found.signed, found.intact, found.generated, found.facts) == (True, True, False, {})
    changed = bytearray(data)
    changed[-30] ^= 1
    assert not verified(bytes(changed), "jpeg", own=b"").intact


def test_no_server_is_asked_for_a_manifest_that_lies_elsewhere() -> None:
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *_: Any) -> None:
            """Nothing on stderr."""

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        url = f"http://127.0.0.1:{server.server_address[1]}/manifest.c2pa"
        data = by_hand(jpeg(), "image/jpeg", self_issued(), remote=url)
        assert url.encode() in data
        found = verified(data, "jpeg", own=b"")
        server.shutdown()
        thread.join()
    assert (found.intact, asked) == (False, [])


def test_an_issuer_of_the_same_name_makes_nobody_known() -> None:
    one, other = self_issued(), self_issued()
    data = signed(png(), FACTS, one)
    issuer = one.certificates.split(b"-----END CERTIFICATE-----\n")[1]
    assert b"BEGIN" in issuer
    assert verified(data, "png", known=other.certificates, own=b"").key == "unknown"


def test_a_manifest_that_lost_its_place_is_told() -> None:
    data = signed(png(), FACTS, self_issued())
    at = data.index(b"caBX") - 4
    end = at + int.from_bytes(data[at : at + 4], "big") + 12
    for moved in (png() + data[at:end], data[:at] + data[end:] + data[at:end]):
        found = verified(moved, "png", own=b"")
        assert not found.intact
        assert found.troubles


def test_a_manifest_in_a_chunk_that_nobody_reads_is_told() -> None:
    data = signed(png(), FACTS, self_issued())
    at = data.index(b"caBX")
    end = at + 4 + int.from_bytes(data[at - 4 : at], "big")
    chunk = b"abCD" + data[at + 4 : end]
    hidden = data[:at] + chunk + zlib.crc32(chunk).to_bytes(4, "big") + data[end + 4 :]
    with Image.open(io.BytesIO(hidden)) as picture:
        picture.load()  # a sound PNG
    found = verified(hidden, "png", own=b"")
    assert (found.signed, found.intact, len(found.troubles)) == (False, False, 1)


def test_half_a_pair_of_files_is_made_anew_and_both_go_together(tmp_path: Path) -> None:
    first = own_credentials(tmp_path)
    (tmp_path / "signing-certificates.pem").unlink()
    again = own_credentials(tmp_path)
    assert again.key != first.key
    assert verified(signed(png(), FACTS, again), "png", own=again.certificates).key == "own"
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "signing-certificates.pem",
        "signing-key.pem",
    ]


def test_the_keys_folder_is_the_users_alone(tmp_path: Path) -> None:
    folder = tmp_path / "config" / "frenchcat"
    own_credentials(folder)
    assert folder.stat().st_mode & 0o077 == 0
