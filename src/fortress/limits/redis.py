"""Limits counted in Redis or Valkey: one key, one script, one round trip, on the clock of the server."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

from fortress.errors import CannotStart
from fortress.limits.gcra import Rate, check_demand
from fortress.limits.store import Taken, taken

if TYPE_CHECKING:
    from redis.asyncio import Redis

PREFIX: Final = "fortress:limit:"
MAX_CONNECTIONS: Final = 16

# Values are "tat:taken". All figures are whole and below 2^53, so Lua's doubles hold them exactly.
_TAKE: Final = """\
local emission, quota = tonumber(ARGV[1]), tonumber(ARGV[2])
local wanted, least = tonumber(ARGV[3]), tonumber(ARGV[4])
local held, life, returned = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local burst = emission * quota
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local used = 0
local known = redis.call('GET', KEYS[1])
if known then
    local tat, taken = string.match(known, '^(%d+):(%d+)$')
    tat, taken = tonumber(tat), tonumber(taken)
    local leased = now < taken + life
    local floor = leased and math.min(held, tat - taken) or 0
    used = math.min(math.max(tat - now, floor, 0), burst)
    if leased then
        used = math.max(0, used - returned * emission)
    end
end
local free = math.floor((burst - used) / emission)
if free < least then
    return {0, used}
end
local granted = math.min(wanted, free)
used = used + granted * emission
local kept = math.ceil(math.max(used, life) / 1000) + 1
redis.call('SET', KEYS[1], string.format('%.0f:%.0f', now + used, now), 'PX', string.format('%.0f', kept))
return {granted, used}
"""
_DIGEST: Final = hashlib.sha1(_TAKE.encode(), usedforsecurity=False).hexdigest()


class RedisStore:
    """A LimitStore in Redis. Keys end by themselves, so there is nothing to sweep.

    Args:
        client: must not retry (a repeated take debits twice) and must have short timeouts; `open_client` makes one.
        prefix: of every key.
    """

    def __init__(self, client: Redis, prefix: str = PREFIX) -> None:
        self._client = client
        self._prefix = prefix.encode()

    async def take(self, key: bytes, rate: Rate, wanted: int, least: int = 1, returned: int = 0) -> Taken:
        check_demand(wanted, least, returned)
        held = rate.held * rate.emission
        granted, used = await self._run(self._prefix + key, rate.emission, rate.quota, wanted, least, held, rate.life, returned)
        return taken(rate, granted, used, least)

    async def ping(self) -> None:
        await self._call("PING")

    async def sweep(self) -> int:
        return 0

    async def close(self) -> None:
        await self._client.aclose()

    async def _run(self, key: bytes, *args: int) -> tuple[int, int]:
        from redis.exceptions import NoScriptError

        try:
            granted, used = await self._call("EVALSHA", _DIGEST, 1, key, *args)
        except NoScriptError:
            # A server that was restarted or failed over. EVAL runs the script and keeps it for the next call.
            granted, used = await self._call("EVAL", _TAKE, 1, key, *args)
        return granted, used

    async def _call(self, *command: Any) -> Any:
        return await self._client.execute_command(*command)  # type: ignore[no-untyped-call]


def open_redis(url: str, timeout: float, prefix: str = PREFIX) -> RedisStore:
    """A store on the server at `url`, through `open_client`. Raises CannotStart, as it does."""
    return RedisStore(open_client(url, timeout), prefix)


def open_client(url: str, timeout: float) -> Redis:
    """A client that waits `timeout` seconds at most for a connection, and as long for an answer, and never asks twice.

    It connects with the first call. redis-py closes a connection whose command was cancelled or timed out, so
    that no later command reads an answer that is not its own.

    Raises:
        CannotStart: the `redis` extra is not installed, or the URL is not one.
    """
    try:
        from redis.asyncio import BlockingConnectionPool, Redis
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff
    except ImportError:
        raise CannotStart("FORTRESS_REDIS_URL needs the redis package", hint="pip install 'fortress[redis]'") from None
    try:
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=MAX_CONNECTIONS,
            timeout=timeout,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
        )
    except ValueError:
        raise CannotStart("FORTRESS_REDIS_URL is not a Redis URL", hint="redis://[:password@]host:port/database") from None
    return Redis.from_pool(pool)
