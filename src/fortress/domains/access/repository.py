"""Every question this domain asks of its tables, compiled once. Nothing here can commit."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, Final
from uuid import UUID

import msgspec
from sqlalchemy import Date as SqlDate
from sqlalchemy import DateTime, Text, Uuid, any_, cast, column, literal, literal_column, not_, or_

from fortress.data import Repository, change, exists, func, insert, many, one, param, select
from fortress.domains.access.contract import ADMINISTRATOR
from fortress.domains.access.models import CustomRole, PermissionUse, RoleHolder

_LOCK: Final = 0x726F6C65  # "role"
BATCH: Final = 200


class CustomGrants(msgspec.Struct, frozen=True):
    """What a role made at run time grants."""

    name: str
    grants: tuple[str, ...]
    second_factor: bool


class LastUse(msgspec.Struct, frozen=True):
    """On which day somebody last used a grant."""

    grant_name: str
    last_used: date


class Held(msgspec.Struct, frozen=True):
    """The roles of one person, when they end, whether they are out of use, and what those made at run time grant."""

    roles: tuple[str, ...]
    suspended: bool
    expires: dict[str, datetime]
    custom: tuple[CustomGrants, ...]
    service: bool = False


class HeldBy(msgspec.Struct, frozen=True):
    """The same, of somebody among many, with when they last used what."""

    user_id: UUID
    roles: tuple[str, ...]
    suspended: bool
    expires: dict[str, datetime]
    changed_at: datetime
    custom: tuple[CustomGrants, ...]
    uses: dict[str, date]
    service: bool = False


def _within(array: Any, other: Any) -> Any:
    return array.op("<@", is_comparison=True)(other)


def _overlaps(array: Any, other: Any) -> Any:
    return array.op("&&", is_comparison=True)(other)


_holder, _role, _use = RoleHolder.c, CustomRole.c, PermissionUse.c
_administers = (literal(ADMINISTRATOR) == any_(_holder.roles)) & not_(_holder.suspended)
_custom = (
    select(
        func.coalesce(
            func.jsonb_agg(func.jsonb_build_object("name", _role.name, "grants", _role.grants, "second_factor", _role.second_factor)),
            literal_column("'[]'::jsonb"),
        )
    )
    .where(_role.name == any_(_holder.roles))
    .scalar_subquery()
    .label("custom")
)
_uses = (
    select(func.coalesce(func.jsonb_object_agg(_use.grant_name, _use.last_used), literal_column("'{}'::jsonb")))
    .where(_use.user_id == _holder.user_id)
    .scalar_subquery()
    .label("uses")
)


class RoleHolders(Repository[RoleHolder]):
    """Who holds which roles."""

    held = one(
        select(_holder.roles, _holder.suspended, _holder.expires, _custom, _holder.service).where(_holder.user_id == param("person")),
        into=Held,
    )
    administrators = many(select(RoleHolder).where(_administers, not_(_holder.expires.has_key(ADMINISTRATOR))), limit=1)
    # The person and every administrator, always locked in one order: two changes at once wait for each other and then see what
    # the first one did, so that together they can't remove the last administrator.
    locked = many(
        select(RoleHolder).where(or_(_holder.user_id == param("person"), _administers)).order_by(_holder.user_id).with_for_update()
    )
    # Rows that somebody is changing at this moment are left to the next time.
    ended = many(
        select(RoleHolder).where(_holder.ends_at <= param("now")).order_by(_holder.user_id).limit(BATCH).with_for_update(skip_locked=True)
    )
    of_role = many(
        select(_holder.user_id)
        .where(
            param("role", str) == any_(_holder.roles),
            or_(
                not_(_holder.expires.has_key(param("role", str))),
                cast(_holder.expires.op("->>")(param("role", str)), DateTime(timezone=True)) > param("now", datetime),
            ),
        )
        .limit(1),
        into=UUID,
    )
    # Beyond what everyone has, so that the many who hold nothing else are passed over where they lie.
    beyond_usual = many(
        select(_holder.user_id, _holder.roles, _holder.suspended, _holder.expires, _holder.changed_at, _custom, _uses, _holder.service)
        .where(
            _holder.user_id >= param("first"),
            not_(_holder.roles.op("<@", is_comparison=True)(param("usual", list[str]))),
            not_(_holder.suspended),
        )
        .order_by(_holder.user_id)
        .limit(BATCH),
        into=HeldBy,
    )


class CustomRoles(Repository[CustomRole]):
    """The roles made at run time."""

    by_name = one(select(CustomRole).where(_role.name == param("name")))
    locked = one(select(CustomRole).where(_role.name == param("name")).with_for_update())
    # Whoever gives one of these to somebody keeps it from being changed or removed until that is done.
    kept = many(
        select(CustomRole).where(_role.name == any_(param("names", list[str]))).order_by(_role.name).with_for_update(read=True),
        limit=100,
    )
    # By code point, as our own names are sorted; the database's collation may pass over hyphens.
    after = many(
        select(CustomRole).where(_role.name.collate("C") > param("after", str)).order_by(_role.name.collate("C")).limit(param("most", int))
    )
    granting = many(
        select(_role.name).where(_role.grants.op("&&", is_comparison=True)(param("names", list[str]))).order_by(_role.name).limit(20),
        into=str,
    )
    counted = one(select(func.count().label("number")).select_from(CustomRole.table), into=int)
    # One role is made at a time, so that the count holds.
    turn = one(select(cast(func.pg_advisory_xact_lock(_LOCK), Text).label("taken")), into=str)


_rows = (
    func.unnest(param("ids", list[UUID]), param("people", list[UUID]), param("names", list[str]), param("days", list[date]))
    .table_valued(column("id", Uuid), column("person", Uuid), column("name", Text), column("day", SqlDate))
    .render_derived(name="used")
)
_insertion = insert(PermissionUse).from_select(
    ["id", "user_id", "grant_name", "last_used"],
    select(_rows.c.id, _rows.c.person, _rows.c.name, _rows.c.day)
    # Nobody who has left since comes back by it.
    .where(exists(select(_holder.user_id).where(_holder.user_id == _rows.c.person))),
)


class PermissionUses(Repository[PermissionUse]):
    """When people last used what they hold."""

    keep = change(
        _insertion.on_conflict_do_update(
            index_elements=[_use.user_id, _use.grant_name],
            set_={"last_used": _insertion.excluded.last_used},
            where=_use.last_used < _insertion.excluded.last_used,
        )
    )
    of_person = many(select(_use.grant_name, _use.last_used).where(_use.user_id == param("person")).order_by(_use.grant_name), into=LastUse)
