"""The door. Other domains call this and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol
from uuid import UUID

from fortress.data import Unit
from fortress.errors import Conflict, Forbidden, NotFound
from fortress.security.directory import Holding

ADMINISTRATOR: Final = "admin"
EVERYBODY: Final = "member"


class Access(Protocol):
    """Who holds which roles."""

    async def holding_of(self, person: UUID) -> Holding:
        """What this person holds now, EVERYBODY's role included; nothing for the unknown and the suspended. One round trip."""
        ...

    async def assigned_to(self, person: UUID) -> tuple[str, ...]:
        """The roles that were given to this person, in use or not."""
        ...

    async def welcome(self, unit: Unit, person: UUID, also: Sequence[str] = ()) -> tuple[str, ...]:
        """Give a new person the roles that everyone gets, and these; part of the caller's transaction."""
        ...

    async def suspend(self, unit: Unit, person: UUID) -> None:
        """Take every role out of use until `resume`; part of the caller's transaction.

        Raises:
            LastAdministrator: nobody else could administer.
            NotAHolder: nobody of this id.
        """
        ...

    async def resume(self, unit: Unit, person: UUID) -> None:
        """Put the roles back into use; part of the caller's transaction."""
        ...

    async def has_administrator(self) -> bool:
        """Whether anybody administers, suspended people not counted."""
        ...

    def given_to_everyone(self) -> tuple[str, ...]:
        """The roles that everyone gets who signs up."""
        ...


class NotAHolder(NotFound):
    """Nobody of this id."""

    code, title = "users.not_found", "There is no such user"


class LastAdministrator(Conflict):
    """Somebody must remain who can administer."""

    code, title = "access.last_administrator", "This is the last administrator"


class NotHeld(Forbidden):
    """Nobody can give or take what they don't hold themselves."""

    code, title = "access.not_held", "You can't give or take a role that reaches further than your own"
