"""What the C library does with memory that is free: glibc keeps it, and hashing a password takes twenty megabytes.

Other C libraries have neither call and need none; there both do nothing.
"""

from __future__ import annotations

import ctypes
from typing import Final

_M_ARENA_MAX: Final = -8


def share_one_heap() -> None:
    """Let all threads of this process, and of those forked from it, allocate from one heap.

    Only that one can be made smaller again: what a thread's own heap once took, it keeps. With the interpreter's lock around
    nearly every allocation, threads gain nothing by heaps of their own.
    """
    _call("mallopt", _M_ARENA_MAX, 1)


def give_back() -> None:
    """Return free memory to the system; some milliseconds, for a quiet moment."""
    _call("malloc_trim", 0)


def _call(name: str, *values: int) -> None:
    function = getattr(ctypes.CDLL(None), name, None)
    if function is not None:
        function(*values)
