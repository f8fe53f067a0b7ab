"""What a caller believes of a row that they are about to change: so that nobody overwrites what they have not seen."""

from __future__ import annotations

from typing import Final, TypeVar

import msgspec

from fortress.data.entity import Entity, shape_of
from fortress.errors import StaleVersion

E = TypeVar("E", bound=Entity)


class Expected(msgspec.Struct, frozen=True):
    """The versions of a row of which a caller has seen one; a use case asks for it with the row that it has read in its unit.

    The row is then saved under its version, so what comes in between is refused too.

    Attributes:
        versions: any of these will do; None: any at all.
    """

    versions: frozenset[int] | None = None

    def of(self, row: E) -> E:
        """The row, if it is as the caller has seen it.

        Raises:
            StaleVersion: it has changed since.
        """
        if self.versions is not None and getattr(row, str(shape_of(type(row)).version)) not in self.versions:
            raise StaleVersion
        return row


WHATEVER: Final = Expected()
