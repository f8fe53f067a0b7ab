"""A page of fifty from memory, by the repository alone."""

from __future__ import annotations

from contextlib import asynccontextmanager

from bench.inprocess import started
from bench.project.app import create_app
from bench.project.kept import KeptPeople
from bench.worker import Operations
from fortress.data import Database, PageQuery
from fortress.security import SYSTEM
from fortress.settings import read_settings


@asynccontextmanager
async def cached_page() -> Operations:
    """The page, once it is there; what a hit costs its caller."""
    app = create_app()
    settings = read_settings()
    await app.prepare(settings, lambda _line: None)
    app.with_settings(settings)
    async with started(app):
        assert app.runtime is not None
        people, database = app.runtime.container.get(KeptPeople), app.runtime.container.get(Database)
        reader, query = database.reader(SYSTEM), PageQuery(50)

        async def operation() -> object:
            return await people.listed(reader, query=query)

        yield operation
