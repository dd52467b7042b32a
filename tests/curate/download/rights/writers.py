"""Images as generators, cameras and editors write them: metadata of the writer's form, our pixels.

The forms follow what the programs document or were seen to write: PNG texts of Stable Diffusion web
UI, ComfyUI, InvokeAI, Fooocus, NovelAI; EXIF comments of the same as JPEG and WebP; XMP of IPTC's
vocabulary; Content Credentials.
"""

import io
import json
from dataclasses import dataclass, field

from PIL import Image, PngImagePlugin
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from tests.curate.download.rights.signed import signed

WEB_UI = (
    "a cat in a beret, oil\nNegative prompt: blurry\n"
    "Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 512x512, Model: any"
)
COMFY = json.dumps({"3": {"inputs": {"seed": 1}, "class_type": "KSampler"}})
GRAPH = json.dumps({"last_node_id": 9, "nodes": [{"id": 3, "type": "KSampler"}], "links": []})
NOVEL = json.dumps({"prompt": "cat", "steps": 28, "sampler": "k_euler", "uc": "blurry"})
JOB = "french cat --v 6 Job ID: 0f0c1d2e-aaaa-bbbb-cccc-0123456789ab"
CODES = "http://cv.iptc.org/newscodes/digitalsourcetype/"


def xmp(properties: str, namespaces: str = "") -> bytes:
    """A packet with these properties as elements."""
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
        'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
        'xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/" '
        'xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/" '
        'xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" '
        f"{namespaces}>{properties}</rdf:Description></rdf:RDF></x:xmpmeta>"
    ).encode()


@dataclass(frozen=True)
class Written:
    """An image's metadata, and whether it says that the image is synthetic."""

    name: str
    synthetic: bool
    texts: dict[str, str] = field(default_factory=dict)  # of a PNG
    tags: dict[int, str] = field(default_factory=dict)  # of EXIF
    comment: bytes | None = None  # EXIF's, of the user
    packet: bytes | None = None  # XMP
    source: str | None = None  # digital source type of Content Credentials
    formats: tuple[str, ...] = ("jpeg", "webp", "png")

    def body(self, kind: str, number: int = 0) -> bytes:
        """The file, as one of `formats`; `number` makes its pixels differ from another's."""
        image = Image.new("RGB", (48, 40), (number % 256, 90, 160))
        exif = Image.Exif()
        for tag, text in self.tags.items():
            exif[tag] = text
        if self.comment is not None:
            part = ImageFileDirectory_v2()
            part[0x9286] = self.comment
            exif[0x8769] = dict(part)
        more: dict[str, object] = {"exif": exif} if self.tags or self.comment else {}
        if kind == "png":
            info = PngImagePlugin.PngInfo()
            for keyword, text in self.texts.items():
                info.add_itxt(keyword, text)
            if self.packet is not None:
                info.add_itxt("XML:com.adobe.xmp", self.packet.decode())
            more["pnginfo"] = info
        elif self.packet is not None:
            more["xmp"] = self.packet
        out = io.BytesIO()
        image.save(out, kind, **more)
        if self.source is None:
            return out.getvalue()
        return signed(out.getvalue(), [], f"image/{kind}", source=self.source)


def _type(code: str) -> bytes:
    return xmp(f"<Iptc4xmpExt:DigitalSourceType>{CODES}{code}</Iptc4xmpExt:DigitalSourceType>")


_PNG = ("png",)
SYNTHETIC = [
    Written("web ui, png", True, texts={"parameters": WEB_UI}, formats=_PNG),
    Written("web ui, exif utf-16-be", True, comment=b"UNICODE\0" + WEB_UI.encode("utf-16-be")),
    Written("web ui, exif utf-16-le", True, comment=b"UNICODE\0" + WEB_UI.encode("utf-16-le")),
    Written("web ui, exif ascii", True, comment=b"ASCII\0\0\0" + WEB_UI.encode()),
    Written("comfyui, prompt", True, texts={"prompt": COMFY}, formats=_PNG),
    Written("comfyui, workflow", True, texts={"workflow": GRAPH}, formats=_PNG),
    Written("comfyui, exif make", True, tags={0x010F: f"Prompt:{COMFY}"}),
    Written("comfyui, exif description", True, tags={0x010E: f"Workflow:{GRAPH}"}),
    Written("invokeai", True, texts={"invokeai_metadata": '{"model": "any"}'}, formats=_PNG),
    Written("invokeai, old", True, texts={"sd-metadata": "{}"}, formats=_PNG),
    Written("fooocus", True, texts={"fooocus_scheme": "fooocus"}, formats=_PNG),
    Written("novelai", True, texts={"Software": "NovelAI", "Comment": NOVEL}, formats=_PNG),
    Written("novelai, comment alone", True, texts={"Comment": NOVEL}, formats=_PNG),
    Written("midjourney", True, texts={"Description": JOB}, formats=_PNG),
    Written("midjourney, xmp", True, packet=xmp(f"<dc:description>{JOB}</dc:description>")),
    Written("software tag", True, tags={0x0131: "Stable Diffusion XL 1.0"}),
    Written("creator tool", True, packet=xmp("<xmp:CreatorTool>Adobe Firefly</xmp:CreatorTool>")),
    Written("credit", True, packet=xmp("<photoshop:Credit>Made with Google AI</photoshop:Credit>")),
    Written(
        "iptc ai system",
        True,
        packet=xmp("<Iptc4xmpExt:AISystemUsed>SomeModel</Iptc4xmpExt:AISystemUsed>"),
    ),
    *(
        Written(f"iptc {code}", True, packet=_type(code))
        for code in (
            "trainedAlgorithmicMedia",
            "compositeWithTrainedAlgorithmicMedia",
            "algorithmicMedia",
            "compositeSynthetic",
        )
    ),
    Written("c2pa", True, source=f"{CODES}trainedAlgorithmicMedia"),
]
REAL = [
    Written("nothing", False),
    Written("camera", False, tags={0x010F: "Maker", 0x0110: "Model 5", 0x0131: "Firmware 1.0"}),
    Written("editor", False, tags={0x0131: "Adobe Photoshop 25.0"}),
    Written("editor, xmp", False, packet=xmp("<xmp:CreatorTool>GIMP 3</xmp:CreatorTool>")),
    Written("imagen, in Spanish", False, tags={0x0131: "Editor de imagen", 0x010E: "Una imagen"}),
    Written("about ai", False, tags={0x010E: "Talk on Stable Diffusion and Midjourney, Paris"}),
    Written("dreams", False, texts={"Title": "dream", "Comment": "a dream of mine"}, formats=_PNG),
    Written("steps", False, comment=b"ASCII\0\0\0Steps: 20, then left", texts={"prompt": "walk"}),
    Written("parameters", False, texts={"parameters": "f/2.8, ISO 100"}, formats=_PNG),
    Written("json", False, texts={"Comment": '{"sampler": 1, "nodes": []}'}, formats=_PNG),
    *(
        Written(f"iptc {code}", False, packet=_type(code))
        for code in ("digitalCapture", "negativeFilm", "humanEdits", "algorithmicallyEnhanced")
    ),
    Written("c2pa camera", False, source=f"{CODES}digitalCapture"),
]
