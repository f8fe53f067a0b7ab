"""The OpenAPI 3.1 document of one version, made from the very endpoints that serve it."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any, Final, get_origin

import msgspec
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from fortress.data.claims import InFlight, Mismatch
from fortress.data.entity import Entity, shape_of
from fortress.data.pages import PageQuery
from fortress.errors import (
    BadRequest,
    FieldError,
    Forbidden,
    Invalid,
    NotFound,
    PreconditionFailed,
    PreconditionRequired,
    Refusal,
    RequestTimeout,
    TooLarge,
    TooManyRequests,
    Unauthenticated,
    Unavailable,
    UnsupportedMedia,
)
from fortress.http.answers import Accepted, Answer, Created, SeeOther
from fortress.http.binding import Signature, body_types, read_signature, value_type
from fortress.http.conditions import TAG_PATTERN, version_column
from fortress.http.cookies import ACCESS, GUARDED
from fortress.http.endpoint import Endpoint
from fortress.http.examples import NoExample, example_of
from fortress.http.pages import PageInput
from fortress.http.problems import Fault, phrase
from fortress.http.replays import KEY_PATTERN
from fortress.http.router import parameters_of
from fortress.http.routes import Route
from fortress.http.sparse import PARAMETER, Fields
from fortress.http.streams import EVENT_STREAM, NDJSON, Feed, Lines
from fortress.http.versions import VersionGone
from fortress.security.permissions import FACTORS, Public
from fortress.security.proof import ReauthenticationRequired, SecondFactorRequired

_TYPED_PARAMETER: Final = re.compile(r"\{(\w+):\w+\}")
_LOCATION: Final = {"Location": {"schema": {"type": "string"}}}
_ETAG: Final = {"ETag": {"schema": {"type": "string"}}}
_REF: Final = "#/components/schemas/{name}"
_PARAMETER_SCHEMAS: Final[dict[str, dict[str, Any]]] = {
    "uuid": {"type": "string", "format": "uuid"},
    "int": {"type": "integer", "minimum": 0, "maximum": 10**18 - 1},
    "str": {"type": "string", "minLength": 1, "maxLength": 200, "pattern": r"^[^/\x00-\x1f\x7f]+$"},
}
# Said of every text that comes in: the reader refuses NUL wherever it stands, so the document must too.
_NO_NUL: Final = r"^[^\u0000]*$"
# The schema is that of one line, or of the data of one event.
_STREAMED: Final[dict[Any, str]] = {Lines: NDJSON, Feed: EVENT_STREAM}
_SHAPED: Final = frozenset(("enum", "const", "pattern"))
_SHAPED_FORMATS: Final = frozenset(("uuid", "date-time", "date", "email"))
_SECURITY: Final[list[dict[str, list[str]]]] = [{"bearer": []}, {"apiKey": []}, {"cookie": []}]
_SCHEMES: Final = {
    "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
    "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "cookie": {
        "type": "apiKey",
        "in": "cookie",
        "name": GUARDED + ACCESS,
        "description": "What changes something needs the session's token in `X-CSRF-Token` too (GET /auth/csrf).",
    },
}


class ProblemDocument(msgspec.Struct):
    """RFC 9457 problem document; what every refusal looks like."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    error: str
    code: str
    request_id: str
    timestamp: str
    errors: list[FieldError] | msgspec.UnsetType = msgspec.UNSET


def openapi_document(endpoints: Iterable[Endpoint], *, version: int, title: str, server: str) -> dict[str, Any]:
    """The document of `version`: its operations with permissions, limits and every refusal they may answer."""
    served = [endpoint for endpoint in endpoints if endpoint.prefix == f"/api/v{version}"]
    described = [(endpoint, endpoint.route, endpoint.signature) for endpoint in served if endpoint.route and endpoint.signature]
    components, refs = _components([signature for _, _, signature in described])
    paths: dict[str, dict[str, Any]] = {}
    for endpoint, route, signature in described:
        path = paths.setdefault(_plain(route.path), {})
        operation = path[route.verb.lower()] = _operation(endpoint, route, signature, refs)
        _give_examples(operation, components)
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": f"v{version}"},
        "servers": [{"url": f"{server}/api/v{version}"}],
        "paths": paths,
        "components": {
            "schemas": components,
            "examples": {refusal.code: _problem_example(refusal) for one in described for refusal in _refusals(*one)},
            "securitySchemes": _SCHEMES,
        },
    }


def _plain(path: str) -> str:
    return _TYPED_PARAMETER.sub(r"{\1}", path)


def _operation(endpoint: Endpoint, route: Route, signature: Signature, refs: dict[Any, dict[str, Any]]) -> dict[str, Any]:
    documentation = inspect.getdoc(route.handler) or route.name.replace("_", " ").capitalize()
    summary, _, description = documentation.partition("\n")
    allow, limit = route.policy["allow"], route.policy["limit"]
    operation: dict[str, Any] = {
        "operationId": route.name,
        "summary": summary.strip().rstrip("."),
        "tags": [_tag(route)],
        "parameters": _parameters(route, signature),
        "responses": _responses(endpoint, route, signature, refs),
        "security": [] if isinstance(allow, Public) else _SECURITY,
        "x-permission": None if isinstance(allow, Public) else allow.name,
        "x-limit": {"quota": limit.quota, "window": limit.window},
        **_proof(endpoint),
        **_ending(endpoint),
    }
    if description.strip():
        operation["description"] = description.strip()
    if signature.body is not None:
        content = {one: {"schema": refs[signature.body]} for one in body_types(route).types}
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _give_examples(operation: dict[str, Any], shapes: dict[str, Any]) -> None:
    """An example of the body and of what success answers, where one can be made; a test holds each against its schema."""
    answers = [answer for status, answer in operation["responses"].items() if status < "4"]
    for said in (operation.get("requestBody", {}), *answers):
        for content in said.get("content", {}).values():
            with suppress(NoExample):
                content["example"] = example_of(content["schema"], shapes)


def _tag(route: Route) -> str:
    """The domain, whether its handlers are in one module or in several."""
    home = route.handler.__module__.partition(".rest")[0]
    return home.rsplit(".", 1)[-1]


def _ending(endpoint: Endpoint) -> dict[str, Any]:
    """That this version of the operation is discouraged, and the day on which it stops."""
    ending = endpoint.ending
    if ending is None:
        return {}
    sunset = {"x-sunset": ending.sunset.isoformat()} if ending.sunset else {}
    return {"deprecated": True, "x-successor": f"v{ending.last + 1}", **sunset}


def _proof(endpoint: Endpoint) -> dict[str, Any]:
    """What is asked of the caller's proof: how many seconds old it may be, and of how many factors."""
    proof = endpoint.proof
    if proof is None:
        return {}
    fresh = {} if math.isinf(proof.max_age) else {"x-fresh": int(proof.max_age)}
    return fresh if proof.factors < FACTORS else fresh | {"x-factor": proof.factors}


def _parameters(route: Route, signature: Signature) -> list[dict[str, Any]]:
    return [
        *_path_parameters(route.path), *_query_parameters(signature), *_fields(route, signature), *_header_parameters(signature),
        *_conditions(route, signature),
    ]  # fmt: skip


def _path_parameters(path: str) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": _PARAMETER_SCHEMAS[kind]} for name, kind in parameters_of(path).items()
    ]


def _query_parameters(signature: Signature) -> list[dict[str, Any]]:
    if signature.query is None:
        return []
    model = PageInput if signature.query[1] is PageQuery else signature.query[1]
    schema = model.model_json_schema()
    required, shared = schema.get("required", []), schema.get("$defs", {})
    return [
        {"name": name, "in": "query", "required": name in required, "schema": _without_nul(_inlined(_without_null(property_), shared))}
        for name, property_ in schema["properties"].items()
    ]


def _inlined(schema: dict[str, Any], shared: dict[str, Any]) -> dict[str, Any]:
    """A parameter's schema with what it refers to in it: what a query model shares is nowhere else in the document."""
    name = schema.get("$ref", "").rpartition("/")[2]
    return {**shared[name], **{key: value for key, value in schema.items() if key != "$ref"}} if name else schema


def _fields(route: Route, signature: Signature) -> list[dict[str, Any]]:
    if not route.policy.get("sparse"):
        return []
    one = "|".join(Fields(signature.returns).names)
    said = "only these fields, with commas between; unset: all"
    schema = {"type": "string", "pattern": f"^({one})(,({one}))*$"}
    return [{"name": PARAMETER, "in": "query", "required": False, "description": said, "schema": schema}]


def _conditions(route: Route, signature: Signature) -> list[dict[str, Any]]:
    """The headers of conditional (RFC 9110 §13) and of repeatable requests."""
    found: list[dict[str, Any]] = []
    if route.verb == "GET" and _is_tagged(route, signature):
        found.append(_header("If-None-Match", "ETags of what is known already; 304 when it is one of these"))
    if route.policy.get("idempotent"):
        found.append(_header("Idempotency-Key", "a name of one's own for this request; sent again, it is done once", pattern=KEY_PATTERN))
    if signature.expected is not None:
        required = route.policy.get("precondition", False)
        found.append(_header("If-Match", "ETag of what was read; 412 when it has changed since", pattern=TAG_PATTERN, required=required))
    return found


def _header(name: str, said: str, *, pattern: str | None = None, required: bool = False) -> dict[str, Any]:
    schema = {"type": "string"} if pattern is None else {"type": "string", "pattern": pattern}
    return {"name": name, "in": "header", "required": required, "description": said, "schema": schema}


def _is_tagged(route: Route, signature: Signature) -> bool:
    if route.policy.get("sparse"):
        return False
    return route.policy.get("etag", False) or version_column(signature.returns) is not None


def _header_parameters(signature: Signature) -> list[dict[str, Any]]:
    if get_origin(signature.returns) is not Feed:
        return []
    return [_header("Last-Event-ID", "id of the last event that was seen; unset: from now on")]


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A query parameter can be left out but not be null; the model says `null` for the former."""
    options = [option for option in schema.get("anyOf", []) if option != {"type": "null"}]
    rest = {key: value for key, value in schema.items() if key not in ("anyOf", "default") or (key == "default" and value is not None)}
    return {**rest, **options[0]} if len(options) == 1 else schema


def _without_nul(schema: Any) -> Any:
    """The schema of an input, every text in it without NUL."""
    if isinstance(schema, list):
        return [_without_nul(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    said = {name: _without_nul(value) for name, value in schema.items()}
    if said.get("type") == "string" and not (_SHAPED & set(said) or said.get("format") in _SHAPED_FORMATS):
        said["pattern"] = _NO_NUL
    return said


def _responses(endpoint: Endpoint, route: Route, signature: Signature, refs: dict[Any, dict[str, Any]]) -> dict[str, Any]:
    status, body = _success(signature, refs)
    if route.policy.get("sparse"):
        # The schema is that of a whole answer: who asks for fewer fields knows which.
        body["content"]["application/json"]["x-sparse"] = True
    responses: dict[str, Any] = {str(status): {"description": phrase(status), **body}}
    if signature.returns is Answer:
        # It says itself what it is, with a body or without.
        responses["200"] = {"description": phrase(200)}
    if status == 201:
        responses["201"]["headers"] = _LOCATION
    if _is_tagged(route, signature):
        responses[str(status)]["headers"] = {**responses[str(status)].get("headers", {}), **_ETAG}
        if route.verb == "GET":
            responses["304"] = {"description": phrase(304), "headers": _ETAG}
    by_status: dict[int, list[type[Refusal]]] = {}
    for refusal in _refusals(endpoint, route, signature):
        by_status.setdefault(refusal.status, []).append(refusal)
    for code, refusals in sorted(by_status.items()):
        responses[str(code)] = _problem(refusals, refs)
    return responses


def _success(signature: Signature, refs: dict[Any, dict[str, Any]]) -> tuple[int, dict[str, Any]]:
    value = value_type(signature.returns)
    if value is None:
        return (303, {"headers": _LOCATION}) if signature.returns is SeeOther else (204, {})
    origin = getattr(signature.returns, "__origin__", None)
    if origin in _STREAMED:
        return 200, {"content": {_STREAMED[origin]: {"schema": refs[value], "x-stream": True}}}
    status = 201 if origin is Created else 202 if origin is Accepted else 200
    return status, {"content": {"application/json": {"schema": refs[value]}}}


def _refusals(endpoint: Endpoint, route: Route, signature: Signature) -> list[type[Refusal]]:
    """All that this route may refuse with; each status is listed once, with its codes."""
    refusals: list[type[Refusal]] = [BadRequest, Invalid, TooManyRequests, Unavailable, Fault]
    if not isinstance(route.policy["allow"], Public):
        # A role may ask for a second factor whatever the route does.
        refusals += [Unauthenticated, SecondFactorRequired, Forbidden]
    if "fresh" in route.policy:
        refusals.append(ReauthenticationRequired)
    if endpoint.ending is not None and endpoint.ending.sunset is not None:
        refusals.append(VersionGone)
    if signature.path:
        refusals += [NotFound, *_absent(route)]
    if route.policy.get("idempotent"):
        refusals += [InFlight, Mismatch]
    if signature.expected is not None:
        refusals.append(PreconditionFailed)
    if route.policy.get("precondition"):
        refusals.append(PreconditionRequired)
    if signature.body is not None:
        refusals += [RequestTimeout, TooLarge, UnsupportedMedia]
    return list(dict.fromkeys([*refusals, *route.policy.get("errors", ())]))


def _absent(route: Route) -> list[type[Refusal]]:
    """What is answered when the thing that the route is about is not there, or not for this caller."""
    value = value_type(read_signature(route).returns)
    return [shape_of(value).missing] if isinstance(value, type) and issubclass(value, Entity) else []


def _problem(refusals: Sequence[type[Refusal]], refs: dict[Any, dict[str, Any]]) -> dict[str, Any]:
    described = "; ".join(f"`{refusal.code}` {refusal.title}" for refusal in refusals)
    codes = [refusal.code for refusal in refusals]
    examples = {code: {"$ref": f"#/components/examples/{code}"} for code in codes}
    content = {"schema": refs[ProblemDocument], "examples": examples}
    return {"description": described, "x-codes": codes, "content": {"application/problem+json": content}}


def _problem_example(refusal: type[Refusal]) -> dict[str, Any]:
    """How a refusal looks; said once, and referred to by all operations that may answer it."""
    said = {"type": f"urn:problem:{refusal.code}", "title": refusal.title, "status": refusal.status, "code": refusal.code}
    where = {"instance": "/api/v1/…", "request_id": "0123456789abcdef", "timestamp": "2026-11-01T09:30:00Z"}
    value = {**said, "detail": f"{refusal.title}.", "error": f"{refusal.title}.", **where}
    return {"summary": refusal.title, "value": value}


def _components(signatures: Sequence[Signature]) -> tuple[dict[str, Any], dict[Any, dict[str, Any]]]:
    """The schemas of every body in and out, and the reference to each by its type."""
    bodies: list[type[BaseModel]] = list(dict.fromkeys(signature.body for signature in signatures if signature.body))
    inputs, definitions = models_json_schema([(body, "validation") for body in bodies], ref_template="#/components/schemas/{model}")
    outputs = list(dict.fromkeys(value for signature in signatures if (value := value_type(signature.returns)) is not None))
    schemas, components = msgspec.json.schema_components([*outputs, ProblemDocument], ref_template=_REF)
    refs: dict[Any, dict[str, Any]] = {body: inputs[(body, "validation")] for body in bodies}
    refs |= dict(zip([*outputs, ProblemDocument], schemas, strict=True))
    return {**_without_nul(definitions.get("$defs", {})), **components}, refs
