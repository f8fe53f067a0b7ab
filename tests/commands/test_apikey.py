"""`fortress apikey`: whose keys there are, and ending one."""

from __future__ import annotations

from uuid import uuid4

from tests.commands.conftest import Shell


def test_keys_are_listed_and_never_shown_whole(run: Shell) -> None:
    (key,) = run("apikey", "list", "ann@example.com", "--json").json()
    assert (key["id"], key["name"], key["scopes"]) == (run.key, "nightly", ["orders:read.own"])
    assert not {"digest", "key", "secret"} & set(key)
    table = run("apikey", "list", run.ann.id).output
    assert run.key in table
    assert "never" in table
    assert run("apikey", "list", "admin@example.com").output == "No API key.\n"


def test_a_key_is_revoked_once_and_the_log_says_so(run: Shell) -> None:
    assert run("apikey", "revoke", "admin@example.com", run.key).problem == "There is no such API key."
    assert run("apikey", "revoke", "ann@example.com", run.key).output == f"{run.key} is revoked.\n"
    assert run("apikey", "revoke", "ann@example.com", run.key).problem == "There is no such API key."
    assert run("apikey", "revoke", "ann@example.com", str(uuid4())).code == 1
    assert run("apikey", "revoke", "ann@example.com", "fort_text").code == 2
    (row,) = run.ask("SELECT actor_kind, target FROM audit_log WHERE action = 'api_keys.revoked'")
    assert tuple(row) == ("system", run.key)
    assert run("apikey", "list", "nobody@example.com").problem == "There is no such user."
