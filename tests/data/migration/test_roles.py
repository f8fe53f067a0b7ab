from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable

import asyncpg
import pytest

from fortress.clock import SystemClock
from fortress.data.migration import Branch, Migrations
from fortress.data.partitions import Partitions, partitioned
from fortress.data.roles import APP_ROLE, AppRole, may_rewrite_audit

DENIED = asyncpg.InsufficientPrivilegeError
AUDIT = (
    "INSERT INTO audit_log (id, at, actor_id, actor_kind, action, detail) "
    "VALUES (gen_random_uuid(), now(), gen_random_uuid(), 'x', 'x', '{}')"
)


@pytest.fixture
def migrations(owner_url: str, runtime: Branch) -> Migrations:
    partitions = Partitions(partitioned(runtime.tables), SystemClock(), ahead=1)
    return Migrations(owner_url, [runtime], partitions=partitions, role=AppRole())


@pytest.fixture
async def app(owner_url: str, owner: asyncpg.Connection, migrations: Migrations) -> AsyncIterator[asyncpg.Connection]:
    """A connection as the app opens it."""
    await owner.execute("CREATE TABLE plain (id BIGINT GENERATED ALWAYS AS IDENTITY, n SERIAL)")
    await migrations.up()
    connection = await asyncpg.connect(owner_url, server_settings={"role": APP_ROLE})
    yield connection
    await connection.close()


@pytest.fixture
async def login(owner: asyncpg.Connection) -> AsyncIterator[str]:
    """A role that may sign in and nothing else."""
    name = f"migr_{secrets.token_hex(6)}"
    await owner.execute(f"CREATE ROLE {name} LOGIN")
    yield name
    await owner.execute(f"REASSIGN OWNED BY {name} TO CURRENT_USER; DROP OWNED BY {name}; DROP ROLE {name}")


async def test_the_app_may_work_with_plain_tables(app: asyncpg.Connection) -> None:
    await app.execute("INSERT INTO plain DEFAULT VALUES")
    await app.execute("UPDATE plain SET n = 2")
    await app.execute("DELETE FROM plain")


@pytest.mark.parametrize("table", ["audit_log", "events"])
@pytest.mark.parametrize("change", ["UPDATE {} SET at = now()", "DELETE FROM {}", "TRUNCATE {}"])
async def test_the_app_may_not_change_what_is_append_only_nor_its_partitions(app: asyncpg.Connection, table: str, change: str) -> None:
    tree = [row[0] for row in await app.fetch("SELECT relid::regclass::text FROM pg_partition_tree($1::regclass)", table)]
    assert len(tree) == 4
    for one in tree:
        with pytest.raises(DENIED):
            await app.execute(change.format(one))


async def test_the_app_may_write_and_read_the_audit_log_through_its_parent_only(app: asyncpg.Connection) -> None:
    await app.execute(AUDIT)
    assert await app.fetchval("SELECT count(*) FROM audit_log") == 1
    with pytest.raises(DENIED):
        await app.execute(AUDIT.replace("audit_log", "audit_log_default"))
    assert await app.fetchval("SELECT count(*) FROM audit_log_default") == 0


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE mine (id INT)",
        "ALTER TABLE plain ADD COLUMN x INT",
        "DROP TABLE plain",
        "UPDATE alembic_version SET version_num = 'x'",
        "DELETE FROM migration_log",
        "CREATE TABLE audit_log_x PARTITION OF audit_log FOR VALUES FROM ('2000-01-01') TO ('2000-02-01')",
    ],
)
async def test_the_app_may_not_touch_the_schema(app: asyncpg.Connection, statement: str) -> None:
    with pytest.raises(DENIED):
        await app.execute(statement)


async def test_new_partitions_are_closed_from_their_first_moment(
    app: asyncpg.Connection, owner: asyncpg.Connection, runtime: Branch
) -> None:
    made = await Partitions(partitioned(runtime.tables), SystemClock(), ahead=3).ensure(owner)
    assert len(made) == 6
    for name in made:
        assert await app.fetchval(f"SELECT count(*) FROM {name}") == 0
        for change in (f"UPDATE {name} SET id = id", f"INSERT INTO {name} DEFAULT VALUES"):
            with pytest.raises(DENIED):
                await app.execute(change)


async def test_new_tables_can_be_read_and_filled_but_not_changed_until_migrated(
    app: asyncpg.Connection, owner: asyncpg.Connection, migrations: Migrations
) -> None:
    await owner.execute("CREATE TABLE later (id INT)")
    await app.execute("INSERT INTO later VALUES (1)")
    with pytest.raises(DENIED):
        await app.execute("DELETE FROM later")
    await migrations.up()
    await app.execute("DELETE FROM later")


async def test_grants_that_went_wrong_are_put_right(app: asyncpg.Connection, owner: asyncpg.Connection, migrations: Migrations) -> None:
    await owner.execute(f"GRANT UPDATE, DELETE ON audit_log, events_default TO {APP_ROLE}")
    assert await may_rewrite_audit(app)
    await migrations.up()
    assert not await may_rewrite_audit(app)


async def test_whoever_could_rewrite_the_audit_log_is_recognised(app: asyncpg.Connection, owner: asyncpg.Connection) -> None:
    assert not await may_rewrite_audit(app)
    assert await may_rewrite_audit(owner)
    await owner.execute(f"GRANT DELETE ON audit_log_default TO {APP_ROLE}")
    assert await may_rewrite_audit(app)


async def test_a_login_is_lent_the_role(
    signed_in_as: Callable[[str], str], migrations: Migrations, owner: asyncpg.Connection, login: str
) -> None:
    await migrations.up()
    assert await AppRole(login).ensure(owner) is None
    connection = await asyncpg.connect(signed_in_as(login), server_settings={"role": APP_ROLE})
    await connection.execute(AUDIT)
    assert not await may_rewrite_audit(connection)
    await connection.close()


async def test_an_owner_who_may_not_make_roles_grants_to_the_login_and_warns(
    signed_in_as: Callable[[str], str], owner: asyncpg.Connection, runtime: Branch, login: str
) -> None:
    poor = f"{login}_owner"
    await owner.execute(f"CREATE ROLE {poor} LOGIN; GRANT CREATE, USAGE ON SCHEMA public TO {poor}")
    said: list[str] = []
    url = signed_in_as(poor)
    try:
        role = AppRole(login, name=f"{login}_app")
        await Migrations(url, [runtime], role=role, say=said.append).up()
        assert f"the owner can't make the role {login}_app" in said[-1]
        connection = await asyncpg.connect(signed_in_as(login))
        await connection.execute(AUDIT)
        assert not await may_rewrite_audit(connection)
        await connection.close()
        await Migrations(url, [runtime], role=AppRole(name=f"{login}_app"), say=said.append).up()
        assert "it owns the audit log and could change it" in said[-1]
    finally:
        await owner.execute(f"DROP OWNED BY {poor} CASCADE; DROP ROLE {poor}")


async def test_many_may_make_the_role_at_once(owner_url: str, owner: asyncpg.Connection) -> None:
    name = f"migr_{secrets.token_hex(6)}"
    others = [await asyncpg.connect(owner_url) for _ in range(6)]
    try:
        await asyncio.gather(*(AppRole(name=name)._exist(other) for other in others))
        assert await owner.fetchval("SELECT count(*) FROM pg_roles WHERE rolname = $1", name) == 1
    finally:
        for other in others:
            await other.close()
        await owner.execute(f"DROP ROLE {name}")
