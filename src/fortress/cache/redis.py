"""The shared answers in Redis or Valkey: each question is one script, one round trip, and atomic.

A mark is a name whose token changes with every change of what it stands for: a table, a row, or everything. An answer is worth
something as long as the tokens of its marks are those that were in force when its load began. Tokens are never used twice, so
that one which Redis has evicted or lost makes answers worthless, never valid again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from fortress.clock import Ids
from fortress.limits.redis import MAX_CONNECTIONS

if TYPE_CHECKING:
    from redis.asyncio import Redis

PREFIX: Final = "fortress:cache:"
# Longer than any answer is kept.
MARK_SECONDS: Final = 2 * 86_400
# For so long after one process has told Redis of a change, the others need not.
TOLD_SECONDS: Final = 60
_SHORTEST_CLAIM: Final = 1.0

_LOOK: Final = """\
local found = redis.call('GET', KEYS[1])
local answer = {found, found and redis.call('PTTL', KEYS[1]) or 0}
for index = 2, #KEYS do
    local token = redis.call('GET', KEYS[index])
    if not token then
        token = ARGV[1]
        redis.call('SET', KEYS[index], token, 'EX', ARGV[2])
    end
    answer[#answer + 1] = token
end
return answer
"""
_FILL: Final = """\
for index = 2, #KEYS do
    if redis.call('GET', KEYS[index]) ~= ARGV[index + 1] then
        return 0
    end
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""
_TELL: Final = """\
if not redis.call('SET', KEYS[1], 1, 'NX', 'EX', ARGV[1]) then
    return 0
end
for index = 2, #KEYS do
    redis.call('SET', KEYS[index], ARGV[2], 'EX', ARGV[3])
end
return 1
"""


class RedisAnswers:
    """Answers and marks. Every method may raise whatever the client raises, and ConnectionError when a connection broke.

    Args:
        client: must have short timeouts; `fortress.limits.redis.open_client` makes one.
        ids: the tokens.
    """

    def __init__(self, client: Redis, ids: Ids, prefix: str = PREFIX) -> None:
        self._client = client
        self._ids = ids
        self._prefix = prefix.encode()
        # To wait for a connection is no sign that one broke.
        self._turns = asyncio.Semaphore(MAX_CONNECTIONS)

    async def look(self, place: bytes, marks: Sequence[bytes]) -> tuple[bytes | None, float, tuple[bytes, ...]]:
        """What is kept at a place, for how many seconds it will be, and the tokens in force."""
        found, left, *tokens = await self._run(_LOOK, self._keys(place, marks), self._token(), MARK_SECONDS)
        return found, max(0, left) / 1000, tuple(tokens)

    async def fill(self, place: bytes, marks: Sequence[bytes], tokens: Sequence[bytes], sealed: bytes, life: float) -> bool:
        """Keep it for so many seconds, if these tokens are still in force."""
        return bool(await self._run(_FILL, self._keys(place, marks), sealed, int(life * 1000), *tokens))

    async def claim(self, place: bytes, seconds: float) -> bool:
        """Whether the caller, and for so long nobody else, is to load what belongs there."""
        life = int(max(seconds, _SHORTEST_CLAIM) * 1000)
        return bool(await self._command("SET", self._prefix + b"claim:" + place, 1, "NX", "PX", life))

    async def tell(self, news: bytes, marks: Sequence[bytes]) -> None:
        """New tokens for these marks, unless another process has made them for the same news."""
        await self._run(_TELL, [self._prefix + b"told:" + news, *map(self._mark, marks)], TOLD_SECONDS, self._token(), MARK_SECONDS)

    async def close(self) -> None:
        await self._client.aclose()

    def _keys(self, place: bytes, marks: Sequence[bytes]) -> list[bytes]:
        return [self._prefix + b"answer:" + place, *map(self._mark, marks)]

    def _mark(self, mark: bytes) -> bytes:
        return self._prefix + b"mark:" + mark

    def _token(self) -> bytes:
        return self._ids.new().bytes

    async def _run(self, script: str, keys: Sequence[bytes], *arguments: Any) -> Any:
        # The text is a few hundred bytes, and the server compiles it once: no need for its name and a second try.
        return await self._command("EVAL", script, len(keys), *keys, *arguments)

    async def _command(self, *command: Any) -> Any:
        from redis.exceptions import ConnectionError as Lost

        try:
            async with self._turns:
                return await self._client.execute_command(*command)  # type: ignore[no-untyped-call]
        except Lost as error:
            raise ConnectionError(str(error)) from None
