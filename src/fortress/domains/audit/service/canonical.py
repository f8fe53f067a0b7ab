"""The exact bytes that are hashed. Changing any of this makes every older seal unreadable: it would need a new version.

A frame is a length of 8 bytes, big-endian, and then so many bytes; an absent value is the length 2^64 - 1 and nothing more.
So no two different sequences of values have the same bytes.

    row   SHA-256( frame("fortress.audit.row.1") ‖ frame(id) ‖ frame(at) ‖ frame(actor_id) ‖ frame(actor_kind) ‖
                   frame(session) ‖ frame(action) ‖ frame(target) ‖ frame(address) ‖ frame(request_id) ‖ frame(detail) ‖
                   frame(tx) ‖ frame(seq) )
    seal  SHA-256( frame("fortress.audit.seal.1") ‖ frame(number) ‖ frame(sealed_at) ‖ frame(previous) ‖ frame(first_at) ‖
                   frame(last_at) ‖ frame(last_tx) ‖ frame(last_seq) ‖ frame(last_id) ‖ frame(row_ids, 16 bytes each) ‖
                   frame(row_hashes, 32 bytes each) ‖ frame(key_id) )
    mac   HMAC-SHA-256( the key ring's secret for "audit", hash of the seal )

UUIDs are their 16 bytes, integers 8 bytes big-endian and signed, times the microseconds since 1970 in UTC as such an
integer, text its UTF-8, `detail` the text that PostgreSQL gives for its jsonb.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from fortress.domains.audit.models import AuditSeal
from fortress.domains.audit.repository import LogRow

HASH_BYTES: Final = 32
NO_SEAL: Final = bytes(HASH_BYTES)
_LENGTH_BYTES: Final = 8
_ABSENT: Final = b"\xff" * _LENGTH_BYTES
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_ROW: Final = "fortress.audit.row.1"
_SEAL: Final = "fortress.audit.seal.1"

Value = UUID | datetime | int | str | bytes | None


def framed(*values: Value) -> bytes:
    """The values, each in its frame."""
    return b"".join(map(_frame, values))


def hash_of_row(row: LogRow) -> bytes:
    """What is remembered of a row."""
    return hashlib.sha256(
        framed(
            _ROW,
            row.id,
            row.at,
            row.actor_id,
            row.actor_kind,
            row.session,
            row.action,
            row.target,
            row.address,
            row.request_id,
            row.detail,
            row.tx,
            row.seq,
        )
    ).digest()


def hash_of_seal(seal: AuditSeal) -> bytes:
    """What binds a seal; its own `hash` and `mac` are not part of it."""
    return hashlib.sha256(
        framed(
            _SEAL,
            seal.number,
            seal.sealed_at,
            seal.previous,
            seal.first_at,
            seal.last_at,
            seal.last_tx,
            seal.last_seq,
            seal.last_id,
            b"".join(id.bytes for id in seal.row_ids),
            seal.row_hashes,
            seal.key_id,
        )
    ).digest()


def _frame(value: Value) -> bytes:
    if value is None:
        return _ABSENT
    content = _bytes(value)
    return len(content).to_bytes(_LENGTH_BYTES, "big") + content


def _bytes(value: UUID | datetime | int | str | bytes) -> bytes:
    if isinstance(value, datetime):
        value = (value - _EPOCH) // _MICROSECOND
    if isinstance(value, int):
        return value.to_bytes(_LENGTH_BYTES, "big", signed=True)
    if isinstance(value, UUID):
        return value.bytes
    return value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
