"""The filters that the audit looks at, each as the rows it lost and the rows it let through.

Reads the fates of rows, writes nothing. A filter is judged by the rows that reached it alone, or
an earlier one's bias would be laid at its door: failures and opt-outs are steps of one download,
each beside what was stored; the verdict's rules come one after the other in their order, each
beside what none of the earlier ones had dropped. Rules whose order is not known are taken for
steps of one, each beside what was kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from frenchcat.curate.failures import OPTED_OUT
from frenchcat.curate.report.counts import DUPLICATE, Fate
from frenchcat.curate.report.outcomes import NOT_EMBEDDED, REMOVED


@dataclass(frozen=True)
class Filter:
    """A filter; `lost` and `stays` are places among the fates, `kind` groups them on the page."""

    name: str
    kind: str  # all, failure, opt-out, removal, rule, duplicates
    lost: tuple[int, ...]
    stays: tuple[int, ...]


def filters_of(fates: Sequence[Fate], order: Sequence[str] = ()) -> list[Filter]:
    """The filters among the fates; `order` is that of the verdict's rules, as far as known."""

    def places(meets: Callable[[str, str | None], bool]) -> tuple[int, ...]:
        return tuple(at for at, fate in enumerate(fates) if meets(*fate))

    lost = ("failed", OPTED_OUT)
    stored = places(lambda outcome, _: outcome not in lost)
    stays = places(lambda outcome, _: outcome in ("kept", "stored"))
    everything = places(lambda outcome, _: outcome not in ("kept", "stored"))
    found = [Filter("everything together", "all", everything, stays)]
    for lost_to, kind, title in (
        ("failed", "failure", "all failures"),
        (OPTED_OUT, "opt-out", "all opt-outs"),
    ):
        reasons = [reason for outcome, reason in fates if outcome == lost_to]
        if len(reasons) > 1:
            found.append(Filter(title, kind, _of(fates, lost_to, *reasons), stored))
        found += [
            Filter(_named(reason), kind, _of(fates, lost_to, reason), stored) for reason in reasons
        ]
    present = tuple(at for at in stored if fates[at][0] != REMOVED)
    removed = places(lambda outcome, _: outcome == REMOVED)
    found.append(Filter("removal on request", "removal", removed, present))
    found += _rules(fates, order)
    twice = places(lambda _, reason: reason == DUPLICATE)
    twice = tuple(at for at in twice if at in stays)
    once = tuple(at for at in stays if at not in twice)
    found.append(Filter("duplicates among what stays", "duplicates", twice, once))
    return [each for each in found if each.lost and each.stays]


def _rules(fates: Sequence[Fate], order: Sequence[str]) -> Iterable[Filter]:
    dropped: list[str | None] = [reason for outcome, reason in fates if outcome == "dropped"]
    known = [reason for reason in dropped if (reason or "").startswith(NOT_EMBEDDED)]
    known += [reason for reason in order if reason in dropped]
    kept = tuple(at for at, (outcome, _) in enumerate(fates) if outcome == "kept")
    rest = [reason for reason in dropped if reason not in known]
    for place, reason in enumerate(known):
        later = _of(fates, "dropped", *known[place + 1 :], *rest)
        yield Filter(_named(reason), "rule", _of(fates, "dropped", reason), (*later, *kept))
    for reason in rest:
        yield Filter(_named(reason), "rule", _of(fates, "dropped", reason), kept)


def _of(fates: Sequence[Fate], outcome: str, *reasons: str | None) -> tuple[int, ...]:
    wanted = {(outcome, reason) for reason in reasons}
    return tuple(at for at, fate in enumerate(fates) if fate in wanted)


def _named(reason: str | None) -> str:
    return (reason or "unknown").removeprefix(f"{OPTED_OUT}:")
