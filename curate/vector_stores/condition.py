"""A user's condition, as it is written for DuckDB, as the filter of another database.

Walks the parse tree that curate/expression.py checked. A part is translated only if the database
gives the same answer for it as DuckDB would, null and NaN included; anything else is refused with
a line that names the part, so that no search answers another question than was asked.
"""

from __future__ import annotations

import difflib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from frenchcat.curate.errors import BadCondition, UnknownColumn
from frenchcat.curate.expression import tree_of
from frenchcat.curate.promote import folded

COMPARED = {
    "COMPARE_EQUAL": "=",
    "COMPARE_NOTEQUAL": "<>",
    "COMPARE_LESSTHAN": "<",
    "COMPARE_LESSTHANOREQUALTO": "<=",
    "COMPARE_GREATERTHAN": ">",
    "COMPARE_GREATERTHANOREQUALTO": ">=",
}
LIKES = {"~~": (False, False), "!~~": (True, False), "~~*": (False, True), "!~~*": (True, True)}
"""Operator -> whether it is negated, and whether it ignores case."""
_INT64 = 2**63


@dataclass(frozen=True)
class Part:
    """A translated part of a condition."""

    text: str
    kind: str  # bool, integer, float, double, number (a constant with a point), text
    constant: str | None = None  # the value of a constant

    @property
    def numeric(self) -> bool:
        """Whether it is a number."""
        return self.kind in ("integer", "float", "double", "number")


_KINDS = {
    "BOOLEAN": "bool",
    "FLOAT": "float",
    "DOUBLE": "double",
    "VARCHAR": "text",
}  # all others of `store.TYPES` are integers


class StoreCondition(ABC):
    """One condition for one database; `text` is the filter."""

    engine = ""
    """How the database is called in messages."""

    def __init__(self, where: str, columns: Mapping[str, str]) -> None:
        """Translate it; `columns` are name -> DuckDB type of what is published.

        Raises `BadCondition` and `UnknownColumn`.
        """
        self._where, self._columns = where, columns
        self._names = {folded(name): name for name in columns}
        part = self._part(tree_of(where))
        if part.kind != "bool":
            raise BadCondition(f"{where!r} is not a condition; write one such as: width >= 256")
        self.text = part.text

    # -- what a database writes --------------------------------------------------------------------

    @abstractmethod
    def column(self, name: str) -> str:
        """A column."""

    @abstractmethod
    def constant(self, kind: str, value: str) -> str:
        """A constant: an integer, a number, a text or a bool (true or false)."""

    @abstractmethod
    def compared(self, sign: str, left: Part, right: Part) -> str:
        """A comparison, null where one side is; NaN is the largest number and equal to itself."""

    @abstractmethod
    def is_null(self, part: Part) -> str:
        """Whether a value is null."""

    @abstractmethod
    def listed(self, part: Part, values: Sequence[Part]) -> str:
        """Whether a value is in a list of constants."""

    @abstractmethod
    def like(self, part: Part, pattern: str, ignore_case: bool) -> str:
        """Whether a text fits a pattern of % and _."""

    def joined(self, word: str, parts: Sequence[Part]) -> str:
        """Conditions joined by and, or or."""
        return "(" + f" {word} ".join(part.text for part in parts) + ")"

    def negated(self, part: Part) -> str:
        """Not a condition; null stays null."""
        return f"(NOT {part.text})"

    def arithmetic(self, sign: str, parts: Sequence[Part]) -> Part:
        """A sum, difference, product, quotient or remainder, or a negation."""
        self.refuse(f"arithmetic ({sign})")

    def function(self, name: str, parts: Sequence[Part]) -> Part:
        """A function's value."""
        self.refuse(f"the function {name}")

    # -- walking -----------------------------------------------------------------------------------

    def refuse(self, what: str) -> NoReturn:
        """Raise `BadCondition`: the condition has a part that is not translated."""
        raise BadCondition(
            f"{self._where!r} contains {what}, which {self.engine} is not asked for here, since "
            "its answer might differ; leave it out, or search the dataset's folder"
        )

    def _part(self, node: Mapping[str, Any]) -> Part:
        kind, of_kind = node["type"], node["class"]
        if of_kind == "COLUMN_REF":
            return self._column(node["column_names"])
        if of_kind == "CONSTANT":
            return self._constant(node)
        if of_kind == "CONJUNCTION":
            word = "AND" if kind == "CONJUNCTION_AND" else "OR"
            return Part(self.joined(word, self._bools(node["children"])), "bool")
        if of_kind == "COMPARISON" and kind in COMPARED:
            return self._compared(
                COMPARED[kind], self._part(node["left"]), self._part(node["right"])
            )
        if of_kind == "BETWEEN":
            return self._between(node)
        if of_kind == "OPERATOR":
            return self._operator(kind, node["children"])
        if of_kind == "FUNCTION":
            return self._function(node)
        self.refuse(f"a {of_kind.lower().replace('_', ' ')}")

    def _column(self, names: Sequence[str]) -> Part:
        name = names[-1]
        known = self._names.get(folded(name))
        if known is None or len(names) > 1:
            near = difflib.get_close_matches(name, self._columns, 1)
            hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(self._columns)}"
            raise UnknownColumn(f"no column {'.'.join(names)!r} in {self._where!r}; {hint}", name)
        return Part(self.column(known), _KINDS.get(self._columns[known], "integer"))

    def _constant(self, node: Mapping[str, Any]) -> Part:
        literal = node.get("literal") or {}
        kinds = {"INTEGER": "integer", "NUMERIC": "number", "STRING": "text", "BOOLEAN": "bool"}
        kind, value = kinds.get(literal.get("kind", "")), str(literal.get("text", ""))
        if kind is None:
            self.refuse("a constant that is neither number, text, true nor false")
        if kind == "integer" and not -_INT64 <= int(value) < _INT64:
            self.refuse(f"the number {value}")
        if "\0" in value:
            self.refuse("a character NUL")
        return Part(self.constant(kind, value), kind, value)

    def _bools(self, nodes: Sequence[Mapping[str, Any]]) -> list[Part]:
        parts = [self._part(node) for node in nodes]
        if any(part.kind != "bool" for part in parts):
            self.refuse("a value in a condition's place")
        return parts

    def _compared(self, sign: str, left: Part, right: Part) -> Part:
        if left.kind != right.kind and not (left.numeric and right.numeric):
            self.refuse(f"a comparison of a {left.kind} with a {right.kind}")
        return Part(self.compared(sign, left, right), "bool")

    def _between(self, node: Mapping[str, Any]) -> Part:
        of_what = self._part(node["input"])
        low = self._compared(">=", of_what, self._part(node["lower"]))
        high = self._compared("<=", of_what, self._part(node["upper"]))
        both = Part(self.joined("AND", [low, high]), "bool")
        return both if node["type"] == "COMPARE_BETWEEN" else Part(self.negated(both), "bool")

    def _operator(self, kind: str, nodes: Sequence[Mapping[str, Any]]) -> Part:
        if kind == "OPERATOR_NOT":
            (part,) = self._bools(nodes)
            return Part(self.negated(part), "bool")
        parts = [self._part(node) for node in nodes]
        if kind == "OPERATOR_IS_NULL":
            return Part(self.is_null(parts[0]), "bool")
        if kind == "OPERATOR_IS_NOT_NULL":
            return Part(self.negated(Part(self.is_null(parts[0]), "bool")), "bool")
        if kind in ("COMPARE_IN", "COMPARE_NOT_IN"):
            first, *values = parts
            for value in values:
                self._compared("=", first, value)
                if value.constant is None:
                    self.refuse("a list of other values than constants")
            inside = Part(self.listed(first, values), "bool")
            return inside if kind == "COMPARE_IN" else Part(self.negated(inside), "bool")
        if kind == "OPERATOR_COALESCE":
            return self.function("coalesce", parts)
        self.refuse(kind.lower().replace("_", " "))

    def _function(self, node: Mapping[str, Any]) -> Part:
        name = node["function_name"].lower()
        parts = [self._part(argument["expression"]) for argument in node["arguments"]]
        if name in LIKES:
            text, pattern = parts
            if text.kind != "text" or pattern.constant is None or pattern.kind != "text":
                self.refuse("a pattern that is not a text")
            negated, ignore_case = LIKES[name]
            if ignore_case and not pattern.constant.isascii():
                self.refuse("ilike with letters beyond a to z")
            found = Part(self.like(text, pattern.constant, ignore_case), "bool")
            return Part(self.negated(found), "bool") if negated else found
        if name in ("+", "-", "*", "/", "%"):
            if not all(part.numeric for part in parts):
                self.refuse(f"{name} of what is not a number")
            return self.arithmetic(name, parts)
        return self.function(name, parts)
