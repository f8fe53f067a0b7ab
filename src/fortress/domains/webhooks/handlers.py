"""What we do when something happened: whatever it was."""

from __future__ import annotations

from fortress.data import Unit
from fortress.domains.webhooks.service import FanOut
from fortress.events import Event, Fact, on


@on(Fact)
async def send_to_webhooks(event: Event, unit: Unit, fan_out: FanOut) -> None:
    """Begin a delivery for each webhook that hears it."""
    await fan_out.hear(event, unit)
