"""What a worker process does before it makes its app: it learns its signals, and not to outlive its parent."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Final

from fortress.http.drain import DrainState
from fortress.http.request import Receive, Scope, Send

AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]
MakeApp = Callable[[DrainState], AsgiApp]

_PR_SET_PDEATHSIG: Final = 1


class WorkerSignals:
    """SIGTERM drains for `seconds` and then stops; SIGUSR1 stops now; Ctrl-C is left to the main process.

    A terminal sends Ctrl-C, and a service manager SIGTERM, to every process of the group. The main process passes the first
    one on as SIGTERM and every worker may get it twice, so that draining twice is draining once.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, state: DrainState, seconds: float) -> None:
        self._loop = loop
        self._state = state
        self._seconds = seconds
        self._granian = signal.getsignal(signal.SIGINT)

    def install(self) -> None:
        """Take the signals over from Granian, which has its stop on SIGINT: kept aside, that is how we stop in the end."""
        self._granian = signal.getsignal(signal.SIGINT)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._loop.remove_signal_handler(signal.SIGTERM)
        self._on(signal.SIGTERM, self.drain)
        self._on(signal.SIGUSR1, self.stop)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})

    def drain(self) -> None:
        """Say that we are leaving, and leave when others have had the time to notice."""
        if not self._state.draining():
            self._state.begin()
            self._loop.call_later(self._seconds, self.stop)

    def stop(self) -> None:
        """Granian's own stop: no new connections, requests under way finish, then the app's lifespan ends."""
        self._state.begin()
        signal.signal(signal.SIGINT, self._granian)
        signal.raise_signal(signal.SIGINT)

    def _on(self, number: signal.Signals, act: Callable[[], None]) -> None:
        # Not by the loop's own means: uvloop loses a signal that comes while Granian has the loop stopped for a moment.
        signal.signal(number, lambda *_: self._loop.call_soon_threadsafe(act))


def open_worker(make_app: MakeApp, drain_seconds: float, parent: int) -> AsgiApp:
    """The app of this worker process; runs once in each, before its event loop does."""
    _die_with(parent)
    state = DrainState()
    loop = asyncio.get_event_loop()
    app = make_app(state)
    # Until `install`, so that none is lost on the way from the handlers of before to those of after.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    # Granian puts its own handlers in place after this; ours follow as the first thing that the loop does.
    loop.call_soon(WorkerSignals(loop, state, drain_seconds).install)
    return app


def _die_with(parent: int) -> None:
    """Have the kernel send SIGTERM when the main process is gone: an orphan would hold the port for ever."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        os._exit(1)
