"""Who may what, as data. Everybody may, about what they were told themselves: identity's MEMBER holds these."""

from __future__ import annotations

from typing import Final

from fortress.domains.notifications.contract import NOTIFICATIONS_READ, NOTIFICATIONS_WRITE
from fortress.security import Permission

PERMISSIONS: Final[tuple[Permission, ...]] = (NOTIFICATIONS_READ, NOTIFICATIONS_WRITE)
