"""What somebody holds, reckoned from their row. Pure: no database, no clock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, Protocol

import msgspec

from fortress.domains.access.contract import ADMINISTRATOR, EVERYBODY
from fortress.domains.access.repository import CustomGrants
from fortress.security import PermissionTable
from fortress.security.directory import Holding

NEVER: Final = datetime.max.replace(tzinfo=UTC)


class Assignment(msgspec.Struct, frozen=True):
    """A role that somebody holds, and when that ends by itself; None: never."""

    name: str
    expires_at: datetime | None = None

    @property
    def end(self) -> datetime:
        return self.expires_at or NEVER

    def __str__(self) -> str:
        return self.name if self.expires_at is None else f"{self.name} until {self.expires_at:%Y-%m-%dT%H:%M:%SZ}"


class Row(Protocol):
    """The columns of a person's row that this is reckoned from."""

    @property
    def roles(self) -> tuple[str, ...]: ...
    @property
    def suspended(self) -> bool: ...
    @property
    def expires(self) -> dict[str, datetime]: ...
    @property
    def service(self) -> bool: ...


class CustomRow(Row, Protocol):
    """The same, with what those of the roles grant that were made at run time."""

    @property
    def custom(self) -> tuple[CustomGrants, ...]: ...


def assigned(row: Row) -> tuple[Assignment, ...]:
    """The roles that stand in a person's row, ended ones among them."""
    return tuple(Assignment(name, row.expires.get(name)) for name in row.roles)


def standing(row: Row, now: datetime) -> tuple[Assignment, ...]:
    """The roles that this person was given and that have not ended, in use or not."""
    return tuple(one for one in assigned(row) if one.end > now)


def in_use(row: Row | None, now: datetime) -> tuple[Assignment, ...]:
    """The roles that may be used now. EVERYBODY's can't be lost: no change of roles takes people's own account from them.

    A service account has no account to look after, and holds what it was given.
    """
    if row is None or row.suspended:
        return ()
    if row.service:
        return standing(row, now)
    everybody = Assignment(EVERYBODY)
    return (everybody, *(one for one in standing(row, now) if one.name != EVERYBODY))


def holding(row: CustomRow | None, now: datetime, permissions: PermissionTable, *, lasting: datetime | None = None) -> Holding:
    """What this person holds now; of that only what lasts until the moment `lasting`, if one is given.

    A declared role stands before one of the same name that was made at run time: code that comes later wins.
    """
    used = [one for one in in_use(row, now) if lasting is None or one.end >= lasting]
    names = {one.name for one in used}
    custom = [role for role in (row.custom if row else ()) if role.name in names and role.name not in permissions.roles]
    return Holding(
        roles=tuple(one.name for one in used if one.name in permissions.roles),
        grants=_granted((role for role in custom if not role.second_factor), permissions),
        guarded=_granted((role for role in custom if role.second_factor), permissions),
        until=min((one.expires_at for one in used if one.expires_at is not None), default=None),
    )


def first_end(expires: Mapping[str, datetime]) -> datetime | None:
    """When the first of these ends."""
    return min(expires.values(), default=None)


def administers_for_good(row: Row) -> bool:
    """Whether this person can administer now, and without an end."""
    return ADMINISTRATOR in row.roles and ADMINISTRATOR not in row.expires and not row.suspended


def _granted(roles: Iterable[CustomGrants], permissions: PermissionTable) -> tuple[str, ...]:
    return permissions.implied(name for role in roles for name in role.grants)


def distinct(assignments: Sequence[Assignment]) -> tuple[Assignment, ...]:
    """Each assignment once, in order."""
    return tuple(dict.fromkeys(assignments))
