"""`fortress user`: who there is, and whose account can be used."""

from __future__ import annotations

import os
import pwd
from uuid import uuid4

import pytest
from tests.commands.conftest import Shell


def test_accounts_are_listed_newest_first_and_shown(run: Shell) -> None:
    listed = run("user", "list", "--json").json()
    assert [one["email"] for one in listed] == ["ann@example.com", "admin@example.com"]
    assert [one["email"] for one in run("user", "list", "--limit", "1", "--json").json()] == ["ann@example.com"]
    table = run("user", "list").output.splitlines()
    assert table[0].split() == ["id", "e-mail", "status", "since", "name"]
    assert run.ann.id in table[1]
    assert run("user", "show", "Ann@Example.com").output == f"{run.ann.id}  ann@example.com  active\n"
    assert run("user", "show", run.ann.id, "--json").json()["status"] == "active"


def test_an_account_is_disabled_and_enabled_and_the_log_says_by_whom(run: Shell) -> None:
    assert run("user", "disable", "ann@example.com").output.endswith("  disabled\n")
    assert (
        run("role", "explain", run.ann.id, "orders:read").output.splitlines()[1]
        == "     the account is disabled, and its roles are out of use"
    )
    assert run("user", "enable", run.ann.id, "--json").json()["status"] == "active"
    rows = run.ask("SELECT action, detail->>'operator' AS operator FROM audit_log WHERE action ~ '^users.(dis|en)abled' ORDER BY tx, seq")
    operator = pwd.getpwuid(os.getuid()).pw_name
    assert [tuple(row) for row in rows] == [("users.disabled", operator), ("users.enabled", operator)]


def test_the_last_administrator_is_not_disabled(run: Shell) -> None:
    ended = run("user", "disable", "admin@example.com")
    assert (ended.code, ended.problem) == (1, "This is the last administrator.")


@pytest.mark.parametrize("command", ["show", "disable", "enable", "roles"])
@pytest.mark.parametrize("who", ["nobody@example.com", str(uuid4()), "'; DROP TABLE users", ""])
def test_nobody_is_not_found(run: Shell, command: str, who: str) -> None:
    ended = run("user", command, who)
    assert (ended.code, ended.problem, ended.output) == (1, "There is no such user.", "")
    assert "fortress user list" in ended.hint


def test_roles_are_listed_with_their_ends(run: Shell) -> None:
    assert [one["name"] for one in run("user", "roles", run.ann.id, "--json").json()] == ["member", "customer"]
