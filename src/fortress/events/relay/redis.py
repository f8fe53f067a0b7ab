"""A stream in Redis. Each entry's id is the fact's place in the log, and Redis refuses an id that is not above the last one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from fortress.errors import CannotStart
from fortress.events.relay.stream import BrokerAway, Message, Overtaken, Position, Received

if TYPE_CHECKING:
    from redis.asyncio import Redis

PREFIX: Final = "fortress:facts:"
_NOT_ABOVE: Final = "equal or smaller"
_ANSWER_SECONDS: Final = 5.0
_CONNECT_SECONDS: Final = 2.0
_BODY: Final = b"fact"


class RedisStream:
    """One stream of Redis or Valkey.

    Args:
        url: redis:// or rediss://…
        name: the key is `fortress:facts:` and this.
        keep: about how many entries are held at most.

    Raises:
        CannotStart: the redis client is not installed.
    """

    def __init__(self, url: str, name: str, keep: int) -> None:
        try:
            from redis.asyncio import Redis
            from redis.asyncio.retry import Retry
            from redis.backoff import NoBackoff
        except ImportError:
            raise CannotStart("FORTRESS_BROKER_URL=redis://… needs redis", hint="pip install 'fortress[redis]'") from None
        self._key = PREFIX + name
        self._keep = keep
        # A command that is sent twice is refused the second time, and would look as if somebody had overtaken us.
        self._client: Redis = Redis.from_url(
            url,
            socket_connect_timeout=_CONNECT_SECONDS,
            socket_timeout=_ANSWER_SECONDS * 2,
            retry=Retry(NoBackoff(), 0),
            max_connections=4,
        )

    def __repr__(self) -> str:
        return f"RedisStream({self._key!r})"

    async def open(self) -> None:
        async with _answering():
            await self._ask("PING")

    async def close(self) -> None:
        await self._client.aclose()

    async def last(self) -> Position | None:
        async with _answering():
            newest = await self._ask("XREVRANGE", self._key, "+", "-", "COUNT", 1)
        return Position.parsed(_text(newest[0][0])) if newest else None

    async def send(self, messages: Sequence[Message]) -> None:
        async with _answering(), self._client.pipeline(transaction=False) as pipeline:
            for message in messages:
                pipeline.execute_command("XADD", self._key, "MAXLEN", "~", self._keep, str(message.position), _BODY, message.body)
            for outcome in await pipeline.execute(raise_on_error=False):
                if isinstance(outcome, Exception):
                    raise Overtaken if _NOT_ABOVE in str(outcome) else BrokerAway(type(outcome).__name__) from None

    async def read(self, after: str | None, most: int, seconds: float) -> Sequence[Received]:
        # BLOCK 0 would wait for ever.
        wait = max(1, int(min(seconds, _ANSWER_SECONDS) * 1000))
        async with _answering():
            found = await self._ask("XREAD", "COUNT", most, "BLOCK", wait, "STREAMS", self._key, after or "0")
        if not found:
            return ()
        entries = next(iter(found.values()))[0] if isinstance(found, dict) else found[0][1]
        return [Received(_text(id), fields[_BODY] if isinstance(fields, dict) else fields[1]) for id, fields in entries]

    async def _ask(self, *command: Any) -> Any:
        return await self._client.execute_command(*command)  # type: ignore[no-untyped-call]


def _text(id: bytes | str) -> str:
    return id.decode() if isinstance(id, bytes) else id


@asynccontextmanager
async def _answering() -> AsyncIterator[None]:
    """Whatever goes wrong with Redis is a BrokerAway."""
    from redis.exceptions import RedisError

    try:
        yield
    except (RedisError, OSError, TimeoutError) as error:
        raise BrokerAway(type(error).__name__) from None
