"""XMP, EXIF, IPTC, PNG texts and C2PA manifests in a picture's bytes -> signals."""

import io
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from frenchcat.curate.download.rights.metadata import data_mining, metadata_signals
from frenchcat.curate.download.rights.provenance import Manifests
from tests.curate.download.loopback import jpeg
from tests.curate.download.rights.signed import mining, signed
from tests.curate.download.rights.variants import mining_xmp, with_exif, with_xmp, xmp


def found(body: bytes) -> list[tuple[str, str, str | None]]:
    return [(s.signal, s.value, s.decision) for s in metadata_signals(body, "t")]


@pytest.mark.parametrize(
    ("code", "decision"),
    [
        ("DMI-PROHIBITED", "opt_out"),
        ("DMI-PROHIBITED-AIMLTRAINING", "opt_out"),
        ("DMI-PROHIBITED-GENAIMLTRAINING", "opt_out"),
        ("DMI-PROHIBITED-EXCEPTSEARCHENGINEINDEXING", "opt_out"),
        ("DMI-PROHIBITED-SEECONSTRAINT", "opt_out"),
        ("dmi-prohibited/", "opt_out"),
        ("DMI-ALLOWED", "allow"),
        ("DMI-UNSPECIFIED", None),
        ("", None),
    ],
)
def test_the_plus_vocabulary(code: str, decision: str | None) -> None:
    assert data_mining(f"http://ns.useplus.org/ldf/vocab/{code}") == decision


def test_facts_of_a_packet_lists_and_languages_included() -> None:
    packet = xmp(
        "<dc:creator><rdf:Seq><rdf:li>Ann</rdf:li><rdf:li>Bo</rdf:li></rdf:Seq></dc:creator>"
        '<dc:rights><rdf:Alt><rdf:li xml:lang="x-default">(c) Ann</rdf:li></rdf:Alt></dc:rights>'
    )
    for kind in ("jpeg", "png", "webp"):
        assert found(with_xmp(packet, kind)) == [
            ("creator", "Ann", None),
            ("creator", "Bo", None),
            ("copyright", "(c) Ann", None),
        ]


@pytest.mark.parametrize("compressed", [False, True])
def test_a_jpeg_xl_may_pack_what_it_says(compressed: bool) -> None:
    import pillow_jxl  # noqa: F401

    out = io.BytesIO()
    packet = mining_xmp("DMI-PROHIBITED")
    Image.new("RGB", (16, 16)).save(out, "JXL", xmp=packet, compress_metadata=compressed)
    body = out.getvalue()
    assert (packet in body) is not compressed
    assert [decision for _, _, decision in found(body)] == ["opt_out"]
    cut = body.replace(b"xml \x1b", b"xml \xff") if compressed else body[:-9]
    assert found(cut) == ([] if compressed else found(body))


def test_exif_and_png_texts() -> None:
    assert set(found(with_exif(copyright="(c) Ann", artist="Ann"))) == {
        ("copyright", "(c) Ann", None),
        ("creator", "Ann", None),
    }
    info, out = PngImagePlugin.PngInfo(), io.BytesIO()
    info.add_text("Author", "Ann")
    info.add_text("Comment", "a cat")
    Image.new("RGB", (8, 8)).save(out, "PNG", pnginfo=info)
    assert found(out.getvalue()) == [("creator", "Ann", None)]


def test_iptc_fields() -> None:
    def record(tag: int, text: bytes) -> bytes:
        return b"\x1c\x02" + bytes([tag]) + len(text).to_bytes(2, "big") + text

    iptc = record(80, b"Ann") + record(116, b"(c) Ann") + record(120, b"a cat")
    iptc += record(110, b"Cats") + record(80, b"Bo")
    block = b"Photoshop 3.0\x008BIM\x04\x04\x00\x00" + len(iptc).to_bytes(4, "big") + iptc
    block += b"\0" * (len(iptc) % 2)
    plain = jpeg(1)
    body = plain[:2] + b"\xff\xed" + (len(block) + 2).to_bytes(2, "big") + block + plain[2:]
    assert set(found(body)) == {
        ("creator", "Ann", None),
        ("creator", "Bo", None),
        ("copyright", "(c) Ann", None),
        ("credit", "Cats", None),
    }


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp", "heic"])
@pytest.mark.parametrize("way", ["element", "attribute", "resource", "list"])
def test_a_prohibition_is_found_in_every_format_and_spelling(kind: str, way: str) -> None:
    value = "http://ns.useplus.org/ldf/vocab/DMI-PROHIBITED-EXCEPTSEARCHENGINEINDEXING"
    packet = {
        "element": xmp(f"<plus:DataMining> {value} </plus:DataMining>"),
        "attribute": xmp("", f'plus:DataMining="{value}"'),
        "resource": xmp(f'<plus:DataMining rdf:resource="{value}"/>'),
        "list": xmp(
            f"<plus:DataMining><rdf:Bag><rdf:li>{value}</rdf:li></rdf:Bag></plus:DataMining>"
        ),
    }[way]
    body = HEIC + bytes(40) + packet if kind == "heic" else with_xmp(packet, kind)
    assert found(body) == [("xmp_data_mining", value, "opt_out")]


@pytest.mark.parametrize("space", ["http://www.w3.org/ns/tdmrep/", "http://www.w3.org/ns/tdmrep#"])
@pytest.mark.parametrize(("value", "decision"), [("1", "opt_out"), ("0", "allow"), ("x", None)])
def test_a_reservation_is_read_in_both_of_its_namespaces(
    space: str, value: str, decision: str | None
) -> None:
    for packet in (
        xmp(f"<tdm:reservation>{value}</tdm:reservation>"),
        xmp("", f'tdm:reservation="{value}"'),
    ):
        packet = packet.replace(b"http://www.w3.org/ns/tdmrep/", space.encode())
        assert found(with_xmp(packet)) == [("xmp_tdm_reservation", value, decision)]


def test_a_second_packet_of_a_file_is_read() -> None:
    body = jpeg(1) + mining_xmp("DMI-ALLOWED") + b"junk" + mining_xmp("DMI-PROHIBITED")
    assert [decision for _, _, decision in found(body)] == ["allow", "opt_out"]


BOMB = b"<!DOCTYPE x [" + b"".join(
    b'<!ENTITY e%d "%s">' % (n, b"&e%d;" % (n - 1) * 10 if n else b"aaaaaaaaaa") for n in range(12)
)
XXE = b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>'


@pytest.mark.parametrize(
    "packet",
    [
        mining_xmp("DMI-PROHIBITED").replace(b"<rdf:RDF", BOMB + b"]><rdf:RDF", 1),
        mining_xmp("DMI-PROHIBITED").replace(b"<rdf:RDF", XXE + b"<rdf:RDF", 1),
        mining_xmp("DMI-PROHIBITED")[:-30] + b"</x:xmpmeta>",
        mining_xmp("DMI-PROHIBITED") + b" " * 5 * 2**20,
    ],
    ids=["entity bomb", "external entity", "cut", "padded"],
)
def test_a_packet_that_is_no_xml_still_prohibits(packet: bytes) -> None:
    body = jpeg(1) + packet
    assert [decision for _, _, decision in found(body)] == ["opt_out"]
    assert "passwd" not in str(found(body))


def test_what_an_entity_spells_is_no_permission() -> None:
    packet = xmp("<plus:DataMining>&e;</plus:DataMining>")
    bare = packet[packet.index(b"<rdf:RDF") : packet.index(b"</x:xmpmeta>")]
    for spelled, decisions in (("DMI-ALLOWED", []), ("DMI-PROHIBITED", ["opt_out"])):
        entity = f'<!DOCTYPE x [<!ENTITY e "{spelled}">]>'.encode()
        for kind in ("png", "jpeg", "webp"):
            for body in (with_xmp(entity + packet, kind), with_xmp(entity + bare, kind)):
                assert [decision for _, _, decision in found(body)] == decisions, spelled


@pytest.mark.parametrize("text", ["<dc:creator>" * 60_000, "<rdf:li>x</rdf:li>" * 200_000])
def test_a_hostile_packet_costs_little(text: str) -> None:
    nested = text + text.replace("<dc:creator>", "</dc:creator>") * text.startswith("<dc")
    began = time.process_time()
    found(jpeg(1) + xmp(f"<dc:rights>{nested}</dc:rights>"))
    assert time.process_time() - began < 3


@given(st.binary(max_size=300), st.sampled_from([b"", b"<x:xmpmeta>", b"\x89PNG\r\n\x1a\n"]))
def test_no_bytes_raise(data: bytes, start: bytes) -> None:
    metadata_signals(start + data + b"</x:xmpmeta>")
    for kind in ("jpeg", "png", "webp", "gif", "bmp"):
        Manifests(start + b"c2pa" + data, kind).uses()


LABELS = ("c2pa.training-mining", "cawg.training-mining")


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize(
    ("uses", "decision"),
    [
        ({"data_mining": "notAllowed"}, "opt_out"),
        ({"ai_training": "constrained"}, "opt_out"),
        ({"ai_training": "allowed", "ai_generative_training": "notAllowed"}, "opt_out"),
        ({"data_mining": "allowed", "ai_training": "allowed"}, "allow"),
        ({}, None),
    ],
)
def test_training_mining_assertions(label: str, uses: dict[str, str], decision: str | None) -> None:
    body = signed(jpeg(1), [mining(label, **uses)])
    (signal,) = Manifests(body, "jpeg", "t").uses()
    assert signal.signal == label.replace(".", "_").replace("-", "_")
    assert (signal.decision, signal.time) == (decision, "t")
    assert signal.where.startswith("c2pa:")


def test_in_png_too_and_in_an_older_manifest_of_the_file() -> None:
    out = io.BytesIO()
    Image.open(io.BytesIO(jpeg(1))).save(out, "PNG")
    png = signed(out.getvalue(), [mining(LABELS[0], data_mining="notAllowed")], "image/png")
    assert [s.decision for s in Manifests(png, "png").uses()] == ["opt_out"]


def test_many_facts_do_not_hide_a_prohibition() -> None:
    facts = "".join(f"<dc:creator>{n}</dc:creator>" for n in range(500))
    prohibition = "<plus:DataMining>DMI-PROHIBITED</plus:DataMining>"
    signals = found(with_xmp(xmp(facts + prohibition)))
    assert len(signals) == 100
    assert signals[0] == ("xmp_data_mining", "DMI-PROHIBITED", "opt_out")


BODY = signed(jpeg(1), [mining(LABELS[0], ai_training="notAllowed")])
WORDS = (b"c2pa", LABELS[0].encode(), b"notAllowed")


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 12_000) | st.integers(0, len(BODY) - 1), st.binary(min_size=1, max_size=40))
def test_a_damaged_manifest_never_becomes_a_permission(at: int, noise: bytes) -> None:
    damaged = BODY[:at] + noise + BODY[at + len(noise) :]
    said = Manifests(damaged, "jpeg").uses()
    assert all(signal.decision != "allow" for signal in said)
    if all(word in damaged for word in WORDS):
        assert [signal.decision for signal in said] == ["opt_out"]
