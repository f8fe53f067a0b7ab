"""Is the event loop free? Its lag as a histogram, and the stack of whatever holds it up (rule PERF002)."""

from __future__ import annotations

import asyncio
import sys
import threading
import traceback
from collections.abc import Callable
from types import FrameType
from typing import Final

import msgspec
import structlog

from fortress.clock import Clock
from fortress.telemetry.metrics import Metrics

BEAT_SECONDS: Final = 0.02
BLOCKED_SECONDS: Final = 0.1
LAG_BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
_FRAMES_SHOWN: Final = 16
_log = structlog.get_logger("fortress.loop")


class Blocked(msgspec.Struct, frozen=True):
    """The loop was held up: for how many seconds so far, and by which calls, the innermost last."""

    seconds: float
    stack: tuple[str, ...]


Report = Callable[[Blocked], object]


def log_blocked(blocked: Blocked) -> None:
    """One line with the calls."""
    _log.warning("loop.blocked", seconds=round(blocked.seconds, 3), stack=blocked.stack)


class LoopWatch:
    """Watches the loop that `start` is called on.

    A timer on the loop beats; a thread reports, once for each time, what the loop does when no beat has come for
    BLOCKED_SECONDS. A loop that only waits for its turn on a busy machine blocks nothing and is not reported.

    Args:
        metrics: gets the lag and the number of reports.
        clock: only its `monotonic`.
        report: is told from the watching thread.
    """

    def __init__(self, metrics: Metrics, clock: Clock, report: Report = log_blocked) -> None:
        self._lag = metrics.histogram("loop_lag_seconds", "How late the event loop runs what is due.", LAG_BOUNDS)
        self._count = metrics.counter("loop_blocked_total", "Times that one call held the event loop for 0.1 s or longer.")
        self._monotonic = clock.monotonic
        self._report = report
        self._stopped = threading.Event()
        self._beaten = 0.0
        self._due = 0.0
        self._outside: FrameType | None = None

    def start(self) -> None:
        """Begin; on the thread of the running loop."""
        self._loop = asyncio.get_running_loop()
        self._due = self._monotonic()
        self._timer: asyncio.Handle = self._loop.call_soon(self._beat)
        self._thread = threading.Thread(target=self._watch, args=(threading.get_ident(),), name="fortress-watch", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End; what is held up at this moment is not reported any more."""
        self._stopped.set()
        self._timer.cancel()
        self._outside = None
        self._thread.join(BLOCKED_SECONDS)

    def _beat(self) -> None:
        self._beaten = now = self._monotonic()
        self._lag.observe(max(0.0, now - self._due))
        self._due = now + BEAT_SECONDS
        # Where uvloop's thread is seen to be while it waits for events.
        self._outside = sys._getframe().f_back  # noqa: SLF001 - the public way takes longer than the rest of this
        self._timer = self._loop.call_later(BEAT_SECONDS, self._beat)

    def _watch(self, thread: int) -> None:
        reported = 0.0
        while not self._stopped.wait(BEAT_SECONDS):
            beaten = self._beaten
            silent = self._monotonic() - beaten
            if silent < BLOCKED_SECONDS or beaten == reported:
                continue
            frame = sys._current_frames().get(thread)  # noqa: SLF001 - there is no other way to see another thread
            if frame is None or self._is_waiting(frame) or beaten != self._beaten:
                continue
            reported = beaten
            self._count.add()
            self._report(Blocked(silent, _calls(frame)))

    def _is_waiting(self, frame: FrameType) -> bool:
        return self._outside is None or frame is self._outside or frame.f_code.co_filename.endswith("selectors.py")


def _calls(frame: FrameType) -> tuple[str, ...]:
    calls = traceback.StackSummary.extract(traceback.walk_stack(frame), limit=_FRAMES_SHOWN, lookup_lines=False)
    return tuple(f"{call.filename}:{call.lineno} {call.name}" for call in reversed(calls))
