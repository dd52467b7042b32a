"""Signals in an image's own metadata: XMP (PLUS, TDMRep, Dublin Core), EXIF, IPTC, PNG texts.

Reads a file's original bytes, writes nothing; decodes no pixels. The XMP packet is searched for in
the bytes as well as through Pillow, so formats that Pillow cannot read are searched, too. If a
packet is not XML, a prohibition is searched for by its name: broken does not mean allowed. Cost:
one pass over the bytes, and a bounded one over each packet.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import re
import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from frenchcat.curate.download.rights.headers import reservation
from frenchcat.curate.download.rights.signal import ALLOW, FACT, OPT_OUT, Signal, shortened
from frenchcat.curate.download.rights.synthetic import SYNTHETIC, of_source_type, of_text
from frenchcat.curate.image.header import boxes
from frenchcat.curate.image.plugins import register
from frenchcat.curate.image.quiet import quiet
from frenchcat.curate.image.sniff import sniff

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

_PLUS = "http://ns.useplus.org/ldf/xmp/1.0/"
_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_TDM = ("http://www.w3.org/ns/tdmrep/", "http://www.w3.org/ns/tdmrep#")
_RIGHTS = "http://ns.adobe.com/xap/1.0/rights/"
_FACTS = {
    ("http://purl.org/dc/elements/1.1/", "creator"): "creator",
    ("http://purl.org/dc/elements/1.1/", "rights"): "copyright",
    ("http://ns.adobe.com/photoshop/1.0/", "Credit"): "credit",
    ("http://creativecommons.org/ns#", "license"): "license",
    ("http://web.resource.org/cc/", "license"): "license",
    (_RIGHTS, "WebStatement"): "license",
    (_RIGHTS, "UsageTerms"): "usage_terms",
    ("http://iptc.org/std/Iptc4xmpExt/2008-02-29/", "DigitalSourceType"): "digital_source_type",
    (_PLUS, "LicensorURL"): "license",
}
_EXIF = {0x013B: "creator", 0x8298: "copyright"}
_IPTC = {(2, 80): "creator", (2, 110): "credit", (2, 116): "copyright"}
_PNG = {"author": "creator", "copyright": "copyright", "license": "license"}
_IPTC_TEXTS = {(2, 65): "program", (2, 110): "credit"}
_EXIF_TEXTS = {0x0131: "software", 0x010E: "description", 0x010F: "make", 0x0110: "model"}
_XMP_TEXTS = frozenset(
    "creatortool aisystemused aipromptinformation credit usercomment description aigc".split()
)
"""Properties, in lower case, that may say which program generated an image (synthetic.py)."""
_NO_TEXTS = frozenset({"xmp", "XML:com.adobe.xmp", "exif", "icc_profile", "photoshop"})
_MAX_PACKET = 4 * 2**20
_MAX_PACKETS = 8
_MAX_PROPERTIES = 100  # of a packet
_PROHIBITED = re.compile(rb"DMI-PROHIBITED[A-Z-]*")


def metadata_signals(body: bytes, time: str | None = None) -> list[Signal]:
    """What a file says about itself; `time` is that of the answer that brought it. Never raises."""
    found: dict[Signal, None] = {}  # in order, each once
    packets = list(_packets(body))
    for signal, value, where, decision in _of_pillow(body, packets):
        found[Signal(signal, shortened(value), where, time, decision)] = None
    for packet in dict.fromkeys(packets):
        for signal, value, decision in _of_xmp(packet):
            found[Signal(signal, shortened(value), "xmp", time, decision)] = None
    return list(found)


def _packets(body: bytes) -> Iterator[bytes]:
    """XMP packets that are in the bytes as they are, or in a box of their own."""
    for part in (body, *_compressed(body)):
        start = 0
        for _ in range(_MAX_PACKETS):
            start = part.find(b"<x:xmpmeta", start)
            end = part.find(b"</x:xmpmeta>", start)
            if start < 0 or end < 0:
                break
            end += len(b"</x:xmpmeta>")
            yield part[start:end]
            start = end


def _compressed(body: bytes) -> Iterator[bytes]:
    """XMP of a JPEG XL that is compressed with Brotli (ISO/IEC 18181-2, box `brob`)."""
    if sniff(body) != "jxl" or not register("jxl"):  # a file that is not read is not stored either
        return
    import brotli

    with contextlib.suppress(brotli.error, ValueError, struct.error):
        for start, end in itertools.islice(boxes(body, b"brob", 0, len(body)), _MAX_PACKETS):
            if body[start : start + 4] == b"xml ":
                unpacker = brotli.Decompressor()
                yield unpacker.process(body[start + 4 : end], output_buffer_limit=_MAX_PACKET)


def _of_pillow(body: bytes, packets: list[bytes]) -> Iterator[tuple[str, str, str, str | None]]:
    from PIL import Image

    register(sniff(body))  # else the result would depend on earlier files
    try:
        with quiet():
            with Image.open(io.BytesIO(body)) as picture:
                found = list(_of_picture(picture, packets))
    except Exception:  # a decoder may fail in any way
        return
    yield from found


def _of_picture(
    picture: ImageFile, packets: list[bytes]
) -> Iterator[tuple[str, str, str, str | None]]:
    from PIL import IptcImagePlugin

    for name in ("xmp", "XML:com.adobe.xmp"):
        packet = picture.info.get(name)
        if isinstance(packet, str):
            packet = packet.encode("utf-8", "surrogateescape")
        if isinstance(packet, bytes):
            packets.append(_trimmed(packet))
    exif = picture.getexif()
    for tag, value in exif.items():
        if tag in _EXIF and (text := _text(value)):
            yield _EXIF[tag], text, "exif", FACT
    for name, text in _texts(exif):
        if maker := of_text(name, text):
            yield SYNTHETIC, maker, "exif", FACT
    iptc: dict[Any, Any] = IptcImagePlugin.getiptcinfo(picture) or {}
    for tag, value in iptc.items():
        for item in value if isinstance(value, list) else [value]:
            if tag in _IPTC and (text := _text(item)):
                yield _IPTC[tag], text, "iptc", FACT
            if tag in _IPTC_TEXTS and (maker := of_text(_IPTC_TEXTS[tag], _text(item))):
                yield SYNTHETIC, maker, "iptc", FACT
    for field, said in picture.info.items():
        if str(field).lower() in _PNG and isinstance(said, str) and said.strip():
            yield _PNG[str(field).lower()], said, "png", FACT
        if (
            field not in _NO_TEXTS
            and (text := _comment(said))
            and (maker := of_text(str(field), text))
        ):
            yield SYNTHETIC, maker, "png" if picture.format == "PNG" else "comment", FACT


def _texts(exif: Any) -> Iterator[tuple[str, str]]:
    """The tags of EXIF in which generators write, by name: the main ones and the user's comment."""
    for tag, name in _EXIF_TEXTS.items():
        if text := _text(exif.get(tag, "")):
            yield name, text
    with contextlib.suppress(Exception):  # a broken part costs that part
        yield "usercomment", _comment(exif.get_ifd(0x8769).get(0x9286, ""))


def _comment(value: object) -> str:
    """A text, or a comment in bytes: EXIF names its encoding in the first 8 (EXIF 2.3, 4.6.5)."""
    if not isinstance(value, bytes):
        return value if isinstance(value, str) else ""
    if value[:8] == b"UNICODE\0":
        even = value[8::2].count(0) > value[9::2].count(0)  # the writer's byte order is not said
        return value[8:].decode("utf-16-be" if even else "utf-16-le", "replace")
    return value.removeprefix(b"ASCII\0\0\0").decode("utf-8", "replace").strip("\0")


def _trimmed(packet: bytes) -> bytes:
    start, end = packet.find(b"<x:xmpmeta"), packet.rfind(b"</x:xmpmeta>")
    if b"<!ENTITY" in packet[: max(start, 0)]:
        return packet  # entities may spell a prohibition
    return packet[start : end + len(b"</x:xmpmeta>")] if 0 <= start < end else packet


def _text(value: object) -> str:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    return str(value).strip(" \0\n\t")


def _of_xmp(packet: bytes) -> Iterator[tuple[str, str, str | None]]:
    try:
        said = dict.fromkeys(_of_tree(_parsed(packet)))
        yield from sorted(said, key=lambda each: each[2] != OPT_OUT)[:_MAX_PROPERTIES]
    except (ElementTree.ParseError, ValueError, LookupError, RecursionError):
        for value in dict.fromkeys(_PROHIBITED.findall(packet)):
            yield "xmp_data_mining", value.decode(), OPT_OUT


def _parsed(packet: bytes) -> ElementTree.Element:
    # A packet needs no document type, and entities make XML dangerous.
    if len(packet) > _MAX_PACKET or b"<!DOCTYPE" in packet or b"<!ENTITY" in packet:
        raise ValueError("no packet of ours")
    return ElementTree.fromstring(packet)


def _of_tree(root: ElementTree.Element) -> Iterator[tuple[str, str, str | None]]:
    for element in root.iter():
        for name, value in element.attrib.items():
            yield from _property(*_split(name), [value])
        yield from _property(*_split(element.tag), list(_values(element)))


def _property(space: str, name: str, values: list[str]) -> Iterator[tuple[str, str, str | None]]:
    for value in filter(None, (value.strip() for value in values)):
        if (space, name) == (_PLUS, "DataMining"):
            yield "xmp_data_mining", value, data_mining(value)
        elif space in _TDM and name == "reservation":
            yield "xmp_tdm_reservation", value, reservation(value)
        elif space in _TDM and name == "policy":
            yield "tdm_policy", value, FACT
        elif (space, name) in _FACTS:
            yield _FACTS[space, name], value, FACT
            if name == "DigitalSourceType" and (code := of_source_type(value)):
                yield SYNTHETIC, code, FACT
        if name.lower() in _XMP_TEXTS and (maker := of_text(name, value)):
            yield SYNTHETIC, maker, FACT


def data_mining(value: str) -> str | None:
    """The decision of a plus:DataMining value (PLUS LDF vocabulary; IPTC 2023.1).

    Any DMI-PROHIBITED… opts out: the partial ones forbid training, or depend on words that only a
    human can judge.
    """
    code = value.rstrip("/").rsplit("/", 1)[-1].upper()
    if code.startswith("DMI-PROHIBITED"):
        return OPT_OUT
    return ALLOW if code == "DMI-ALLOWED" else FACT


def _split(name: str) -> tuple[str, str]:
    space, _, local = name.rpartition("}")
    return space.removeprefix("{"), local


def _values(element: ElementTree.Element) -> Iterator[str]:
    """An element's own text, its rdf:resource, the items of its list."""
    yield element.text or ""
    yield element.get(f"{{{_RDF}}}resource", "")
    for container in element:
        for item in container:  # not deeper, so that nesting costs nothing
            if item.tag == f"{{{_RDF}}}li":
                yield item.text or ""
                yield item.get(f"{{{_RDF}}}resource", "")
