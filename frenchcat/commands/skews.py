"""The verb `skews`: what results and drawings of many queries show, beside the dataset."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import frenchcat
from frenchcat.commands.build import Folder
from frenchcat.curate.safe_text import for_terminal
from frenchcat.terminal import say, say_json, tell

if TYPE_CHECKING:
    from frenchcat.skews.report import Share, SkewReport

_SHOWN = 12  # lines of what stands out
_NAME_CHARS = 40


def skews(
    dataset: Folder,
    terms: Annotated[
        list[str] | None,
        typer.Option(
            "--terms",
            metavar="LIST",
            help="Queries: a word list of configs/terms (occupations, adjectives, places, family, "
            "people), or a TOML file. Repeatable; by default occupations.",
        ),
    ] = None,
    attributes: Annotated[
        list[str] | None,
        typer.Option(
            "--attributes",
            metavar="LIST",
            help="Words to count in captions. Repeatable; by default people and places.",
        ),
    ] = None,
    concepts: Annotated[
        Path | None,
        typer.Option(
            "--concepts", metavar="FILE", help="Concepts of your own that images are told apart by."
        ),
    ] = None,
    k: Annotated[int, typer.Option("-k", help="Results per query.")] = 100,
    language: Annotated[
        str, typer.Option("--language", metavar="CODE", help="The queries' language.")
    ] = "en",
    template: Annotated[
        str, typer.Option("--template", help="The query around a term: 'a photo of a {}'.")
    ] = "{}",
    where: Annotated[
        str | None, typer.Option("--where", metavar="SQL", help="Only these rows, as in search.")
    ] = None,
    duplicates: Annotated[
        bool, typer.Option("--duplicates", help="Count every row of a cluster of duplicates.")
    ] = False,
    run: Annotated[
        Path | None,
        typer.Option("--run", metavar="RUN", help="Draw each query, too; needs --concepts."),
    ] = None,
    drawings: Annotated[int, typer.Option("-n", help="Drawings per query.")] = 16,
    rebalance: Annotated[
        str | None,
        typer.Option(
            "--rebalance",
            metavar="NAME",
            help="Write a selection whose weights undo what stands out.",
        ),
    ] = None,
    selection: Annotated[
        str | None,
        typer.Option(
            "--selection",
            metavar="NAME",
            help="With --rebalance: the selection to weight; by default every kept row.",
        ),
    ] = None,
    bound: Annotated[
        float,
        typer.Option(help="With --rebalance: a weight changes at most by this factor."),
    ] = 5.0,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace another selection of the name.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="FILE", help="The page's file; by default beside the dataset."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the bootstrap and the drawings.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Audit queries: what their results and drawings show, beside what the dataset has.

    Writes one HTML page. Caption words, countries, languages and your own concepts are counted
    among the results of each query, and compared with the dataset's base rates.

    Example: frenchcat skews data/mine --terms occupations --terms family -k 200

    Example: frenchcat skews data/mine --rebalance even --selection cats
    """
    given = frenchcat.open(dataset)
    if selection is not None and rebalance is None:
        tell("note: --selection is used by --rebalance alone; it was ignored")
    path, report = given.skews(
        terms=terms or ("occupations",),
        attributes=("people", "places") if attributes is None else attributes,
        concepts=concepts,
        k=k,
        language=language,
        template=template,
        where=where,
        duplicates=duplicates,
        run=run,
        drawings=drawings,
        rebalance=rebalance,
        selection=selection,
        bound=bound,
        replace=replace,
        out=out,
        seed=seed,
    )
    if json:
        say_json({**report.as_dict(), "page": str(path)})
    else:
        _print(report)
        say(f"wrote {path}: open it in a browser")


def _print(report: SkewReport) -> None:
    found = report.flagged
    say(
        f"{len(report.queries)} queries, {report.request.k} results each, of {report.rows} rows: "
        f"{len(found)} of {report.tested} comparisons of shares stand out"
    )
    for share in found[:_SHOWN]:
        say(f"  {_line(share)}")
    if len(found) > _SHOWN:
        say(f"  and {len(found) - _SHOWN} more, on the page")
    for one in report.concentrations:
        if one.flagged:
            say(
                f"  {for_terminal(one.query, _NAME_CHARS)}: from as few as {one.effective:.1f} "
                f"{one.kind} (effective number; drawn at random {one.low:.1f} to {one.high:.1f})"
            )
    for line in _languages(report):
        say(f"  {line}")
    for said in report.unmeasured:
        tell(f"note: {said}")
    if (made := report.rebalancing) is not None:
        say(
            f"selection {made.selection}: {made.rows} rows, weights within a factor of "
            f"{made.bound:g}, effective number of rows {made.effective:.0f}"
        )
        for moved in made.shares:
            query, name = (for_terminal(text, _NAME_CHARS) for text in (moved.query, moved.name))
            say(
                f"  {query}, {name}: {moved.before:.1%} -> {moved.after:.1%} "
                f"(dataset {moved.target:.1%})"
            )


def _languages(report: SkewReport) -> list[str]:
    """How far the results in the queries' language agree with those in each other one."""
    asked = report.request.language
    by_pair: dict[tuple[str, str], list[float]] = {}
    for found in report.translations:
        if asked in (found.one, found.other):
            by_pair.setdefault((found.one, found.other), []).append(found.overlap)
    return [
        f"{for_terminal(one)}, {for_terminal(other)}: {sum(shares) / len(shares):.0%} of the "
        f"results in common (mean over {len(shares)} queries)"
        for (one, other), shares in by_pair.items()
    ]


def _line(share: Share) -> str:
    query, name = (for_terminal(text, _NAME_CHARS) for text in (share.query, share.name))
    return (
        f"{query} ({share.shown}), {share.kind} {name}: {share.share:.1%} "
        f"({share.low:.1%} to {share.high:.1%}), dataset {share.base:.1%}"
    )
