"""Who is to be credited for images, and under which licences they are.

Reads the catalog: the rights ledger and the list's own columns. Writes a folder with

    credits.csv    a row per image, in key order
    credits.html   the same to read, by licence, with links to where each image came from

Unknown is counted as unknown: an image whose list, site and file name no author or licence has
none here. A row that was removed since has no credit, and is counted.
Cost: linear in rows, all of them in memory without their images.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import IO, Any

from frenchcat.curate.catalog import Catalog
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.html_page import head, link
from frenchcat.curate.licence import (
    BETWEEN,
    COLUMN,
    CREATORS,
    LICENCE_COLUMNS,
    NONE_STATED,
    is_recognised,
    licence_name,
    licence_url,
)
from frenchcat.curate.safe_text import CAPTION_CHARS, URL_CHARS, for_csv, for_html
from frenchcat.curate.sql_text import literal, quoted

TITLES = ("title",)
"""Columns of a list that name an image; the caption does where there is none."""
_AUTHORS = (*CREATORS, "photographer", "attribution")
_SIGNALS = {"author": ("creator", "credit"), "copyright": ("copyright",), "stated": ("license",)}
"""What is asked of the ledger, and its signals, the first of them first."""
_STYLE = """body{font:16px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse;width:100%}th,td{text-align:left;vertical-align:top;
padding:.3rem .6rem;border-bottom:1px solid #ccc;overflow-wrap:anywhere}td.n{text-align:right}"""


@dataclass(frozen=True)
class Credit:
    """What is known of one image."""

    key: str
    title: str | None  # the list's, else the caption
    author: str | None
    licence: str | None  # normalised; several: "CC BY 4.0, CC BY-SA 4.0"
    licence_url: str | None
    copyright: str | None  # the notice
    source: str | None  # the URL from which the image was downloaded
    times: int | None = None  # a training run has drawn it


@dataclass(frozen=True)
class Credits:
    """The credits of a selection or of a training run."""

    name: str
    rows: list[Credit]  # in key order
    removed: int = 0  # images that were removed since: no credit is left of them
    about: dict[str, Any] = field(default_factory=dict)  # of what: the digest, the steps

    @property
    def licences(self) -> dict[str, int]:
        """Licence -> images, the most frequent first; `none stated` last."""
        return licence_counts(row.licence for row in self.rows)

    def as_dict(self) -> dict[str, Any]:
        """What is printed: counts, not the rows."""
        return {
            "name": self.name,
            **self.about,
            "rows": len(self.rows),
            "licences": self.licences,
            "not_recognised": not_recognised(self.licences),
            "without_author": sum(row.author is None for row in self.rows),
            "removed": self.removed,
        }


def licence_counts(names: Iterable[str | None]) -> dict[str, int]:
    """Licence -> images, the most frequent first; `none stated` last."""
    found = Counter(NONE_STATED if name is None else name for name in names)
    return dict(sorted(found.items(), key=lambda one: (one[0] == NONE_STATED, -one[1], one[0])))


def not_recognised(licences: Mapping[str, int]) -> int:
    """Images that state something that is not the name of a licence."""
    return sum(
        rows
        for name, rows in licences.items()
        if name != NONE_STATED and not all(map(is_recognised, name.split(BETWEEN)))
    )


def credits_of(dataset: Dataset, keys: Mapping[str, int | None]) -> list[Credit]:
    """The credits of rows, key -> how often each was drawn; in key order.

    A key that the dataset does not have any more is left out.
    """
    import pyarrow as pa

    with Catalog(dataset) as catalog:
        catalog.duck.register("wanted", pa.table({"key": pa.array(sorted(keys), pa.string())}))
        rows = catalog.run(_sql(catalog)).to_pylist()
    return [
        Credit(
            row["key"],
            row["title"],
            row["author"],
            row["licence"],
            _url_of(row["stated"] or [], row["licence"]),
            row["copyright"],
            row["url"],
            keys[row["key"]],
        )
        for row in rows
    ]


def _sql(catalog: Catalog) -> str:
    """SQL: key, url, title, author, copyright, licence and the list of stated licences."""
    there = {name.lower(): f"samples.{quoted(name)}" for name in catalog.columns()}
    said = dict.fromkeys(_SIGNALS, "NULL")
    join = ""
    if catalog.has_rights:
        parts = ", ".join(_signals_sql(name, signals) for name, signals in _SIGNALS.items())
        join = f" LEFT JOIN (SELECT key, {parts} FROM rights GROUP BY key) told USING (key)"
        said = {name: f"told.{name}" for name in _SIGNALS}

    def of_list(*names: str) -> list[str]:
        own = [f"nullif(trim({there[name]}::VARCHAR), '')" for name in names if name in there]
        return [*own, "NULL::VARCHAR"]

    title = ", ".join(of_list(*TITLES, "caption"))
    author = ", ".join([*of_list(*_AUTHORS), said["author"]])
    copyright_ = ", ".join([*of_list("copyright", "rights"), said["copyright"]])
    stated = f"list_concat([{', '.join(of_list(*LICENCE_COLUMNS))}], {said['stated']})"
    licence = there.get(COLUMN, "NULL")
    return (
        f"SELECT key, samples.url, coalesce({title}) AS title, coalesce({author}) AS author, "
        f"coalesce({copyright_}) AS copyright, {licence} AS licence, {stated} AS stated "
        f"FROM samples JOIN wanted USING (key){join} ORDER BY key"
    )


def _signals_sql(name: str, signals: Sequence[str]) -> str:
    """SQL: a row's values of signals as one text, the first signal's that says something."""
    if name == "stated":
        return (
            f"list(DISTINCT value ORDER BY value) FILTER (signal = {literal(signals[0])}) AS {name}"
        )
    parts = ", ".join(
        f"string_agg(DISTINCT value, '; ' ORDER BY value) FILTER (signal = {literal(signal)})"
        for signal in signals
    )
    return f"coalesce({parts}, NULL) AS {name}"


def _url_of(stated: Sequence[str | None], licence: str | None) -> str | None:
    """The address of the licence's text; none where several licences are stated."""
    named = [text for text in stated if text and licence_name(text) == licence]
    found = [url for text in named if (url := licence_url(text))]
    several = licence is None or BETWEEN in licence
    return next(iter(found), None) or (None if several else licence_url(licence or ""))


def write_credits(credits: Credits, folder: Path) -> None:
    """Write credits.csv and credits.html into a folder that is there."""
    columns = [one.name for one in fields(Credit)]
    if all(row.times is None for row in credits.rows):
        columns.remove("times")
    with open(folder / "credits.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        for row in credits.rows:
            writer.writerow({name: for_csv(value) for name, value in asdict(row).items()})
    with open(folder / "credits.html", "w", encoding="utf-8") as file:
        _write_page(credits, file)


def _write_page(credits: Credits, file: IO[str]) -> None:
    name = for_html(credits.name)
    file.write(f"{head(f'Credits of {name}', _STYLE)}<h1>Credits of {name}</h1>\n")
    about = "".join(f"; {for_html(key)} {for_html(said)}" for key, said in credits.about.items())
    file.write(f"<p>{len(credits.rows)} images{about}.</p>\n")
    if credits.removed:
        file.write(
            f"<p>{credits.removed} further images were removed from the dataset since; "
            "no credit is kept of them.</p>\n"
        )
    file.write("<table><thead><tr><th>Licence</th><th>Images</th></tr></thead><tbody>\n")
    anchors = {licence: f"l{n}" for n, licence in enumerate(credits.licences)}
    for licence, rows in credits.licences.items():
        named = f'<a href="#{anchors[licence]}">{for_html(licence, CAPTION_CHARS)}</a>'
        file.write(f'<tr><td>{named}</td><td class="n">{rows}</td></tr>\n')
    file.write("</tbody></table>\n")
    by_licence: dict[str, list[Credit]] = {licence: [] for licence in anchors}
    for row in credits.rows:
        by_licence[row.licence or NONE_STATED].append(row)
    for licence, anchor in anchors.items():
        file.write(f'<h2 id="{anchor}">{for_html(licence, CAPTION_CHARS)}</h2>\n')
        file.write("<table><thead><tr>")
        file.write("<th>Title or caption</th><th>Author</th><th>Source</th><th>Row</th></tr>")
        file.write("</thead><tbody>\n")
        file.writelines(map(_row, by_licence[licence]))
        file.write("</tbody></table>\n")
    file.write("</body></html>\n")


def _row(row: Credit) -> str:
    author = for_html(row.author or "not stated", CAPTION_CHARS)
    if row.copyright:
        author += f"<br>{for_html(row.copyright, CAPTION_CHARS)}"
    terms = link(row.licence_url, "licence") if row.licence_url else ""
    source = link(row.source, for_html(row.source or "", URL_CHARS))
    drawn = "" if row.times is None else f", drawn {row.times} times"
    return (
        f"<tr><td>{for_html(row.title or '', CAPTION_CHARS)}</td><td>{author} {terms}</td>"
        f"<td>{source}</td><td>{for_html(row.key)}{drawn}</td></tr>\n"
    )
