"""`fortress user`: who there is, and whose account can be used."""

from __future__ import annotations

import os
import pwd
import stat
import zipfile
from pathlib import Path
from uuid import UUID

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


def test_what_is_kept_of_somebody_is_written_to_a_new_file_of_ones_own(run: Shell, tmp_path: Path) -> None:
    document = run("user", "export", "ann@example.com").json()
    assert document["person"] == run.ann.id
    assert document["domains"]["identity"]["accounts"][0]["email"] == "ann@example.com"
    target = tmp_path / "ann.zip"
    assert str(target) in run("user", "export", run.ann.id, "--to", str(target)).output
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    with zipfile.ZipFile(target) as archive:
        assert "identity/accounts.json" in archive.namelist()
    again = run("user", "export", run.ann.id, "--to", str(target))
    assert (again.code, again.problem) == (1, f"{target} is there already")


def test_somebody_is_forgotten_only_when_that_is_meant(run: Shell) -> None:
    assert run("user", "erase", "ann@example.com").code == 1
    assert run("user", "show", "ann@example.com").code == 0
    assert run("user", "erase", "ann@example.com", "--yes").output.startswith("Forgotten.")
    assert run("user", "show", run.ann.id).problem == "There is no such user."
    assert [row["action"] for row in run.ask("SELECT action FROM audit_log WHERE action = 'users.erased'")] == ["users.erased"]
    last = run("user", "erase", "admin@example.com", "--yes")
    assert (last.code, last.problem) == (1, "This is the last administrator.")


@pytest.mark.parametrize("command", ["show", "disable", "enable", "reset-factors", "roles", "export", "erase"])
@pytest.mark.parametrize("who", ["nobody@example.com", str(UUID(int=404)), "'; DROP TABLE users", ""])
def test_nobody_is_not_found(run: Shell, command: str, who: str) -> None:
    ended = run("user", command, who)
    assert (ended.code, ended.problem, ended.output) == (1, "There is no such user.", "")
    assert "fortress user list" in ended.hint


def test_roles_are_listed_with_their_ends(run: Shell) -> None:
    assert [one["name"] for one in run("user", "roles", run.ann.id, "--json").json()] == ["member", "customer"]


def test_who_has_lost_every_second_factor_is_let_in_by_the_password(run: Shell) -> None:
    none = run("user", "reset-factors", "ann@example.com", "--yes")
    assert (none.code, none.problem) == (1, "There is no such second factor.")
    run.ask("UPDATE sessions SET revoked_at = NULL WHERE user_id = $1", UUID(run.ann.id))
    run.ask(
        "INSERT INTO authenticators (user_id, secret, created_at, confirmed_at, last_step, misses, missed_since)"
        " VALUES ($1, '', now(), now(), 0, 0, now())",
        UUID(run.ann.id),
    )
    assert run("user", "reset-factors", "ann@example.com").code == 1
    assert run("user", "reset-factors", "ann@example.com", "--yes").output.startswith("Removed.")
    assert run.ask("SELECT 1 FROM authenticators") == []
    assert run.ask("SELECT 1 FROM sessions WHERE revoked_at IS NULL AND user_id = $1", UUID(run.ann.id)) == []
    (reset,) = run.ask("SELECT detail->>'operator' AS operator FROM audit_log WHERE action = 'factors.reset' AND target = $1", run.ann.id)
    assert reset["operator"] == pwd.getpwuid(os.getuid()).pw_name
    assert len(run.ask("SELECT 1 FROM notifications WHERE kind = 'identity.factors_reset' AND user_id = $1", UUID(run.ann.id))) == 1
