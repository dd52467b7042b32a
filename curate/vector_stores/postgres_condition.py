"""A user's condition as PostgreSQL's SQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from frenchcat.curate.sql_text import literal, quoted
from frenchcat.curate.vector_stores.condition import Part, StoreCondition


class PostgresCondition(StoreCondition):
    """A condition as PostgreSQL has it. Texts are compared by bytes, as in DuckDB."""

    engine = "PostgreSQL"

    def __init__(self, where: str, columns: Mapping[str, str], alias: str) -> None:
        self._alias = alias
        super().__init__(where, columns)

    def column(self, name: str) -> str:
        """The column of the row that is asked about."""
        return f"{self._alias}.{quoted(name)}"

    def constant(self, kind: str, value: str) -> str:
        """A literal."""
        return literal(value) if kind == "text" else value

    def compared(self, sign: str, left: Part, right: Part) -> str:
        """NaN is compared as in DuckDB; a constant beside a float32 is rounded to one."""
        texts = [part.text for part in (left, right)]
        if "float" in (left.kind, right.kind):
            texts = [f"{p.text}::float4" if p.constant else p.text for p in (left, right)]
        return f"({texts[0]} {sign} {texts[1]})"

    def is_null(self, part: Part) -> str:
        """SQL's."""
        return f"({part.text} IS NULL)"

    def listed(self, part: Part, values: Sequence[Part]) -> str:
        """One comparison per constant, so that each is rounded as one alone is."""
        return self.joined("OR", [Part(self.compared("=", part, one), "bool") for one in values])

    def like(self, part: Part, pattern: str, ignore_case: bool) -> str:
        """Without an escape, which DuckDB's LIKE has not."""
        word = "ILIKE" if ignore_case else "LIKE"
        return f"({part.text} {word} {literal(pattern)} ESCAPE '')"

    def arithmetic(self, sign: str, parts: Sequence[Part]) -> Part:
        """As in DuckDB: a quotient is a double, and infinite where the divisor is zero."""
        if any(part.kind == "float" for part in parts):
            self.refuse(f"arithmetic ({sign}) of a float32 column")
        whole = all(part.kind == "integer" for part in parts)
        if len(parts) == 1:
            return Part(f"({sign}{parts[0].text})", parts[0].kind)
        left, right = (part.text for part in parts)
        if sign == "%":
            if not whole or not int(parts[1].constant or 0):
                self.refuse("% of other than whole numbers by a constant")
            return Part(f"({left} % {right})", "integer")
        if sign == "/":
            at_zero = (
                f"CASE WHEN {left} > 0 THEN 'Infinity'::float8 WHEN {left} < 0 "
                f"THEN '-Infinity'::float8 WHEN {left} = 0 THEN 'NaN'::float8 END"
            )
            quotient = f"{left}::float8 / {right}::float8"
            return Part(f"(CASE WHEN {right} = 0 THEN {at_zero} ELSE {quotient} END)", "double")
        return Part(f"({left} {sign} {right})", "integer" if whole else "double")

    def function(self, name: str, parts: Sequence[Part]) -> Part:
        """Those whose answers are the same."""
        texts, kinds = [part.text for part in parts], [part.kind for part in parts]
        if name == "abs" and len(parts) == 1 and parts[0].numeric:
            return Part(f"abs({texts[0]})", kinds[0])
        if name == "coalesce" and len(set(kinds)) == 1:
            return Part(f"COALESCE({', '.join(texts)})", kinds[0])
        if set(kinds) == {"text"}:
            if name in ("length", "len") and len(parts) == 1:
                return Part(f"char_length({texts[0]})", "integer")
            if name == "contains" and len(parts) == 2:
                return Part(f"(strpos({texts[0]}, {texts[1]}) > 0)", "bool")
            if name in ("starts_with", "prefix") and len(parts) == 2:
                return Part(f"starts_with({texts[0]}, {texts[1]})", "bool")
            if name in ("ends_with", "suffix") and len(parts) == 2:
                ending = f"right({texts[0]}, char_length({texts[1]}))"
                return Part(f"({ending} = {texts[1]})", "bool")
        self.refuse(f"the function {name} of {', '.join(kinds)}")
