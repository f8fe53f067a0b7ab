"""The shop's models are what its migrations make, up, down and up again (rules DATA004, DATA005)."""

from __future__ import annotations

from fortress import Fortress
from fortress.data.migration.check import check_migrations


async def test_the_models_are_what_the_migrations_make(app: Fortress, postgres_server: str) -> None:
    assert await check_migrations(postgres_server, app.assemble().branches()) == []
