"""The table of contents, and the only thing the outside imports to run us."""

from __future__ import annotations

from fortress.domain import Domain, migrations_beside, templates_beside
from fortress.domains.webhooks import handlers, rest
from fortress.domains.webhooks.events import WebhookDisabled
from fortress.domains.webhooks.models import Delivery, Webhook
from fortress.domains.webhooks.policy import READ, WRITE
from fortress.domains.webhooks.repository import DeliveryRepository, WebhookRepository
from fortress.domains.webhooks.service import Courier, DeliveryService, FanOut, Post, WebhookRecords, WebhookService
from fortress.domains.webhooks.service.notices import STOPPED, Notices
from fortress.domains.webhooks.service.sending import Carrier, deliver

webhooks = Domain(
    name="webhooks",
    services=[
        WebhookService,
        DeliveryService,
        Courier,
        FanOut,
        Post,
        Notices,
        WebhookRecords,
        WebhookRepository,
        DeliveryRepository,
    ],
    permissions=[READ, WRITE],
    facts=[WebhookDisabled],
    models=[Webhook, Delivery],
    routes=rest,
    handlers=[handlers, deliver],
    notifications=[STOPPED],
    templates=templates_beside(__name__),
    migrations=migrations_beside(__name__),
    personal=WebhookRecords,
    ports=[Carrier],
)
