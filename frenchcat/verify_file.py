"""What a signed image or statement says, and whether it was changed since: `frenchcat verify`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frenchcat.curate.errors import FrenchcatError, UserError

if TYPE_CHECKING:
    from frenchcat.train.checkpoint import State
    from frenchcat.train.run import Parts

    Opened = tuple[Parts, State, Path]  # as train.run.open_run gives


def verify_file(path: Path, trust: Path | None = None) -> dict[str, Any]:
    """What an image says of its origin: the fields of train.provenance.Finding, `iptc` (its digital
    source types), `mark` (train.mark.Mark, or why it was not looked for) and `words`.

    Of a .json file: what the signature of a statement says (statement.py). Raises `UserError` for a
    file that is neither, or not an image of a kind that carries manifests.
    """
    from frenchcat.train.credentials import check_certificates
    from frenchcat.train.provenance import source_types, verified

    try:
        data = path.read_bytes()
        known = b"" if trust is None else trust.read_bytes()
    except OSError as error:
        raise UserError(f"{error.filename} cannot be read ({error.strerror})") from None
    if trust is not None:
        check_certificates(known, f"--trust {trust}")
    if path.suffix.lower() == ".json":
        from frenchcat.statement import verify_statement

        return verify_statement(path, known)
    finding = verified(data, kind_of(path, data), known)
    unchanged = finding.intact and bool(finding.facts)  # since we drew it
    mark = _mark_of(path, unchanged)
    found = {**asdict(finding), "iptc": source_types(data), "mark": mark}
    return {"picture": str(path), **found, "words": [*_words(found), *_other_words(found)]}


def _mark_of(path: Path, unchanged: bool) -> dict[str, Any]:
    """What the search for the invisible mark found; of an image that cannot be decoded, why not."""
    from frenchcat.curate.image import open_image
    from frenchcat.train.mark import find_mark

    try:
        return asdict(find_mark(open_image(path), unchanged))
    except FrenchcatError as error:
        return {"found": False, "not_searched": str(error)}


def _other_words(found: Mapping[str, Any]) -> list[str]:
    """What metadata and pixels say beside the manifest; and what of the three is there."""
    mark, types = found["mark"], found["iptc"]
    if "not_searched" in mark:
        of_mark = f"invisible mark: not searched for ({mark['not_searched']})"
    elif not mark["found"]:
        of_mark = f"invisible mark: none found (score {mark['score']:.1f}, limit {mark['limit']:g})"
    else:
        how = "whole" if mark["whole"] else "cropped, framed or scaled since"
        of_mark = f"invisible mark: found, {how} (score {mark['score']:.1f})"
    broken = " (not valid any more)" if found["signed"] and not found["intact"] else ""
    said = {
        f"Content Credentials{broken}": found["intact"],
        "IPTC": bool(types),
        "invisible mark": mark["found"],
    }
    there, gone = (
        [name for name, value in said.items() if value is is_there] for is_there in (True, False)
    )
    return [
        f"IPTC digital source type: {', '.join(types) or 'none'}",
        of_mark,
        f"there: {', '.join(there) or 'nothing'}; not there: {', '.join(gone) or 'nothing'}",
    ]


def _words(found: Mapping[str, Any]) -> list[str]:
    """The finding in words, one sentence per line."""
    troubles = [f"  {trouble}" for trouble in found["troubles"]]
    if not found["signed"]:
        first = "no Content Credentials: nothing says who or what made this image"
        return [first, *troubles]
    doubts = [f"  but {doubt}" for doubt in found["doubts"]]
    if not found["intact"]:
        first = "CHANGED since it was signed"
        if not found["changed"]:
            first = "NOT CHECKED: whether it was changed since it was signed cannot be said"
        return [f"{first}; do not trust what it says:", *troubles, *doubts]
    signer = {
        "own": "by your own self-issued key",
        "known": f"by {found['signer']}, whom you trust",
        "unknown": f"by {found['signer']!r}, an unknown key; anyone can make one",
    }[found["key"]]
    words = [f"unchanged since it was signed {signer}", *doubts]
    if found["generated"]:
        words.append("made by a trained model (trainedAlgorithmicMedia)")
    return words + [f"  {name}: {value}" for name, value in found["facts"].items()]


def kind_of(path: Path, data: bytes) -> str:
    """An image's format by its first bytes, else by its name."""
    from frenchcat.curate.download.rights.provenance import TYPES

    marks = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpeg", b"RIFF": "webp", b"GIF8": "gif"}
    for mark, kind in marks.items():
        if data.startswith(mark):
            return kind
    named = path.suffix.lower().lstrip(".").replace("jpg", "jpeg")
    if named not in TYPES or not data:
        raise UserError(f"{path} is not an image of a known kind; known: {', '.join(TYPES)}")
    return named
