"""A shell over a database of its own, with an administrator, somebody else and a key of theirs in it."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from fortress import Fortress
from fortress.commands.shell import shell
from fortress.errors import CannotStart
from fortress.security.keyfile import DEVELOPMENT_FILE
from fortress.settings import Settings
from fortress.testing.callers import Callers
from fortress.testing.client import Caller, Client
from fortress.testing.databases import Databases
from fortress.testing.plugin import ADMIN, ADMIN_PASSWORD
from fortress.testing.servers import server_names, server_url


class Ended(msgspec.Struct, frozen=True):
    """How a command ended: its exit code, what it printed, and what was in the way."""

    code: int
    output: str
    problem: str = ""
    hint: str = ""

    def json(self) -> Any:
        return msgspec.json.decode(self.output)


class Shell:
    """Runs commands.

    Attributes:
        ann: somebody with an account.
        key: the id of an API key of hers.
    """

    def __init__(self, app: Fortress, url: str) -> None:
        self._app = app
        self._url = url
        self.ann = Caller("nobody yet")
        self.key = ""

    def __call__(self, *words: object, answer: str | None = None) -> Ended:
        result = CliRunner().invoke(shell(lambda _: self._app), [str(word) for word in words], input=answer)
        if isinstance(result.exception, CannotStart):
            return Ended(1, result.output, result.exception.problem, result.exception.hint)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Ended(result.exit_code, result.output)

    def ask(self, sql: str, *arguments: object) -> list[Any]:
        """What the database holds."""

        async def fetch() -> list[Any]:
            connection = await asyncpg.connect(self._url, timeout=10)
            try:
                return list(await connection.fetch(sql, *arguments))
            finally:
                await connection.close(timeout=10)

        return asyncio.run(fetch())

    async def furnish(self, settings: Settings) -> None:
        """Have somebody sign up and make a key."""
        self._app.with_settings(settings)
        await self._app.start()
        client = Client(self._app)
        self.ann = await Callers(client, ADMIN, ADMIN_PASSWORD).person("ann")
        self.key = (await client.post("/api-keys", {"name": "nightly", "scopes": ["orders:read"]}, as_=self.ann)).json()["id"]
        await self._app.stop()


@pytest.fixture(scope="session", params=server_names()[:1])
def postgres_server(request: pytest.FixtureRequest) -> Iterator[str]:
    """One server: what differs between them is the data layer's, whose own suites run on all."""
    with server_url(request.param, request.config.rootpath) as url:
        yield url


@pytest.fixture
def run(
    app: Fortress, databases: Databases, app_template: str, app_state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Shell]:
    shutil.copy(app_state / DEVELOPMENT_FILE, tmp_path)
    with databases.kept(template=app_template) as url:
        given: dict[str, Any] = {"database_url": url, "state_dir": tmp_path, "limit_store": "memory", "log_level": "warning"}
        for name, value in given.items():
            monkeypatch.setenv(f"FORTRESS_{name.upper()}", str(value))
        made = Shell(app, url)
        asyncio.run(
            made.furnish(Settings.model_validate(given | {"database_url": SecretStr(url), "argon2_memory": 12_288, "argon2_time": 1}))
        )
        yield made
