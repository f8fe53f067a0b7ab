"""The chain over the audit log: what it covers, and what it notices."""

from __future__ import annotations

import asyncio
import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import asyncpg
import msgspec
import pytest
from tests.domains.conftest import World

from fortress.domains.audit.contract import Breach, Fault, Verdict
from fortress.domains.audit.models import AuditSeal
from fortress.domains.audit.repository import LogRow
from fortress.domains.audit.service import SealingService, VerifyingService, Witness, sealing, verifying
from fortress.domains.audit.service.canonical import framed, hash_of_row, hash_of_seal
from fortress.security import SYSTEM


async def write(world: World, count: int) -> None:
    for number in range(count):
        async with world.database.unit(SYSTEM) as unit:
            unit.audit("test.written", target=number, detail={"number": number, "text": "ü"})


async def seal_all(world: World, count: int) -> None:
    await world.settled()
    assert await world.get(SealingService).seal() == count


async def sealed(world: World, *batches: int) -> list[AuditSeal]:
    for count in batches:
        await write(world, count)
        await seal_all(world, count)
    return [seal async for seal in world.get(VerifyingService)._stream(world.database.reader(SYSTEM))]


async def verdict(world: World) -> Verdict:
    return await world.get(VerifyingService).verify_audit_log()


async def row_id(world: World, number: int) -> str:
    return str(await world.owner.fetchval("SELECT id FROM audit_log ORDER BY tx, seq OFFSET $1 LIMIT 1", number))


async def test_an_untouched_log_is_sound(world: World) -> None:
    await sealed(world, 3, 4)
    await write(world, 2)
    world.clock.advance(timedelta(seconds=7))
    found = await verdict(world)
    assert Verdict(2, 7, 2, 7.0, True, ()) == found
    assert found.sound


async def test_an_empty_log_is_sound(world: World) -> None:
    assert await world.get(SealingService).seal() == 0
    assert Verdict(0, 0, 0, 0.0, False, ()) == await verdict(world)


async def test_a_long_log_is_sealed_in_batches(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealing, "BATCH", 3)
    await write(world, 8)
    await seal_all(world, 8)
    assert [row["n"] for row in await world.owner.fetch("SELECT cardinality(row_ids) AS n FROM audit_seals ORDER BY number")] == [3, 3, 2]
    assert (await verdict(world)).sound


@pytest.mark.parametrize(
    "change",
    [
        "action = 'test.unwritten'",
        "detail = '{}'",
        "detail = jsonb_set(detail, '{number}', '1.0')",
        "actor_id = gen_random_uuid()",
        "actor_kind = 'session'",
        "session = gen_random_uuid()",
        "target = NULL",
        "address = '192.0.2.1'",
        "request_id = ''",
        "at = at + interval '1 microsecond'",
    ],
)
async def test_a_changed_row_is_named(world: World, change: str) -> None:
    await sealed(world, 3, 3)
    changed = await row_id(world, 4)
    await world.owner.execute(f"UPDATE audit_log SET {change} WHERE id = $1", UUID(changed))
    assert (Breach(Fault.CHANGED_ROW, 2, changed),) == (await verdict(world)).breaches


async def test_a_deleted_row_is_named(world: World) -> None:
    await sealed(world, 3, 3)
    gone = await row_id(world, 1)
    await world.owner.execute("DELETE FROM audit_log WHERE id = $1", UUID(gone))
    found = await verdict(world)
    assert (Breach(Fault.MISSING_ROW, 1, gone),) == found.breaches
    assert f"seal 1: missing row {gone}" == found.breaches[0].said()


async def test_a_row_slipped_in_among_the_sealed_is_named(world: World) -> None:
    await sealed(world, 3)
    slipped = await world.owner.fetchval(
        "INSERT INTO audit_log (id, at, actor_id, actor_kind, action, detail, tx) "
        "SELECT gen_random_uuid(), at, actor_id, actor_kind, 'test.forged', detail, tx FROM audit_log ORDER BY tx LIMIT 1 RETURNING id"
    )
    assert (Breach(Fault.EXTRA_ROW, 1, str(slipped)),) == (await verdict(world)).breaches


async def test_a_row_moved_out_of_its_place_is_missing(world: World) -> None:
    await sealed(world, 3)
    moved = await row_id(world, 0)
    await world.owner.execute("UPDATE audit_log SET tx = pg_current_xact_id() WHERE id = $1", UUID(moved))
    assert (Breach(Fault.MISSING_ROW, 1, moved),) == (await verdict(world)).breaches


async def test_the_first_of_several_breaches_comes_first(world: World) -> None:
    await sealed(world, 3, 3)
    first, second = await row_id(world, 2), await row_id(world, 5)
    await world.owner.execute("UPDATE audit_log SET action = 'x' WHERE id = ANY ($1)", [UUID(first), UUID(second)])
    assert [first, second] == [breach.row for breach in (await verdict(world)).breaches]


async def test_a_check_that_stops_early_still_knows_where_the_chain_ends(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verifying, "MOST_BREACHES", 2)
    await sealed(world, 3, 3, 3)
    await world.owner.execute("UPDATE audit_log SET action = 'x'")
    found = await verdict(world)
    assert (found.seals, found.unsealed, len(found.breaches)) == (1, 0, 2)
    assert {breach.fault for breach in found.breaches} == {Fault.CHANGED_ROW}


async def test_a_seal_made_to_fit_a_changed_row_is_a_forgery(world: World) -> None:
    seals = await sealed(world, 2, 2)
    changed = await row_id(world, 3)
    await world.owner.execute("UPDATE audit_log SET action = 'x' WHERE id = $1", UUID(changed))
    rows = [LogRow(**row) for row in await world.owner.fetch(FIELDS + "ORDER BY tx, seq OFFSET 2")]
    fitted = msgspec.structs.replace(seals[1], row_hashes=b"".join(map(hash_of_row, rows)))
    await world.owner.execute("UPDATE audit_seals SET row_hashes = $1, hash = $2 WHERE number = 2", fitted.row_hashes, hash_of_seal(fitted))
    assert Fault.FORGED_SEAL is (await verdict(world)).breaches[0].fault


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ("sealed_at = sealed_at - interval '1 day'", Fault.CHANGED_SEAL),
        ("hash = sha256(hash)", Fault.CHANGED_SEAL),
        ("row_hashes = sha256(row_hashes)", Fault.CHANGED_SEAL),
        ("mac = sha256(mac)", Fault.FORGED_SEAL),
        ("previous = sha256(previous)", Fault.BROKEN_LINK),
        ("key_id = 99", Fault.CHANGED_SEAL),
    ],
)
async def test_a_changed_seal_is_named(world: World, change: str, fault: Fault) -> None:
    await sealed(world, 2, 2)
    await world.owner.execute(f"UPDATE audit_seals SET {change} WHERE number = 2")
    found = (await verdict(world)).breaches
    assert Breach(fault, 2) == found[0]


async def test_a_removed_seal_is_named(world: World) -> None:
    await sealed(world, 2, 2, 2)
    await world.owner.execute("DELETE FROM audit_seals WHERE number = 2")
    found = (await verdict(world)).breaches
    assert Breach(Fault.MISSING_SEAL, 2) == found[0]


async def test_a_tail_cut_off_with_its_seals_is_noticed_by_the_witness(world: World, tmp_path: Path) -> None:
    await sealed(world, 2, 2)
    await world.owner.execute("DELETE FROM audit_log WHERE id = ANY (SELECT unnest(row_ids) FROM audit_seals WHERE number = 2)")
    await world.owner.execute("DELETE FROM audit_seals WHERE number = 2")
    assert (Breach(Fault.CUT_TAIL, 2),) == (await verdict(world)).breaches
    (tmp_path / "audit-witness.json").unlink()
    blind = await verdict(world)
    assert blind.sound
    assert not blind.witnessed


async def test_a_chain_grown_again_after_a_cut_is_noticed_by_the_witness(world: World) -> None:
    await sealed(world, 2, 2)
    await world.owner.execute("DELETE FROM audit_log WHERE id = ANY (SELECT unnest(row_ids) FROM audit_seals WHERE number = 2)")
    await world.owner.execute("DELETE FROM audit_seals WHERE number = 2")
    await sealed(world, 1, 1)
    assert (Breach(Fault.FORGED_SEAL, 2),) == (await verdict(world)).breaches


async def test_seals_of_a_retired_secret_still_hold(world: World) -> None:
    await sealed(world, 2)
    world.ring.rotate_secrets()
    await sealed(world, 2)
    assert (await verdict(world)).sound
    world.clock.advance(timedelta(days=101))
    assert (await verdict(world)).sound


async def test_a_seal_of_an_unknown_later_secret_is_a_forgery(world: World) -> None:
    seals = await sealed(world, 2)
    forged = msgspec.structs.replace(seals[0], key_id=7)
    await world.owner.execute("UPDATE audit_seals SET key_id = 7, hash = $1", hash_of_seal(forged))
    assert Fault.FORGED_SEAL is (await verdict(world)).breaches[0].fault


async def test_a_row_of_a_slow_transaction_is_neither_missed_nor_sealed_too_early(world: World, domains_url: str) -> None:
    await sealed(world, 2)
    slow = await asyncpg.connect(domains_url)
    transaction = slow.transaction()
    await transaction.start()
    await slow.execute(
        "INSERT INTO audit_log (id, at, actor_id, actor_kind, action, detail) "
        "VALUES (gen_random_uuid(), $1, gen_random_uuid(), 'none', 'slow', '{}')",
        world.clock.now(),
    )
    await write(world, 3)
    assert await world.get(SealingService).seal() == 0
    await transaction.commit()
    await slow.close()
    await seal_all(world, 4)
    found = await verdict(world)
    assert (found.rows, found.unsealed, found.sound) == (6, 0, True)


async def test_two_sealers_at_once_make_one_chain(world: World) -> None:
    await write(world, 20)
    counts = await asyncio.gather(*(world.get(SealingService).seal() for _ in range(5)))
    await world.settled()
    await world.get(SealingService).seal()
    assert sum(counts) <= 20
    found = await verdict(world)
    assert (found.rows, found.sound) == (20, True)


async def test_sealing_goes_on_while_others_write(world: World) -> None:
    async def seal_on(writing: asyncio.Task[None]) -> None:
        while not writing.done():
            await world.get(SealingService).seal()

    writing = asyncio.create_task(write(world, 60))
    await seal_on(writing)
    await world.settled()
    await world.get(SealingService).seal()
    found = await verdict(world)
    assert (found.rows, found.unsealed, found.sound) == (60, 0, True)


@pytest.mark.parametrize("table", ["audit_log", "audit_seals"])
@pytest.mark.parametrize("verb", ["UPDATE {} SET {}", "DELETE FROM {}", "TRUNCATE {}"])
async def test_the_application_may_only_add(world: World, domains_url: str, table: str, verb: str) -> None:
    await sealed(world, 1)
    column = "action = 'x'" if table == "audit_log" else "number = 7"
    connection = await asyncpg.connect(domains_url, server_settings={"role": "fortress_app"})
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connection.execute(verb.format(table, column))
    await connection.close()


def test_the_canonical_bytes_are_what_they_were() -> None:
    row = LogRow(
        id=UUID(int=1),
        at=datetime(2026, 1, 1, tzinfo=UTC),
        actor_id=UUID(int=2),
        actor_kind="session",
        session=None,
        action="a.b",
        target="x",
        address=None,
        request_id=None,
        detail='{"a": 1}',
        tx=7,
        seq=9,
    )
    by_hand = b"".join(
        len(part).to_bytes(8, "big") + part if part is not None else b"\xff" * 8
        for part in (
            b"fortress.audit.row.1",
            bytes(15) + b"\x01",
            (1767225600 * 10**6).to_bytes(8, "big"),
            bytes(15) + b"\x02",
            b"session",
            None,
            b"a.b",
            b"x",
            None,
            None,
            b'{"a": 1}',
            (7).to_bytes(8, "big"),
            (9).to_bytes(8, "big"),
        )
    )
    assert hashlib.sha256(by_hand).digest() == hash_of_row(row)


def test_no_two_sequences_have_the_same_bytes() -> None:
    assert framed("ab", "c") != framed("a", "bc")
    assert framed("") != framed(None)
    assert framed("a", None) != framed("a")


def test_a_witness_does_not_go_back(world: World, tmp_path: Path) -> None:
    witness = world.get(Witness)
    witness.remember(5, b"five")
    witness.remember(4, b"four")
    known = witness.recall()
    assert known is not None
    assert (5, b"five".hex()) == (known.number, known.hash)
    assert (tmp_path / "audit-witness.json").stat().st_mode & 0o777 == 0o600
    (tmp_path / "audit-witness.json").write_text("not json")
    assert witness.recall() is None


FIELDS = (
    "SELECT id, at, actor_id, actor_kind, session, action, target, address, request_id, detail::text AS detail, tx, seq FROM audit_log "
)
