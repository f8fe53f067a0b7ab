"""Mail: what a message is, what carries it, and the templates that its words come from."""

from fortress.mail.errors import AddressRefused, MailDelayed, MailError, MailRefused
from fortress.mail.kinds import NOTHING, Delivery, Kinds, NotificationData, NotificationKind
from fortress.mail.message import Mail, Mailer, composed
from fortress.mail.outbox import OUTBOX, DirectoryMailer, Outbox
from fortress.mail.smtp import SmtpMailer
from fortress.mail.templates import Letter, Templates

__all__ = [
    "NOTHING",
    "OUTBOX",
    "AddressRefused",
    "Delivery",
    "DirectoryMailer",
    "Kinds",
    "Letter",
    "Mail",
    "MailDelayed",
    "MailError",
    "MailRefused",
    "Mailer",
    "NotificationData",
    "NotificationKind",
    "Outbox",
    "SmtpMailer",
    "Templates",
    "composed",
]
