"""Every question this domain asks of its tables, compiled once. Nothing here can commit."""

from __future__ import annotations

from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec
from sqlalchemy import Text, cast, tuple_

from fortress.data import AuditEntry, Repository, func, many, one, or_, page, param, select
from fortress.domains.audit.models import AuditSeal

_LOCK: Final = 0x61756469745F7365  # "audit_se"


class LogRow(msgspec.Struct, frozen=True):
    """A row of the log with every field that its hash covers; `detail` is PostgreSQL's own text of it."""

    id: UUID
    at: datetime
    actor_id: UUID
    actor_kind: str
    session: UUID | None
    action: str
    target: str | None
    address: str | None
    request_id: str | None
    detail: str
    tx: int
    seq: int


class Tail(msgspec.Struct, frozen=True):
    """What lies beyond the last seal."""

    rows: int
    oldest: datetime | None


_log = AuditEntry.c
_place = tuple_(_log.tx, _log.seq, _log.id)
_after = _place > tuple_(param("tx"), param("seq"), param("id"))
_fields = (
    _log.id,
    _log.at,
    _log.actor_id,
    _log.actor_kind,
    _log.session,
    _log.action,
    _log.target,
    _log.address,
    _log.request_id,
    cast(_log.detail, Text).label("detail"),
    _log.tx,
    _log.seq,
)
_in_order = (_log.tx, _log.seq, _log.id)
# Every transaction below this is over, so no row can appear there any more.
_settled = _log.tx < func.pg_snapshot_xmin(func.pg_current_snapshot())


class LogRepository(Repository[AuditEntry]):
    """The log."""

    recent = page(
        select(AuditEntry).where(_log.at >= param("since"), _log.at < param("until")),
        newest_first=_log.at,
    )
    about = many(
        select(AuditEntry).where(or_(_log.actor_id == param("person"), _log.target == param("target"))).order_by(_log.at.desc(), _log.id),
        limit=10_000,
    )
    settled = many(select(*_fields).where(_after, _settled).order_by(*_in_order).limit(param("most", int)), into=LogRow)
    between = many(
        select(*_fields)
        .where(_after, _place <= tuple_(param("last_tx"), param("last_seq"), param("last_id")))
        .order_by(*_in_order)
        .limit(param("most", int)),
        into=LogRow,
    )
    tail = one(select(func.count().label("rows"), func.min(_log.at).label("oldest")).where(_after), into=Tail)


class SealRepository(Repository[AuditSeal]):
    """The seals."""

    last = many(select(AuditSeal).order_by(AuditSeal.c.number.desc()), limit=1)
    after = many(select(AuditSeal).where(AuditSeal.c.number > param("number")).order_by(AuditSeal.c.number), limit=20)
    by_number = one(select(AuditSeal).where(AuditSeal.c.number == param("number")))
    turn = one(select(func.pg_try_advisory_xact_lock(_LOCK).label("mine")), into=bool)
