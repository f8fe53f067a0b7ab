"""Nothing is asked here; the checks read the tables themselves."""

from __future__ import annotations

from tests.faults.crash.ledger.models import Effect, Entry

from fortress.data import Repository


class EntryRepository(Repository[Entry]):
    """What was asked for."""


class EffectRepository(Repository[Effect]):
    """What came of it."""
