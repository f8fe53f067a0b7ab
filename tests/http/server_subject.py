"""A small app for the server tests, run as a process of its own: python server_subject.py PORT [setting=value …]."""

from __future__ import annotations

import asyncio
import os
import sys
import time

from fortress.errors import CannotStart
from fortress.http.drain import DrainState
from fortress.http.request import Receive, Scope, Send
from fortress.http.server import serve
from fortress.settings import Settings
from fortress.telemetry.logs import configure_logging


class Subject:
    """Answers with what the test asks for by path."""

    def __init__(self, drain: DrainState) -> None:
        self._drain = drain

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        await self._act(scope["path"])
        draining = self._drain.draining()
        status = 503 if draining and scope["path"] == "/ready" else 200
        headers = [(b"connection", b"close")] if draining else []
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": str(os.getpid()).encode()})

    async def _act(self, path: str) -> None:
        if path.startswith("/sleep/"):
            await asyncio.sleep(float(path.removeprefix("/sleep/")))
        elif path == "/hang":
            time.sleep(60)
        elif path == "/die":
            os._exit(3)

    async def _live(self, receive: Receive, send: Send) -> None:
        while (await receive())["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        sys.stdout.write("lifespan ended\n")
        sys.stdout.flush()
        await send({"type": "lifespan.shutdown.complete"})


def _slow_to_load(drain: DrainState) -> Subject:
    time.sleep(3)
    return Subject(drain)


def main() -> int:
    given = dict(part.split("=", 1) for part in sys.argv[2:])
    make_app = _slow_to_load if given.pop("slow", "") else Subject
    settings = Settings.model_validate({"port": sys.argv[1], "log_format": "json"} | given)
    configure_logging(settings)
    try:
        serve(make_app, settings)
    except CannotStart as error:
        sys.stderr.write(f"cannot start: {error.problem}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
