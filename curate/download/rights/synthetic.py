"""Which images say that a program generated them, or part of them: the fact `synthetic`.

Reads what metadata.py and provenance.py found in a file's original bytes; reads no pixel. Three
ways of saying it are known: IPTC's digital source type (in XMP or in Content Credentials), the name
of a generator where a program's name belongs, and the settings that generators leave behind as
text. An image that says nothing may be synthetic all the same.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

SYNTHETIC = "synthetic"
SOURCE_TYPES = frozenset(
    {
        "trainedalgorithmicmedia",
        "compositewithtrainedalgorithmicmedia",
        "algorithmicmedia",
        "compositesynthetic",
    }
)
"""IPTC NewsCodes, digitalsourcetype: wholly or partly made by an algorithm; in lower case."""

_GENERATORS = re.compile(
    r"\b(stable[ _-]?diffusion|sdxl|stability\.?ai|dreamstudio|automatic1111|comfyui|invokeai|"
    r"fooocus|swarmui|draw things|easy diffusion|diffusionbee|novelai|midjourney|dall[-·. ]?e|"
    r"openai|gpt-image|chatgpt|made with google ai|google imagen|google gemini|adobe firefly|"
    r"bing image creator|microsoft designer|image creator from designer|leonardo\.ai|ideogram|"
    r"flux\.1|black forest labs|nightcafe|craiyon|playground ai|recraft|krea\.ai|meta ai|"
    r"grok imagine|frenchcat)\b",
    re.I,
)
"""Programs and services that generate images, where the name of a program stands."""

_SETTINGS = (
    ("Stable Diffusion web UI", re.compile(r"\bSteps: \d+, (Sampler|Schedule type|Size|Seed): ")),
    ("Midjourney", re.compile(r"\bJob ID: [0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-", re.I)),
    ("ComfyUI", re.compile(r'"class_type"\s*:\s*"')),
    ("ComfyUI", re.compile(r'"last_node_id"\s*:\s*\d')),
    ("SwarmUI", re.compile(r'"sui_image_params"\s*:')),
    ("NovelAI", re.compile(r'"(uc|sampler)"\s*:.*"(uc|sampler)"\s*:', re.S)),
    ("Easy Diffusion", re.compile(r'"?use_stable_diffusion_model"?\s*:')),
    ("AIGC label", re.compile(r'"AIGC"\s*:\s*\{')),  # GB 45438-2025, an implicit label
)
"""The settings of a generator, as programs write them into comments and texts."""

_KEYS = {
    "sd-metadata": "InvokeAI",
    "invokeai_metadata": "InvokeAI",
    "dream": "InvokeAI",
    "fooocus_scheme": "Fooocus",
    "generation_data": "generation_data",
    "aigc": "AIGC label",
}
"""Names of PNG texts that only generators write, in lower case."""
_PROGRAM_FIELDS = frozenset({"software", "creatortool", "source", "program", "generator"})
_AI_FIELDS = frozenset({"aisystemused", "aipromptinformation"})
"""Properties of IPTC Photo Metadata 2025.1 that only synthetic images have."""
_MAX_CHARS = 2**20


def of_source_type(value: str) -> str | None:
    """The code of an IPTC digital source type that says so; None for any other."""
    code = value.rstrip("/").rsplit("/", 1)[-1]
    return code if code.lower() in SOURCE_TYPES else None


def of_text(field: str, text: str) -> str | None:
    """Who generated an image, by one text of its metadata; None where the text does not say.

    `field` is the name of the text: an EXIF tag's, a PNG keyword, a property of XMP.
    """
    name, text = field.lower(), text[:_MAX_CHARS]
    if name in _AI_FIELDS:
        return text.strip()[:100] or None
    if name in _KEYS:
        return _KEYS[name]
    if (name in _PROGRAM_FIELDS or name == "credit") and (found := _GENERATORS.search(text)):
        return found[0]
    return next((maker for maker, pattern in _SETTINGS if pattern.search(text)), None)


def of_manifests(store: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What the manifests of a file say: (fact, value) for `synthetic` and the digital source types.

    `store` is a manifest store as the c2pa library gives it.
    """
    for manifest in _dicts(store.get("manifests", {}).values()):
        for action in _actions(manifest):
            source = action.get("digitalSourceType")
            if not isinstance(source, str):
                continue
            yield "digital_source_type", source
            if code := of_source_type(source):
                yield SYNTHETIC, code


def signer_facts(store: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Who signed a file's newest manifest, with what, and whether the file was changed since.

    Nobody's certificate is judged: a signer's name is what the signer says.
    """
    active = store.get("manifests", {}).get(store.get("active_manifest"))
    if not isinstance(active, dict):
        return
    signature = active.get("signature_info") or {}
    programs = [one.get("name") for one in _dicts(active.get("claim_generator_info") or ())]
    programs = programs or [active.get("claim_generator")]
    said = {
        "issuer": signature.get("issuer"),
        "name": signature.get("common_name"),
        "program": next((name for name in programs if name), None),
        "time": signature.get("time"),
    }
    yield "c2pa_signer", json.dumps({name: value for name, value in said.items() if value})
    failed = (store.get("validation_results") or {}).get("activeManifest", {}).get("failure", ())
    codes = sorted({str(one.get("code")) for one in _dicts(failed)})
    for code in codes:
        # Time stamps, and who somebody says to be (CAWG), are beside the bytes.
        if code.endswith((".mismatch", ".unknownBox")) and not code.startswith(
            ("timeStamp", "cawg")
        ):
            yield "c2pa_changed", code


def _actions(manifest: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for assertion in _dicts(manifest.get("assertions") or ()):
        if str(assertion.get("label", "")).startswith("c2pa.actions"):
            data = assertion.get("data")
            yield from _dicts((data.get("actions") if isinstance(data, dict) else None) or ())


def _dicts(found: Any) -> Iterator[Mapping[str, Any]]:
    return (one for one in found if isinstance(one, dict))
