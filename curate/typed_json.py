"""JSON files of a dataset as frozen dataclasses: read strictly, refused by the field that is wrong.

Reads bytes, writes nothing. pydantic does the checking and is imported with the first file, since
the command line answers `--help` without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from frenchcat.curate.errors import Damaged

if TYPE_CHECKING:
    from pydantic import TypeAdapter
    from pydantic_core import ErrorDetails

T = TypeVar("T")
_SHOWN_CHARS = 60  # of a value in an error


def loaded(kind: type[T], data: bytes, where: str, cure: str) -> T:
    """The dataclass `kind` from the bytes of the JSON file `where`.

    No value is converted: a text is not a number. Keys that `kind` does not have are ignored, since
    a later version may write more. Raises `Damaged`, which names the first field that is wrong and
    ends with `cure`.
    """
    from pydantic import ValidationError

    try:
        return _adapter(kind).validate_json(data, strict=True)
    except ValidationError as error:
        raise Damaged(f"{where} {_wrong(error.errors()[0])}; {cure}") from None


_adapters: dict[type[Any], TypeAdapter[Any]] = {}


def _adapter(kind: type[T]) -> TypeAdapter[T]:
    from pydantic import TypeAdapter

    if kind not in _adapters:
        _adapters[kind] = TypeAdapter(kind)
    return _adapters[kind]


def _wrong(error: ErrorDetails) -> str:
    place = ".".join(str(part) for part in error["loc"])
    if error["type"] == "json_invalid":
        return f"is not JSON ({error['ctx']['error']})"
    if not place:
        return "holds no JSON object"
    if error["type"] == "missing":
        return f"is damaged: it has no {place}"
    said: Any = repr(error["input"])[:_SHOWN_CHARS]
    return f"is damaged: {place} is {said} ({error['msg'].lower()})"
