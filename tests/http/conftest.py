"""A running site for tests that crawl every route."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from tests.http.site import Site, make_app

from fortress.settings import Settings
from fortress.testing.servers import server_names, server_url


@pytest.fixture(scope="session", params=server_names()[:1])
def postgres_server(request: pytest.FixtureRequest) -> Iterator[str]:
    """One server: what differs between them is the data layer's, whose own suites run on all."""
    with server_url(request.param, request.config.rootpath) as url:
        yield url


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Whoever tries every odd body guesses many a password."""
    return settings.model_copy(update={"sign_in_failures": 1_000_000, "sign_in_failures_per_address": 1_000_000})


@pytest.fixture
async def site(settings: Settings) -> AsyncIterator[Site]:
    """The app, running, with one of everything in it."""
    app = make_app().with_settings(settings)
    await app.start()
    site = Site(app)
    await site.furnish()
    yield site
    await app.stop()
