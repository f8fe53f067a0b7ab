"""Sparse answers: `?fields=id,status` has the rest left out, on routes that declare `sparse=True`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, get_args, get_origin
from urllib.parse import urlencode

import msgspec

from fortress.data.pages import Page
from fortress.errors import CannotStart, FieldError, Invalid
from fortress.http.inputs import query_fields
from fortress.http.request import Request

PARAMETER: Final = "fields"
_MARK: Final = b"fields="


class Fields:
    """What a route's answer can be cut to.

    Args:
        returns: what the handler answers with: a Struct, or a page of them.

    Attributes:
        names: of the fields, in their order.

    Raises:
        CannotStart: it answers with something else.
    """

    def __init__(self, returns: Any) -> None:
        kind = get_args(returns)[0] if get_origin(returns) is Page else returns
        if not (isinstance(kind, type) and issubclass(kind, msgspec.Struct)):
            raise CannotStart(f"sparse=True needs a Struct or a Page of them as the answer, not {returns!r}")
        self.names: tuple[str, ...] = kind.__struct_fields__

    def taken_from(self, request: Request) -> Sequence[str] | None:
        """The fields that are asked for, in their usual order, and no longer part of the query; None: all.

        Raises:
            BadRequest: the query is malformed.
            Invalid: one of them is unknown; field `?fields`.
        """
        if _MARK not in request.query:
            return None
        query = query_fields(request.query)
        asked = query.pop(PARAMETER, None)
        if asked is None:
            return None
        wanted = set(asked.split(","))
        strange = wanted.difference(self.names)
        if strange:
            raise Invalid([FieldError(f"?{PARAMETER}", f"Fields, with commas between. Those that are: {', '.join(self.names)}", "fields")])
        request.query = urlencode(query).encode()
        return [name for name in self.names if name in wanted]

    def cut(self, value: Any, names: Sequence[str]) -> Any:
        """The answer with these fields alone."""
        if isinstance(value, Page):
            return Page([_cut(item, names) for item in value.items], value.next)
        return _cut(value, names)


def _cut(item: Any, names: Sequence[str]) -> dict[str, Any]:
    return {name: getattr(item, name) for name in names}
