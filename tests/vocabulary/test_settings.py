"""Settings: every source, every mistake."""

from __future__ import annotations

from pathlib import Path

import pytest

from fortress.errors import CannotStart
from fortress.settings import Environment, read_settings, read_with_origins


def test_the_environment_stands_above_the_file_and_the_command_line_above_both(tmp_path: Path) -> None:
    (tmp_path / "fortress.toml").write_text('port = 1\nworkers = 2\nsite = "Ours"')
    settings, origins = read_with_origins({"FORTRESS_PORT": "3", "FORTRESS_WORKERS": "4"}, tmp_path, given={"port": 5})
    assert (settings.port, settings.workers, settings.site) == (5, 4, "Ours")
    assert (origins["port"], origins["workers"], origins["site"]) == ("command line", "environment", str(tmp_path / "fortress.toml"))
    assert "host" not in origins


def test_lists_are_read_from_commas(tmp_path: Path) -> None:
    given = {"FORTRESS_ALLOWED_HOSTS": "a.example, *.b.example", "FORTRESS_TRUSTED_PROXIES": "10.0.0.0/8,::1/128"}
    settings = read_settings(given, tmp_path)
    assert settings.allowed_hosts == ("a.example", "*.b.example")
    assert [str(network) for network in settings.trusted_proxies] == ["10.0.0.0/8", "::1/128"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"FORTRESS_PROT": "1"}, "unknown setting FORTRESS_PROT"),
        ({"FORTRESS_PORT": "eight"}, "FORTRESS_PORT"),
        ({"FORTRESS_PORT": "70000"}, "FORTRESS_PORT"),
        ({"FORTRESS_WORKERS": "0"}, "FORTRESS_WORKERS"),
        ({"FORTRESS_ENV": "staging"}, "FORTRESS_ENV"),
        ({"FORTRESS_TRUSTED_PROXIES": "everyone"}, "FORTRESS_TRUSTED_PROXIES"),
        ({"FORTRESS_ARGON2_MEMORY": "1024"}, "FORTRESS_ARGON2_MEMORY"),
        ({"FORTRESS_ENV": "production"}, "FORTRESS_DATABASE_URL and FORTRESS_KEYRING"),
        ({"FORTRESS_BROKER": "nats://127.0.0.1"}, "unknown setting FORTRESS_BROKER"),
    ],
)
def test_a_mistake_is_said_in_one_line(given: dict[str, str], said: str, tmp_path: Path) -> None:
    with pytest.raises(CannotStart) as caught:
        read_settings(given, tmp_path)
    assert said in caught.value.problem
    assert "\n" not in caught.value.problem


def test_a_mistake_in_the_file_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "fortress.toml").write_text("prot = 1")
    with pytest.raises(CannotStart, match=r"fortress\.toml") as caught:
        read_settings({}, tmp_path)
    assert caught.value.hint == "did you mean port?"
    (tmp_path / "fortress.toml").write_text("port =")
    with pytest.raises(CannotStart, match="can't be read"):
        read_settings({}, tmp_path)


def test_a_secret_is_shown_nowhere(tmp_path: Path) -> None:
    settings = read_settings({"FORTRESS_DATABASE_URL": "postgresql://u:hunter2@h/d", "FORTRESS_ADMIN_PASSWORD": "hunter2"}, tmp_path)
    assert "hunter2" not in repr(settings) + str(settings) + settings.model_dump_json()
    with pytest.raises(CannotStart) as caught:
        read_settings({"FORTRESS_PORT": "hunter2"}, tmp_path)
    assert "hunter2" not in caught.value.problem


def test_settings_can_not_be_changed(tmp_path: Path) -> None:
    settings = read_settings({}, tmp_path)
    with pytest.raises(ValueError, match="frozen"):
        settings.env = Environment.PRODUCTION  # type: ignore[misc]  # what the type forbids is the point
