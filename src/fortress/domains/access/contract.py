"""The door. Other domains call this and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol
from uuid import UUID

from fortress.data import Unit
from fortress.errors import Conflict, Forbidden, NotFound
from fortress.security import Permission, Principal
from fortress.security.directory import Holding

ADMINISTRATOR: Final = "admin"
EVERYBODY: Final = "member"

OWN_PERMISSIONS: Final = Permission("account:permissions", "See what one may do oneself, and why")


class Access(Protocol):
    """Who holds which roles."""

    async def holding_of(self, person: UUID) -> Holding:
        """What this person holds now, EVERYBODY's role included; nothing for the unknown and the suspended. One round trip."""
        ...

    async def assigned_to(self, person: UUID) -> tuple[str, ...]:
        """The roles that were given to this person and have not ended, in use or not."""
        ...

    async def welcome(self, unit: Unit, person: UUID, also: Sequence[str] = ()) -> tuple[str, ...]:
        """Give a new person the roles that everyone gets, and these; part of the caller's transaction."""
        ...

    async def enlist(self, unit: Unit, service: UUID, roles: Sequence[str], by: Principal) -> tuple[str, ...]:
        """Give a new service account these roles and no others; part of the caller's transaction.

        Raises:
            Invalid: there is no such role, or it is the administrator's.
            NotHeld: the caller does not hold all that they grant.
        """
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

    async def leave(self, unit: Unit, person: UUID) -> None:
        """Forget this person: which roles they held and what they used; part of the caller's transaction.

        Raises:
            LastAdministrator: nobody else could administer.
            NotAHolder: nobody of this id.
        """
        ...

    async def has_administrator(self) -> bool:
        """Whether anybody administers without an end, suspended people not counted."""
        ...

    def given_to_everyone(self) -> tuple[str, ...]:
        """The roles that everyone gets who signs up."""
        ...


class NotAHolder(NotFound):
    """Nobody of this id."""

    code, title = "users.not_found", "There is no such user"


class LastAdministrator(Conflict):
    """Somebody must remain who can administer without an end."""

    code, title = "access.last_administrator", "This is the last administrator"


class NotHeld(Forbidden):
    """Nobody can give or take what they don't hold themselves, nor give it for longer than they hold it."""

    code, title = "access.not_held", "You can't give or take a role that reaches further than your own"


class UnknownRole(NotFound):
    """No role of this name, declared or made."""

    code, title = "roles.not_found", "There is no such role"


class UnknownPermission(NotFound):
    """No domain declares a permission of this name."""

    code, title = "permissions.not_found", "There is no such permission"


class RoleExists(Conflict):
    """A role of this name is there already."""

    code, title = "roles.exists", "There is a role of this name already"


class RoleDeclared(Conflict):
    """A domain declares this role: its code says what it grants, and can't be changed at run time."""

    code, title = "roles.declared", "This role is declared in code"


class RoleHeld(Conflict):
    """Somebody holds this role; take it from them first."""

    code, title = "roles.held", "Somebody holds this role"


class TooManyRoles(Conflict):
    """There are as many roles as there may be; remove one that is not needed any more first."""

    code, title = "roles.too_many", "There are too many roles"
