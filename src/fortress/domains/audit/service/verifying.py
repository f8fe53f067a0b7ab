"""Verifying: every row against its seal, every seal against the one before, the end against a witness."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Final

from fortress.clock import Clock
from fortress.data import Database, Reader
from fortress.domains.audit.contract import AuditTrail, Breach, Fault, Verdict
from fortress.domains.audit.models import AuditSeal
from fortress.domains.audit.repository import LogRepository, LogRow, SealRepository
from fortress.domains.audit.service.canonical import HASH_BYTES, NO_SEAL, hash_of_row, hash_of_seal
from fortress.domains.audit.service.sealing import PURPOSE, mac_of, place_of
from fortress.domains.audit.service.witness import Testimony, Witness
from fortress.security import SYSTEM
from fortress.security.keys import KeyRing

MOST_BREACHES: Final = 20
_SURPLUS: Final = 100


class VerifyingService(AuditTrail):
    """Checks the whole log; a bounded part of it is in memory at any time."""

    def __init__(
        self, database: Database, log: LogRepository, seals: SealRepository, ring: KeyRing, witness: Witness, clock: Clock
    ) -> None:
        self._database = database
        self._log = log
        self._seals = seals
        self._ring = ring
        self._witness = witness
        self._clock = clock

    async def verify_audit_log(self) -> Verdict:
        """What is wrong with the log, from its beginning; stops looking after MOST_BREACHES."""
        reader = self._database.reader(SYSTEM)
        testimony = await asyncio.to_thread(self._witness.recall)
        breaches: list[Breach] = []
        last: AuditSeal | None = None
        rows = 0
        async for seal in self._stream(reader):
            breaches += self._of_seal(last, seal)
            breaches += await self._of_rows(reader, last, seal)
            rows += len(seal.row_ids)
            last = seal
            if len(breaches) >= MOST_BREACHES:
                break
        # Asked anew: the loop may have ended early, and sealing goes on meanwhile.
        end = next(iter(await self._seals.last(reader)), None)
        breaches += await self._of_end(reader, testimony, end)
        tail = await self._log.tail(reader, **place_of(end))
        waits = (self._clock.now() - tail.oldest).total_seconds() if tail.oldest else 0.0
        return Verdict(last.number if last else 0, rows, tail.rows, max(0.0, waits), testimony is not None, tuple(breaches[:MOST_BREACHES]))

    async def _stream(self, reader: Reader) -> AsyncIterator[AuditSeal]:
        number = 0
        while seals := await self._seals.after(reader, number=number):
            for seal in seals:
                yield seal
            number = seals[-1].number

    def _of_seal(self, last: AuditSeal | None, seal: AuditSeal) -> Iterator[Breach]:
        expected = last.number + 1 if last else 1
        if seal.number != expected:
            yield Breach(Fault.MISSING_SEAL, expected)
        elif seal.previous != (last.hash if last else NO_SEAL):
            yield Breach(Fault.BROKEN_LINK, seal.number)
        if hash_of_seal(seal) != seal.hash or len(seal.row_hashes) != HASH_BYTES * len(seal.row_ids):
            yield Breach(Fault.CHANGED_SEAL, seal.number)
        elif not self._is_ours(seal):
            yield Breach(Fault.FORGED_SEAL, seal.number)

    def _is_ours(self, seal: AuditSeal) -> bool:
        """Whether the key ring made it. A retired secret's seals are vouched for by the seals after them."""
        key = self._ring.secret_by_id(PURPOSE, seal.key_id)
        if key is None:
            return seal.key_id < self._ring.secret(PURPOSE).id
        return hmac.compare_digest(mac_of(seal.hash, key), seal.mac)

    async def _of_rows(self, reader: Reader, last: AuditSeal | None, seal: AuditSeal) -> Sequence[Breach]:
        most = len(seal.row_ids) + _SURPLUS
        end = {"last_tx": seal.last_tx, "last_seq": seal.last_seq, "last_id": seal.last_id}
        rows = await self._log.between(reader, **place_of(last), **end, most=most)
        return compared(seal, rows, whole=len(rows) < most)

    async def _of_end(self, reader: Reader, testimony: Testimony | None, last: AuditSeal | None) -> Sequence[Breach]:
        if testimony is None:
            return ()
        seen = await self._seals.by_number.maybe(reader, number=testimony.number)
        if seen is not None and seen.hash.hex() == testimony.hash:
            return ()
        cut = last is None or last.number < testimony.number
        return (Breach(Fault.CUT_TAIL if cut else Fault.FORGED_SEAL, testimony.number),)


def compared(seal: AuditSeal, rows: Sequence[LogRow], *, whole: bool) -> list[Breach]:
    """What is wrong with the rows that stand where the sealed ones should.

    Args:
        seal: what was sealed.
        rows: what is there.
        whole: False when there were more rows than were read, so that nothing can be called missing.
    """
    hashes = [seal.row_hashes[at : at + HASH_BYTES] for at in range(0, len(seal.row_hashes), HASH_BYTES)]
    sealed = dict(zip(seal.row_ids, hashes, strict=False))
    there = {row.id: hash_of_row(row) for row in rows}
    breaches = []
    for id, expected in sealed.items():
        if id not in there:
            if whole:
                breaches.append(Breach(Fault.MISSING_ROW, seal.number, str(id)))
        elif there[id] != expected:
            breaches.append(Breach(Fault.CHANGED_ROW, seal.number, str(id)))
    breaches += [Breach(Fault.EXTRA_ROW, seal.number, str(row.id)) for row in rows if row.id not in sealed]
    return breaches
