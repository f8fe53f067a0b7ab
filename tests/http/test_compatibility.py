"""A change that breaks a client is named in words; one that adds something is not."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest

from fortress.http.compatibility import breaking_changes

Document = dict[str, Any]
ORDER = {
    "type": "object",
    "properties": {
        "id": {"type": "string", "format": "uuid"},
        "total": {"type": "string"},
        "status": {"enum": ["placed", "shipped"]},
        "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "lines": {"type": "array", "items": {"$ref": "#/components/schemas/Line"}},
        "parent": {"anyOf": [{"$ref": "#/components/schemas/Order"}, {"type": "null"}]},
    },
    "required": ["id", "total", "status", "lines"],
}
PLACE = {
    "type": "object",
    "properties": {
        "sku": {"type": "string", "maxLength": 40},
        "kind": {"enum": ["gift", "usual"], "type": "string"},
        "note": {"anyOf": [{"type": "string", "maxLength": 500}, {"type": "null"}]},
    },
    "required": ["sku"],
    "additionalProperties": False,
}
DOCUMENT: Document = {
    "info": {"version": "v1"},
    "paths": {
        "/orders": {
            "post": {
                "x-permission": "orders:place",
                "parameters": [],
                "requestBody": {"required": True, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Place"}}}},
                "responses": {
                    "201": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Order"}}}},
                    "409": {"x-codes": ["orders.out_of_stock"]},
                },
            },
            "get": {
                "x-permission": None,
                "parameters": [{"name": "limit", "in": "query", "required": False, "schema": {"type": "integer", "maximum": 100}}],
                "responses": {"200": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Order"}}}}},
            },
        }
    },
    "components": {
        "schemas": {
            "Order": ORDER,
            "Place": PLACE,
            "Line": {"type": "object", "properties": {"price": {"type": "string"}}, "required": ["price"]},
        }
    },
}


def post(document: Document) -> Any:
    return document["paths"]["/orders"]["post"]


def listing(document: Document) -> Any:
    return document["paths"]["/orders"]["get"]


def order(document: Document) -> Any:
    return document["components"]["schemas"]["Order"]


def place(document: Document) -> Any:
    return document["components"]["schemas"]["Place"]


def changed(change: Callable[[Document], object]) -> list[str]:
    newer = deepcopy(DOCUMENT)
    change(newer)
    return breaking_changes(DOCUMENT, newer)


def lose_line_price(document: Document) -> None:
    line = document["components"]["schemas"]["Line"]
    del line["properties"]["price"]
    line["required"] = []


BREAKING: list[tuple[Callable[[Document], object], str]] = [
    (lambda d: d["paths"].pop("/orders"), "v1: GET /orders: is gone"),
    (lambda d: d["paths"]["/orders"].pop("post"), "v1: POST /orders: is gone"),
    (lambda d: order(d)["properties"].pop("total"), "v1: POST /orders: answer lost the field `total`"),
    (lose_line_price, "v1: POST /orders: answer.lines[] lost the field `price`"),
    (lambda d: order(d)["required"].remove("total"), "v1: POST /orders: answer may come without the field `total`"),
    (lambda d: order(d)["properties"].update(total={"type": "number"}), "v1: POST /orders: answer.total may be number"),
    (
        lambda d: order(d)["properties"].update(total={"anyOf": [{"type": "string"}, {"type": "null"}]}),
        "v1: POST /orders: answer.total may be null",
    ),
    (lambda d: order(d)["properties"]["id"].pop("format"), "v1: POST /orders: answer.id is not a uuid any more"),
    (lambda d: order(d)["properties"].update(status={"type": "string"}), "v1: POST /orders: answer.status may be any string"),
    (lambda d: place(d)["required"].append("kind"), "v1: POST /orders: body asks for the field `kind`"),
    (
        lambda d: (place(d)["properties"].update(size={"type": "integer"}), place(d)["required"].append("size")),
        "v1: POST /orders: body asks for a new field `size`",
    ),
    (lambda d: place(d)["properties"].pop("note"), "v1: POST /orders: body does not take the field `note` any more"),
    (lambda d: place(d)["properties"]["kind"]["enum"].remove("gift"), "v1: POST /orders: body.kind does not take `gift` any more"),
    (lambda d: place(d)["properties"]["sku"].update(maxLength=30), "v1: POST /orders: body.sku has `maxLength` 30 instead of 40"),
    (lambda d: place(d)["properties"]["sku"].update(minLength=2), "v1: POST /orders: body.sku has `minLength` 2"),
    (lambda d: place(d)["properties"]["sku"].update(pattern="^A"), "v1: POST /orders: body.sku has another `pattern`"),
    (lambda d: place(d)["properties"]["sku"].update(enum=["A"]), "v1: POST /orders: body.sku takes only `A`"),
    (lambda d: place(d)["properties"].update(note={"type": "string"}), "v1: POST /orders: body.note takes no null any more"),
    (lambda d: post(d).pop("requestBody"), "v1: POST /orders: takes no body any more"),
    (lambda d: listing(d).update(requestBody={"required": True, "content": {}}), "v1: GET /orders: asks for a body"),
    (
        lambda d: post(d)["requestBody"].update(content={"application/xml": {"schema": {}}}),
        "v1: POST /orders: takes no application/json any more",
    ),
    (lambda d: post(d)["responses"].pop("201"), "v1: POST /orders: does not answer 201 any more"),
    (lambda d: post(d)["responses"].pop("409"), "v1: POST /orders: does not answer 409 any more"),
    (
        lambda d: post(d)["responses"]["409"].update({"x-codes": ["orders.other"]}),
        "v1: POST /orders: does not answer 409 with `orders.out_of_stock` any more",
    ),
    (lambda d: post(d)["responses"]["201"].pop("content"), "v1: POST /orders: answers 201 without application/json"),
    (lambda d: listing(d)["parameters"].clear(), "v1: GET /orders: takes no query parameter `limit` any more"),
    (
        lambda d: listing(d)["parameters"].append({"name": "who", "in": "query", "required": True, "schema": {}}),
        "v1: GET /orders: asks for a new query parameter `who`",
    ),
    (lambda d: listing(d)["parameters"][0].update(required=True), "v1: GET /orders: the query parameter `limit` is required now"),
    (
        lambda d: listing(d)["parameters"][0]["schema"].update(maximum=50),
        "v1: GET /orders: the query parameter `limit` has `maximum` 50 instead of 100",
    ),
    (lambda d: post(d).update({"x-permission": "orders:write"}), "v1: POST /orders: asks for `orders:write` instead of `orders:place`"),
    (lambda d: listing(d).update({"x-permission": "orders:read"}), "v1: GET /orders: asks for `orders:read`, and was open to all"),
]


@pytest.mark.parametrize(("change", "said"), BREAKING, ids=[said for _, said in BREAKING])
def test_what_breaks_a_client_is_named(change: Callable[[Document], object], said: str) -> None:
    assert said in changed(change)


ADDITIONS: list[Callable[[Document], object]] = [
    lambda d: None,
    lambda d: d["paths"].update({"/more": {"get": {"responses": {}}}}),
    lambda d: order(d)["properties"].update(more={"type": "string"}),
    lambda d: order(d)["required"].append("note"),
    lambda d: order(d)["properties"]["status"]["enum"].append("lost"),
    lambda d: order(d)["properties"].update(note={"type": "string"}),
    lambda d: place(d)["properties"].update(more={"type": "string"}),
    lambda d: place(d)["properties"]["sku"].update(maxLength=50),
    lambda d: place(d)["properties"]["kind"]["enum"].append("other"),
    lambda d: place(d)["required"].clear(),
    lambda d: place(d).pop("additionalProperties"),
    lambda d: post(d)["responses"].update({"410": {"x-codes": ["orders.gone"]}}),
    lambda d: post(d)["responses"]["409"]["x-codes"].append("orders.other"),
    lambda d: post(d)["requestBody"]["content"].update({"application/msgpack": {"schema": {}}}),
    lambda d: listing(d)["parameters"].append({"name": "who", "in": "query", "required": False, "schema": {}}),
    lambda d: post(d).update({"x-permission": None}),
]


@pytest.mark.parametrize("change", ADDITIONS)
def test_what_adds_something_breaks_nobody(change: Callable[[Document], object]) -> None:
    assert changed(change) == []


def test_a_shape_that_holds_itself_is_compared_once() -> None:
    found = changed(lambda d: order(d)["properties"].pop("total"))
    assert sorted(found) == ["v1: GET /orders: answer lost the field `total`", "v1: POST /orders: answer lost the field `total`"]
