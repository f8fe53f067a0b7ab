"""A running site for tests that crawl every route."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.http.site import Site, make_app

from fortress.settings import Settings


@pytest.fixture
async def site(settings: Settings) -> AsyncIterator[Site]:
    """The app, running, with one of everything in it."""
    app = make_app().with_settings(settings)
    await app.start()
    site = Site(app)
    await site.furnish()
    yield site
    await app.stop()
