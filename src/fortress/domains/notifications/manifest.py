"""The table of contents, and the only thing the outside imports to run us."""

from __future__ import annotations

from fortress.domain import Domain, migrations_beside, templates_beside
from fortress.domains.notifications import handlers, rest
from fortress.domains.notifications.contract import Notifications
from fortress.domains.notifications.models import Notification, NotificationMark, NotificationSettings
from fortress.domains.notifications.policy import PERMISSIONS
from fortress.domains.notifications.repository import MarkRepository, NotificationRepository, SettingsRepository
from fortress.domains.notifications.service import (
    Digests,
    InboxService,
    Links,
    NotificationReader,
    NotificationRecords,
    NotificationService,
    PreferenceService,
    Sender,
)
from fortress.domains.notifications.service.digest import DIGEST
from fortress.domains.notifications.service.sending_jobs import send_notification, send_urgently

notifications = Domain(
    name="notifications",
    door=Notifications,
    services=[
        NotificationService,
        Sender,
        Digests,
        InboxService,
        PreferenceService,
        Links,
        NotificationReader,
        NotificationRecords,
        NotificationRepository,
        MarkRepository,
        SettingsRepository,
    ],
    permissions=PERMISSIONS,
    models=[Notification, NotificationMark, NotificationSettings],
    routes=rest,
    handlers=[handlers, send_notification, send_urgently],
    notifications=[DIGEST],
    templates=templates_beside(__name__),
    migrations=migrations_beside(__name__),
    personal=NotificationRecords,
)
