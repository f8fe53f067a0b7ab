"""`fortress keys`: what it makes, changes and says, on a real ring file."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from fortress.clock import SystemClock
from fortress.commands.keys import keys_app, lines_of
from fortress.commands.keystatus import KeyLine, KeyReport
from fortress.commands.project import Project
from fortress.commands.rotation import Rewrapped
from fortress.errors import CannotStart
from fortress.security.keyfile import FileKeys
from fortress.security.keymaterial import decode_ring, encode_ring
from fortress.security.keys import KeyRing, new_ring

Run = Callable[..., Any]


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The ring's file that is set; there is none yet."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FORTRESS_KEYRING", str(tmp_path / "ring.json"))
    return tmp_path / "ring.json"


@pytest.fixture
def run(file: Path) -> Run:
    def no_app(target: str | None) -> None:
        raise AssertionError(f"these commands need no app, and no database: {target}")

    app = keys_app(Project(no_app))  # type: ignore[arg-type]
    return lambda *words: CliRunner().invoke(app, words)


def ring(file: Path) -> KeyRing:
    return KeyRing(FileKeys(file), SystemClock())


def refusal(ended: Any) -> CannotStart:
    assert ended.exit_code == 1
    assert isinstance(ended.exception, CannotStart)
    return ended.exception


def test_new_makes_a_ring_that_only_its_owner_reads(run: Run, file: Path) -> None:
    assert run("new").exit_code == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    found = ring(file)
    assert len(found.signing_keys()) == 2
    assert len(found.wrapping_keys()) == 1


def test_new_never_replaces_a_ring(run: Run, file: Path) -> None:
    run("new")
    before = file.read_bytes()
    assert "is there already" in refusal(run("new")).problem
    assert "is there already" in refusal(run("new", str(file))).problem
    assert file.read_bytes() == before


def test_new_makes_it_where_it_is_told_to(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FORTRESS_KEYRING")
    assert "say where" in refusal(run("new")).problem
    assert run("new", "deep/ring.json").exit_code == 0
    assert ring(tmp_path / "deep" / "ring.json").signer().kid


def test_rotate_alone_turns_the_signing_key_over(run: Run, file: Path) -> None:
    run("new")
    following = ring(file).signing_keys()[1].kid
    said = run("rotate").output
    assert said == f"Tokens are signed by {following} from now on.\n"
    assert ring(file).signer().kid == following
    run("rotate", "signing")
    assert ring(file).signer().kid != following


def test_rotate_masters_makes_a_new_master_and_touches_nothing_else(run: Run, file: Path) -> None:
    run("new")
    before = ring(file)
    assert "master 2" in run("rotate", "masters").output
    after = ring(file)
    assert after.secret("refresh").id == 2
    assert after.secret_by_id("refresh", 1) is not None
    assert after.signer().kid == before.signer().kid
    assert after.wrapping_keys() == before.wrapping_keys()


def test_a_next_wrapping_key_is_prepared_without_a_database(run: Run, file: Path) -> None:
    run("new")
    wraps = ring(file).wrapping_keys()[0].id
    for _ in range(2):
        assert run("rotate", "wrapping", "--prepare").exit_code == 0
        assert [key.state.value for key in ring(file).wrapping_keys()] == ["active", "next"]
    assert ring(file).wrapping_keys()[0].id == wraps
    assert ring(file).wrapping_keys()[1].id in run("rotate", "wrapping", "--prepare").output


def test_what_a_rotation_did_is_said_in_words() -> None:
    done = Rewrapped(key="ring:b", resumed=True, rewrapped=7, destroyed=("a",), unused=("c",))
    assert lines_of(done) == [
        "An unfinished rotation was gone on with.",
        "7 keys were wrapped anew; ring:b wraps from now on.",
        "Destroyed for ever: a. What only they wrapped can't be opened, backups included.",
        "Nothing is wrapped by c any more; --destroy-old destroys them.",
    ]
    assert len(lines_of(Rewrapped("ring:b", resumed=False, rewrapped=0, destroyed=(), unused=()))) == 1


def test_the_status_says_what_is_left_to_do() -> None:
    since = datetime(2026, 3, 1, 12, tzinfo=UTC)
    lines = KeyReport(
        "ring:b", 3, (KeyLine("wrapping", "ring:a", "retired", since, wraps=3), KeyLine("signing", "k", "active", since, since))
    )
    assert lines.lines() == [
        "wrapping  ring:a  retired since 2026-03-01 12:00: 3 keys",
        "signing   k  active since 2026-03-01 12:00, until 2026-03-01 12:00",
        "ring:b wraps; 3 keys are under another one.",
        "fortress keys rotate wrapping brings them over.",
    ]
    assert KeyReport("ring:b", 0, (), since, ("users.email_key",)).lines()[1:] == [
        "Data keys are half renewed since 2026-03-01 12:00: fortress keys rotate data goes on with it.",
        "Index keys are half renewed (users.email_key): fortress keys rotate index goes on with it.",
    ]
    assert KeyReport("ring:b", 0, ()).lines() == ["ring:b wraps; no keys are under another one."]


def test_upgrade_gives_an_older_ring_a_key_that_wraps(run: Run, file: Path) -> None:
    text = json.loads(encode_ring(new_ring(SystemClock().now())))
    del text["wrapping"]
    file.write_text(json.dumps(text | {"format": 1}))
    file.chmod(0o600)
    for _ in range(2):
        assert run("upgrade").exit_code == 0
        assert len(decode_ring(file.read_bytes()).wrapping) == 1


def test_show_prints_public_keys_alone(run: Run, file: Path) -> None:
    run("new")
    shown = json.loads(run("show").output)
    assert {key["kid"] for key in shown["keys"]} == {key.kid for key in ring(file).signing_keys()}
    content = json.loads(file.read_bytes())
    secrets = [part[name] for kind, name in (("signing", "seed"), ("masters", "secret"), ("wrapping", "secret")) for part in content[kind]]
    assert not any(secret in json.dumps(shown) for secret in secrets)
    assert len(secrets) == 4
