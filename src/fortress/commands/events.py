"""`fortress events`: what has happened, who hears it, and having it heard again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Final, Protocol, TypeVar
from uuid import UUID

import typer

from fortress.commands.person import AsJson
from fortress.commands.progress import followed
from fortress.commands.project import console, say
from fortress.commands.tables import show, show_json
from fortress.errors import CannotStart
from fortress.events.following.desk import EventLine, FactDesk, Step, SubscriberLine
from fortress.events.following.log import Place

T = TypeVar("T")
Name = Annotated[str, typer.Argument(metavar="SUBSCRIBER", help="as `fortress events subscribers` shows it")]
LOOK_SECONDS: Final = 0.5
STANDS_STILL_SECONDS: Final = 30.0
BATCH: Final = 1000
_TIMES: Final = ["%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%dT%H:%M%z", "%Y-%m-%d"]


class AtDesk(Protocol):
    """Does some work at the desk of the project's facts."""

    def __call__(self, work: Callable[[FactDesk], Awaitable[T]], /) -> T: ...


class EventCommands:
    """The group's commands."""

    def __init__(self, at_desk: AtDesk) -> None:
        self._at_desk = at_desk

    def subscribers(self, *, as_json: AsJson = False) -> None:
        """List who hears facts, and how they stand."""
        lines = self._at_desk(lambda desk: desk.subscribers())
        if as_json:
            show_json(lines)
            return
        show(
            ("subscriber", "lanes", "behind", "parked", "dead", "went on"),
            [_row(line) for line in lines],
            nothing="No domain has a subscriber.",
        )
        if any(line.dead for line in lines):
            say("fortress events replay SUBSCRIBER --dead has the dead ones tried again")
        if not all(line.declared for line in lines):
            say("no domain here declares some of them; fortress events reset SUBSCRIBER --forget removes what they left")

    def tail(
        self,
        name: Annotated[str | None, typer.Option("--name", help="of one kind only, such as OrderPlaced")] = None,
        aggregate: Annotated[UUID | None, typer.Option("--aggregate", help="of one thing only")] = None,
        most: Annotated[int, typer.Option("--most", min=1, max=1000, help="how many of those that are there")] = 20,
        *,
        follow: Annotated[bool, typer.Option("--follow", "-f", help="go on with what comes, until Ctrl-C")] = False,
        as_json: AsJson = False,
    ) -> None:
        """Show the newest facts, the newest last."""
        shown = show_json if as_json else _say_event

        async def work(desk: FactDesk) -> None:
            lines = await desk.last(name, aggregate, most)
            for line in lines:
                shown(line)
            place = _place(lines) if lines else Place(0, 0)
            while follow:
                lines = await desk.after(name, aggregate, BATCH, place)
                for line in lines:
                    shown(line)
                place = _place(lines) if lines else place
                await asyncio.sleep(LOOK_SECONDS)

        self._at_desk(work)

    def replay(
        self,
        subscriber: Name,
        since: Annotated[datetime | None, typer.Option("--since", formats=_TIMES, help="from this time on; UTC unless it says")] = None,
        start: Annotated[UUID | None, typer.Option("--from", metavar="EVENT", help="from this fact on")] = None,
        event: Annotated[UUID | None, typer.Option("--event", metavar="EVENT", help="this fact alone")] = None,
        *,
        everything: Annotated[bool, typer.Option("--all", help="the whole log")] = False,
        dead: Annotated[bool, typer.Option("--dead", help="what it has given up")] = False,
        wait: Annotated[bool, typer.Option("--wait", help="until it has caught up")] = False,
    ) -> None:
        """Have facts heard again: what the subscriber does is done once more."""
        if sum((since is not None, start is not None, event is not None, everything, dead)) != 1:
            raise CannotStart("which facts?", hint="one of --since TIME, --from EVENT, --event EVENT, --all, --dead")
        if event is not None:
            waits = self._at_desk(lambda desk: desk.again(subscriber, event))
            console.print("It is heard again." if waits else "It waits to be tried already.")
        elif dead:
            count = self._at_desk(lambda desk: desk.revive(subscriber))
            console.print(f"{count} facts are tried again." if count else "None is dead.")
        else:
            self._at_desk(lambda desk: _replayed(desk, subscriber, since, start, wait=wait))

    def reset(
        self,
        subscriber: Name,
        *,
        now: Annotated[bool, typer.Option("--now", help="pass over all that has happened, parked and dead facts included")] = False,
        forget: Annotated[bool, typer.Option("--forget", help="remove what one left that is no longer declared")] = False,
    ) -> None:
        """Have a subscriber begin at the present, or remove one that is gone."""
        if now == forget:
            raise CannotStart("reset it to what?", hint="--now, or --forget for one that is no longer declared")
        self._at_desk(lambda desk: desk.pass_over(subscriber) if now else desk.forget(subscriber))
        console.print(f"{subscriber} begins now." if now else f"{subscriber} is forgotten.")


def events_app(at_desk: AtDesk) -> typer.Typer:
    """The command group; the shell mounts it as `events`."""
    commands = EventCommands(at_desk)
    app = typer.Typer(name="events", help="What has happened, and who hears it.", no_args_is_help=True)
    for command in (commands.subscribers, commands.tail, commands.replay, commands.reset):
        app.command()(command)
    return app


async def _replayed(desk: FactDesk, subscriber: str, since: datetime | None, start: UUID | None, *, wait: bool) -> None:
    if since is not None:
        total = await desk.replay_since(subscriber, since if since.tzinfo else since.replace(tzinfo=UTC))
    else:
        total = await (desk.replay_all(subscriber) if start is None else desk.replay_from(subscriber, start))
    console.print(f"{subscriber} hears {total} facts again.")
    if wait and total:
        await followed(f"heard by {subscriber}", _watched(desk, subscriber, total))


async def _watched(desk: FactDesk, subscriber: str, total: int) -> AsyncIterator[Step]:
    """How far it is, now and then. Raises CannotStart when nothing moves."""
    done, still = -1, 0.0
    async for step in desk.catching_up(subscriber, total):
        yield step
        still = 0.0 if step.done != done else still + LOOK_SECONDS
        done = step.done
        if still >= STANDS_STILL_SECONDS:
            raise CannotStart(f"{subscriber} does not go on", hint="is a server or `fortress worker` running?")
        await asyncio.sleep(LOOK_SECONDS)


def _row(line: SubscriberLine) -> tuple[object, ...]:
    name = line.name if line.declared else f"{line.name} (unknown here)"
    return (name, line.lanes, line.behind, line.parked, line.dead, line.moved_at.isoformat(" ", "seconds") if line.moved_at else "never")


def _say_event(line: EventLine) -> None:
    at = line.at.isoformat(" ", "milliseconds")
    typer.echo(f"{at}  {line.name} v{line.version}  {line.aggregate}  {bytes(line.payload).decode()}  {line.id}")


def _place(lines: Sequence[EventLine]) -> Place:
    return Place(lines[-1].tx, lines[-1].seq)
