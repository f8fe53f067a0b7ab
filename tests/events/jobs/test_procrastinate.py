"""The tables are procrastinate's: the same as its own schema makes, and its own workers and ours are told apart by nothing in them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from importlib import resources
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import asyncpg
import procrastinate
import pytest

from fortress.data import Database
from fortress.data.queue import CALLER
from fortress.events import job
from fortress.security.permissions import Method
from fortress.security.principal import Principal
from fortress.testing.databases import Databases

if TYPE_CHECKING:
    from tests.events.jobs.conftest import Start

Admin = Any
ME = Principal(uuid4(), Method.SESSION)
# Everything that a schema of procrastinate's is made of, in PostgreSQL's own words.
MADE: Final = r"""
SELECT 'function ' || pg_get_functiondef(p.oid) FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace
    AND p.proname NOT LIKE 'fortress%'
UNION ALL SELECT 'trigger ' || pg_get_triggerdef(t.oid) || ' ' || t.tgenabled::text FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
    WHERE c.relname LIKE 'procrastinate%' AND NOT t.tgisinternal
UNION ALL SELECT 'index ' || indexdef FROM pg_indexes WHERE tablename LIKE 'procrastinate%' AND indexname NOT LIKE 'idx\_jobs\_%'
UNION ALL SELECT 'constraint ' || conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid) FROM pg_constraint
    WHERE conrelid::regclass::text LIKE 'procrastinate%' AND contype <> 'n'
UNION ALL SELECT 'column ' || c.relname || ' ' || a.attnum || ' ' || a.attname || ' ' || format_type(a.atttypid, a.atttypmod) || ' '
    || a.attnotnull || ' ' || a.attidentity::text || ' ' || coalesce(pg_get_expr(d.adbin, d.adrelid), '')
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
    LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
    WHERE c.relname LIKE 'procrastinate%' AND c.relkind IN ('r', 'c') AND c.relnamespace = 'public'::regnamespace
UNION ALL SELECT 'label ' || enumtypid::regtype || ' ' || enumlabel || ' ' || enumsortorder FROM pg_enum
ORDER BY 1"""


@pytest.fixture
async def theirs(jobs_url: str, admin: Admin) -> AsyncIterator[procrastinate.App]:
    app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=jobs_url))
    async with app.open_async():
        yield app


async def made(connection: Any) -> list[str]:
    # Function bodies differ in their comments and in the width of their indentation.
    lines = [row[0] for row in await connection.fetch(MADE)]
    return [" ".join(word for line in text.splitlines() for word in line.partition("--")[0].split()) for text in lines]


async def test_the_installed_release_would_make_what_our_migration_makes(databases: Databases, admin: Admin) -> None:
    """When this fails, procrastinate was raised: bring the difference over in a new migration, and name the new release there."""
    async with databases.clone() as url:
        connection = await asyncpg.connect(url)
        await connection.execute((resources.files("procrastinate.sql") / "schema.sql").read_text("utf-8"))
        wanted = await made(connection)
        await connection.close()
    assert len(wanted) > 80
    assert await made(admin) == wanted
    migrated = resources.files("fortress.data.versions") / "procrastinate_3_10.sql"
    assert f"procrastinate {'.'.join(version('procrastinate').split('.')[:2])} " in migrated.read_text("utf-8")


async def test_a_job_that_procrastinate_defers_is_run_by_our_worker(theirs: procrastinate.App, worker: Start) -> None:
    told: asyncio.Queue[int] = asyncio.Queue()

    @job(name="t.add")
    async def add(number: int) -> None:
        await told.put(number)

    worker(add)
    await theirs.configure_task("t.add", queue="t.add").defer_async(number=7)
    async with asyncio.timeout(20):
        assert await told.get() == 7


async def test_a_job_that_a_unit_enqueues_is_run_by_procrastinates_worker(theirs: procrastinate.App, database: Database) -> None:
    told: list[dict[str, Any]] = []

    @theirs.task(name="t.add", queue="t.add")
    async def run(**given: Any) -> None:
        told.append(given)

    @job(name="t.add")
    async def add(number: int) -> None: ...

    async with database.unit(ME) as unit:
        unit.enqueue(add, number=7)
    await theirs.run_worker_async(wait=False, install_signal_handlers=False)
    assert [{name: value for name, value in given.items() if name != CALLER} for given in told] == [{"number": 7}]
