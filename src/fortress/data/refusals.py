"""What the driver raises, in our words: the one place where its errors are read."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

import asyncpg

from fortress.data.entity import Shape
from fortress.errors import Conflict, FieldError, FortressError, Invalid, Refusal, Unavailable

_STALE_PLAN: Final = (asyncpg.InvalidCachedStatementError, asyncpg.OutdatedSchemaCacheError)
_IN_THE_WAY: Final = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError, *_STALE_PLAN)
_LOST: Final = (
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.InternalClientError,
    asyncpg.InterfaceError,
    OSError,
    asyncio.TimeoutError,
)
_BUSY: Final = (asyncpg.QueryCanceledError, asyncpg.LockNotAvailableError, asyncpg.InsufficientResourcesError)
_NOT_STORABLE: Final = ("22001", "22003", "22007", "22008", "22021", "22P05")
_SQL_IS_WRONG: Final = "42"


class Contended(Unavailable):
    """Another transaction was in the way; the same may succeed at once. `retrying` repeats it."""

    code, title = "service.contended", "Too many changes at once"


class Moved(Contended):
    """What a unit depended on was not as it had been seen: nothing of the unit was kept."""


class DatabaseFault(FortressError):
    """The database refused what it should not have been asked: our mistake, not the caller's. Shows no values."""


class UnitFailed(FortressError):
    """A unit of work went on after one of its statements had failed; nothing of it is kept."""


def is_lost(error: BaseException) -> bool:
    """Whether the connection broke, so that it is unknown what the server has done."""
    return isinstance(error, _LOST)


def is_stale_plan(error: BaseException) -> bool:
    """Whether a prepared statement met a changed schema; prepared anew it works."""
    return isinstance(error, _STALE_PLAN)


def is_clean(error: BaseException) -> bool:
    """Whether the server answered in order, so that the connection can go on."""
    return isinstance(error, asyncpg.PostgresError) and not is_lost(error)


def refusal(error: BaseException, shapes: Iterable[Shape] = ()) -> BaseException:
    """The error to raise for one of the driver's; what isn't the driver's stays as it is.

    A breach becomes what the entities that the statement wrote, `shapes`, declare for it.
    """
    if isinstance(error, _IN_THE_WAY):
        return Contended()
    if isinstance(error, asyncpg.IntegrityConstraintViolationError):
        return _breach(error, tuple(shapes))
    if isinstance(error, asyncpg.PostgresError) and not isinstance(error, (*_LOST, *_BUSY)):
        return _not_storable(error) or DatabaseFault(_said(error))
    if isinstance(error, asyncpg.InterfaceError) and "in progress" in str(error):
        return DatabaseFault("two tasks used one unit of work at once")
    if isinstance(error, (*_LOST, *_BUSY)):
        return Unavailable("The database is not available just now")
    return error


def _breach(error: asyncpg.IntegrityConstraintViolationError, shapes: tuple[Shape, ...]) -> FortressError:
    for shape in shapes:
        declared = shape.refusals.get(error.constraint_name or "")
        if declared is not None:
            return declared()
    written = next((shape for shape in shapes if shape.name == error.table_name), None)
    if isinstance(error, asyncpg.UniqueViolationError):
        return (written.exists if written else Conflict)()
    if isinstance(error, asyncpg.ForeignKeyViolationError):
        return Conflict("It refers to something that is not there, or something refers to it")
    if isinstance(error, asyncpg.CheckViolationError) and error.constraint_name:
        return _invalid()
    return DatabaseFault(_said(error))


def _not_storable(error: asyncpg.PostgresError) -> Refusal | None:
    # A number beyond the column or half a character is found by the driver, before anything is sent.
    found_here = isinstance(error.__cause__, (OverflowError, UnicodeEncodeError))
    return _invalid() if found_here or error.sqlstate in _NOT_STORABLE else None


def _invalid() -> Invalid:
    return Invalid((FieldError("", "A value is out of its bounds", "bounds"),))


def _said(error: asyncpg.PostgresError) -> str:
    parts = [f"{type(error).__name__} ({error.sqlstate})"]
    parts += [f"{what} {name}" for what in ("table", "column", "constraint") if (name := getattr(error, f"{what}_name", None))]
    # Only what is wrong with a statement's text is told in the server's words: these hold no values.
    if (error.sqlstate or "").startswith(_SQL_IS_WRONG):
        parts.append(str(error.args[0]).partition("\n")[0])
    return ": ".join(parts)
