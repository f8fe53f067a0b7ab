"""The tables. The log itself, `audit_log`, is the data layer's: every unit of work writes to it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fortress.data import Check, CreatedAt, Entity
from fortress.data.columns import Mark


class AuditSeal(Entity, frozen=True):
    """A batch of the log, in commit order, bound to the batch before it. Append-only for the application's role.

    Attributes:
        number: 1, 2, 3 … without a gap; being the key, it lets only one of two sealers at once succeed.
        previous: `hash` of the seal before; 32 zero bytes for the first.
        first_at, last_at: between which times the rows say they were written.
        last_tx, last_seq, last_id: the row that this batch ends with; the next batch begins after it.
        row_ids, row_hashes: of each row in order; the hashes as one string, 32 bytes each.
        hash: SHA-256 over all of the above.
        key_id: which master secret of the key ring `mac` was made with.
        mac: HMAC-SHA-256 of `hash`; the owner of the database can't make one.
    """

    __tablename__ = "audit_seals"
    __indexes__ = (Check("ck_audit_seals_number", "number >= 1"),)

    number: Annotated[int, Mark.KEY]
    sealed_at: CreatedAt
    previous: bytes
    first_at: datetime
    last_at: datetime
    last_tx: int
    last_seq: int
    last_id: UUID
    row_ids: tuple[UUID, ...]
    row_hashes: bytes
    hash: bytes
    key_id: int
    mac: bytes
