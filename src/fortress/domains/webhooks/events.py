"""Facts, past tense, versioned. All that other domains may hear of us; nothing personal is in them."""

from __future__ import annotations

from typing import ClassVar
from uuid import UUID

from fortress.events import Fact


class WebhookDisabled(Fact, frozen=True):
    """Nothing is sent to a webhook any more, and its owner did not want it so: `gone`, `failing` or `not_allowed`."""

    version: ClassVar[int] = 1
    webhook_id: UUID
    reason: str
