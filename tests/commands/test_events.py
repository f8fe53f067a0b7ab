"""`fortress events`: over a real database, as an operator meets it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final
from uuid import UUID, uuid4

import msgspec
import pytest
from tests.commands.conftest import Shell

import fortress.commands.events as commands
from fortress.testing.processes import eventually

pytestmark = pytest.mark.timeout(240)

EXAMPLES: Final = Path(__file__).parents[2] / "examples"
SALES = "orders.count_sale"
_PUT = """
INSERT INTO events (id, at, name, version, aggregate, actor_id, payload)
VALUES ($1, now(), 'OrderPlaced', 1, $1, $1, jsonb_build_object('order_id', $1::uuid, 'buyer_id', $1::uuid, 'total', '1.00'))
RETURNING id"""
_LANES = """
INSERT INTO subscriber_lanes (subscriber, lane, lanes, tx, seq)
SELECT $1, lane, 8, pg_snapshot_xmin(pg_current_snapshot()), 0 FROM generate_series(0, 7) AS lane ON CONFLICT DO NOTHING RETURNING 1"""
_DEAD = """
INSERT INTO parked_facts (subscriber, tx, seq, event_id, event_at, name, aggregate, state, due, failures, error)
SELECT $1, tx, seq, id, at, name, aggregate, 'dead', now(), 9, 'LookupError' FROM events WHERE id = $2 RETURNING 1"""
_PUT_BACK = "SELECT bool_and(tx = '0') AS back FROM subscriber_lanes WHERE subscriber = $1"
_HEARD = """
UPDATE subscriber_lanes SET tx = pg_snapshot_xmin(pg_current_snapshot()), seq = 0, moved_at = now() WHERE subscriber = $1 RETURNING 1"""
_READABLE = "SELECT max(tx) < pg_snapshot_xmin(pg_current_snapshot()) AS readable FROM events"


def put(run: Shell, count: int = 1) -> list[UUID]:
    ids = [run.ask(_PUT, uuid4())[0]["id"] for _ in range(count)]
    # Another test's open transaction on the same server holds back what may be read.
    assert eventually(lambda: run.ask(_READABLE)[0]["readable"], 100)
    return ids


def standing(run: Shell, name: str = SALES) -> dict[str, object]:
    (found,) = [line for line in run("events", "subscribers", "--json").json() if line["name"] == name]
    return dict(found)


def test_the_log_is_shown_and_heard_again_from_any_point(run: Shell) -> None:
    run.ask(_LANES, SALES)
    ids = put(run, 4)
    tail = run("events", "tail", "--json", "--most", 2, "--name", "OrderPlaced").output.splitlines()
    assert [msgspec.json.decode(line)["id"] for line in tail] == [str(id) for id in ids[2:]]
    assert str(ids[0]) in run("events", "tail", "--aggregate", ids[0]).output
    assert standing(run)["behind"] == 4
    run("events", "reset", SALES, "--now")
    assert standing(run)["behind"] == 0
    assert run("events", "replay", SALES, "--from", ids[1]).output == f"{SALES} hears 3 facts again.\n"
    assert standing(run)["behind"] == 3
    run("events", "replay", SALES, "--since", "2999-01-01")
    assert standing(run)["behind"] == 0
    run("events", "replay", SALES, "--all")
    assert standing(run)["behind"] == 4


def test_dead_facts_are_tried_again_one_or_all(run: Shell) -> None:
    run.ask(_LANES, SALES)
    first, second, well = put(run, 3)
    for id in (first, second):
        run.ask(_DEAD, SALES, id)
    assert (standing(run)["dead"], standing(run)["parked"]) == (2, 0)
    assert run("events", "replay", SALES, "--event", first).output == "It is heard again.\n"
    assert run("events", "replay", SALES, "--event", first).output == "It waits to be tried already.\n"
    assert run("events", "replay", SALES, "--dead").output == "1 facts are tried again.\n"
    assert run("events", "replay", SALES, "--event", well).output == "It is heard again.\n"
    assert (standing(run)["dead"], standing(run)["parked"]) == (0, 3)


def test_what_a_renamed_subscriber_left_is_shown_and_removed(run: Shell) -> None:
    run.ask(_LANES, "old.gone")
    assert standing(run, "old.gone")["declared"] is False
    assert "old.gone (unknown here)" in run("events", "subscribers").output
    assert run("events", "reset", SALES, "--forget").hint == "fortress events reset SUBSCRIBER --now has it begin at the present"
    assert run("events", "reset", "old.gone", "--forget").output == "old.gone is forgotten.\n"
    assert "old.gone" not in run("events", "subscribers").output


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("replay", SALES), "which facts?"),
        (("replay", SALES, "--all", "--dead"), "which facts?"),
        (("replay", "no.such", "--dead"), "There is no such subscriber."),
        (("replay", SALES, "--from", UUID(int=7)), "There is no such fact in the log."),
        (("reset", SALES), "reset it to what?"),
        (("reset", "no.such", "--forget"), "There is no such subscriber."),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_hint(run: Shell, words: tuple[object, ...], problem: str) -> None:
    ended = run("events", *words)
    assert (ended.code, ended.problem) == (1, problem)
    assert ended.hint


def test_a_replay_can_be_waited_for(run: Shell) -> None:
    run.ask(_LANES, SALES)
    put(run, 3)

    def hear() -> None:
        """Caught up, as a server would have it, once the replay has put the subscriber back."""
        assert eventually(lambda: run.ask(_PUT_BACK, SALES)[0]["back"], 100)
        run.ask(_HEARD, SALES)

    with ThreadPoolExecutor() as server:
        heard = server.submit(hear)
        ended = run("events", "replay", SALES, "--all", "--wait")
        heard.result()
    assert ended.output.startswith(f"{SALES} hears 3 facts again.\n")
    assert f"heard by {SALES}: 3 of 3" in ended.output
    assert standing(run)["behind"] == 0


def test_waiting_for_a_subscriber_that_nobody_runs_ends(run: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "STANDS_STILL_SECONDS", 1.0)
    run.ask(_LANES, SALES)
    put(run)
    ended = run("events", "replay", SALES, "--all", "--wait")
    assert (ended.code, ended.problem) == (1, f"{SALES} does not go on")
    assert ended.hint == "is a server or `fortress worker` running?"


def test_what_comes_is_shown_until_somebody_has_seen_enough(run: Shell) -> None:
    (first,) = put(run)
    words = [sys.executable, "-m", "fortress.main", "events", "tail", "--follow", "--json", "--name", "OrderPlaced"]
    there = os.environ | {"FORTRESS_APP": "shop.app:app"}
    with subprocess.Popen(words, cwd=EXAMPLES, env=there, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as tail:
        assert tail.stdout is not None
        assert msgspec.json.decode(tail.stdout.readline())["id"] == str(first)
        (second,) = put(run)
        assert msgspec.json.decode(tail.stdout.readline())["id"] == str(second)
        tail.send_signal(signal.SIGINT)
        _, said = tail.communicate(timeout=30)
    assert b"Traceback" not in said
    assert tail.returncode in (0, 130)
