"""What an audit of queries is asked: which queries, and what is looked for in their results."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from frenchcat.curate.errors import UserError
from frenchcat.curate.report.terms import AuditTerm, load_terms
from frenchcat.index.visible import View


@dataclass(frozen=True)
class SkewRequest:
    """What is asked."""

    terms: tuple[str, ...] = ("occupations",)
    """Word lists whose terms are the queries: names in configs/terms/, or paths."""
    attributes: tuple[str, ...] = ("people", "places")
    """Word lists that are looked for in the captions of what is found."""
    concepts: Path | None = None
    k: int = 100
    language: str = "en"
    template: str = "{}"
    """The query around a term's spelling, such as `a photo of a {}`."""
    view: View = field(default_factory=View)
    run: Path | None = None
    drawings: int = 16
    """Per query, where there is a run."""
    guidance: float = 3.0
    seed: int = 0

    def worded(self, spelling: str) -> str:
        """The query for a spelling of a term."""
        return self.template.replace("{}", spelling)


@dataclass(frozen=True)
class Query:
    """A term as it is searched for."""

    term: AuditTerm
    text: str

    @property
    def name(self) -> str:
        """The term's name."""
        return self.term.name


def check_request(request: SkewRequest) -> None:
    """Raise `UserError` for a run that is not there or draws nothing, and numbers out of range:
    before anything is searched for.
    """
    from frenchcat.train.run import find_checkpoint

    if request.seed < 0 or request.drawings < 1:
        raise UserError(
            f"the seed is {request.seed} and the drawings per query are {request.drawings}; give a "
            "seed of 0 or more, and at least 1 drawing"
        )
    if request.run is not None:
        _, _, settings = find_checkpoint(request.run)
        if settings.run.task != "diffusion":
            raise UserError(
                f"{request.run} is the run of a {settings.run.task}, which draws nothing; give a "
                "diffusion model's"
            )


def queries_of(request: SkewRequest) -> list[Query]:
    """The queries of a request. Raises `UserError` for a term that its language lacks."""
    if request.template.count("{}") != 1:
        raise UserError(
            f"the template {request.template!r} has no single {{}} for the term; "
            "write it as 'a photo of a {}'"
        )
    made = []
    for term in load_terms(request.terms):
        spelling = term.query(request.language)
        if spelling is None:
            known = ", ".join(language for language, _ in term.queries)
            raise UserError(
                f"the term {term.name!r} has no spelling in {request.language!r}; it has: {known}"
            )
        made.append(Query(term, request.worded(spelling)))
    return made


def spellings(term: AuditTerm) -> set[str]:
    """All words of a term, in lower case."""
    return {spelling.lower() for spelling in (*term.words, *term.parts)}
