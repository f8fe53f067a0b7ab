"""Every question this domain asks of its tables, compiled once. Nothing here can commit."""

from __future__ import annotations

from uuid import UUID

from fortress.data import EventEntry, Repository, page, param, select

_log = EventEntry.c
_within = (_log.at >= param("since"), _log.at < param("until"))


class EventRepository(Repository[EventEntry]):
    """The log of facts; each question within a stretch of time, so that months beyond it are not looked at."""

    recent = page(select(EventEntry).where(*_within), newest_first=_log.at)
    named = page(select(EventEntry).where(*_within, _log.name == param("name", str)), newest_first=_log.at)
    about = page(select(EventEntry).where(*_within, _log.aggregate == param("aggregate", UUID)), newest_first=_log.at)
    named_about = page(
        select(EventEntry).where(*_within, _log.name == param("name", str), _log.aggregate == param("aggregate", UUID)),
        newest_first=_log.at,
    )
