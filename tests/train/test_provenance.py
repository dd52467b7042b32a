"""Content Credentials: what was signed reads back, a changed byte is found, keys are told apart."""

import io
import stat
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from frenchcat.curate.errors import UserError
from frenchcat.train.credentials import Credentials, own_credentials, read_credentials, self_issued
from frenchcat.train.provenance import signed as sign
from frenchcat.train.provenance import verified
from tests.sample.pictures import noise

FACTS = {"model": "run", "checkpoint": "c" * 64, "selection": "5" * 64, "prompt": "une chatte 🐈"}
FACTS |= {"seed": 2**40, "guidance": 3.5, "sampler": "ddim"}  # type: ignore[dict-item]


def png(seed: int = 0) -> bytes:
    out = io.BytesIO()
    noise(seed).save(out, "PNG")
    return out.getvalue()


@cache
def made() -> tuple[Credentials, bytes]:
    credentials = self_issued()
    return credentials, sign(png(), FACTS, credentials)


def test_what_was_signed_reads_back_and_the_picture_is_the_same() -> None:
    credentials, data = made()
    found = verified(data, "png", own=credentials.certificates)
    assert (found.signed, found.intact, found.key, found.generated) == (True, True, "own", True)
    assert found.facts == FACTS
    assert found.troubles == ()
    with Image.open(io.BytesIO(data)) as picture:
        assert picture.tobytes() == noise(0).tobytes()


@settings(max_examples=150)
@given(place=st.integers(0, 10**6), bit=st.integers(0, 7))
def test_one_flipped_bit_anywhere_is_found(place: int, bit: int) -> None:
    credentials, data = made()
    changed = bytearray(data)
    changed[place % len(data)] ^= 1 << bit
    assert not verified(bytes(changed), "png", own=credentials.certificates).intact


@pytest.mark.slow
def test_every_flipped_byte_is_found() -> None:
    credentials, data = made()
    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= (0x01, 0x10, 0xFF)[place % 3]
        found = verified(bytes(changed), "png", own=credentials.certificates)
        assert not found.intact, place


@given(cut=st.integers(1, 10**6))
@settings(max_examples=30)
def test_a_cut_or_a_longer_file_is_found(cut: int) -> None:
    _, data = made()
    assert not verified(data[: cut % len(data)], "png", own=b"").intact
    assert not verified(data + bytes(cut % 9 + 1), "png", own=b"").intact


def test_a_manifest_moved_to_another_picture_is_found() -> None:
    _, data = made()
    at = data.index(b"caBX") - 4
    length = int.from_bytes(data[at : at + 4], "big") + 12
    other = png(1)
    moved = other[:33] + data[at : at + length] + other[33:]
    found = verified(moved, "png", own=b"")
    assert found.signed
    assert not found.intact
    assert any("dataHash" in trouble for trouble in found.troubles)


def test_a_picture_without_a_manifest_says_nothing() -> None:
    found = verified(png(), "png", own=b"")
    assert (found.signed, found.intact, found.troubles) == (False, False, ())


def test_keys_are_own_known_or_unknown() -> None:
    credentials, data = made()
    other = self_issued().certificates
    assert verified(data, "png", own=other).key == "unknown"
    assert verified(data, "png", own=other).intact
    assert verified(data, "png", known=credentials.certificates, own=other).key == "known"
    assert verified(data, "png", own=b"").key == "unknown"


def test_the_key_is_made_once_and_for_the_user_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    first = own_credentials()
    path = tmp_path / "config" / "frenchcat" / "signing-key.pem"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert own_credentials() == first
    assert verified(sign(png(), FACTS, first), "png").key == "own"
    assert "PRIVATE" not in repr(first)


def test_no_folder_for_a_key_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="the signing key cannot be written to"):
        own_credentials(tmp_path / "file" / "frenchcat")


def test_files_that_are_no_keys_are_one_line(tmp_path: Path) -> None:
    key, certificates = tmp_path / "key.pem", tmp_path / "certificates.pem"
    made_here, other = self_issued(), self_issued()
    key.write_bytes(made_here.key)
    certificates.write_bytes(b"hello")
    with pytest.raises(UserError, match="contains no PEM certificate"):
        read_credentials(key, certificates)
    with pytest.raises(UserError, match="not a plain PEM private key"):
        read_credentials(certificates, key)
    with pytest.raises(UserError, match="cannot be read"):
        read_credentials(tmp_path / "nowhere", certificates)
    with pytest.raises(UserError, match="another"):
        sign(png(), FACTS, Credentials(made_here.key, other.certificates))
