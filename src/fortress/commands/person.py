"""What commands about people share: how a person is named, and who finds them."""

from __future__ import annotations

from typing import Annotated, Protocol
from uuid import UUID

import typer

AsJson = Annotated[bool, typer.Option("--json", help="for scripts")]
Who = Annotated[str, typer.Argument(metavar="USER", help="an id or an e-mail address")]


class PersonFinder(Protocol):
    """Whoever knows people; found among the domains' services."""

    async def find_person(self, who: str) -> UUID:
        """The person of this id or e-mail address. Raises NotFound."""
        ...
