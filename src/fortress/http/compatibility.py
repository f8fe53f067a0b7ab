"""What a newer OpenAPI document takes away from the clients of an older one, in words.

Additions are free. What clients send must still be taken, what they read must still be there, and what may be refused may
not become more. Values that are new in an answer's enumeration are an addition: clients shall expect them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

Document = Mapping[str, Any]
Schema = Mapping[str, Any]
_VERBS: Final = ("get", "post", "put", "patch", "delete")
_LOWER_BOUNDS: Final = ("minLength", "minItems", "minimum", "exclusiveMinimum", "minProperties")
_UPPER_BOUNDS: Final = ("maxLength", "maxItems", "maximum", "exclusiveMaximum", "maxProperties")
_EXACT: Final = ("pattern", "format", "const", "multipleOf", "uniqueItems")


def breaking_changes(older: Document, newer: Document) -> list[str]:
    """Everything that breaks a client of `older`; empty when `newer` may stand in its place."""
    version = older["info"]["version"]
    return [f"{version}: {change}" for change in dict.fromkeys(_of_paths(older, newer))]


def _of_paths(older: Document, newer: Document) -> Iterator[str]:
    for path, operations in older["paths"].items():
        for verb in _VERBS:
            if verb not in operations:
                continue
            operation = newer["paths"].get(path, {}).get(verb)
            where = f"{verb.upper()} {path}"
            if operation is None:
                yield f"{where}: is gone"
                continue
            yield from (f"{where}: {change}" for change in _of_operation(operations[verb], operation, _Shapes(older, newer)))


def _of_operation(older: Schema, newer: Schema, shapes: _Shapes) -> Iterator[str]:
    asked, asks = older.get("x-permission"), newer.get("x-permission")
    if asks is not None and asks != asked:
        yield f"asks for `{asks}`" + (f" instead of `{asked}`" if asked else ", and was open to all")
    yield from _of_parameters(older, newer, shapes)
    yield from _of_body(older, newer, shapes)
    yield from _of_responses(older, newer, shapes)


def _of_parameters(older: Schema, newer: Schema, shapes: _Shapes) -> Iterator[str]:
    had = {(one["in"], one["name"]): one for one in older.get("parameters", ())}
    has = {(one["in"], one["name"]): one for one in newer.get("parameters", ())}
    for (place, name), parameter in had.items():
        if (place, name) not in has:
            yield f"takes no {place} parameter `{name}` any more"
            continue
        now = has[place, name]
        if now.get("required") and not parameter.get("required"):
            yield f"the {place} parameter `{name}` is required now"
        yield from shapes.taken(parameter["schema"], now["schema"], f"the {place} parameter `{name}`")
    for place, name in has.keys() - had.keys():
        if has[place, name].get("required"):
            yield f"asks for a new {place} parameter `{name}`"


def _of_body(older: Schema, newer: Schema, shapes: _Shapes) -> Iterator[str]:
    had, has = older.get("requestBody"), newer.get("requestBody")
    if had is None:
        if has is not None and has.get("required"):
            yield "asks for a body"
        return
    if has is None:
        yield "takes no body any more"
        return
    if has.get("required") and not had.get("required"):
        yield "the body is required now"
    for kind, content in had["content"].items():
        if kind not in has["content"]:
            yield f"takes no {kind} any more"
        else:
            yield from shapes.taken(content["schema"], has["content"][kind]["schema"], "body")


def _of_responses(older: Schema, newer: Schema, shapes: _Shapes) -> Iterator[str]:
    for status, response in older["responses"].items():
        now = newer["responses"].get(status)
        if now is None:
            yield f"does not answer {status} any more"
            continue
        for kind, content in response.get("content", {}).items():
            if kind not in now.get("content", {}):
                yield f"answers {status} without {kind}"
            elif "schema" in content:
                yield from shapes.given(content["schema"], now["content"][kind].get("schema", {}), "answer" if status < "4" else status)
        for code in dict.fromkeys(response.get("x-codes", ())):
            if code not in now.get("x-codes", ()):
                yield f"does not answer {status} with `{code}` any more"


class _Shapes:
    """Compares schemas of two documents, following their references."""

    def __init__(self, older: Document, newer: Document) -> None:
        self._older = older
        self._newer = newer
        self._open: set[tuple[int, int, bool]] = set()

    def taken(self, older: Schema, newer: Schema, what: str) -> Iterator[str]:
        """What clients may send by `older`, and `newer` refuses."""
        yield from self._compared(older, newer, what, taken=True)

    def given(self, older: Schema, newer: Schema, what: str) -> Iterator[str]:
        """What clients may rely on by `older`, and `newer` does not promise."""
        yield from self._compared(older, newer, what, taken=False)

    def _compared(self, older: Schema, newer: Schema, what: str, *, taken: bool) -> Iterator[str]:
        olds, news = _alternatives(older, self._older), _alternatives(newer, self._newer)
        # Each that may be sent must be taken by one; each that may come must be one that was known.
        for known, among in ((old, news) for old in olds) if taken else ((new, olds) for new in news):
            yield from self._best(known, among, what, taken=taken)

    def _best(self, one: Schema, among: list[Schema], what: str, *, taken: bool) -> Iterator[str]:
        """The changes against the alternative that is nearest."""
        alike = [other for other in among if other.get("type") == one.get("type") or not other.get("type")]
        if not alike:
            said = "takes no" if taken else "may be"
            yield f"{what} {said} {one.get('type', 'value')}" + (" any more" if taken else "")
            return
        found = [list(self._changes(*((one, other) if taken else (other, one)), what, taken=taken)) for other in alike]
        yield from min(found, key=len)

    def _changes(self, older: Schema, newer: Schema, what: str, *, taken: bool) -> Iterator[str]:
        # A shape that holds itself is met again; the documents stay as they are, so that identity is enough.
        pair = (id(older), id(newer), taken)
        if pair in self._open:
            return
        self._open.add(pair)
        yield from _of_values(older, newer, what) if taken else _of_format(older, newer, what)
        yield from self._of_fields(older, newer, what, taken=taken)
        if "items" in older and "items" in newer:
            yield from self._compared(older["items"], newer["items"], f"{what}[]", taken=taken)
        loose, strict = older.get("additionalProperties"), newer.get("additionalProperties")
        if isinstance(loose, Mapping) and isinstance(strict, Mapping):
            yield from self._compared(loose, strict, f"{what}.*", taken=taken)
        self._open.discard(pair)

    def _of_fields(self, older: Schema, newer: Schema, what: str, *, taken: bool) -> Iterator[str]:
        had, has = older.get("properties", {}), newer.get("properties", {})
        must, must_now = set(older.get("required", ())), set(newer.get("required", ()))
        closed = newer.get("additionalProperties") is False
        for name, schema in had.items():
            field = f"{what}.{name}"
            if name in has:
                yield from self._compared(schema, has[name], field, taken=taken)
            elif not taken:
                yield f"{what} lost the field `{name}`"
            elif closed:
                yield f"{what} does not take the field `{name}` any more"
        if not taken:
            yield from (f"{what} may come without the field `{name}`" for name in sorted(must - must_now) if name in has)
            return
        for name in sorted(must_now - must):
            yield f"{what} asks for the field `{name}`" if name in had else f"{what} asks for a new field `{name}`"
        if closed and older.get("additionalProperties", True) is not False and "properties" in older:
            yield f"{what} takes no further fields any more"


def _of_values(older: Schema, newer: Schema, what: str) -> Iterator[str]:
    """How fewer values of one type are taken."""
    values = older.get("enum", [older["const"]] if "const" in older else None)
    allowed = newer.get("enum", [newer["const"]] if "const" in newer else None)
    if allowed is not None:
        gone = [value for value in values or () if value not in allowed]
        yield from (f"{what} does not take `{value}` any more" for value in gone)
        if values is None:
            yield f"{what} takes only {', '.join(f'`{value}`' for value in allowed)}"
    for bounds, tighter in ((_LOWER_BOUNDS, _above), (_UPPER_BOUNDS, _below)):
        for bound in bounds:
            if bound in newer and (bound not in older or tighter(newer[bound], older[bound])):
                yield f"{what} has `{bound}` {newer[bound]}" + (f" instead of {older[bound]}" if bound in older else "")
    for word in _EXACT:
        if word != "const" and word in newer and newer[word] != older.get(word):
            yield f"{what} has another `{word}`"


def _of_format(older: Schema, newer: Schema, what: str) -> Iterator[str]:
    """A text that was a time or an id is not read as another."""
    if "format" in older and older["format"] != newer.get("format"):
        yield f"{what} is not a {older['format']} any more"
    values, now = older.get("enum"), newer.get("enum")
    if values is not None and now is None and "const" not in newer:
        yield f"{what} may be any {newer.get('type', 'value')}"


def _above(new: Any, old: Any) -> bool:
    return bool(new > old)


def _below(new: Any, old: Any) -> bool:
    return bool(new < old)


def _alternatives(schema: Schema, document: Document) -> list[Schema]:
    """The kinds of values that a schema allows, references followed; each with one type or none."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        return _alternatives(document["components"]["schemas"][name], document)
    for word in ("anyOf", "oneOf"):
        if word in schema:
            return [found for one in schema[word] for found in _alternatives(one, document)]
    kinds = schema.get("type")
    return [{**schema, "type": kind} for kind in kinds] if isinstance(kinds, list) else [_typed(schema)]


def _typed(schema: Schema) -> Schema:
    """An enumeration says its type by its values."""
    if "type" in schema or not ("enum" in schema or "const" in schema):
        return schema
    values = schema.get("enum", [schema.get("const")])
    names = {"str": "string", "int": "integer", "float": "number", "bool": "boolean", "NoneType": "null"}
    kinds = {names.get(type(value).__name__, "object") for value in values}
    return {**schema, "type": kinds.pop()} if len(kinds) == 1 else schema
