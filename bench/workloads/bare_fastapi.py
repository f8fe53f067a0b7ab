"""One small JSON route of a FastAPI application that guards nothing."""

from __future__ import annotations

from contextlib import asynccontextmanager

from bench.inprocess import Request, started
from bench.peers.bare_fastapi import create_app
from bench.worker import Operations


@asynccontextmanager
async def constant() -> Operations:
    app = create_app()
    async with started(app):
        yield Request(app, "/api/v1/constant")
