"""A value that a schema allows: what it says itself is an example, else the plainest one that can be made of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

Schema = Mapping[str, Any]

_DEPTH: Final = 12
_BY_FORMAT: Final = {
    "uuid": "01890000-0000-7000-8000-000000000001",
    "date-time": "2026-11-01T09:30:00Z",
    "date": "2026-11-01",
    "email": "ann@example.com",
    "uri": "https://example.com/",
}
# Enough for the patterns that names, tokens and codes have; where none fits, a schema says `examples` itself or has none.
_TEXTS: Final = (
    "Example",
    "example",
    "EXAMPLE",
    "123456",
    "AAAAAAAA",
    "01890000-0000-7000-8000-000000000001",
    "en",
    "a" * 64,
    "https://example.com/",
)


class NoExample(Exception):
    """None of the plain values is one that the schema allows."""


def example_of(schema: Schema, shapes: Mapping[str, Schema]) -> Any:
    """A value of this schema, whose references are to `shapes`.

    Raises:
        NoExample: the schema says no example, and none could be made.
    """
    return _of(schema, shapes, _DEPTH)


def _of(schema: Schema, shapes: Mapping[str, Schema], depth: int) -> Any:
    if depth < 0:
        raise NoExample
    if "$ref" in schema:
        return _of(shapes[schema["$ref"].rsplit("/", 1)[1]], shapes, depth - 1)
    for said in ("examples", "enum"):
        if schema.get(said):
            return schema[said][0]
    if "const" in schema:
        return schema["const"]
    for options in ("anyOf", "oneOf"):
        if options in schema:
            return _first(schema[options], shapes, depth)
    return _plain(schema, shapes, depth)


def _first(options: list[Schema], shapes: Mapping[str, Schema], depth: int) -> Any:
    """Of the first that has one; null comes last."""
    for option in sorted(options, key=lambda one: one.get("type") == "null"):
        try:
            return _of(option, shapes, depth)
        except NoExample:
            continue
    raise NoExample


def _plain(schema: Schema, shapes: Mapping[str, Schema], depth: int) -> Any:
    kind = schema.get("type")
    if kind == "object":
        return _object(schema, shapes, depth)
    if kind == "array":
        return _array(schema, shapes, depth)
    if kind in ("integer", "number"):
        return schema.get("minimum", schema.get("exclusiveMinimum", 0) + 1 if schema.get("maximum", 1) >= 1 else schema["maximum"])
    if kind == "string":
        return _text(schema)
    return {"boolean": True}.get(str(kind))


def _object(schema: Schema, shapes: Mapping[str, Schema], depth: int) -> dict[str, Any]:
    """Every field that one can be made for; all that are required."""
    made: dict[str, Any] = {}
    for name, field in schema.get("properties", {}).items():
        try:
            made[name] = _of(field, shapes, depth - 1)
        except NoExample:
            if name in schema.get("required", ()):
                raise
    return made


def _array(schema: Schema, shapes: Mapping[str, Schema], depth: int) -> list[Any]:
    if "prefixItems" in schema:
        return [_of(item, shapes, depth - 1) for item in schema["prefixItems"]]
    items = schema.get("items")
    return [_of(items, shapes, depth - 1)] * max(1, schema.get("minItems", 1)) if isinstance(items, Mapping) else []


def _text(schema: Schema) -> str:
    if "format" in schema and "pattern" not in schema:
        return _BY_FORMAT.get(schema["format"], "Example")
    low, high, pattern = schema.get("minLength", 0), schema.get("maxLength", 1000), schema.get("pattern")
    formatted = _BY_FORMAT.get(schema.get("format", ""))
    for text in (formatted,) if formatted else _TEXTS:
        fitting = text[:high].ljust(low, "a")
        if fitting and len(fitting) <= high and (pattern is None or _matches(pattern, fitting)):
            return fitting
    raise NoExample


def _matches(pattern: str, text: str) -> bool:
    try:
        return re.search(pattern, text) is not None
    except re.error:
        return False
