"""Partial changes: JSON merge patches (RFC 7396) with a model, in which what is absent is not null."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from fortress.http.inputs import Input

S = TypeVar("S", bound=msgspec.Struct)


class Patch(Input):
    """The base of a PATCH's body: each field has a default, which says nothing; only the members that came count.

    `name: Line | None = None` can be taken away by null. A part that is an object is a Patch of its own.
    """

    def onto(self, row: S) -> S:
        """The row with the members that came: null takes away, an object changes its own members, all else replaces."""
        return msgspec.structs.replace(row, **{name: _merged(getattr(row, name), getattr(self, name)) for name in self.model_fields_set})


def _merged(present: Any, sent: Any) -> Any:
    return sent.onto(present) if isinstance(sent, Patch) and isinstance(present, msgspec.Struct) else sent
