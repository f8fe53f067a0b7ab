"""The use cases of notifications. One method, one action, one transaction."""

from fortress.domains.notifications.service.digests import Digests
from fortress.domains.notifications.service.inbox import InboxService
from fortress.domains.notifications.service.links import Links
from fortress.domains.notifications.service.preferences import PreferenceService, PreferencesView
from fortress.domains.notifications.service.reading import NotificationReader, NotificationView
from fortress.domains.notifications.service.records import NotificationRecords
from fortress.domains.notifications.service.sending import Sender
from fortress.domains.notifications.service.telling import NotificationService

__all__ = [
    "Digests",
    "InboxService",
    "Links",
    "NotificationReader",
    "NotificationRecords",
    "NotificationService",
    "NotificationView",
    "PreferenceService",
    "PreferencesView",
    "Sender",
]
