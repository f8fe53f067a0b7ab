"""The facts that this release knows, by their names in the log."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fortress.errors import CannotStart, FortressError
from fortress.events.event import Event
from fortress.fact import Fact, decoded, says_what_it_meant


class UnknownFact(FortressError):
    """A fact in the log that no domain of this release declares."""


class FactKinds:
    """The declared facts.

    Args:
        declared: by the domains, and those of other services that somebody hears.

    Raises:
        CannotStart: two have one name, or one was changed and does not say what its older versions meant.
    """

    def __init__(self, declared: Iterable[type[Fact]]) -> None:
        self.by_name: Mapping[str, type[Fact]] = _by_name(declared)

    def heard(self, facts: Iterable[type[Fact]]) -> list[str]:
        """The names of these; `Fact` stands for all there are."""
        facts = list(facts)
        return sorted(self.by_name if Fact in facts else {fact.__name__ for fact in facts})

    def fact(self, row: Any) -> Fact:
        """The fact of a row of the log, in its present version.

        Raises:
            UnknownFact: no domain declares it.
            NewerFact: a newer release wrote it.
            Exception: it is not what its class says, or `upcast` fails.
        """
        kind = self.by_name.get(row["name"])
        if kind is None:
            raise UnknownFact(row["name"])
        return decoded(kind, row["payload"], row["version"])

    def event(self, row: Any) -> Event:
        """All that is known of it. Raises what `fact` raises."""
        return event_of(row, self.fact(row))


def event_of(row: Any, fact: Fact) -> Event:
    """A row of the log with the fact in it."""
    return Event(
        row["id"], row["at"], row["name"], row["version"], row["aggregate"],
        row["actor_id"], row["request_id"], row["tx"], row["seq"], fact,
    )  # fmt: skip


def _by_name(declared: Iterable[type[Fact]]) -> dict[str, type[Fact]]:
    found: dict[str, type[Fact]] = {}
    for kind in declared:
        if found.setdefault(kind.__name__, kind) is not kind:
            raise CannotStart(f"there are two facts called {kind.__name__}", hint="facts are found by their names; rename one of them")
        if not says_what_it_meant(kind):
            raise CannotStart(
                f"{kind.__name__} has version {kind.version}, and nothing says what its older ones meant",
                hint="give it a class method upcast(cls, version, fields) that makes the next version's fields of one version's",
            )
    return found
