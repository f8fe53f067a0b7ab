"""Open routes without a limit that a test would reach."""

from __future__ import annotations

from uuid import UUID

import msgspec
from tests.faults.crash.ledger.service import LedgerService, Refused

from fortress.http import PUBLIC, Created, Input, per_minute, post
from fortress.security import Principal


class EnterInput(Input):
    """An operation: its number, and what it is done to."""

    account: UUID
    number: int
    refuse: bool = False
    sour: bool = False


class EntryView(msgspec.Struct, frozen=True):
    """An entry, as the client asked for it."""

    number: int


@post("/entries", allow=PUBLIC, limit=per_minute(1_000_000), errors=[Refused])
async def enter(data: EnterInput, ledger: LedgerService, principal: Principal) -> Created[EntryView]:
    """Make an entry."""
    await ledger.enter(data.account, data.number, principal, refuse=data.refuse, sour=data.sour)
    return Created(EntryView(data.number), at=f"/entries/{data.number}")


@post("/hasty-entries", allow=PUBLIC, limit=per_minute(1_000_000))
async def enter_hastily(data: EnterInput, ledger: LedgerService, principal: Principal) -> Created[EntryView]:
    """Say that an entry is made, and make it then: the fault that a crash test must find."""
    await ledger.enter_later(data.account, data.number, principal)
    return Created(EntryView(data.number), at=f"/entries/{data.number}")
