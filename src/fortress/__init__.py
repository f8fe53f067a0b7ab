"""Fortress: a Python backend whose rules are its runtime.

What a project imports: these names, and `fortress.http`, `fortress.data`, `fortress.cache`, `fortress.security`, `fortress.events`,
`fortress.domains` and `fortress.testing`. Everything else is ours to change.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from fortress.bootstrap import Fortress
    from fortress.clock import Clock, Ids
    from fortress.domain import Domain, PersonalRecords, Upkeep, migrations_beside, templates_beside
    from fortress.errors import CannotStart, Conflict, FieldError, Forbidden, Gone, Invalid, NotFound, Refusal, Unavailable
    from fortress.mail import Delivery, Mail, Mailer, NotificationData, NotificationKind

__all__ = [
    "CannotStart",
    "Clock",
    "Conflict",
    "Delivery",
    "Domain",
    "FieldError",
    "Forbidden",
    "Fortress",
    "Gone",
    "Ids",
    "Invalid",
    "Mail",
    "Mailer",
    "NotFound",
    "NotificationData",
    "NotificationKind",
    "PersonalRecords",
    "Refusal",
    "Unavailable",
    "Upkeep",
    "migrations_beside",
    "templates_beside",
]

_HOMES: Final = {
    "Fortress": "fortress.bootstrap",
    "Clock": "fortress.clock",
    "Ids": "fortress.clock",
    "Domain": "fortress.domain",
    "PersonalRecords": "fortress.domain",
    "Upkeep": "fortress.domain",
    "migrations_beside": "fortress.domain",
    "templates_beside": "fortress.domain",
    "Delivery": "fortress.mail",
    "Mail": "fortress.mail",
    "Mailer": "fortress.mail",
    "NotificationData": "fortress.mail",
    "NotificationKind": "fortress.mail",
}


def __getattr__(name: str) -> Any:
    # Found when asked for, so that reading one module of ours does not load all of them.
    if name in __all__:
        return getattr(import_module(_HOMES.get(name, "fortress.errors")), name)
    raise AttributeError(f"module 'fortress' has no attribute {name!r}")
