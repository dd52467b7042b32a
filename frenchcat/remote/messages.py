"""Values as the service takes them, and its answers as values."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frenchcat.curate.errors import Unreachable, first_line
from frenchcat.only_one import only_one

if TYPE_CHECKING:
    import pyarrow as pa
    from PIL.Image import Image

    from frenchcat.curate.decisions import Decision
    from frenchcat.curate.removals import Request
    from frenchcat.index.hit import Hit
    from frenchcat.used import Uses


_OF_ROW = ("key", "similarity", "url", "caption", "picture", "thumbnail", "stored")


def table_of(data: bytes) -> pa.Table:
    """An Arrow stream as a table. Raises `Unreachable` for one that was cut short."""
    import pyarrow as pa

    try:
        with pa.ipc.open_stream(data) as reader:
            return reader.read_all()
    except pa.ArrowInvalid as error:
        raise Unreachable(
            f"the service's answer was cut short ({first_line(error)}); ask again, for fewer rows "
            "or columns"
        ) from None


def hit_of(row: dict[str, Any]) -> Hit:
    """A row of a search's answer."""
    from frenchcat.index.hit import Hit

    columns = {name: value for name, value in row.items() if name not in _OF_ROW}
    return Hit(row["key"], row["similarity"], row["url"], row["caption"], columns)


def as_term(weight: float, term: Any) -> dict[str, Any]:
    """A term of a query as the service takes it."""
    from frenchcat.index.terms import Text, Vector

    if isinstance(term, Text):
        return {"text": term.value, "weight": weight}
    if isinstance(term, Vector):
        return {"vector": [float(number) for number in term.value], "weight": weight}
    return {"picture": base64.b64encode(_file_of(term.value)).decode(), "weight": weight}


def _file_of(picture: str | Path | bytes | Image) -> bytes:
    """An image's file. Raises as `open_image` does for a path that cannot be read."""
    from frenchcat.curate.image import read_image

    if isinstance(picture, bytes):
        return picture
    if isinstance(picture, str | Path):
        return read_image(Path(picture))
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def as_removal(near: bool, note: str, what: Mapping[str, str | None]) -> dict[str, Any]:
    """The body of a removal by one of url, domain, sha256, uid, key. Raises `UserError`."""
    from frenchcat.curate.remove import KINDS

    kinds = tuple(kind for kind in KINDS if kind != "like")  # a file of this machine
    by, value = only_one(what, "say what to remove", kinds)
    return {"by": by, "value": str(value), "near": near, "note": note}


def decision_of(logged: Mapping[str, Any]) -> Decision:
    """A logged decision."""
    from frenchcat.curate.decisions import Decision

    names = ("number", "keep", "time", "note", "undoes")
    return Decision(**{name: logged[name] for name in names}, keys=tuple(logged["keys"]))


def request_of(logged: Mapping[str, Any], keys: tuple[str, ...]) -> Request:
    """A logged removal request with the keys of its rows."""
    from frenchcat.curate.removals import Request

    names = ("number", "by", "time", "note", "undoes")
    return Request(**{name: logged[name] for name in names}, keys=keys)


def as_question(near: bool, what: Mapping[str, str | Path]) -> tuple[str, str, dict[str, Any]]:
    """By what an image's use is asked for, its value, and the question as the service takes it."""
    from frenchcat.curate.remove import KINDS

    by, value = only_one(what, "say what to look for", (*KINDS, "creator"))
    asked = {"by": by, "value": str(value), "near": near}
    if by == "like":
        file = base64.b64encode(_file_of(Path(value))).decode()
        asked |= {"by": "picture", "value": file}
    return by, str(value), asked


def uses_of(asked: tuple[str, str], found: Mapping[str, Any]) -> Uses:
    """An answer of /v1/used."""
    from frenchcat.curate.remove import Match
    from frenchcat.train.used import SeenBy, Use
    from frenchcat.used import Uses

    names = [one.name for one in fields(Use)]
    runs = [
        Use(
            **{
                **{name: run[name] for name in names},
                "checkpoints": [SeenBy(**one) for one in run["checkpoints"]],
            }
        )
        for run in found["runs"]
    ]
    return Uses(asked, [Match(**row) for row in found["rows"]], found["selections"], runs)
