"""Looks for texts in everything that a server keeps."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import asyncpg
import redis.asyncio

from fortress.testing.servers import REDIS, REDIS_URL, answers

_TABLES: Final = """
    SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
"""


def found_in_files(folder: Path, markers: Sequence[str], *, but: Sequence[str]) -> list[str]:
    """Which files below `folder` hold a marker in whatever case, those in the folders `but` left out."""
    return [f"{path}: {marker}" for path in _files(folder, but) for marker in _holds(path.read_bytes(), markers)]


async def dumped(connection: asyncpg.Connection[asyncpg.Record], markers: Sequence[str]) -> list[str]:
    """Which tables hold a marker in a row's text; binary columns as what they spell."""
    tables = await connection.fetch(_TABLES)
    found = []
    for (name,) in tables:
        for row in await connection.fetch(f"SELECT * FROM {name}"):
            whole = b"\n".join(value if isinstance(value, bytes) else str(value).encode() for value in row.values())
            found += [f"{name}: {marker}" for marker in _holds(whole, markers)]
    return found


async def found_in_redis(markers: Sequence[str]) -> list[str]:
    """Which keys of the tests' Redis hold a marker, in name or value; nothing where there is no Redis."""
    if not answers(*REDIS):
        return []
    found = []
    async with redis.asyncio.Redis.from_url(REDIS_URL, socket_timeout=5) as client:
        async for key in client.scan_iter(count=1000):
            found += [f"{key!r}: {marker}" for marker in _holds(key + (await client.dump(key) or b""), markers)]
    return found


def _files(folder: Path, but: Sequence[str]) -> Iterator[Path]:
    for where, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name not in but]
        for name in names:
            path = Path(where) / name
            if path.is_file():
                yield path


def _holds(content: bytes, markers: Sequence[str]) -> list[str]:
    folded = content.lower()
    return [marker for marker in markers if marker.encode() in folded]
