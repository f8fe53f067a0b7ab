"""The jobs that send."""

from __future__ import annotations

from datetime import datetime
from typing import Final
from uuid import UUID

from fortress.domains.notifications.service.sending import Sender
from fortress.events import HIGH, NORMAL, backoff, job

# Greylisting wants a pause of minutes; a server that is away may be so for most of a day.
_PATIENT: Final = backoff(times=16, first=10, factor=2, longest=14_400)
_SECONDS: Final = 180.0


@job(name="notifications.send", retry=_PATIENT, priority=NORMAL, seconds=_SECONDS)
async def send_notification(id: UUID, at: datetime, sender: Sender) -> None:
    """Send one notification's mail, unless it is sent already."""
    await sender.send(id, at)


@job(name="notifications.send_urgently", retry=_PATIENT, priority=HIGH, seconds=_SECONDS)
async def send_urgently(id: UUID, at: datetime, sender: Sender) -> None:
    """As `send_notification`, before what can wait."""
    await sender.send(id, at)
