"""What the C library does with memory that is free: glibc keeps it, and hashing a password takes twenty megabytes.

Other C libraries have neither call and need none; there both do nothing.
"""

from __future__ import annotations

import ctypes
from typing import Final

_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8
_MIB: Final = 1024 * 1024


def share_one_heap() -> None:
    """Let all threads of this process, and of those forked from it, allocate from one heap.

    Only that one can be made smaller again: what a thread's own heap once took, it keeps. With the interpreter's lock around
    nearly every allocation, threads gain nothing by heaps of their own. What hashes free stays in it until `give_back`: left to
    itself, glibc returns and fetches again up to 19 MiB between two hashes, a tenth of the time that one takes.
    """
    _call("mallopt", _M_ARENA_MAX, 1)
    _call("mallopt", _M_MMAP_THRESHOLD, 32 * _MIB)
    _call("mallopt", _M_TRIM_THRESHOLD, 128 * _MIB)


def give_back() -> None:
    """Return free memory to the system; some milliseconds, for a quiet moment."""
    _call("malloc_trim", 0)


def _call(name: str, *values: int) -> None:
    function = getattr(ctypes.CDLL(None), name, None)
    if function is not None:
        function(*values)
