"""What any assertion in any manifest of a file says, against the c2pa library that wrote it."""

import io
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from PIL import Image

from frenchcat.curate.download.rights.provenance import Manifests
from frenchcat.curate.download.rights.signal import opted_out
from tests.curate.download.loopback import jpeg
from tests.curate.download.rights.signed import mining, signed

C2PA, CAWG = "c2pa.training-mining", "cawg.training-mining"
USES = ("data_mining", "ai_training", "ai_generative_training", "ai_inference")


def decisions(body: bytes, kind: str = "jpeg") -> list[str | None]:
    return [signal.decision for signal in Manifests(body, kind).uses()]


@pytest.mark.parametrize("said", ["notAllowed", "constrained"])
@pytest.mark.parametrize("use", USES)
def test_one_use_that_is_withheld_opts_out_whatever_else_is_allowed(use: str, said: str) -> None:
    uses = dict.fromkeys(USES, "allowed") | {use: said}
    assert decisions(signed(jpeg(1), [mining(CAWG, **uses)])) == ["opt_out"]


@pytest.mark.parametrize("label", [CAWG, C2PA])
@pytest.mark.parametrize("version", [".v2", ".v1.1", ".v10"])
def test_a_later_version_of_an_assertion_is_that_assertion(label: str, version: str) -> None:
    written = label + version.replace(".v", "_v")  # the library writes user assertions without one
    for use, decision in (("allowed", "allow"), ("constrained", "opt_out")):
        body = signed(jpeg(1), [mining(written, ai_training=use, data_mining="allowed")])
        body = body.replace(written.encode(), (label + version).encode())
        (signal,) = Manifests(body, "jpeg").uses()
        name = label.replace(".", "_").replace("-", "_")
        assert (signal.decision, signal.signal) == (decision, name)


@pytest.mark.parametrize("second", [CAWG, f"{CAWG}.v1.1", C2PA])
@pytest.mark.parametrize("said", ["notAllowed", "constrained"])
def test_every_assertion_of_a_manifest_is_read(second: str, said: str) -> None:
    both = [mining(CAWG, ai_training="allowed"), mining(second, ai_training=said)]
    assert sorted(decisions(signed(jpeg(1), both)), key=str) == ["allow", "opt_out"]


def test_the_manifest_of_a_part_counts_beside_that_of_the_whole() -> None:
    part = signed(jpeg(1), [mining(C2PA, ai_training="notAllowed")])
    whole = signed(jpeg(2), [mining(C2PA, ai_training="allowed")], ingredient=part)
    signals = Manifests(whole, "jpeg").uses()
    assert sorted((s.decision for s in signals), key=str) == ["allow", "opt_out"]
    assert len({s.where for s in signals}) == 2
    said = opted_out(signals)
    assert said is not None
    assert said.signal == "c2pa_training_mining"


def test_a_use_under_another_word_than_the_standards_is_no_permission() -> None:
    uses = {"ai_training": "allowed", "data_mining": "perhaps"}
    assert decisions(signed(jpeg(1), [mining(CAWG, **uses)])) == [None]


@pytest.mark.parametrize("kind", ["png", "webp", "gif", "tiff"])
def test_manifests_are_read_in_every_format_that_has_them(kind: str) -> None:
    out = io.BytesIO()
    Image.open(io.BytesIO(jpeg(1))).save(out, kind)
    body = signed(out.getvalue(), [mining(C2PA, ai_training="allowed")], f"image/{kind}")
    assert decisions(body, kind) == ["allow"]


@pytest.fixture
def elsewhere() -> Iterator[tuple[str, list[str]]]:
    """The address of a server, and the paths it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", asked
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_manifest_that_lies_elsewhere_is_not_fetched(
    elsewhere: tuple[str, list[str]],
) -> None:
    address, asked = elsewhere
    assertion = mining(C2PA, ai_training="notAllowed")
    body = signed(jpeg(1), [assertion], remote=f"{address}/picture.c2pa")
    assert f"{address}/picture.c2pa".encode() in body
    assert Manifests(body, "jpeg").uses() == []
    assert asked == []
