"""`fortress worker`: jobs and subscribers in a process of their own."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING, Annotated

import typer
import uvloop

from fortress import heap
from fortress.commands.project import Project, Target, running_database, say
from fortress.settings import Settings, read_settings

if TYPE_CHECKING:
    from fortress.bootstrap import Fortress


class WorkerCommand:
    """The command that works without serving."""

    def __init__(self, project: Project) -> None:
        self._project = project

    def worker(
        self,
        target: Target = None,
        at_once: Annotated[int | None, typer.Option(help="jobs at once")] = None,
    ) -> None:
        """Run jobs until told to stop; for projects that set FORTRESS_WORKER=apart, or beside a server that has much to do."""
        heap.share_one_heap()
        settings = read_settings(given={} if at_once is None else {"jobs_at_once": at_once})
        app = self._project.app(target, settings)
        app.check(settings)
        with running_database(settings) as ready:
            uvloop.run(_work(app, ready))


async def _work(app: Fortress, settings: Settings) -> None:
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    async with app.working(settings):
        say(f"working, {settings.jobs_at_once} jobs at once; Ctrl-C stops")
        await told.wait()
        say(f"stopping; jobs under way have {settings.jobs_grace:g} s")
