"""`fortress role`: over a real database, as an operator meets it."""

from __future__ import annotations

import os
import pwd
from uuid import uuid4

import pytest
from tests.commands.conftest import Shell

from fortress.commands.project import said
from fortress.commands.role import explanation_lines
from fortress.domains.access.service.defining import Origin
from fortress.domains.access.service.explaining import Explanation, Missing, Source, Way
from fortress.errors import FieldError, Invalid, NotFound

AUDITOR = ("role", "make", "auditor", "--title", "Reads [the] log", "--grant", "audit:read")


def test_roles_are_made_shown_listed_changed_and_removed(run: Shell) -> None:
    assert run(*AUDITOR, "--grant", "users:read.any").output == "auditor  Reads [the] log\n  made\n  audit:read\n  users:read.any\n"
    assert run("role", "show", "auditor", "--json").json()["grants"] == ["audit:read", "users:read.any"]
    listed = run("role", "list")
    assert listed.code == 0
    assert [line.split()[0] for line in listed.output.splitlines()] == ["role", "admin", "auditor", "clerk", "customer", "member"]
    assert "Reads [the] log" in listed.output
    assert [role["origin"] for role in run("role", "list", "--json").json()].count("made") == 1
    changed = run("role", "change", "auditor", "--grant", "users:list", "--revoke", "audit:read", "--second-factor", "--json").json()
    assert (changed["grants"], changed["second_factor"], changed["title"]) == (["users:list", "users:read.any"], True, "Reads [the] log")
    assert run("role", "change", "auditor", "--title", "Other", "--no-second-factor").output.startswith("auditor  Other\n  made\n")
    assert run("role", "remove", "auditor", answer="n\n").code == 1
    assert run("role", "remove", "auditor", answer="y\n").output.endswith("auditor is gone.\n")
    ended = run("role", "show", "auditor")
    assert (ended.code, ended.problem, ended.output) == (1, "There is no such role.", "")
    assert "fortress role list" in ended.hint


def test_the_log_names_the_operator(run: Shell) -> None:
    run(*AUDITOR)
    run("role", "assign", "ann@example.com", "auditor")
    rows = run.ask("SELECT actor_kind, detail->>'operator' AS operator FROM audit_log WHERE action LIKE 'access.role%'")
    assert {tuple(row) for row in rows} == {("system", pwd.getpwuid(os.getuid()).pw_name)}
    assert len(rows) == 2


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("show", "nope"), "There is no such role."),
        (("make", "Odd Name", "--title", "t"), "'Odd Name' can't be a role's name"),
        (("make", "x", "--title", "t"), "'x' can't be a role's name"),
        (("make", "auditor", "--title", "t", "--grant", "no:such"), "There is no grant 'no:such'."),
        (("make", "admin", "--title", "t"), "There is a role of this name already."),
        (("change", "admin", "--title", "t"), "This role is declared in code."),
        (("change", "nope", "--title", "t"), "There is no such role."),
        (("change", "member", "--grant", "*"), "There is no grant '*'."),
        (("remove", "member", "--yes"), "This role is declared in code."),
        (("assign", "nobody@example.com", "admin"), "There is no such user."),
        (("assign", str(uuid4()), "admin"), "There is no such user."),
        (("assign", "ann@example.com", "king"), "There is no role 'king'."),
        (("assign", "ann@example.com", "admin", "--until", "2020-01-01"), "roles/2/expires_at: This is past"),
        (("assign", "admin@example.com", "--take", "admin"), "This is the last administrator."),
        (("explain", "ann@example.com", "no:such"), "There is no such permission."),
    ],
)
def test_what_is_refused_is_said_in_one_line(run: Shell, words: tuple[str, ...], problem: str) -> None:
    ended = run("role", *words)
    assert (ended.code, ended.problem, ended.output) == (1, problem, "")


@pytest.mark.parametrize(
    "words", [("assign", "ann@example.com"), ("make", "auditor"), ("unused", "--days", "0"), ("assign", "a", "b", "--until", "soon")]
)
def test_what_is_not_a_command_ends_with_2(run: Shell, words: tuple[str, ...]) -> None:
    assert run("role", *words).code == 2


def test_roles_are_given_until_a_day_and_taken(run: Shell) -> None:
    given = run("role", "assign", "ann@example.com", "clerk", "--until", "2100-01-01T12:30", "--json").json()
    assert [(one["name"], one["expires_at"]) for one in given if one["expires_at"]] == [("clerk", "2100-01-01T12:30:00Z")]
    assert "clerk     2100-01-01 12:30 UTC" in run("user", "roles", run.ann.id).output
    assert "clerk" not in run("role", "assign", "ANN@example.com", "--take", "clerk").output


def test_a_role_that_somebody_holds_is_not_removed(run: Shell) -> None:
    run(*AUDITOR)
    run("role", "assign", run.ann.id, "auditor")
    ended = run("role", "remove", "auditor", "--yes")
    assert (ended.code, ended.problem) == (1, "Somebody holds this role.")
    assert "--take" in ended.hint


def test_why_somebody_may_or_may_not(run: Shell) -> None:
    no = run("role", "explain", "ann@example.com", "users:list")
    assert no.code == 1
    assert no.output.splitlines() == ["no   users:list: List everyone", "     none of the roles held gives it", "     given by: admin"]
    yes = run("role", "explain", run.ann.id, "orders:read")
    assert yes.code == 0
    assert yes.output.splitlines()[:2] == ["yes  orders:read: See orders", "     by the declared role customer, over their own rows"]
    told = run("role", "explain", run.ann.id, "orders:read", "--json").json()
    assert (told["allowed"], told["reach"]) == (True, "own")


def test_what_nobody_uses_is_listed(run: Shell) -> None:
    run(*AUDITOR)
    run("role", "assign", run.ann.id, "auditor")
    listed = run("role", "unused", "--days", "30")
    assert any(run.ann.id in line and "audit:read" in line and "never" in line for line in listed.output.splitlines())
    assert {one["user_id"] for one in run("role", "unused", "--json").json()} > {run.ann.id}


def test_permissions_are_listed(run: Shell) -> None:
    listed = {one["name"]: one["grants"] for one in run("role", "permissions", "--json").json()}
    assert listed["users:read"] == ["users:read.own", "users:read.any"]
    assert "users:read.own, users:read.any" in run("role", "permissions").output


def test_an_explanation_for_people_says_every_thing_that_matters() -> None:
    source = Source("made-up", Origin.MADE, "any", second_factor=True, expires_at=None)
    ways = [Way("session", True, True, []), Way("api_key", False, False, [])]
    explained = Explanation(uuid4(), "a:b", "Title", True, "any", [source], ways, [], [])
    assert explanation_lines(explained) == [
        "[bold green]yes[/]  a:b: Title",
        "     by the made role [bold]made-up[/], over everyone's rows, after a second factor",
        "     with a session with a second factor",
        "     [dim]never with an API key[/]",
    ]
    for missing in (Missing.ROLE, Missing.SUSPENDED, Missing.ENDED):
        refused = Explanation(uuid4(), "a:b", "Title", False, None, [], [], [missing], ["x"])
        assert len(explanation_lines(refused)) == 3


def test_a_refusal_in_one_line() -> None:
    assert said(NotFound("There is no such thing.")) == "There is no such thing."
    assert said(Invalid([FieldError("/a/0", "Wrong", "x"), FieldError("?b", "Worse", "y")])) == "a/0: Wrong; ?b: Worse"


def test_a_database_without_a_schema_is_said(run: Shell) -> None:
    run.ask("DROP TABLE alembic_version")
    ended = run("role", "list")
    assert ended.code == 1
    assert ended.hint == "fortress migrate up"
