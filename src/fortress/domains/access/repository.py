"""Every question this domain asks of its tables, compiled once. Nothing here can commit."""

from __future__ import annotations

import msgspec
from sqlalchemy import any_, literal, not_, or_

from fortress.data import Repository, many, one, param, select
from fortress.domains.access.contract import ADMINISTRATOR
from fortress.domains.access.models import RoleHolder

_administers = (literal(ADMINISTRATOR) == any_(RoleHolder.c.roles)) & not_(RoleHolder.c.suspended)


class Held(msgspec.Struct, frozen=True):
    """The roles of one person, and whether they are out of use."""

    roles: tuple[str, ...]
    suspended: bool


class RoleHolders(Repository[RoleHolder]):
    """Who holds which roles."""

    held = one(select(RoleHolder.c.roles, RoleHolder.c.suspended).where(RoleHolder.c.user_id == param("person")), into=Held)
    administrators = many(select(RoleHolder).where(_administers), limit=1)
    # The person and every administrator, always locked in one order: two changes at once wait for each other and then see what
    # the first one did, so that together they can't remove the last administrator.
    locked = many(
        select(RoleHolder)
        .where(or_(RoleHolder.c.user_id == param("person"), _administers))
        .order_by(RoleHolder.c.user_id)
        .with_for_update()
    )
