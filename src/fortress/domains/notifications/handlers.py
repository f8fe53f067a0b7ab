"""What we do by the clock."""

from __future__ import annotations

from fortress.domains.notifications.service import Digests, NotificationRecords
from fortress.events import cron, every


@cron("5 * * * *")
async def gather_digests(digests: Digests) -> None:
    """Make the digests that are due."""
    await digests.gather_due()


@every("day")
async def forget_marks(records: NotificationRecords) -> None:
    """Forget for what people were told so long ago that nothing tells them for it again."""
    await records.forget_marks()
