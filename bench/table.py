"""The table in the terminal and the JSON beside it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from bench.rows import Figure, Missing, Outcome, Row, Verdict, row

_COLOUR: Final = {Verdict.STRETCH: "bold green", Verdict.PASS: "green", Verdict.UNDER: "bold red", Verdict.MISSING: "yellow"}


def verdict_of(outcome: Outcome) -> Verdict:
    return Verdict.MISSING if isinstance(outcome, Missing) else row(outcome.key).verdict(outcome.value)


def falls_short(outcomes: Sequence[Outcome], issues: Collection[int]) -> bool:
    """True when a row of these issues is under its bar or was not measured."""
    deciding = [outcome for outcome in outcomes if row(outcome.key).issue in issues]
    return any(verdict_of(outcome) in (Verdict.UNDER, Verdict.MISSING) for outcome in deciding)


def show(console: Console, outcomes: Sequence[Outcome], issues: Collection[int]) -> None:
    """Print the table; rows that do not decide the exit code are marked."""
    table = Table(title="Fortress against its bars", caption="quartiles in brackets; * reported, does not decide the exit code")
    for heading in ("row", "bar", "stretch", "figure", "verdict", "made of"):
        table.add_column(heading, overflow="fold")
    for outcome in outcomes:
        table.add_row(*_cells(outcome, row(outcome.key), issues))
    console.print(table)


def _cells(outcome: Outcome, one: Row, issues: Collection[int]) -> list[str]:
    verdict = verdict_of(outcome)
    title = one.title + ("" if one.issue in issues else " *")
    marks = [f"{one.sense.value} {one.bar:g}", "" if one.stretch is None else f"{one.stretch:g}"]
    said = f"[{_COLOUR[verdict]}]{verdict.value}[/]"
    if isinstance(outcome, Missing):
        return [title, *marks, "", said, outcome.why]
    return [title, *marks, _value(outcome, one.unit), said, " ".join(f"{name}={value}" for name, value in outcome.detail.items())]


def _value(figure: Figure, unit: str) -> str:
    spread = f" \\[{_short(figure.low)} … {_short(figure.high)}]" if figure.low != figure.high else ""
    return f"{_short(figure.value)}{' ' + unit if unit else ''}{spread}"


def _short(value: float) -> str:
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"


def report(outcomes: Sequence[Outcome], machine: Mapping[str, str | int]) -> dict[str, Any]:
    """Everything, for the JSON file."""
    return {"machine": dict(machine), "rows": [_record(outcome) for outcome in outcomes]}


def _record(outcome: Outcome) -> dict[str, Any]:
    one = row(outcome.key)
    record: dict[str, Any] = {"key": one.key, "title": one.title, "bar": one.bar, "stretch": one.stretch, "issue": one.issue}
    record |= {"sense": one.sense.value, "unit": one.unit, "verdict": verdict_of(outcome).value}
    if isinstance(outcome, Missing):
        return record | {"why": outcome.why}
    return record | {"value": outcome.value, "low": outcome.low, "high": outcome.high, "detail": outcome.detail}
