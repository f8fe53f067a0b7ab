"""`fortress jobs`: over a real database, as an operator meets it."""

from __future__ import annotations

import os
import pwd
from typing import Any

import pytest
from tests.commands.conftest import Shell

SHELVES = "orders.look_at_shelves"
ARGUMENTS = (
    '{"skus": ["TEA"], "_caller": {"id": "00000000-0000-0000-0000-000000000007", "method": "session", "reach": "own", "request": "r-1"}}'
)


def put(run: Shell, status: str = "todo", name: str = SHELVES, **more: Any) -> int:
    """A job as it would stand there; its id."""
    columns = {"queue_name": name, "task_name": name, **more}
    marks = ", ".join(f"${number}" for number in range(1, len(columns) + 1))
    sql = f"INSERT INTO procrastinate_jobs ({', '.join(columns)}, status) VALUES ({marks}, '{status}') RETURNING id"
    return int(run.ask(sql, *columns.values())[0]["id"])


def state(run: Shell, id: int) -> tuple[Any, ...]:
    return tuple(run.ask("SELECT status::text, attempts, abort_requested FROM procrastinate_jobs WHERE id = $1", id)[0])


def test_jobs_are_listed_by_state_and_name_and_none_is_lost(run: Shell) -> None:
    assert run("jobs", "list").output == "There is no such job.\n"
    waiting = put(run)
    delayed = run.ask(
        "INSERT INTO procrastinate_jobs (queue_name, task_name, scheduled_at) VALUES ($1, $1, now() + interval '1 day') RETURNING id",
        SHELVES,
    )[0]["id"]
    running, dead, unknown = put(run, "doing"), put(run, "failed", attempts=9), put(run, name="old.gone")
    run.ask("INSERT INTO job_reports (job_id, at, done, total, message) VALUES ($1, now(), 3, 10, 'counting')", running)
    run.ask("INSERT INTO job_reports (job_id, at, error) VALUES ($1, now(), 'SmtpDown')", dead)
    listed = {job["id"]: job for job in run("jobs", "list", "--json").json()}
    states = {waiting: "waiting", delayed: "delayed", running: "running", dead: "dead", unknown: "waiting"}
    assert {id: job["state"] for id, job in listed.items()} == states
    assert [id for id, job in listed.items() if not job["declared"]] == [unknown]
    lines = run("jobs", "list").output.splitlines()
    assert [line.split()[0] for line in lines] == ["id", *map(str, sorted(states, reverse=True))]
    assert "old.gone (unknown here)" in lines[1]
    assert "3 of 10, counting" in lines[3]
    assert lines[2].rstrip().endswith("SmtpDown")
    assert [job["id"] for job in run("jobs", "list", "--status", "dead", "--json").json()] == [dead]
    assert [job["id"] for job in run("jobs", "list", "--name", "old.gone", "--json").json()] == [unknown]
    assert [job["id"] for job in run("jobs", "list", "--most", "2", "--json").json()] == [unknown, dead]
    counts = {count["name"]: count for count in run("jobs", "stats", "--json").json()}
    assert {name: count["declared"] for name, count in counts.items()}[SHELVES]
    assert counts["orders.release_unpaid"]["waiting"] == 0
    assert [counts[SHELVES][state] for state in ("waiting", "delayed", "running", "dead", "cancelled")] == [1, 1, 1, 1, 0]
    assert counts[SHELVES]["oldest"] >= 0
    assert "old.gone (unknown here)" in run("jobs", "stats").output


def test_one_job_is_shown_with_its_history_and_who_it_is_for(run: Shell) -> None:
    id = put(run, args=ARGUMENTS, lock="shelf")
    run.ask("UPDATE procrastinate_jobs SET status = 'doing' WHERE id = $1", id)
    shown = run("jobs", "show", id).output
    for wanted in ("running, priority 0, 0 tries", "lock shelf", "request r-1", '{"skus":["TEA"]}', "deferred", "started"):
        assert wanted in shown
    detail = run("jobs", "show", id, "--json").json()
    assert (detail["arguments"], detail["caller"]["request"]) == ({"skus": ["TEA"]}, "r-1")
    assert run("jobs", "show", 99_999).problem == "There is no such job; what is done is gone."


def test_the_dead_are_tried_again_one_by_one_or_all(run: Shell) -> None:
    ids = [put(run, "failed", attempts=9) for _ in range(3)]
    other, twin = put(run, "failed", name="old.gone"), put(run, "failed", queueing_lock="k")
    put(run, queueing_lock="k")
    assert run("jobs", "retry", ids[0]).output == f"{ids[0]} waits again.\n"
    assert state(run, ids[0]) == ("todo", 0, False)
    assert run("jobs", "retry", ids[0]).problem.startswith("It is neither dead nor cancelled")
    assert run("jobs", "retry", twin).problem.startswith("It is neither dead nor cancelled")
    assert run("jobs", "retry", 99_999).hint == "fortress jobs list shows which there are"
    assert run("jobs", "retry", "--dead", "--name", SHELVES).output == "2 jobs wait again.\n"
    assert [state(run, id)[0] for id in (*ids, other, twin)] == ["todo", "todo", "todo", "failed", "failed"]
    assert run("jobs", "retry", "--dead").output == "1 jobs wait again.\n"
    assert run("jobs", "retry", "--dead").output == "No job is dead.\n"
    rows = run.ask("SELECT target, detail->>'operator' AS operator FROM audit_log WHERE action = 'jobs.retried' ORDER BY seq")
    operator = pwd.getpwuid(os.getuid()).pw_name
    assert [tuple(row) for row in rows] == [(str(ids[0]), operator), (SHELVES, operator), (None, operator)]


@pytest.mark.parametrize("words", [("retry",), ("retry", "1", "--dead"), ("retry", "1", "--name", "a.b")])
def test_what_is_meant_must_be_said(run: Shell, words: tuple[str, ...]) -> None:
    assert run("jobs", *words).problem == "which jobs?"


def test_a_job_is_cancelled_or_asked_to_end(run: Shell) -> None:
    waiting, running, dead = put(run), put(run, "doing"), put(run, "failed")
    assert run("jobs", "cancel", waiting).output == f"{waiting} is cancelled.\n"
    assert run("jobs", "cancel", running).output == f"{running} is asked to end.\n"
    assert run("jobs", "cancel", dead).problem == f"{dead} is dead already"
    assert [state(run, id)[0] for id in (waiting, running, dead)] == ["cancelled", "doing", "failed"]
    assert state(run, running)[2]
    assert run("jobs", "retry", waiting).code == 0
    assert state(run, waiting) == ("todo", 0, False)
    assert run.ask("SELECT count(*) AS all FROM audit_log WHERE action = 'jobs.cancelled'")[0]["all"] == 2
