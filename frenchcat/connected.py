"""A dataset that a frenchcat service serves: the methods of an opened one, over HTTP.

    with frenchcat.connect("http://127.0.0.1:1234", key="…") as cats:
        cats.search("french cat", k=5)
        cats.rows(["key", "caption"], where="width >= 256")

Methods, arguments and results are those of `OpenDataset`, without stages, training and files of
this machine. Rows are those of the index. What the service refuses is raised as the class that
`OpenDataset` raises (docs/python.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote, urlencode

from frenchcat.curate.command_text import shell_command
from frenchcat.curate.errors import NotFound, UserError
from frenchcat.remote.client import TIMEOUT_SEC, ServiceClient
from frenchcat.remote.messages import (
    as_question,
    as_removal,
    as_term,
    decision_of,
    hit_of,
    request_of,
    table_of,
    uses_of,
)
from frenchcat.remote.selection import RemoteSelection

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray
    from PIL.Image import Image

    from frenchcat.curate.decisions import Decision
    from frenchcat.curate.info import Info
    from frenchcat.curate.removals import Request
    from frenchcat.curate.remove import Match
    from frenchcat.index.hit import Hit
    from frenchcat.index.terms import Terms
    from frenchcat.used import Uses
    from frenchcat.verbs.removing import Agree


MOST_VECTORS = 1_000
"""Rows of one request for vectors."""

MOST_MATCHES = 100_000
"""Rows of a removal that are listed; a removal of more is not made from here."""
MOST_USED = 10_000
"""Rows that one answer about an image's use lists."""

_EVERY = {"safe": False, "violence": True, "dropped": True, "duplicates": True}
"""Filters that hide nothing."""


def connect(
    address: str,
    *,
    key: str | None = None,
    dataset: str | None = None,
    timeout_sec: float = TIMEOUT_SEC,
) -> RemoteDataset:
    """A dataset of the service at `address`, such as ``http://127.0.0.1:1234``.

    `key` is one of the service's keys. `dataset` may be left out where only one is served. Raises
    `NotFound` for an unknown dataset, `NotAllowed` for a wrong or missing key, `Unreachable` where
    no frenchcat service answers.
    """
    service = ServiceClient(address, key, timeout_sec)
    try:
        names = [str(one["name"]) for one in service.json("GET", "/v1/datasets")]
        if dataset is None and len(names) != 1:
            raise UserError(
                f"{service.address} serves {len(names)} datasets; give one: "
                f"connect(…, dataset={names[0]!r}) or {', '.join(map(repr, names[1:]))}"
            )
        if dataset is not None and dataset not in names:
            raise NotFound(f"{service.address} serves no {dataset!r}, but {', '.join(names)}")
    except BaseException:
        service.close()
        raise
    return RemoteDataset(service, dataset or names[0])


class RemoteDataset:
    """A served dataset; `frenchcat.connect` gives it. Usable from several threads."""

    def __init__(self, service: ServiceClient, name: str) -> None:
        self._service, self.name = service, name
        self._path = f"/v1/datasets/{quote(name, safe='')}"

    def __repr__(self) -> str:
        return f"frenchcat.connect({self._service.address!r}, dataset={self.name!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._service.close()

    # -- reading -----------------------------------------------------------------------------------

    def info(self) -> Info:
        """Rows counted by what became of them: failed, kept, dropped, each by reason."""
        from frenchcat.curate.info import Info, Rule
        from frenchcat.curate.known_columns import KnownColumn

        found = self._json("GET", "/info")
        found["rules"] = {name: Rule(**rule) for name, rule in found["rules"].items()}
        found["columns"] = {name: KnownColumn(**one) for name, one in found["columns"].items()}
        return Info(**found)

    def columns(self) -> dict[str, str]:
        """Name -> DuckDB type of every column that a condition may use."""
        return {one["name"]: one["type"] for one in self._json("GET", "/columns")["columns"]}

    def rows(self, columns: Sequence[str] | None = None, where: str | None = None) -> pa.Table:
        """The indexed rows that meet a condition, in key order; all columns by default.

        Removed rows are absent, dropped ones have ``keep = false``. Raises `UnknownColumn` and
        `BadCondition`.
        """
        asked: dict[str, Any] = {**_EVERY, "where": where, "format": "arrow"}
        if columns is not None:
            asked["columns"] = list(columns)
        found = table_of(self._bytes("POST", "/export", asked))
        found = found.sort_by("key")
        return found if columns is None else found.select(list(columns))

    def vectors(
        self, keys: Iterable[str] | None = None, by: str = "image"
    ) -> tuple[list[str], NDArray[np.float16]]:
        """Keys, and their CLIP vectors as (N, D) float16 unit rows: of images or of captions.

        Without `keys`: of every indexed row, in key order. Raises `NotFound` for an unknown key.
        """
        import numpy as np

        wanted = self.rows(["key"])["key"].to_pylist() if keys is None else list(keys)
        found: list[list[float]] = []
        for start in range(0, len(wanted), MOST_VECTORS):
            asked = {"keys": wanted[start : start + MOST_VECTORS], "by": by}
            found += self._json("POST", "/vectors", asked)["vectors"]
        if not found:
            dimension = self._json("GET", "")["dimension"]
            return [], np.empty((0, dimension), np.float16)
        return wanted, np.array(found, np.float16)

    def picture(self, key: str) -> Image:
        """The stored image of a row, upright, mode RGB.

        Raises `NotFound` for a key without one, `UnreadableImage` for one that is broken.
        """
        from frenchcat.curate.image import open_image

        return open_image(self.picture_bytes(key))

    def picture_bytes(self, key: str) -> bytes:
        """The stored image's file. Raises `NotFound`."""
        return self._bytes("GET", f"/pictures/{quote(key, safe='')}")

    def search(
        self,
        query: str | None = None,
        *,
        image: str | Path | bytes | Image | None = None,
        vector: Sequence[float] | NDArray[np.floating[Any]] | None = None,
        terms: Terms | None = None,
        k: int = 10,
        by: str = "image",
        where: str | None = None,
        unsafe: bool = False,
        duplicates: bool = False,
        dropped: bool = False,
        hybrid: bool = False,
        min_similarity: float | None = None,
    ) -> list[Hit]:
        """The k rows nearest to a text, an image, a vector or weighted terms, nearest first.

        As `OpenDataset.search`; a hit's `columns` have, besides the list's own, what every stage
        found. `unsafe` lets through what the service takes for violent, too.
        """
        from frenchcat.index.terms import one_query

        asked: dict[str, Any] = {
            "terms": [as_term(*term) for term in one_query(query, image, vector, terms)],
            "k": k,
            "by": by,
            "where": where,
            "safe": not unsafe,
            "violence": unsafe,
            "duplicates": duplicates,
            "dropped": dropped,
            "hybrid": hybrid,
            "min_similarity": min_similarity,
        }
        return [hit_of(row) for row in self._json("POST", "/search", asked)["hits"]]

    def facets(
        self,
        columns: Sequence[str] | None = None,
        where: str | None = None,
        *,
        bins: int = 20,
        top: int = 10,
        unsafe: bool = False,
        duplicates: bool = False,
        dropped: bool = False,
    ) -> dict[str, dict[str, Any]]:
        """How the indexed rows that a search may find are spread over columns.

        As `OpenDataset.facets`.
        """
        asked = {
            "facets": None if columns is None else list(columns),
            "where": where,
            "bins": bins,
            "top": top,
            "safe": not unsafe,
            "duplicates": duplicates,
            "dropped": dropped,
        }
        found: dict[str, dict[str, Any]] = self._json("POST", "/facets", asked)["facets"]
        return found

    # -- selections --------------------------------------------------------------------------------

    def select(
        self,
        name: str,
        where: str | None = None,
        *,
        limit: int | None = None,
        balance: str | None = None,
        weight: str | None = None,
        label: str | None = None,
        seed: int = 0,
        replace: bool = False,
        licences: Sequence[str] = (),
    ) -> RemoteSelection:
        """Freeze the rows that meet a condition under a name, where the service allows it.

        `licences` keeps only rows that state one of them: "CC BY" (every version), CC0-1.0.
        Raises `BadCondition`, `UnknownColumn`, `UserError` where no row meets it, `AlreadyThere`
        for the name of another selection, unless `replace` agrees to lose it, and `NotAllowed`.
        """
        asked = {
            "name": name,
            "where": where,
            "limit": limit,
            "balance": balance,
            "weight": weight,
            "label": label,
            "seed": seed,
            "replace": replace,
            "licences": list(licences),
        }
        return self._selection(self._json("POST", "/selections", asked))

    def selection(self, name: str) -> RemoteSelection:
        """A frozen selection. Raises `NotFound`."""
        return self._selection(self._json("GET", f"/selections/{quote(name, safe='')}"))

    def selections(self) -> list[str]:
        """The names of the selections."""
        return [str(one["name"]) for one in self._json("GET", "/selections")]

    # -- decisions ---------------------------------------------------------------------------------

    def keep(
        self, keys: str | Iterable[str] = (), *, where: str | None = None, note: str = ""
    ) -> Decision:
        """Keep rows whatever the rules of the verdicts say; by keys, or all that meet a condition.

        Of a condition: the indexed rows. Raises as `OpenDataset.keep` does, and `NotAllowed`.
        """
        return self._decide(True, keys, where, note)

    def drop(
        self, keys: str | Iterable[str] = (), *, where: str | None = None, note: str = ""
    ) -> Decision:
        """Drop rows whatever the rules of the verdicts say; their reason is `by_hand`."""
        return self._decide(False, keys, where, note)

    def decisions(self) -> list[Decision]:
        """What was kept and dropped by hand, in order; those that undo others among them."""
        return [decision_of(one) for one in self._json("GET", "/decisions")]

    def undo_decision(self, number: int, note: str = "") -> Decision:
        """Take a decision back: the rules say again what becomes of its rows; gives it."""
        return decision_of(self._json("DELETE", f"/decisions/{number}?{urlencode({'note': note})}"))

    def used(
        self, *, near: bool = False, checkpoint: str | None = None, **what: str | Path
    ) -> Uses:
        """In which selections, training steps and checkpoints the rows of an image are.

        Takes one of url, domain, sha256, uid, key, like (a file of this machine), creator. The
        runs are those beside the dataset, by name. Raises `NotFound` for an unknown checkpoint,
        and `NotAllowed` where anybody can reach the service without a key.
        """
        by, value, asked = as_question(near, what)
        asked |= {"dataset": self.name, "checkpoint": checkpoint, "shown": MOST_USED}
        found = self._service.json("POST", "/v1/used", asked)
        if found["total"] > MOST_USED:
            raise UserError(
                f"{by} {value[:200]} matches {found['total']} rows, more than {MOST_USED}; "
                "ask where the dataset lies: "
                f"{shell_command('used', 'DATASET', f'--{by}', value)}"
            )
        return uses_of((by, value), found)

    # -- removal -----------------------------------------------------------------------------------

    def matches(self, *, near: bool = False, **what: str) -> list[Match]:
        """The rows that a removal would name, by one of url, domain, sha256, uid, key."""
        return self._matches(as_removal(near, "", what))[0]

    def remove(
        self, *, near: bool = False, note: str = "", agree: Agree | None = None, **what: str
    ) -> Request | None:
        """Remove rows by one of url, domain, sha256, uid, key: absent at once, for good.

        `near` takes near copies along. `agree` is asked first, with the rows; where it says no,
        nothing is removed and None comes back. Exactly the rows that it was asked about go: where
        others match meanwhile, `UserError` is raised and nothing is removed.
        """
        asked = as_removal(near, note, what)
        found, token = self._matches(asked)
        if agree is not None and not agree(found):
            return None
        confirmed = {**asked, "confirm": True, "token": token, "total": len(found), "shown": 0}
        number = self._json("POST", "/removals", confirmed)["request"]
        return self._request(number, found)

    def undo_removal(self, number: int, note: str = "") -> Request:
        """Take a removal request back before it is compacted; gives that request, without keys."""
        path = f"/removals/{number}?{urlencode({'note': note})}"
        return request_of(self._json("DELETE", path), ())

    # -- inside ------------------------------------------------------------------------------------

    def _decide(
        self, keep: bool, keys: str | Iterable[str], where: str | None, note: str
    ) -> Decision:
        from frenchcat.curate.decisions import named

        chosen = named(keys, where, lambda sql: self.rows(["key"], sql)["key"].to_pylist())
        asked = {"keep": keep, "keys": chosen, "note": note}
        return decision_of(self._json("POST", "/decisions", asked))

    def _selection(self, about: Mapping[str, Any]) -> RemoteSelection:
        return RemoteSelection(self, about, lambda path: self._bytes("GET", path))

    def _matches(self, asked: Mapping[str, Any]) -> tuple[list[Match], str]:
        """What a removal would take, and the token that confirms it."""
        from frenchcat.curate.remove import Match

        found = self._json("POST", "/removals", {**asked, "shown": MOST_MATCHES})
        if found["total"] > MOST_MATCHES:
            raise UserError(
                f"{asked['by']} {asked['value'][:200]} matches {found['total']} rows, more than "
                f"{MOST_MATCHES}; remove them where the dataset lies: "
                f"{shell_command('remove', 'DATASET', '--' + asked['by'], asked['value'])}"
            )
        return [Match(**match) for match in found["matches"]], str(found["token"])

    def _request(self, number: int, found: Sequence[Match]) -> Request:
        logged = self._json("GET", "/removals")
        (one,) = (one for one in logged if one["number"] == number)
        return request_of(one, tuple(sorted(match.key for match in found)))

    def _json(self, method: str, path: str, body: Any = None) -> Any:
        return self._service.json(method, self._path + path, body)

    def _bytes(self, method: str, path: str, body: Any = None) -> bytes:
        return self._service.answer(method, self._path + path, body).content
