"""What can go wrong with webhooks, as other domains and clients see it. There is no door: facts are heard, nothing is asked."""

from __future__ import annotations

from fortress.errors import Conflict, Forbidden, Unavailable


class OwnFactsOnly(Forbidden):
    """What everybody does is heard only by those who may see everybody's webhooks."""

    code, title = "webhooks.own_only", "You may hear of what you do yourself, not of what everyone does"


class TooManyWebhooks(Conflict):
    """There are as many as there may be."""

    code, title = "webhooks.too_many", "There are too many webhooks"


class WebhookOff(Conflict):
    """Nothing is sent to it until it is switched on again."""

    code, title = "webhooks.disabled", "This webhook is disabled; switch it on first"


class WebhooksNotInstalled(Unavailable):
    """This server can't send webhooks: the extra `webhooks` is missing."""

    code, title = "webhooks.not_installed", "This server does not send webhooks"
