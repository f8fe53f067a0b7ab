"""Input is a model: strict, closed, bounded, and wrong in one go, not field by field."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Final, NoReturn, TypeVar
from urllib.parse import parse_qsl

from pydantic import BaseModel, ConfigDict, ValidationError

from fortress.errors import BadRequest, FieldError, Invalid, UnsupportedMedia
from fortress.http.request import Request

M = TypeVar("M", bound=BaseModel)
MAX_QUERY_FIELDS = 50
# A megabyte of unknown fields would be answered with several; whoever has made so many faults is helped by the first.
MAX_ERRORS = 100
_MAX_NAME = 100
_UNKNOWN = "extra_forbidden"


class BodyTypes:
    """The media types that a body may have.

    Args:
        told_by: the header of a refusal that lists them: `Accept` (RFC 9110 §12.5.1), of a PATCH `Accept-Patch` (RFC 5789 §3.1).
        types: all of them JSON.
    """

    def __init__(self, told_by: str, *types: str) -> None:
        self._told_by = told_by
        self.types = types
        self._spellings = frozenset(f"{one}{charset}".encode() for one in types for charset in ("", "; charset=utf-8", ";charset=utf-8"))

    @property
    def listed(self) -> dict[str, str]:
        """The header that lists them."""
        return {self._told_by: ", ".join(self.types)}

    def admit(self, request: Request) -> None:
        """Raises UnsupportedMedia when the request says that its body is something else, or does not say what it is."""
        declared = request.head.get(b"content-type", b"")
        if declared not in self._spellings and declared.lower().replace(b'"', b"") not in self._spellings:
            raise UnsupportedMedia(f"Send {' or '.join(self.types)}.", headers=self.listed)


JSON: Final = BodyTypes("accept", "application/json")
PATCHES: Final = BodyTypes("accept-patch", "application/merge-patch+json", "application/json")


class Input(BaseModel):
    """The base of every body and query: strict types, unknown fields refused, values never shown in errors."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True)


async def read_json(request: Request, model: type[M], types: BodyTypes = JSON) -> M:
    """The body as `model`.

    Raises:
        UnsupportedMedia: it is not said to be of one of the types.
        BadRequest: it is not JSON, has a key twice, or is not UTF-8 (ASVS V1.5.3).
        Invalid: it is JSON but not what the model allows; names every field.
    """
    types.admit(request)
    text = _utf8(await request.body())
    _refuse_odd_json(text)
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        raise invalid(error, "/") from None


def read_query(request: Request, model: type[M]) -> M:
    """The query string as `model`; numbers and the like are read from their text.

    Raises:
        BadRequest: a parameter comes twice (ASVS V15.3.7) or the encoding is broken.
        Invalid: unknown parameter or wrong value.
    """
    try:
        return model.model_validate(query_fields(request.query), strict=False)
    except ValidationError as error:
        raise Invalid([_with_known(one, model) for one in invalid(error, "?").errors]) from None


def _with_known(fault: FieldError, model: type[BaseModel]) -> FieldError:
    """Of a parameter that is not known: those that are."""
    if fault.code != _UNKNOWN:
        return fault
    return FieldError(fault.field, f"This parameter is not known here. Those that are: {', '.join(model.model_fields)}", fault.code)


def query_fields(query: bytes) -> dict[str, str]:
    """The query's fields, each once."""
    if not query:
        return {}
    try:
        pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MAX_QUERY_FIELDS)
    except ValueError:
        raise BadRequest("The query string is malformed.") from None
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise BadRequest("A query parameter comes twice.")
    if any("\0" in value for value in fields.values()):
        raise Invalid([FieldError(f"?{name}", "A NUL character is not allowed", "nul") for name, value in pairs if "\0" in value])
    return fields


def refuse_query(request: Request) -> None:
    """Raises Invalid when a route without query parameters was given some."""
    unknown = query_fields(request.query)
    if unknown:
        raise Invalid([FieldError(f"?{name}", "This parameter is not known here", _UNKNOWN) for name in unknown])


def invalid(error: ValidationError, root: str) -> Invalid:
    """The errors of a model, at most MAX_ERRORS, each with its pointer; what was sent is never repeated."""
    return Invalid([
        FieldError(_pointer(item["loc"], root), item["msg"].removeprefix("Value error, "), item["type"])
        for item in error.errors(include_url=False, include_input=False, include_context=False)[:MAX_ERRORS]
    ])  # fmt: skip


def _pointer(location: Iterable[int | str], root: str) -> str:
    parts = [str(part)[:_MAX_NAME].replace("~", "~0").replace("/", "~1") for part in location]
    return root + "/".join(parts) if parts else root.rstrip("/")


def _utf8(body: bytes) -> str:
    if not body:
        raise BadRequest("A JSON body is needed.")
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError:
        raise BadRequest("The body is not UTF-8.") from None


def _refuse_odd_json(text: str) -> None:
    """What lenient parsers differ on is refused before any of them can: double keys, NaN, NUL, bottomless nesting."""
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except BadRequest:
        raise
    except (ValueError, RecursionError):
        raise BadRequest("The body is not valid JSON.") from None
    if "\\u0000" in text and _holds_nul(value):
        raise BadRequest("The body holds a NUL character.")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise BadRequest("The body has a key twice.")
    return found


def _no_constant(name: str) -> NoReturn:
    raise BadRequest(f"{name} is not JSON.")


def _holds_nul(value: Any) -> bool:
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, dict):
        return any("\0" in key or _holds_nul(item) for key, item in value.items())
    return isinstance(value, list) and any(_holds_nul(item) for item in value)
