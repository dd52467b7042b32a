"""A user's condition as Milvus's filter.

Milvus's filters are a small language, and how they treat null differs between its parts.
So each part is kept in two forms, when it is true and when it is false, and `NOT` takes the other
form. Both compare one column with constants only; anything else is refused.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal

import numpy as np

from frenchcat.curate.vector_stores.condition import Part, StoreCondition

_SIGNS = {"=": "==", "<>": "!=", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
_OPPOSITE = {"=": "<>", "<>": "=", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}
_TURNED = {"=": "=", "<>": "<>", "<": ">", ">": "<", "<=": ">=", ">=": "<="}
_NEVER, _ALWAYS = "id < 0", "id >= 0"
_INT64 = 2**63


def text_literal(value: str) -> str:
    """A text as Milvus's filters write it."""
    for plain, escaped in (
        ("\\", "\\\\"),
        ('"', '\\"'),
        ("\n", "\\n"),
        ("\r", "\\r"),
        ("\t", "\\t"),
    ):
        value = value.replace(plain, escaped)
    return f'"{value}"'


class MilvusCondition(StoreCondition):
    """A condition as Milvus has it. Texts are compared by bytes, as in DuckDB."""

    engine = "Milvus"

    def __init__(self, where: str, columns: Mapping[str, str], required: Sequence[str]) -> None:
        """`required` are the columns that are never null."""
        self._required = frozenset(required)
        self._false: dict[str, str] = {_ALWAYS: _NEVER, _NEVER: _ALWAYS}  # text -> when it is false
        self._named: dict[str, str] = {}  # text -> the column that it is
        super().__init__(where, columns)

    def _both(self, true: str, false: str) -> str:
        self._false[true], self._false[false] = false, true
        return true

    def column(self, name: str) -> str:
        """A column; of a condition's own, whether it is true."""
        text = name
        if self._columns[name] == "BOOLEAN":
            text = self._both(f"({name} == true)", f"({name} == false)")
        self._named[text] = name
        return text

    def constant(self, kind: str, value: str) -> str:
        """A literal; true and false as conditions that always, or never, hold."""
        if kind == "bool":
            return _ALWAYS if value == "true" else _NEVER
        return text_literal(value) if kind == "text" else value

    def compared(self, sign: str, left: Part, right: Part) -> str:
        """A column beside a constant. All published numbers are finite (`finite_only`)."""
        if left.constant is not None:
            left, right, sign = right, left, _TURNED[sign]
        name = self._named.get(left.text)
        if name is None or right.constant is None:
            self.refuse("a comparison of other than a column with a constant")
        if left.kind == "integer":
            return self._whole(name, sign, Decimal(right.constant))
        if left.kind in ("float", "double"):
            return self._real(name, sign, right.constant, left.kind)
        value = right.constant if left.kind == "bool" else text_literal(right.constant)
        if left.kind == "bool" and sign not in ("=", "<>"):
            self.refuse("an order of true and false")
        true, false = (f"({name} {_SIGNS[one]} {value})" for one in (sign, _OPPOSITE[sign]))
        return self._both(true, false)

    def _whole(self, name: str, sign: str, value: Decimal) -> str:
        """Whole numbers beside any: Milvus compares them with whole numbers alone."""
        if value != value.to_integral_value():
            if sign in ("=", "<>"):
                never, always = f"({name} < 0 and {name} > 0)", self._there(name)
                return self._both(never, always) if sign == "=" else self._both(always, never)
            above = sign in (">", "<=")  # a > 1.5 is a > 1, and a < 1.5 is a < 2
            value = Decimal(math.floor(value) if above else math.ceil(value))
        if not -_INT64 < value < _INT64:
            self.refuse(f"the number {value}")
        true, false = (f"({name} {_SIGNS[one]} {int(value)})" for one in (sign, _OPPOSITE[sign]))
        return self._both(true, false)

    def _real(self, name: str, sign: str, value: str, kind: str) -> str:
        number = float(np.float32(value)) if kind == "float" else float(value)
        if not math.isfinite(number):
            self.refuse(f"the number {value}")
        true, false = (f"({name} {_SIGNS[one]} {number!r})" for one in (sign, _OPPOSITE[sign]))
        return self._both(true, false)

    def _there(self, name: str) -> str:
        return _ALWAYS if name in self._required else f"({name} is not null)"

    def is_null(self, part: Part) -> str:
        """Of a column alone."""
        name = self._named.get(part.text)
        if name is None:
            self.refuse("IS NULL of other than a column")
        if name in self._required:
            return _NEVER
        return self._both(f"({name} is null)", f"({name} is not null)")

    def listed(self, part: Part, values: Sequence[Part]) -> str:
        """One list for texts; one comparison per number, since numbers are rounded."""
        name = self._named.get(part.text)
        if name is not None and part.kind == "text":
            said = ", ".join(text_literal(one.constant or "") for one in values)
            inside = f"({name} in [{said}])"
            return self._both(inside, f"({self._there(name)} and not {inside})")
        return self.joined("OR", [Part(self.compared("=", part, one), "bool") for one in values])

    def like(self, part: Part, pattern: str, ignore_case: bool) -> str:
        """With % alone: what _ stands for beyond a to z differs between versions."""
        name = self._named.get(part.text)
        if name is None or ignore_case or set(pattern) & set("_\\"):
            self.refuse("a pattern with _ or \\, or that ignores case")
        found = f"({name} like {text_literal(pattern)})"
        return self._both(found, f"({self._there(name)} and not {found})")

    def joined(self, word: str, parts: Sequence[Part]) -> str:
        """Both forms, by De Morgan."""
        other = "or" if word == "AND" else "and"
        true = f" {word.lower()} ".join(part.text for part in parts)
        false = f" {other} ".join(self._false[part.text] for part in parts)
        return self._both(f"({true})", f"({false})")

    def negated(self, part: Part) -> str:
        """The other form; null is in neither."""
        return self._false[part.text]

    def function(self, name: str, parts: Sequence[Part]) -> Part:
        """Those that are patterns."""
        patterns = {
            "contains": "%{}%",
            **dict.fromkeys(("starts_with", "prefix"), "{}%"),
            **dict.fromkeys(("ends_with", "suffix"), "%{}"),
        }
        if name in patterns and [part.kind for part in parts] == ["text", "text"]:
            sought = parts[1].constant
            if sought is not None and "%" not in sought:
                pattern = patterns[name].format(sought)
                return Part(self.like(parts[0], pattern, False), "bool")
        self.refuse(f"the function {name}")
