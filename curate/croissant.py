"""Croissant metadata (mlcommons.org/croissant 1.0, with RAI 1.0) of an exported selection.

Reads what the dataset records of itself; writes nothing. The licences are those of the images, as
lists, sites and files state them; where some state none, `usageInfo` says how many. The RAI fields
say what follows from the build: how data were collected, lost, filtered and can be removed. What a
person alone can know (use cases, biases, social impact) is left to that person.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from frenchcat.curate.dataset import Dataset, file_sha256
from frenchcat.curate.licence import BETWEEN, NONE_STATED, licence_url
from frenchcat.curate.select import Selection

_TYPES = {
    "width": "sc:Integer",
    "height": "sc:Integer",
    "weight": "sc:Float",
    "url": "sc:URL",
    "licence_url": "sc:URL",
}
_CR = """
citeAs column equivalentProperty extract field fileProperty fileObject fileSet format includes
isLiveDataset jsonPath key md5 parentField path recordSet references regex repeated replace
samplingRate separator source subField transform
""".split()
"""Croissant's own terms, as its standard context has them."""
_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    **{name: f"cr:{name}" for name in _CR},
}


def described(
    dataset: Dataset,
    selection: Selection,
    listed: Path,
    columns: Sequence[str],
    licences: Mapping[str, int],
) -> dict[str, Any]:
    """croissant.json of a selection whose rows are in the CSV `listed`; JSON-able.

    `licences` are counts by normalised name, as `Credits.licences` gives them.
    """
    fields = [
        {
            "@type": "cr:Field",
            "@id": f"rows/{name}",
            "name": name,
            "dataType": _TYPES.get(name, "sc:Text"),
            "source": {"fileObject": {"@id": listed.name}, "extract": {"column": name}},
        }
        for name in columns
    ]
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": [
            "http://mlcommons.org/croissant/1.0",
            "http://mlcommons.org/croissant/RAI/1.0",
        ],
        "name": selection.name,
        "description": f"{len(selection)} image-caption pairs chosen by: {selection.sql}",
        "version": selection.digest[:16],
        **_rights(licences, len(selection)),
        **_responsible(dataset, selection),
        "distribution": [
            {
                "@type": "cr:FileObject",
                "@id": listed.name,
                "name": listed.name,
                "contentUrl": listed.name,
                "encodingFormat": "text/csv",
                "contentSize": f"{listed.stat().st_size} B",
                "sha256": file_sha256(listed),
            }
        ],
        "recordSet": [{"@type": "cr:RecordSet", "@id": "rows", "name": "rows", "field": fields}],
    }


def _rights(licences: Mapping[str, int], rows: int) -> dict[str, Any]:
    """The addresses of the licences that the images state, and what they do not cover."""
    names = [one for name in licences if name != NONE_STATED for one in name.split(BETWEEN)]
    urls = dict.fromkeys(url for name in names if (url := licence_url(name)))
    counts = ", ".join(f"{name}: {n}" for name, n in licences.items())
    said = (
        f"Licences of the {rows} images as lists, sites and files state them, unverified. {counts}."
        " Images that state none carry no permission. The columns author, licence and licence_url"
        " are of each image."
    )
    return {**({"license": list(urls)} if urls else {}), "usageInfo": said}


def _responsible(dataset: Dataset, selection: Selection) -> dict[str, Any]:
    manifest = dataset.manifest()
    download = manifest.entry("download")
    rules = [f"{name}: {sql}" for name, sql in manifest.entry("verdict").setting("rules", [])]
    dropped = "; ".join(rules) or "none"
    collection = (
        "Images and captions come from lists of URLs. Images were requested from the sites that "
        "the lists name, and original bytes were read for statements on their use."
    )
    lost = ", ".join(f"{name} {n}" for name, n in sorted(download.counts.items()))
    return {
        "rai:dataCollection": collection,
        "rai:dataCollectionType": ["Web Scraping"],
        "rai:dataCollectionMissingData": f"Counts of the download: {lost or 'not recorded'}.",
        "rai:dataPreprocessingProtocol": [
            f"Rows are dropped by these rules: {dropped}.",
            f"The selection is: {selection.sql}",
        ],
        "rai:dataLimitations": [
            "Licences and authors are statements of lists, sites and files; nobody verified them.",
            "A statement that was not found is not a permission.",
        ],
        "rai:personalSensitiveInformation": [
            "Images from the web may show people, names and places. Nothing was removed for that "
            "reason unless a rule above says so."
        ],
        "rai:dataReleaseMaintenancePlan": (
            "Rows are removed on request (frenchcat remove); the version is a digest of the rows "
            "and changes when one is removed."
        ),
    }
