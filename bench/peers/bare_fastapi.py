"""A FastAPI application with 31 routes and nothing around them: the price of a route that guards nothing."""

from __future__ import annotations

from fastapi import FastAPI

ROUTES = 30


def create_app() -> FastAPI:
    app = FastAPI()
    for number in range(ROUTES):
        app.get(f"/api/v1/other{number}/{{item_id}}")(other)
    app.get("/api/v1/constant")(constant)
    return app


async def constant() -> dict[str, str | int]:
    return {"name": "constant", "answer": 42}


async def other(item_id: int) -> dict[str, int]:
    return {"item_id": item_id}
