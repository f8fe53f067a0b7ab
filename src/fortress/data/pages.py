"""Pages: what a caller asks of a list, and what they get."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Generic, TypeVar

import msgspec

from fortress.errors import FieldError, Invalid

T = TypeVar("T")

LARGEST: Final = 100
USUAL: Final = 20


class PageQuery(msgspec.Struct, frozen=True):
    """What part of a list is asked for.

    Attributes:
        limit: items, 1 to 100.
        cursor: `next` of the page before; None for the first page.
        sort: a column, downwards with `-` before it; None: as the list is usually sorted.
        filters: the one value of each of these columns.

    Raises:
        Invalid: the limit is out of bounds; field `?limit`.
    """

    limit: int = USUAL
    cursor: str | None = None
    sort: str | None = None
    filters: Mapping[str, Any] = msgspec.field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 1 <= self.limit <= LARGEST:
            raise Invalid((FieldError("?limit", f"Must be 1 to {LARGEST}", "range"),))


class Page(msgspec.Struct, Generic[T], frozen=True):
    """A part of a list; `next` is the cursor of the following page, None on the last."""

    items: Sequence[T]
    next: str | None
