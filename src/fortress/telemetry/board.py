"""Where the numbers of all worker processes lie side by side, so that any of them can add them up.

Memory that the main process maps before it forks: each worker writes plain floats into a block of its own, without locks, and
reads the others' when metrics are asked for. A worker that dies leaves its block, and the one that replaces it goes on from
there, so that no counter ever falls.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from fortress.errors import CannotStart

_HEAD_BYTES: Final = 16
_NAMES_BYTES: Final = 1_048_576
_CELLS: Final = 262_144
_CELLS_AT: Final = _HEAD_BYTES + _NAMES_BYTES
_BLOCK_BYTES: Final = _CELLS_AT + _CELLS * 8
_HEAD: Final = struct.Struct("=QQ")
_NOBODY: Final = 0


class Name(msgspec.Struct, frozen=True, array_like=True):
    """What a run of cells counts: a metric and the values of its labels."""

    metric: str
    labels: tuple[str, ...]
    cells: int


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Name).decode
Entry = tuple[Name, int]


class Block:
    """One process's cells, and their names. Only its owner writes; everyone may read.

    Attributes:
        cells: the numbers, by offset.
    """

    def __init__(self, memory: memoryview) -> None:
        self._memory = memory
        self.cells = memory[_CELLS_AT:].cast("d")
        self._entries: list[Entry] = []
        self._offsets: dict[tuple[str, tuple[str, ...]], int] = {}
        self._read = 0
        self._used = 0

    @property
    def owner(self) -> int:
        """The process that writes here; 0 when none does."""
        return int(_HEAD.unpack_from(self._memory)[0])

    @owner.setter
    def owner(self, pid: int) -> None:
        _HEAD.pack_into(self._memory, 0, pid, _HEAD.unpack_from(self._memory)[1])

    @property
    def alive(self) -> bool:
        """Whether the process that writes here is still there."""
        return self.owner != _NOBODY and _is_alive(self.owner)

    def leave(self) -> None:
        """Nobody writes here any more; the counters stay for who comes next."""
        self.owner = _NOBODY

    def entries(self) -> list[Entry]:
        """Every name in this block, with the offset of its first cell; reads what is new since the last time."""
        length = int(_HEAD.unpack_from(self._memory)[1])
        if length > self._read:
            text = bytes(self._memory[_HEAD_BYTES + self._read : _HEAD_BYTES + length])
            for line in text.splitlines():
                self._learn(_decode(line))
            self._read = length
        return self._entries

    def reserve(self, metric: str, labels: tuple[str, ...], cells: int) -> int:
        """The offset of this metric's cells; the same as ever when it is here already.

        Raises:
            CannotStart: there is no room for so many metrics.
        """
        self.entries()
        known = self._offsets.get((metric, labels))
        if known is not None:
            return known
        line = _encode(Name(metric, labels, cells)) + b"\n"
        end = self._read + len(line)
        if end > _NAMES_BYTES or self._used + cells > _CELLS:
            raise CannotStart(f"too many metrics: no room for {metric}")
        self._memory[_HEAD_BYTES + self._read : _HEAD_BYTES + end] = line
        # The length last: who reads meanwhile sees the whole line or nothing of it.
        _HEAD.pack_into(self._memory, 0, self.owner, end)
        self.entries()
        return self._offsets[metric, labels]

    def _learn(self, name: Name) -> None:
        self._entries.append((name, self._used))
        self._offsets[name.metric, name.labels] = self._used
        self._used += name.cells


class Board:
    """The blocks of all processes. To be made before the workers are forked.

    Args:
        blocks: processes that may be there at the same time.
    """

    def __init__(self, blocks: int = 1) -> None:
        self._memory = memoryview(mmap.mmap(-1, blocks * _BLOCK_BYTES))
        self._lock, path = tempfile.mkstemp(prefix="fortress-metrics-")
        Path(path).unlink()
        weakref.finalize(self, os.close, self._lock)
        self.blocks = [Block(self._memory[at * _BLOCK_BYTES : (at + 1) * _BLOCK_BYTES]) for at in range(blocks)]

    @classmethod
    def for_workers(cls, workers: int) -> Board:
        """Room for the workers, and for their successors while both are there."""
        return cls(2 * workers + 1)

    def claim(self) -> Block:
        """A block for this process: a dead one's first, whose counters go on.

        Raises:
            CannotStart: there are more processes than blocks.
        """
        with self._alone():
            free = [block for block in self.blocks if not block.alive]
            if not free:
                raise CannotStart("more processes than the metrics have room for")
            block = max(free, key=lambda candidate: len(candidate.entries()))
            block.owner = os.getpid()
            return block

    @contextmanager
    def _alone(self) -> Iterator[None]:
        # A lock that the kernel takes back from a process that dies.
        fcntl.lockf(self._lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.lockf(self._lock, fcntl.LOCK_UN)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
