"""A place inside a unit to which its writing can be taken back, while the unit goes on."""

from __future__ import annotations

from typing import Final

from fortress.data.unit import Unit

_NAME: Final = "fortress"


class Savepoint:
    """One place in a unit; another one replaces it. Each call is a round trip.

    What the unit tells after its commit, that rows of a table changed, it tells of what was taken back too.
    """

    def __init__(self, unit: Unit) -> None:
        self._unit = unit

    async def set(self) -> None:
        """From here on what is written can be taken back."""
        await self._unit.run(f"SAVEPOINT {_NAME}")

    async def keep(self) -> None:
        """Keep what was written since. A breach of a rule by it shows here."""
        await self._unit.run(f"RELEASE SAVEPOINT {_NAME}")

    async def take_back(self) -> None:
        """Take back what was written since, and what the unit had collected to write."""
        await self._unit.run(f"ROLLBACK TO SAVEPOINT {_NAME}")
