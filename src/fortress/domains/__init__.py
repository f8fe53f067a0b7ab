"""The domains that come with Fortress; a project lists them next to its own."""

from __future__ import annotations

from typing import Final

from fortress.domain import Domain
from fortress.domains.access.manifest import access
from fortress.domains.audit.manifest import audit
from fortress.domains.events.manifest import events
from fortress.domains.identity.manifest import identity
from fortress.domains.notifications.contract import Notifications
from fortress.domains.notifications.manifest import notifications
from fortress.domains.webhooks.manifest import webhooks

standard: Final[tuple[Domain, ...]] = (access, identity, notifications, webhooks, audit, events)

__all__ = ["Notifications", "access", "audit", "events", "identity", "notifications", "standard", "webhooks"]
