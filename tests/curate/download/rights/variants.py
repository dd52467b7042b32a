"""Sites on 127.0.0.1 that opt out in every way we know of, and as many that only seem to.

Each variant is a site of its own (a port), since robots.txt and its like speak for a site. Used by
the tests of the ledger and by bench/rights.py.
"""

import contextlib
import io
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from PIL import Image, PngImagePlugin

from tests.curate.download.loopback import jpeg
from tests.curate.download.rights.signed import mining, signed

Headers = tuple[tuple[str, str], ...]
PICTURE = "/pictures/cat.jpg"
ROBOTS, TDMREP, AI = "/robots.txt", "/.well-known/tdmrep.json", "/ai.txt"
PLUS = "http://ns.useplus.org/ldf/vocab/"


@dataclass(frozen=True)
class Answer:
    """One answer of a site."""

    body: bytes = b""
    status: int = 200
    headers: Headers = ()


@dataclass(frozen=True)
class Variant:
    """One site and its one picture."""

    name: str
    signal: str | None
    """That opts the picture out; None where it may be stored."""
    answers: dict[str, tuple[Answer, ...]]
    """By path; one after the other, the last one stays."""
    path: str = PICTURE
    asked: list[str] = field(default_factory=list, compare=False)


def headers(*lines: str) -> Headers:
    """Header lines -> pairs."""
    return tuple((line.split(": ", 1)[0], line.split(": ", 1)[1]) for line in lines)


def variant(
    name: str,
    signal: str | None,
    *lines: str,
    body: bytes | None = None,
    hop: Headers | None = None,
    path: str = PICTURE,
    **files: str | Answer,
) -> Variant:
    """A site whose picture has these headers; `hop`: those of a redirect that leads to it.

    `files` are robots, tdmrep and ai.
    """
    answers = {path: (Answer(body or jpeg(1), headers=headers(*lines)),)}
    places = {"robots": ROBOTS, "tdmrep": TDMREP, "ai": AI}
    for file, content in files.items():
        answer = content if isinstance(content, Answer) else Answer(content.encode())
        answers[places[file]] = (answer,)
    if hop is not None:
        answers["/moved"] = (Answer(b"", 302, (("Location", path), *hop)),)
        path = "/moved"
    return Variant(name, signal, answers, path)


def xmp(inside: str, attributes: str = "") -> bytes:
    """An XMP packet around properties."""
    names = (
        'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" '
        'xmlns:plus="http://ns.useplus.org/ldf/xmp/1.0/" '
        'xmlns:dc="http://purl.org/dc/elements/1.1/" '
        'xmlns:tdm="http://www.w3.org/ns/tdmrep/"'
    )
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/'
        f'22-rdf-syntax-ns#"><rdf:Description rdf:about="" {names} {attributes}>{inside}'
        "</rdf:Description></rdf:RDF></x:xmpmeta>"
    ).encode()


def mining_xmp(code: str) -> bytes:
    """A packet with a plus:DataMining of the PLUS vocabulary."""
    return xmp(f"<plus:DataMining>{PLUS}{code}</plus:DataMining>")


def with_xmp(packet: bytes, kind: str = "jpeg") -> bytes:
    """A picture that carries the packet as its format has it."""
    out = io.BytesIO()
    picture = Image.open(io.BytesIO(jpeg(1)))
    if kind == "png":
        info = PngImagePlugin.PngInfo()
        info.add_itxt("XML:com.adobe.xmp", packet.decode(), zip=True)
        picture.save(out, "PNG", pnginfo=info)
    elif kind == "webp":
        picture.save(out, "WEBP", xmp=packet)
    else:
        segment = b"http://ns.adobe.com/xap/1.0/\0" + packet
        data = jpeg(1)
        return data[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + data[2:]
    return out.getvalue()


def with_exif(**fields: str) -> bytes:
    """A JPEG with an EXIF copyright or artist."""
    exif = Image.Exif()
    for tag, name in ((0x8298, "copyright"), (0x013B, "artist")):
        if name in fields:
            exif[tag] = fields[name]
    out = io.BytesIO()
    Image.open(io.BytesIO(jpeg(1))).save(out, "JPEG", exif=exif)
    return out.getvalue()


def _headers_out() -> list[Variant]:
    noai, plain = headers("X-Robots-Tag: noai"), ()
    tag = "x_robots_tag"
    date = "unavailable_after: Wednesday, 25-Jun-30 15:00:00 UTC, noai"
    said = [
        *("noai", "noimageai", "noindex", "none", "NoAI , noImageAI", "noai, googlebot: nofollow"),
        *("img2dataset: noai", "frenchcat: nofollow, noindex", "googlebot: nofollow, *: noai"),
        *("max-image-preview: large, noai", date),
    ]
    return [
        *(variant(f"tag {value}", tag, f"X-Robots-Tag: {value}") for value in said),
        variant("second tag", tag, "X-Robots-Tag: googlebot: nofollow", "X-Robots-Tag: noai"),
        variant("first hop says noai", tag, hop=noai),
        variant("last hop says noimageai", tag, "x-robots-tag: noimageai", hop=plain),
        variant("tdm header", "tdm_reservation", "tdm-reservation: 1"),
        variant("first hop reserves", "tdm_reservation", hop=headers("TDM-Reservation: 1")),
        variant("usage header", "content_usage", "Content-Usage: train-ai=n"),
        variant("usage of several", "content_usage", "Content-Usage: search=y, train-ai=n"),
        variant("all use", "content_usage", "Content-Usage: bots=n"),
        variant("usage on first hop", "content_usage", hop=headers("Content-Usage: train-ai=n")),
    ]


def _sites_out() -> list[Variant]:
    robots, usage = "robots_txt", "robots_content_usage"
    reserved = '[{"location": "/*", "tdm-reservation": 1}]'
    ordered = (
        '[{"location": "/pictures/*.jpg$", "tdm-reservation": 1},'
        ' {"location": "/*", "tdm-reservation": 0}]'
    )
    everybody = "User-agent: *\n"
    return [
        variant("robots for all", robots, robots=everybody + "Disallow: /"),
        variant("robots for img2dataset", robots, robots="User-agent: img2dataset\nDisallow: /"),
        variant(
            "robots for us",
            robots,
            robots=f"{everybody}Allow: /\n\nUser-agent: frenchcat\nDisallow: /",
        ),
        variant("robots pattern", robots, robots=everybody + "Disallow: /*.jpg$"),
        variant("robots behind a hop", robots, hop=(), robots=everybody + "Disallow: /pictures/"),
        variant("robots with a mark", robots, robots="\ufeffUser-agent: *\nDisallow: /"),
        variant("usage in robots", usage, robots=everybody + "Content-Usage: train-ai=n\nAllow: /"),
        variant(
            "usage of a path",
            usage,
            robots=everybody + "Content-Usage: train-ai=y\nContent-Usage: /pictures/ train-ai=n",
        ),
        variant("usage of nobody", usage, robots="Content-Usage: train-ai=n"),
        variant("tdmrep", "tdmrep", tdmrep=reserved),
        variant("tdmrep, first entry", "tdmrep", tdmrep=ordered),
        variant("tdmrep, no list", "tdmrep", tdmrep=reserved.strip("[]")),
        variant("ai.txt of a kind", "ai_txt", ai="User-Agent: *\nDisallow:\nDisallow: *.jpg"),
        variant("ai.txt of all", "ai_txt", ai="# Spawning AI\nUser-Agent: *\nDisallow: /\n"),
    ]


def _files_out() -> list[Variant]:
    plus, c2pa, cawg = "xmp_data_mining", "c2pa.training-mining", "cawg.training-mining"
    attribute = xmp("", f'plus:DataMining="{PLUS}DMI-PROHIBITED"')
    link = xmp(f'<plus:DataMining rdf:resource="{PLUS}DMI-PROHIBITED-AIMLTRAINING"/>')
    generative = mining_xmp("DMI-PROHIBITED-GENAIMLTRAINING")
    search = mining_xmp("DMI-PROHIBITED-EXCEPTSEARCHENGINEINDEXING")
    broken = mining_xmp("DMI-PROHIBITED").replace(b"</rdf:RDF>", b"")
    bomb = b'<!DOCTYPE x [<!ENTITY a "aaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>'
    hostile = search.replace(b"<rdf:RDF", bomb + b"<rdf:RDF", 1)
    assertions = {
        "c2pa": ("c2pa_training_mining", mining(c2pa, ai_training="notAllowed")),
        "cawg": ("cawg_training_mining", mining(cawg, data_mining="notAllowed")),
        "c2pa, constrained": (
            "c2pa_training_mining",
            mining(c2pa, ai_generative_training="constrained", data_mining="allowed"),
        ),
    }
    return [
        variant("xmp attribute", plus, body=with_xmp(attribute)),
        variant("xmp link", plus, body=with_xmp(link)),
        variant("xmp in png", plus, body=with_xmp(generative, "png")),
        variant("xmp in webp", plus, body=with_xmp(search, "webp")),
        variant("broken xmp", plus, body=with_xmp(broken)),
        variant("xmp with entities", plus, body=with_xmp(hostile)),
        variant(
            "xmp tdm",
            "xmp_tdm_reservation",
            body=with_xmp(xmp("<tdm:reservation>1</tdm:reservation>")),
        ),
        *(
            variant(name, signal, body=signed(jpeg(1), [assertion]))
            for name, (signal, assertion) in assertions.items()
        ),
    ]


def _headers_fine() -> list[Variant]:
    said = [
        *("googlebot: noai", "googlebot: nofollow, noindex", "otherbot: none", "all"),
        *("nofollow, noarchive, nosnippet", "max-image-preview: none", "indexifembedded"),
        *("googlebot: noindex, bingbot: noai", "img2dataset: nofollow", "noaiding"),
        "unavailable_after: 25 Jun 2030 15:00:00 PST",
    ]
    busy = Answer(b"busy", 503, headers("X-Robots-Tag: noai", "Retry-After: 0"))
    return [
        *(variant(f"tag {value}", None, f"X-Robots-Tag: {value}") for value in said),
        Variant("an error page's noai", None, {PICTURE: (busy, Answer(jpeg(1)))}),
        variant("tdm header 0", None, "tdm-reservation: 0"),
        variant("tdm policy alone", None, "tdm-policy: https://example.org/policy.json"),
        variant(
            "header before tdmrep",
            None,
            "tdm-reservation: 0",
            tdmrep='[{"location": "/*", "tdm-reservation": 1}]',
        ),
        variant("usage allowed", None, "Content-Usage: train-ai=y"),
        variant("usage of search", None, "Content-Usage: search=n"),
        variant("a hop for googlebot", None, hop=headers("X-Robots-Tag: googlebot: noai")),
    ]


def _sites_fine() -> list[Variant]:
    everybody, page = "User-agent: *\n", "<!doctype html><title>Disallow: /</title>"
    other = '[{"location": "/other/", "tdm-reservation": 1}]'
    ordered = (
        '[{"location": "/pictures/", "tdm-reservation": 0},'
        ' {"location": "/*", "tdm-reservation": 1}]'
    )
    return [
        variant("robots for another", None, robots="User-agent: GPTBot\nDisallow: /"),
        variant("robots, empty rule", None, robots=everybody + "Disallow:"),
        variant(
            "robots, other path", None, robots=everybody + "Disallow: /private/\nDisallow: /*.png$"
        ),
        variant(
            "robots, allowed after all", None, robots=everybody + "Disallow: /\nAllow: /pictures/"
        ),
        variant("robots locked", None, robots=Answer(b"", 403)),
        variant("pages for files", None, robots=page, tdmrep=page, ai=page),
        variant("usage allowed in robots", None, robots=everybody + "Content-Usage: train-ai=y"),
        variant(
            "usage of other path", None, robots=everybody + "Content-Usage: /other/ train-ai=n"
        ),
        variant(
            "usage for another", None, robots="User-agent: googlebot\nContent-Usage: train-ai=n"
        ),
        variant("tdmrep 0", None, tdmrep='[{"location": "/*", "tdm-reservation": 0}]'),
        variant("tdmrep, other path", None, tdmrep=other),
        variant("tdmrep, first entry wins", None, tdmrep=ordered),
        variant("tdmrep bomb", None, tdmrep="[" * 200_000),
        variant("ai.txt of another kind", None, ai="User-Agent: *\nDisallow: *.png"),
        variant("ai.txt allows", None, ai="User-Agent: *\nAllow: *.jpg"),
    ]


def _files_fine() -> list[Variant]:
    named = xmp("<dc:rights>All rights reserved, see DMI-PROHIBITED</dc:rights>")
    broken = xmp("<dc:creator>nobody</dc:creator>").replace(b"</rdf:RDF>", b"")
    allowed = mining("cawg.training-mining", data_mining="allowed", ai_training="allowed")
    tdm = xmp("<tdm:reservation>0</tdm:reservation>")
    return [
        variant("xmp allowed", None, body=with_xmp(mining_xmp("DMI-ALLOWED"))),
        variant("xmp unspecified", None, body=with_xmp(mining_xmp("DMI-UNSPECIFIED"), "png")),
        variant("xmp tdm 0", None, body=with_xmp(tdm)),
        variant("xmp of rights", None, body=with_xmp(named)),
        variant("broken xmp of nothing", None, body=with_xmp(broken)),
        variant("exif copyright", None, body=with_exif(copyright="(c) noai", artist="A. Painter")),
        variant("c2pa allowed", None, body=signed(jpeg(1), [allowed])),
        variant("c2pa of nothing", None, body=signed(jpeg(1), [])),
    ]


def opt_outs() -> list[Variant]:
    """Sites whose picture must not be stored."""
    return [*_headers_out(), *_sites_out(), *_files_out()]


def look_alikes() -> list[Variant]:
    """Sites whose picture may be stored."""
    return [*_headers_fine(), *_sites_fine(), *_files_fine()]


@contextlib.contextmanager
def serve(variants: list[Variant]) -> Iterator[list[str]]:
    """Serve each on a port of its own; gives the URLs of their pictures, in order."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(_serve(each)) for each in variants]


@contextlib.contextmanager
def _serve(each: Variant) -> Iterator[str]:
    left = {path: list(answers) for path, answers in each.answers.items()}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            each.asked.append(self.path)
            waiting = left.get(self.path, [Answer(b"none", 404)])
            answer = waiting.pop(0) if len(waiting) > 1 else waiting[0]
            self.send_response(answer.status)
            for name, value in answer.headers:
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, *_: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: Any) -> None:
            pass  # a client that hangs up is no fault

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}{each.path}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
