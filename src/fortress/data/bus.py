"""News between processes, by PostgreSQL's NOTIFY: sent by the commit that made it true, and never silently missed.

One connection per process listens. A heartbeat on it tells whether news would arrive; while that is in doubt `certain`
is False, and whoever relies on news must ask the database instead.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

import asyncpg
import structlog

from fortress.clock import Clock

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]
else:
    Connection = asyncpg.Connection

CHANNEL: Final = "fortress"
BEAT_SECONDS: Final = 0.4
CERTAIN_SECONDS: Final = 0.8
# PostgreSQL takes less than 8000 bytes in one notification.
MAX_PAYLOAD: Final = 7900
_CONNECT_SECONDS: Final = 2.0
_CLOSE_SECONDS: Final = 1.0
_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 1.0
_log = structlog.get_logger("fortress.bus")

Connect = Callable[[], Awaitable[Connection]]
Heard = Callable[[str], object]
Moved = Callable[[], object]


class Bus:
    """Listens for news as long as the process lives.

    Args:
        connect: opens a connection of its own; called again after each loss.
        clock: only its `monotonic`.
    """

    def __init__(self, connect: Connect, clock: Clock) -> None:
        self._connect = connect
        self._monotonic = clock.monotonic
        self._subscribers: dict[str, list[Heard]] = {}
        self._channels: dict[str, Heard] = {}
        self._on_lost: list[Moved] = []
        self._on_restored: list[Moved] = []
        self._until = float("-inf")
        self._gone = asyncio.Event()
        self._connection: Connection | None = None
        self._task: asyncio.Task[None] | None = None

    def on(self, topic: str, heard: Heard) -> None:
        """Call `heard` with the rest of each message `topic:rest`. What it raises counts as news missed."""
        self._subscribers.setdefault(topic, []).append(heard)

    def deliver(self, topic: str, rest: str) -> None:
        """Have this process hear `topic:rest` now, as if it had come over the connection."""
        self._receive(None, 0, CHANNEL, f"{topic}:{rest}")

    def on_channel(self, channel: str, heard: Heard) -> None:
        """Call `heard` with each message of another channel, which somebody else's triggers send to. Before the start."""
        self._channels[channel] = heard

    def on_lost(self, act: Moved) -> None:
        """Call `act` whenever news may have been missed: at a loss, and once more just before `certain` is True again."""
        self._on_lost.append(act)

    def on_restored(self, act: Moved) -> None:
        """Call `act` when the process listens again after a loss."""
        self._on_restored.append(act)

    def certain(self) -> bool:
        """Whether all news that is older than CERTAIN_SECONDS has been heard."""
        return self._monotonic() < self._until

    def certain_until(self) -> float:
        """Until when, on the monotonic clock, `certain` will say True unless `on_lost` is called before."""
        return self._until

    async def start(self) -> None:
        """Listen from now on. Raises what `connect` raises, and TimeoutError."""
        connection = await self._listen()
        self._task = asyncio.create_task(self._keep_listening(connection), name="bus")

    async def stop(self) -> None:
        """Stop listening; nothing is certain any more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        self._until = float("-inf")
        connection, self._connection = self._connection, None
        if connection is not None and not connection.is_closed():
            try:
                await connection.close(timeout=_CLOSE_SECONDS)
            except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError):
                connection.terminate()

    async def _keep_listening(self, connection: Connection) -> None:
        while True:
            reason = await self._beat_until_lost(connection)
            self._until = float("-inf")
            connection.terminate()
            _log.warning("bus.lost", reason=reason)
            self._doubt()
            connection = await self._listen_again()
            _log.info("bus.restored")
            for act in self._on_restored:
                _guarded(act)

    async def _beat_until_lost(self, connection: Connection) -> str:
        """Ask for a sign of life again and again; why there was none in the end."""
        while True:
            asked = self._monotonic()
            try:
                await self._beat(connection)
            except Exception as error:
                # A connection that dies while it is asked fails in many ways, an InternalClientError of the driver's among
                # them. Whichever it was, this task must outlive it: without it nobody would ever listen again.
                return type(error).__name__
            if await self._is_gone_within(BEAT_SECONDS - (self._monotonic() - asked)):
                return "connection closed"

    async def _is_gone_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                return await self._gone.wait()
        except TimeoutError:
            return False

    async def _beat(self, connection: Connection) -> None:
        # The answer proves what was heard up to the moment of asking, not up to the moment of the answer.
        asked = self._monotonic()
        async with asyncio.timeout(BEAT_SECONDS):
            await connection.execute("SELECT 1")
        self._until = asked + CERTAIN_SECONDS

    async def _listen_again(self) -> Connection:
        pause = _FIRST_PAUSE
        while True:
            try:
                return await self._listen()
            except Exception as error:
                # Whatever the injected `connect` may raise: there is nothing else to do than to try again.
                _log.debug("bus.reconnect_failed", error=type(error).__name__)
            await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - spreads the processes, hides nothing
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def _listen(self) -> Connection:
        async with asyncio.timeout(_CONNECT_SECONDS):
            self._connection = connection = await self._connect()
            try:
                self._gone.clear()
                connection.add_termination_listener(lambda _: self._closed(connection))
                await connection.add_listener(CHANNEL, self._receive)
                for channel in self._channels:
                    await connection.add_listener(channel, self._receive_other)
                # What was learnt before the first message can be heard is in doubt too.
                self._doubt()
                await self._beat(connection)
            except BaseException:
                connection.terminate()
                raise
        return connection

    def _closed(self, connection: Connection) -> None:
        if connection is self._connection:
            self._until = float("-inf")
            self._gone.set()

    def _receive(self, _connection: object, _pid: int, _channel: str, payload: object) -> None:
        topic, _, rest = str(payload).partition(":")
        for heard in self._subscribers.get(topic, ()):
            try:
                heard(rest)
            except Exception as error:
                _log.error("bus.subscriber_failed", topic=topic, exc_info=error)
                self._doubt()

    def _receive_other(self, _connection: object, _pid: int, channel: str, payload: object) -> None:
        try:
            self._channels[channel](str(payload))
        except Exception as error:
            _log.error("bus.subscriber_failed", topic=channel, exc_info=error)

    def _doubt(self) -> None:
        for act in self._on_lost:
            _guarded(act)


async def publish(connection: Connection, topic: str, rest: str) -> None:
    """Tell every process, when and if the connection's transaction commits.

    Raises:
        ValueError: the topic holds a colon, or the message is too long.
    """
    await connection.execute("SELECT pg_notify($1, $2)", CHANNEL, message(topic, rest))


def message(topic: str, rest: str) -> str:
    """The payload of `rest` under `topic`, for a statement that notifies among other things. Raises ValueError, as `publish`."""
    if not topic or ":" in topic:
        raise ValueError(f"{topic!r} is no topic")
    payload = f"{topic}:{rest}"
    if len(payload.encode()) > MAX_PAYLOAD:
        raise ValueError(f"a message about {topic!r} is longer than {MAX_PAYLOAD} bytes")
    return payload


def _guarded(act: Moved) -> None:
    try:
        act()
    except Exception as error:
        _log.error("bus.callback_failed", exc_info=error)
