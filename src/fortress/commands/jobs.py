"""`fortress jobs`: what waits, runs and has failed, and what is to be done about it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated, Protocol, TypeVar

import msgspec
import typer

from fortress.commands.person import AsJson
from fortress.commands.project import console
from fortress.commands.tables import show, show_json
from fortress.errors import CannotStart
from fortress.events.jobs.desk import JobCount, JobDesk, JobDetail, JobLine, JobState

T = TypeVar("T")
Id = Annotated[int, typer.Argument(metavar="ID", help="as `fortress jobs list` shows it")]
Name = Annotated[str | None, typer.Option("--name", help="of one job only, such as orders.send_receipt")]

_UNDECLARED = "no domain here declares it; it waits for a release that does"


class AtDesk(Protocol):
    """Does some work at the desk of the project's jobs."""

    def __call__(self, work: Callable[[JobDesk], Awaitable[T]], /) -> T: ...


class JobCommands:
    """The group's commands."""

    def __init__(self, at_desk: AtDesk) -> None:
        self._at_desk = at_desk

    def list(
        self,
        status: Annotated[JobState | None, typer.Option("--status", help="only those that are so")] = None,
        name: Name = None,
        most: Annotated[int, typer.Option("--most", min=1, max=1000, help="how many at most")] = 50,
        *,
        as_json: AsJson = False,
    ) -> None:
        """List jobs, newest first; what is done is gone."""
        lines = self._at_desk(lambda desk: desk.list(status, name, most))
        if as_json:
            show_json(lines)
        else:
            show(("id", "job", "state", "tries", "since", "tells"), [_row(line) for line in lines], nothing="There is no such job.")

    def show(self, id: Id, *, as_json: AsJson = False) -> None:
        """Show all that is known of one job."""
        detail = self._at_desk(lambda desk: desk.show(id))
        if as_json:
            show_json(detail)
            return
        for line in detail_lines(detail):
            typer.echo(line)

    def retry(
        self,
        id: Annotated[int | None, typer.Argument(metavar="[ID]", help="a dead or cancelled job")] = None,
        *,
        dead: Annotated[bool, typer.Option("--dead", help="all dead ones")] = False,
        name: Name = None,
    ) -> None:
        """Have dead jobs tried again, as often as new ones."""
        if (id is None) != dead or (name and not dead):
            raise CannotStart("which jobs?", hint="fortress jobs retry ID, or --dead for all dead ones, of one --name where it is given")
        if id is not None:
            self._at_desk(lambda desk: desk.retry(id))
            console.print(f"{id} waits again.")
            return
        count = self._at_desk(lambda desk: desk.retry_dead(name))
        console.print(f"{count} jobs wait again." if count else "No job is dead.")

    def cancel(self, id: Id) -> None:
        """Cancel a job that waits; ask one that runs to end."""
        before = self._at_desk(lambda desk: desk.cancel(id))
        if before in (JobState.DEAD, JobState.CANCELLED):
            raise CannotStart(f"{id} is {before.value} already")
        console.print(f"{id} is asked to end." if before is JobState.RUNNING else f"{id} is cancelled.")

    def stats(self, *, as_json: AsJson = False) -> None:
        """Count the jobs of each name by state."""
        counts = self._at_desk(lambda desk: desk.stats())
        if as_json:
            show_json(counts)
        else:
            show(
                ("job", *(state.value for state in JobState), "oldest"),
                [_counted(count) for count in counts],
                nothing="No domain has a job.",
            )


def jobs_app(at_desk: AtDesk) -> typer.Typer:
    """The command group; the shell mounts it as `jobs`."""
    commands = JobCommands(at_desk)
    app = typer.Typer(name="jobs", help="Work for later: what waits, runs and has failed.", no_args_is_help=True)
    for command in (commands.list, commands.show, commands.retry, commands.cancel, commands.stats):
        app.command()(command)
    return app


def detail_lines(detail: JobDetail) -> list[str]:
    """One job for people."""
    job = detail.job
    lines = [f"{job.id}  {job.name}  {job.state.value}, priority {job.priority}, {job.attempts} tries"]
    if not job.declared:
        lines.append(f"  {_UNDECLARED}")
    lines += [f"  {what} {value}" for what, value in (("lock", job.lock), ("key", job.key), ("not before", job.at)) if value]
    lines += [f"  {told}" for told in _told(job)]
    if detail.caller is not None:
        lines.append(f"  for {detail.caller.method.value} {detail.caller.id}, request {detail.caller.request or 'none'}")
    lines.append(f"  arguments {msgspec.json.encode(detail.arguments).decode()}")
    return lines + [f"  {_time(event.at)}  {event.what}" for event in detail.history]


def _row(line: JobLine) -> tuple[object, ...]:
    name = line.name if line.declared else f"{line.name} (unknown here)"
    since = line.at or line.enqueued_at
    return (line.id, name, line.state.value, line.attempts, _time(since) if since else "", ", ".join(_told(line)))


def _told(line: JobLine) -> list[str]:
    progress = "" if line.done is None else f"{line.done} of {line.total}" if line.total else f"{line.done} done"
    return [told for told in (progress, line.message, line.error) if told]


def _counted(count: JobCount) -> tuple[object, ...]:
    name = count.name if count.declared else f"{count.name} (unknown here)"
    oldest = "" if count.oldest is None else f"{count.oldest:.0f} s"
    return (name, *(getattr(count, state.value) for state in JobState), oldest)


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}"
