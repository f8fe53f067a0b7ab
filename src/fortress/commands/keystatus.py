"""What keys there are, and what is under them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from fortress.data.personal.reindexing import Reindexing
from fortress.data.personal.renewing import Renewing
from fortress.security.keymaterial import KeyState
from fortress.security.wrapping import RING

if TYPE_CHECKING:
    from fortress.bootstrap.runtime import Runtime
    from fortress.security.keys import KeyRing


class KeyLine(msgspec.Struct, frozen=True):
    """One key of the ring, or one that wraps elsewhere.

    Attributes:
        kind: signing, master or wrapping.
        state: next, active or retired; `elsewhere` for a key that is not the ring's.
        since: when it was made, began or was retired.
        until: when it ends by itself.
        wraps: how many keys are wrapped by it.
    """

    kind: str
    id: str
    state: str
    since: datetime | None = None
    until: datetime | None = None
    wraps: int | None = None


class KeyReport(msgspec.Struct, frozen=True):
    """All of them.

    Attributes:
        current: the id of the key that wraps now.
        behind: keys that another one wraps: what a rotation of the wrapping keys has left to do.
        data_since: since when a rotation of the data keys is not finished.
        indexing: the indexes whose rotation is not finished.
    """

    current: str
    behind: int
    keys: tuple[KeyLine, ...]
    data_since: datetime | None = None
    indexing: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """For people."""
        told = [_line(key) for key in self.keys]
        told.append(f"{self.current} wraps; {self.behind or 'no'} keys are under another one.")
        if self.behind:
            told.append("fortress keys rotate wrapping brings them over.")
        if self.data_since:
            told.append(f"Data keys are half renewed since {self.data_since:%Y-%m-%d %H:%M}: fortress keys rotate data goes on with it.")
        if self.indexing:
            told.append(f"Index keys are half renewed ({', '.join(self.indexing)}): fortress keys rotate index goes on with it.")
        return told


async def key_status(runtime: Runtime) -> KeyReport:
    """What the ring and the database say."""
    uses = await runtime.database.personal.wrapped.uses()
    current = runtime.wrapping.current
    behind = sum(count for id, count in uses.items() if id != current)
    data_since = await Renewing(runtime.database, ()).begun()
    indexing = await Reindexing(runtime.database, ()).unfinished()
    return KeyReport(current, behind, (*_of_ring(runtime.ring), *_wrapping(runtime.ring, uses)), data_since, tuple(indexing))


def _of_ring(ring: KeyRing) -> list[KeyLine]:
    signing = [KeyLine("signing", key.kid, key.state.value, key.created, key.until) for key in ring.signing_keys()]
    masters = [
        KeyLine("master", str(master.id), (KeyState.RETIRED if master.until else KeyState.ACTIVE).value, master.created, master.until)
        for master in ring.masters()
    ]
    return [*signing, *masters]


def _wrapping(ring: KeyRing, uses: Mapping[str, int]) -> list[KeyLine]:
    own = []
    for one in ring.wrapping_keys():
        id, since = f"{RING}:{one.id}", one.retired or one.begun or one.created
        own.append(KeyLine("wrapping", id, one.state.value, since, wraps=uses.get(id, 0)))
    known = {line.id for line in own}
    return [*own, *(KeyLine("wrapping", id, "elsewhere", wraps=count) for id, count in sorted(uses.items()) if id not in known)]


def _line(key: KeyLine) -> str:
    since = f" since {key.since:%Y-%m-%d %H:%M}" if key.since else ""
    until = f", until {key.until:%Y-%m-%d %H:%M}" if key.until else ""
    wraps = "" if key.wraps is None else f": {key.wraps} keys"
    return f"{key.kind:<9} {key.id}  {key.state}{since}{until}{wraps}"
