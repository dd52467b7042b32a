"""A plan for people: a table of stages, totals, LAION-5B's run beside it, what was assumed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from frenchcat.curate.system_errors import sized
from frenchcat.progress import lasting
from frenchcat.rich_terminal import cell
from frenchcat.scale.laion import MACHINES, ROWS, ComparedFigure
from frenchcat.scale.plan import ScaledStage, ScalePlan
from frenchcat.terminal import say, terminal

_STAGE = (
    "machines",
    "rows",
    "time",
    "machine hours",
    "takes the time",
    "read",
    "written",
    "memory",
)


def print_scale_plan(plan: ScalePlan) -> None:
    """Print it on stdout."""
    said = f"{plan.rows:,} rows, {plan.stored:,} of them stored, on {plan.machines:,} machines"
    say(said if plan.machines > 1 else said.removesuffix("s"))
    _stages(plan.stages)
    for line in _totals(plan):
        say(line)
    _beside(plan.beside)
    for line in plan.notes:
        say(f"note: {line}")
    for line in plan.assumed:
        say(f"assumed: {line}")


def _stages(stages: Sequence[ScaledStage]) -> None:
    console = terminal()
    table = console.table(header_style="bold")
    table.add_column("stage")
    for name in _STAGE:
        table.add_column(name, justify="right")
    for one in stages:
        memory = "-" if one.memory_bytes is None else sized(one.memory_bytes)
        table.add_row(
            one.stage,
            f"{one.machines:,}",
            f"{one.rows:,}",
            lasting(one.sec),
            f"{one.machine_hours:,.1f}",
            one.limit,
            sized(one.read_bytes),
            sized(one.written_bytes),
            memory if one.fits else f"{memory} (too much)",
        )
    console.show(table)


def _totals(plan: ScalePlan) -> Iterator[str]:
    yield (
        f"all: {lasting(plan.sec)}, {plan.machine_hours:,.1f} machine hours; "
        f"{sized(plan.storage_bytes)} stored, {sized(plan.traffic_in_bytes)} fetched from the web, "
        f"{sized(plan.scratch_bytes)} of one machine's disk while duplicates are looked for"
    )
    if plan.total is not None:
        parts = ", ".join(f"{what} {amount:,.2f}" for what, amount in plan.money.items())
        yield f"money: {plan.total:,.2f} {plan.currency}".rstrip() + f" ({parts})"
    if plan.unpriced:
        left = "no money" if plan.total is None else "not in it"
        yield f"{left}, for want of a price: {', '.join(plan.unpriced)}"


def _beside(figures: Sequence[ComparedFigure]) -> None:
    say(
        f"beside LAION-5B's published run ({ROWS:,} rows; this plan for as many rows, on "
        f"{MACHINES} machines):"
    )
    console = terminal()
    table = console.table(header_style="bold")
    for name in ("", "LAION-5B", "planned", "as published"):
        table.add_column(name, justify="left" if name in ("", "as published") else "right")
    for one in figures:
        table.add_row(
            one.name,
            f"{_figure(one.published)} {one.unit}",
            f"{_figure(one.planned)} {one.planned_unit}",
            cell(f"{one.said} ({one.source})"),
        )
    console.show(table)


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
