"""The table of contents, and the only thing the outside imports to run us."""

from __future__ import annotations

from fortress.domain import Domain
from fortress.domains.events import rest
from fortress.domains.events.policy import READ
from fortress.domains.events.repository import EventRepository
from fortress.domains.events.service import EventService

events = Domain(name="events", services=[EventService, EventRepository], permissions=[READ], routes=rest)
