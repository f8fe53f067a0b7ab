"""A handler's signature, read once at start, becomes the plan by which each request is turned into a call.

A parameter is, in this order: one of the path's, `data` (the body), the caller, the request, a query model, or a
service that the assembly provides. Anything else stops the start.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from functools import cache
from typing import Any, NamedTuple, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ValidationError

from fortress.context import current
from fortress.data.expected import Expected
from fortress.data.pages import Page, PageQuery
from fortress.data.retry import retrying
from fortress.errors import CannotStart, StaleVersion
from fortress.http import answers
from fortress.http.answers import Answer
from fortress.http.conditions import read_expected, require_condition, stale, tagged
from fortress.http.inputs import JSON, PATCHES, BodyTypes, invalid, read_json, read_query, refuse_query
from fortress.http.pages import read_page_query, render_page
from fortress.http.replays import Replays
from fortress.http.request import Request
from fortress.http.router import parameters_of
from fortress.http.routes import Handler, Route
from fortress.http.sparse import Fields
from fortress.http.streams import Feed, Lines, render_feed, render_lines
from fortress.http.versions import Passage, Shift
from fortress.security.principal import Principal

Provide = Callable[[type[Any]], Any]
Render = Callable[[Any, Request], Answer]
Call = Callable[[Request], Awaitable[Answer]]
Arguments = Callable[[Request], Awaitable[dict[str, Any]]]


class Signature(NamedTuple):
    """What a handler takes and gives, by the names of its parameters."""

    path: tuple[str, ...]
    body: type[BaseModel] | None
    query: tuple[str, type[Any]] | None
    principal: str | None
    request: str | None
    expected: str | None
    services: dict[str, type[Any]]
    returns: Any


@cache
def read_signature(route: Route) -> Signature:
    """The route's signature; read once, however many versions serve the route and whoever else asks for it.

    Raises:
        CannotStart: a path parameter is not taken, or a parameter has no type.
    """
    hints = get_type_hints(route.handler)
    in_path = parameters_of(route.path)
    missing = set(in_path) - set(hints)
    if missing:
        raise CannotStart(f"{route!r}: the path's {', '.join(sorted(missing))} is not a parameter of {route.name}")
    body: type[BaseModel] | None = None
    query: tuple[str, type[Any]] | None = None
    named: dict[type[Any], str] = {}
    services: dict[str, type[Any]] = {}
    for name in inspect.signature(route.handler).parameters:
        kind = hints.get(name)
        if name in in_path:
            continue
        if kind is None:
            raise CannotStart(f"{route!r}: parameter {name!r} has no type")
        if name == "data":
            body = kind
        elif kind in (Principal, Request, Expected):
            named[kind] = name
        elif _is_query(kind):
            query = (name, kind)
        else:
            services[name] = kind
    return Signature(
        tuple(in_path), body, query, named.get(Principal), named.get(Request), named.get(Expected), services, hints.get("return")
    )


def signature_of(route: Route, passage: Passage) -> Signature:
    """The signature as the clients of one version see it."""
    return read_signature(route)._replace(body=passage.body, returns=passage.returns)


def bind(route: Route, provide: Provide, passage: Passage) -> Call:
    """The coroutine function that answers a request by calling the route's handler, in the shapes of one version."""
    signature = signature_of(route, passage)
    idempotent = route.policy.get("idempotent", False)
    handler = route.handler if route.verb == "GET" or idempotent else _again_when_contended(route.handler)
    render = renderer(signature.returns)
    fixed = {name: provide(kind) for name, kind in signature.services.items()}
    arguments = _arguments(signature, fixed, body_types(route))
    if passage.raised is not None:
        arguments = _with_raised_body(arguments, passage.raised)
    if passage.lowered is not None:
        handler = _lowering(handler, passage.lowered)

    if route.policy.get("sparse"):
        return _sparsely(Fields(signature.returns), arguments, handler, render)
    render = tagged(signature.returns, render, digested=route.policy.get("etag", False))
    if idempotent:
        return _idempotently(route.name, provide(Replays), arguments, handler, render)
    if signature.expected is not None:
        return _conditionally(arguments, handler, render, required=route.policy.get("precondition", False))

    async def call(request: Request) -> Answer:
        return render(await handler(**await arguments(request)), request)

    return call


def _idempotently(name: str, replays: Replays, arguments: Arguments, handler: Handler, render: Render) -> Call:
    """What is done once for each Idempotency-Key."""

    async def call(request: Request) -> Answer:
        given = await arguments(request)

        async def act() -> Answer:
            return render(await handler(**given), request)

        return await replays.answer(request, name, act)

    return call


def _conditionally(arguments: Arguments, handler: Handler, render: Render, *, required: bool) -> Call:
    """What changes only what its caller has seen, where they say what that is."""

    async def call(request: Request) -> Answer:
        if required:
            require_condition(request)
        try:
            return render(await handler(**await arguments(request)), request)
        except StaleVersion as refusal:
            raise stale(request) or refusal from None

    return call


def _sparsely(fields: Fields, arguments: Arguments, handler: Handler, render: Render) -> Call:
    """What leaves out what was not asked for."""

    async def call(request: Request) -> Answer:
        query, names = request.query, fields.taken_from(request)
        value = await handler(**await arguments(request))
        # A link to the next page repeats all that was asked for.
        request.query = query
        return render(value if names is None else fields.cut(value, names), request)

    return call


def _again_when_contended(handler: Handler) -> Handler:
    """What writes runs again when another transaction was in its way; its input is already read."""

    async def run(**given: Any) -> Any:
        return await retrying(lambda: handler(**given), current.get())

    return run


def _lowering(handler: Handler, lowered: Shift) -> Handler:
    """What answers in an older shape."""

    async def run(**given: Any) -> Any:
        return lowered(await handler(**given))

    return run


def _with_raised_body(arguments: Arguments, raised: Shift) -> Arguments:
    """What reads an older shape of the body, and hands on the current one."""

    async def read(request: Request) -> dict[str, Any]:
        given = await arguments(request)
        try:
            given["data"] = raised(given["data"])
        except ValidationError as error:
            raise invalid(error, "/") from None
        return given

    return read


def body_types(route: Route) -> BodyTypes:
    """The media types that the route's body may have."""
    return PATCHES if route.verb == "PATCH" else JSON


def _arguments(signature: Signature, fixed: dict[str, Any], types: BodyTypes) -> Arguments:
    path, body, query, principal, request_name, expected = signature[:6]

    async def arguments(request: Request) -> dict[str, Any]:
        given = fixed.copy()
        if path:
            given.update(zip(path, request.values, strict=True))
        if principal is not None:
            given[principal] = request.principal
        if request_name is not None:
            given[request_name] = request
        if expected is not None:
            given[expected] = read_expected(request)
        if query is not None:
            given[query[0]] = _read_query(request, query[1])
        elif request.query:
            refuse_query(request)
        if body is not None:
            given["data"] = await read_json(request, body, types)
        return given

    return arguments


def _read_query(request: Request, kind: type[Any]) -> Any:
    return read_page_query(request) if kind is PageQuery else read_query(request, kind)


def _is_query(kind: Any) -> bool:
    return kind is PageQuery or (isinstance(kind, type) and issubclass(kind, BaseModel))


def renderer(returns: Any) -> Render:
    """How a handler's result becomes an answer, by its declared type."""
    kind = get_origin(returns) or returns
    return _RENDERERS.get(kind, answers.render_ok)


def value_type(returns: Any) -> Any:
    """The type of the body that a handler answers with; None: no body, or one that says so itself."""
    kind = get_origin(returns)
    if kind in (answers.Created, answers.Accepted, answers.Headed, Lines, Feed):
        return get_args(returns)[0]
    return None if returns in (None, type(None), Answer, answers.SeeOther) else returns


_RENDERERS: dict[Any, Render] = {
    None: answers.render_nothing,
    type(None): answers.render_nothing,
    Answer: answers.render_answer,
    answers.Created: answers.render_created,
    answers.Accepted: answers.render_accepted,
    answers.Headed: answers.render_headed,
    answers.SeeOther: answers.render_see_other,
    Lines: render_lines,
    Feed: render_feed,
    Page: render_page,
}
