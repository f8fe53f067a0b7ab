"""Next to nothing is asked here; the checks read the tables themselves."""

from __future__ import annotations

from tests.faults.crash.ledger.models import Effect, Entry

from fortress.data import Repository, many, param, select


class EntryRepository(Repository[Entry]):
    """What was asked for."""


class EffectRepository(Repository[Effect]):
    """What came of it."""

    of_place = many(select(Effect).where(Effect.c.place == param("place")))
