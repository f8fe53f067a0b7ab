"""The use cases of webhooks. One method, one action, one transaction."""

from fortress.domains.webhooks.service.courier import Courier, Post
from fortress.domains.webhooks.service.deliveries import DeliveryService
from fortress.domains.webhooks.service.hearing import FanOut
from fortress.domains.webhooks.service.managing import WebhookService
from fortress.domains.webhooks.service.records import WebhookRecords

__all__ = ["Courier", "DeliveryService", "FanOut", "Post", "WebhookRecords", "WebhookService"]
