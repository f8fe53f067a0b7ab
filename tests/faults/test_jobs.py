"""Jobs on real processes: killed, stopped and doubled, and nothing is lost or done twice that should be done once."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import asyncpg
import pytest
from tests.faults.conftest import clone_of
from tests.faults.harness.serving import Server

from fortress.events.jobs.worker import BEAT_SECONDS, STALLED_SECONDS
from fortress.security.keyfile import DEVELOPMENT_FILE
from fortress.testing.databases import Databases
from fortress.testing.processes import eventually

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]
else:
    Connection = asyncpg.Connection

pytestmark = [pytest.mark.faults, pytest.mark.timeout(120)]

AGE: Final = """
UPDATE procrastinate_workers SET last_heartbeat = now() - interval '21 s'
WHERE id IN (SELECT worker_id FROM procrastinate_jobs)"""
PROBE: Final = '''
import asyncio, os
from fortress import Domain, Fortress
from fortress.data import Database
from fortress.domains import standard
from fortress.events import Once, backoff, cron, job
from fortress.security import SYSTEM
from shop.orders.manifest import orders

async def tell(database, action, **detail):
    async with database.unit(SYSTEM) as unit:
        unit.audit(action, detail={"pid": os.getpid(), **detail})

@job(name="probe.hang")
async def hang(mark: str, database: Database, once: Once):
    """The first process to have it never ends it."""
    async with database.unit(SYSTEM) as unit:
        first = await once(unit)
        unit.audit("probe.begun" if first else "probe.again", target=mark, detail={"pid": os.getpid()})
    if first:
        await asyncio.Event().wait()

@job(name="probe.note")
async def note(mark: str, database: Database, once: Once):
    async with database.unit(SYSTEM) as unit:
        if await once(unit):
            unit.audit("probe.noted", target=mark)

@job(name="probe.fail", retry=backoff(times=1, first=0.01))
async def fail(database: Database):
    mended = await database.run("SELECT FROM audit_log WHERE action = 'probe.mended'")
    await tell(database, "probe.tried")
    if not mended:
        raise RuntimeError("not yet")

@cron("* * * * *", name="probe.minute")
async def minute(database: Database):
    await tell(database, "probe.ticked")

probe = Domain("probe", handlers=[hang, note, fail, minute])
app = Fortress(title="Probe", version=2, domains=[*standard, orders, probe])
'''


class Workers:
    """`fortress worker` processes on one database.

    Attributes:
        project: runs commands on it, and can serve it.
        began: when, in Unix seconds.
    """

    def __init__(self, project: Server) -> None:
        self.project = project
        self.began = time.time()
        self._running: list[subprocess.Popen[bytes]] = []

    def start(self) -> subprocess.Popen[bytes]:
        worker = self.project.begin("worker")
        self._running.append(worker)
        return worker

    def alive(self) -> list[subprocess.Popen[bytes]]:
        return [worker for worker in self._running if worker.poll() is None]

    def of_pid(self, pid: int) -> subprocess.Popen[bytes]:
        return next(worker for worker in self._running if worker.pid == pid)

    def end(self) -> None:
        for worker in self._running:
            if worker.poll() is None:
                worker.kill()
                worker.communicate()


@pytest.fixture(scope="module")
def workers(
    fault_databases: Databases, fault_template: str, fault_state: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Workers]:
    """Two of them at first; each test leaves one at least."""
    directory, state = tmp_path_factory.mktemp("probe"), tmp_path_factory.mktemp("state")
    (directory / "probe.py").write_text(PROBE)
    shutil.copy(fault_state / DEVELOPMENT_FILE, state)
    with clone_of(fault_databases, fault_template) as url:
        project = Server(url, state, target="probe:app", directory=directory, workers=1, jobs_grace=1, log_level="warning")
        made = Workers(project)
        made.start()
        made.start()
        yield made
        made.end()
        project.kill9()


@pytest.fixture
async def owner(workers: Workers) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(workers.project.database_url, timeout=10)
    yield connection
    await connection.close()


async def put(owner: Connection, name: str, **arguments: str) -> int:
    sql = "INSERT INTO procrastinate_jobs (queue_name, task_name, args) VALUES ($1, $1, $2) RETURNING id"
    return int(await owner.fetchval(sql, name, json.dumps(arguments)))


async def told(owner: Connection, action: str, wanted: int = 1, **of: str) -> list[dict[str, Any]]:
    """What the jobs have written of this action, once there are so many."""
    sql = "SELECT detail FROM audit_log WHERE action = $1 AND ($2::text IS NULL OR target = $2) ORDER BY seq"
    rows = list[Any]()
    for _ in range(1200):
        rows = await owner.fetch(sql, action, of.get("mark"))
        if len(rows) >= wanted:
            return [json.loads(row["detail"]) for row in rows]
        await owner.execute("SELECT pg_sleep(0.05)")
    raise AssertionError(f"{action} was told {len(rows)} times, not {wanted}")


async def state(owner: Connection, id: int, wanted: str) -> None:
    for _ in range(600):
        if await owner.fetchval("SELECT status::text FROM procrastinate_jobs WHERE id = $1", id) == wanted:
            return
        await owner.execute("SELECT pg_sleep(0.05)")
    raise AssertionError(f"job {id} is not {wanted}")


def test_a_killed_process_jobs_are_taken_back_within_the_stated_time() -> None:
    assert STALLED_SECONDS + BEAT_SECONDS == 25


async def test_a_minute_is_enqueued_once_by_two_workers(workers: Workers, owner: Connection) -> None:
    """Each looks back over the last minute when it starts."""
    assert len(workers.alive()) == 2
    for _ in range(600):
        if await owner.fetchval("SELECT count(*) FROM procrastinate_workers") == 2:
            break
        await owner.execute("SELECT pg_sleep(0.05)")
    await put(owner, "probe.note", mark="after")
    await told(owner, "probe.noted", mark="after")
    await told(owner, "probe.ticked")
    ticks = await owner.fetchval("SELECT count(*) FROM audit_log WHERE action = 'probe.ticked'")
    assert ticks <= time.time() // 60 - workers.began // 60 + 1


async def test_the_job_of_a_killed_worker_is_taken_back_and_its_step_is_done_once(workers: Workers, owner: Connection) -> None:
    """Takes as long as the next heartbeat of the worker that is left, five seconds at most."""
    await put(owner, "probe.hang", mark="kill")
    (begun,) = await told(owner, "probe.begun", mark="kill")
    killed = workers.of_pid(begun["pid"])
    killed.kill()
    killed.communicate()
    # What time would do: the dead worker's last sign of life is 21 seconds old.
    await owner.execute(AGE)
    (again,) = await told(owner, "probe.again", mark="kill")
    assert again["pid"] == workers.alive()[0].pid
    assert len(await told(owner, "probe.begun", mark="kill")) == 1


async def test_a_worker_that_is_told_to_stop_gives_back_what_it_can_not_finish(workers: Workers, owner: Connection) -> None:
    workers.start()
    id = await put(owner, "probe.hang", mark="stop")
    (begun,) = await told(owner, "probe.begun", mark="stop")
    stopped = workers.of_pid(begun["pid"])
    stopped.send_signal(signal.SIGTERM)
    stopped.communicate(timeout=20)
    assert stopped.returncode == 0
    await told(owner, "probe.again", mark="stop")
    assert await owner.fetchval("SELECT count(*) FROM procrastinate_events WHERE job_id = $1 AND type = 'failed'", id) == 0


async def test_what_is_dead_is_shown_and_tried_again_by_the_operator(workers: Workers, owner: Connection) -> None:
    id = await put(owner, "probe.fail")
    await state(owner, id, "failed")
    assert len(await told(owner, "probe.tried")) == 2
    assert await owner.fetchval("SELECT error FROM job_reports WHERE job_id = $1", id) == "RuntimeError"
    await owner.execute(
        "INSERT INTO audit_log (id, at, actor_id, actor_kind, action, detail) "
        "VALUES (gen_random_uuid(), now(), gen_random_uuid(), 'system', 'probe.mended', '{}')"
    )
    assert workers.project.run("jobs", "retry", str(id)).returncode == 0
    await told(owner, "probe.tried", wanted=3)


async def test_a_running_job_is_cancelled_from_the_shell(workers: Workers, owner: Connection) -> None:
    id = await put(owner, "probe.hang", mark="cancel")
    await told(owner, "probe.begun", mark="cancel")
    assert "is asked to end" in workers.project.run("jobs", "cancel", str(id)).stdout
    await state(owner, id, "aborted")


async def test_the_server_works_by_itself(workers: Workers, owner: Connection) -> None:
    (worker,) = workers.alive()
    worker.send_signal(signal.SIGTERM)
    worker.communicate(timeout=20)
    workers.project.start()
    id = await put(owner, "probe.note", mark="served")
    await told(owner, "probe.noted", mark="served")
    assert eventually(lambda: "fortress_job_seconds_count" in _metrics(workers.project))
    assert workers.project.stop() == 0
    assert await owner.fetchval("SELECT count(*) FROM procrastinate_jobs WHERE id = $1", id) == 0
    assert await owner.fetchval("SELECT count(*) FROM procrastinate_workers") == 0


def _metrics(server: Server) -> str:
    with urllib.request.urlopen(f"{server.url}/health/metrics", timeout=5) as answer:
        text: str = answer.read().decode()
        return text
