"""Which images say that a program generated them: each writer's form, and those that look alike."""

import io
import json

import pytest
from PIL import Image

from frenchcat.curate.download.fetched import Fetched
from frenchcat.curate.download.ledger import signals_of
from frenchcat.curate.download.rights.settings import RightsSettings
from frenchcat.curate.download.rights.signal import Signal
from frenchcat.train.credentials import self_issued
from frenchcat.train.provenance import signed as signed_by_us
from tests.curate.download.rights.signed import signed
from tests.curate.download.rights.writers import CODES, REAL, SYNTHETIC, Written


def facts(body: bytes, kind: str) -> list[Signal]:
    """All that the ledger keeps of a file."""
    fetched = Fetched("http://a.example/1", body, None, "", (), kind, 48, 40, 1)
    return signals_of(fetched, RightsSettings())


def said(body: bytes, kind: str, signal: str) -> list[str]:
    return [one.value for one in facts(body, kind) if one.signal == signal]


def forms(written: list[Written]) -> list[tuple[Written, str]]:
    return [(one, kind) for one in written for kind in one.formats]


@pytest.mark.parametrize(
    ("written", "kind"), forms(SYNTHETIC), ids=lambda each: getattr(each, "name", each)
)
def test_a_generators_image_is_synthetic_in_every_format(written: Written, kind: str) -> None:
    assert said(written.body(kind), kind, "synthetic")


@pytest.mark.parametrize(
    ("written", "kind"), forms(REAL), ids=lambda each: getattr(each, "name", each)
)
def test_an_image_that_looks_alike_is_not(written: Written, kind: str) -> None:
    assert said(written.body(kind), kind, "synthetic") == []


def test_it_is_a_fact_and_opts_nobody_out() -> None:
    (found,) = [f for f in facts(SYNTHETIC[0].body("png"), "png") if f.signal == "synthetic"]
    assert (found.decision, found.where) == (None, "png")


def test_what_we_drew_ourselves_is_synthetic() -> None:
    body = signed_by_us(REAL[0].body("png"), {"prompt": "a cat"}, self_issued())
    assert said(body, "png", "synthetic") == ["trainedAlgorithmicMedia"]


def test_a_manifest_says_who_signed_it_and_that_a_byte_was_changed() -> None:
    image = io.BytesIO()
    Image.effect_noise((64, 64), 60).convert("RGB").save(image, "jpeg")
    body = signed(image.getvalue(), [], source=f"{CODES}digitalCapture", generator="Camera 9")
    (signer,) = said(body, "jpeg", "c2pa_signer")
    assert json.loads(signer) == {"issuer": "Test", "name": "Test signer", "program": "Camera 9"}
    assert said(body, "jpeg", "c2pa_changed") == []
    assert said(body, "jpeg", "digital_source_type") == [f"{CODES}digitalCapture"]
    at = len(body) - 40
    changed = body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]
    assert said(changed, "jpeg", "c2pa_changed") == ["assertion.dataHash.mismatch"]
