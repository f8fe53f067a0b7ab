"""Where log lines go: a bounded buffer that one thread writes out, so that a slow reader never slows a request."""

from __future__ import annotations

import multiprocessing
import multiprocessing.util
import os
import select
import stat
import threading
import weakref
from collections.abc import Callable, Iterable
from typing import Final

FLUSH_SECONDS: Final = 0.05
LARGE_BYTES: Final = 262_144
BOUND_BYTES: Final = 8 * 1024 * 1024
# POSIX lets several processes write so much to one pipe without mixing their lines.
_ATOMIC_BYTES: Final = select.PIPE_BUF
_EXIT_SECONDS: Final = 1.0

Lost = Callable[[int], bytes]


class Sink:
    """Lines out to a file descriptor, within FLUSH_SECONDS, whole and in order.

    A full buffer drops what comes and counts it; `lost` makes the line that says how many. After a fork the child has an empty
    buffer and a writer of its own. What a SIGKILL catches in the buffer is gone.

    Args:
        descriptor: an open file, pipe or terminal.
        lost: renders the line about dropped lines.
        bound: bytes that the buffer may hold.
    """

    _lines: list[bytes]
    _waiters: list[threading.Event]
    _thread: threading.Thread | None
    _size: int
    _unsaid: int
    _scheduled: bool
    _urgent: bool

    def __init__(self, descriptor: int, lost: Lost, bound: int = BOUND_BYTES) -> None:
        self._descriptor = descriptor
        self._piece = _ATOMIC_BYTES if _is_pipe(descriptor) else LARGE_BYTES
        self._lost = lost
        self._bound = bound
        self.dropped = 0
        self._reset()
        itself = weakref.ref(self)
        os.register_at_fork(after_in_child=lambda: _reset_after_fork(itself))

    def put(self, line: bytes) -> None:
        """Take one line, without its newline. Never blocks on the outside; from any thread."""
        with self._lock:
            size = self._size
            if size > self._bound:
                self._unsaid += 1
                self.dropped += 1
                return
            self._lines.append(line)
            self._size = size + len(line)
            if self._scheduled and (size < LARGE_BYTES or self._urgent):
                return
        self._schedule()

    def flush(self, seconds: float = _EXIT_SECONDS) -> bool:
        """Wait until what is in the buffer is written; False when that takes longer."""
        if self._thread is None:
            return True
        done = threading.Event()
        with self._lock:
            self._waiters.append(done)
        self._large.set()
        self._wake.set()
        return done.wait(seconds)

    def _reset(self) -> None:
        # Reentrant, as a finalizer may log while this thread is in `put`.
        self._lock = threading.RLock()
        self._lines, self._waiters = [], []
        self._size = self._unsaid = 0
        self._scheduled = self._urgent = False
        self._wake = threading.Event()
        self._large = threading.Event()
        self._thread = None

    def _schedule(self) -> None:
        with self._lock:
            if self._size >= LARGE_BYTES and not self._urgent:
                self._urgent = True
                self._large.set()
            if self._scheduled:
                return
            self._scheduled = True
            if self._thread is None:
                self._start()
        self._wake.set()

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._write_forever, name="fortress-log", daemon=True)
        self._thread.start()
        if multiprocessing.parent_process() is not None:
            # A worker process leaves without running atexit's functions.
            multiprocessing.util.Finalize(self, self.flush, exitpriority=0)

    def _write_forever(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            self._large.wait(FLUSH_SECONDS)
            self._large.clear()
            lines, unsaid, waiters = self._take()
            if unsaid:
                lines.append(self._lost(unsaid))
            for chunk in _pieces(lines, self._piece):
                self._write(chunk)
            for waiter in waiters:
                waiter.set()

    def _take(self) -> tuple[list[bytes], int, list[threading.Event]]:
        with self._lock:
            taken = (self._lines, self._unsaid, self._waiters)
            self._lines, self._waiters, self._size, self._unsaid = [], [], 0, 0
            self._scheduled = self._urgent = False
            return taken

    def _write(self, chunk: bytes) -> None:
        rest = memoryview(chunk)
        while rest:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except BlockingIOError:
                select.select([], [self._descriptor], [])
            except OSError:
                # Nobody reads any more; there is no other place to say so.
                self.dropped += 1
                return


def _is_pipe(descriptor: int) -> bool:
    mode = os.fstat(descriptor).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


def _pieces(lines: Iterable[bytes], bound: int) -> Iterable[bytes]:
    """The lines, joined up to `bound` bytes; a longer line is a piece of its own."""
    parts: list[bytes] = []
    size = 0
    for line in lines:
        if parts and size + len(line) >= bound:
            yield b"\n".join([*parts, b""])
            parts, size = [], 0
        parts.append(line)
        size += len(line) + 1
    if parts:
        yield b"\n".join([*parts, b""])


def _reset_after_fork(itself: weakref.ref[Sink]) -> None:
    sink = itself()
    if sink is not None:
        sink._reset()  # noqa: SLF001 - this module's own
