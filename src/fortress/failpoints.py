"""Named places where a test kills, fails, freezes or delays a process: `FORTRESS_FAILPOINT=before_commit:kill@hit=3`.

Off unless set, and refused in production. A place reads one attribute while it is off:

    if BEFORE_COMMIT.armed:
        await BEFORE_COMMIT.reached()

The setting is one or more `name:action` between semicolons. Actions: `kill` (SIGKILL to this process), `error` (raises
FailpointError), `pause` (stops the whole process until somebody sends it SIGCONT), `delay(0.2)` (this task sleeps, in
seconds). After `@` may follow when: `hit=3` (the third time in this process, and never again), or `p=0.1,seed=7` (each
time with this probability, drawn from this seed); else every time.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import Awaitable, Callable
from random import Random
from typing import Final

import structlog

from fortress.errors import CannotStart, FortressError

_known: Final[dict[str, Failpoint]] = {}
_log = structlog.get_logger("fortress.failpoints")

_NAME: Final = re.compile(r"[a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*)*")
_PLAN: Final = re.compile(
    r"(?P<name>[^:@]+):(?P<action>kill|error|pause|delay\((?P<seconds>\d{1,3}(?:\.\d{1,3})?)\))"
    r"(?:@(?:hit=(?P<hit>[1-9]\d{0,8})|p=(?P<p>0(?:\.\d{1,9})?|1)(?:,seed=(?P<seed>\d{1,9}))?))?"
)
_GRAMMAR: Final = "name:kill, error, pause or delay(seconds), then nothing, @hit=3 or @p=0.1,seed=7; several with ; between"

Act = Callable[[], Awaitable[None]]
When = Callable[[], bool]


class FailpointError(FortressError):
    """A failpoint was told to fail here."""


class Failpoint:
    """One place. The runtime's own are below; a domain makes its own where it has them, as `orders.after_reserve`.

    Args:
        name: lower case; a domain's begins with the domain's name and a dot.
        meaning: what has happened when it is reached, and what has not yet.

    Attributes:
        armed: whether anything happens there.

    Raises:
        ValueError: the name is malformed or taken.
    """

    __slots__ = ("_act", "_when", "armed", "meaning", "name")

    def __init__(self, name: str, meaning: str) -> None:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name of a failpoint")
        if name in _known:
            raise ValueError(f"there is a failpoint {name} already")
        self.name = name
        self.meaning = meaning
        self.armed = False
        self._act: Act = _nothing
        self._when: When = _always
        _known[name] = self

    async def reached(self) -> None:
        """Do what it was armed with. Raises FailpointError when that is to fail."""
        if self.armed and self._when():
            await self._act()

    def arm(self, act: Act, when: When) -> None:
        """Do this, whenever that says so."""
        self._act, self._when, self.armed = act, when, True

    def disarm(self) -> None:
        """Be off again."""
        self._act, self._when, self.armed = _nothing, _always, False


def known() -> list[Failpoint]:
    """Those of all modules imported so far, by name."""
    return sorted(_known.values(), key=lambda point: point.name)


def check(setting: str) -> None:
    """Make sure that a setting can be used.

    Raises:
        CannotStart: it is malformed, or names a failpoint that isn't there; says which are.
    """
    for part in _parts(setting):
        _planned(part)


def arm(setting: str) -> None:
    """Arm what the setting names, and nothing else. Raises CannotStart, as `check`."""
    plans = [_planned(part) for part in _parts(setting)]
    disarm()
    for point, act, when in plans:
        point.arm(act, when)
        _log.warning("failpoint.armed", failpoint=point.name)


def disarm() -> None:
    """Everything is off."""
    for point in _known.values():
        point.disarm()


def _parts(setting: str) -> list[str]:
    return [part.strip() for part in setting.split(";") if part.strip()]


def _planned(part: str) -> tuple[Failpoint, Act, When]:
    plan = _PLAN.fullmatch(part)
    if plan is None:
        raise CannotStart(f"FORTRESS_FAILPOINT: {part!r} can't be understood", hint=_GRAMMAR)
    point = _known.get(plan["name"])
    if point is None:
        raise CannotStart(f"FORTRESS_FAILPOINT: there is no {plan['name']}", hint="there are " + ", ".join(sorted(_known)))
    return point, _acting(point, plan), _timing(plan)


def _acting(point: Failpoint, plan: re.Match[str]) -> Act:
    async def fail() -> None:
        raise FailpointError(f"the failpoint {point.name} was told to fail")

    async def delay() -> None:
        await asyncio.sleep(float(plan["seconds"]))

    if plan["seconds"] is not None:
        return delay
    return {"kill": _kill, "error": fail, "pause": _pause}[plan["action"]]


def _timing(plan: re.Match[str]) -> When:
    if plan["hit"] is not None:
        return _Nth(int(plan["hit"]))
    if plan["p"] is not None:
        chances, probability = Random(int(plan["seed"] or 0)), float(plan["p"])  # noqa: S311 - to be repeated, not to be secret
        return lambda: chances.random() < probability
    return _always


class _Nth:
    """True once, at the n-th call."""

    def __init__(self, n: int) -> None:
        self._left = n

    def __call__(self) -> bool:
        self._left -= 1
        return self._left == 0


async def _nothing() -> None:
    """What a failpoint does that is off."""


def _always() -> bool:
    return True


async def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


async def _pause() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


BEFORE_COMMIT: Final = Failpoint("before_commit", "Everything is written, nothing is committed.")
BEFORE_ANSWER_IS_KEPT: Final = Failpoint("before_answer_is_kept", "An idempotent request has acted and is answered; nothing is committed.")
AFTER_COMMIT_BEFORE_WAKE: Final = Failpoint(
    "after_commit_before_wake", "Committed; nothing in this process knows it yet, and no callback has run."
)
AFTER_COMMIT_BEFORE_ANSWER: Final = Failpoint(
    "after_commit_before_answer", "The handler of a request has committed and returned; nothing was sent to the client."
)
BEFORE_PUBLISH: Final = Failpoint("before_publish", "The relay holds a batch of facts; nothing of it was sent.")
AFTER_PUBLISH_BEFORE_MARK: Final = Failpoint("after_publish_before_mark", "The broker has a batch of facts; the database does not know it.")
AFTER_EFFECT_BEFORE_ACK: Final = Failpoint("after_effect_before_ack", "Facts of another service are in our log, and how far was read.")
AFTER_EFFECT_BEFORE_CURSOR: Final = Failpoint(
    "after_effect_before_cursor", "A subscriber has written the effects of a batch; its place in the log is not moved, nothing committed."
)
