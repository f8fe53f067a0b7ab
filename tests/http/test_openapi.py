"""The published document says everything: who may, how often, what is refused and how it looks; and its examples hold."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
from tests.http.site import NOBODY_OF_THIS_ID, Site

from fortress import Fortress
from fortress.http.examples import NoExample, example_of

Operation = tuple[str, dict[str, Any]]


@pytest.fixture(scope="module", params=[1, 2])
def document(app: Fortress, request: pytest.FixtureRequest) -> dict[str, Any]:
    return app.document(request.param)


def operations(document: dict[str, Any]) -> Iterator[Operation]:
    for path, item in document["paths"].items():
        for verb, operation in item.items():
            yield f"{verb.upper()} {path}", operation


def contents(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for where, operation in operations(document):
        for said in (operation.get("requestBody", {}), *operation["responses"].values()):
            for content in said.get("content", {}).values():
                yield where, content


def test_every_example_is_what_its_schema_allows(document: dict[str, Any]) -> None:
    seen = 0
    for where, content in contents(document):
        validator = jsonschema.Draft202012Validator(content["schema"] | {"components": document["components"]})
        said = document["components"]["examples"]
        given = [content["example"]] if "example" in content else [said[code]["value"] for code in content.get("examples", {})]
        for example in given:
            errors = [error.message for error in validator.iter_errors(example)]
            assert not errors, (where, example, errors)
            seen += 1
    assert seen > 500


def test_nearly_every_body_has_an_example(document: dict[str, Any]) -> None:
    bare = [where for where, content in contents(document) if not {"example", "examples"} & set(content)]
    assert not bare


def test_every_operation_says_who_may_and_how_often(document: dict[str, Any]) -> None:
    for where, operation in operations(document):
        assert operation["x-limit"].keys() == {"quota", "window"}, where
        assert bool(operation["security"]) == (operation["x-permission"] is not None), where
        assert all(response["x-codes"] for status, response in operation["responses"].items() if status >= "4"), where


def test_what_ends_says_so(app: Fortress) -> None:
    old, new = (app.document(version)["paths"]["/products"]["get"] for version in (1, 2))
    assert (old["deprecated"], old["x-sunset"], old["x-successor"]) == (True, "2027-11-01", "v2")
    assert "versions.gone" in old["responses"]["410"]["x-codes"]
    assert not {"deprecated", "x-sunset"} & set(new)


async def test_what_is_not_there_is_refused_by_a_code_that_is_said(site: Site) -> None:
    said = site.app.document(1)["paths"]
    seen, unsaid = set(), []
    for route, _ in site.addresses():
        if route.verb != "GET" or not route.versioned or "{" not in route.path:
            continue
        nobodys = dict.fromkeys(site.ids, NOBODY_OF_THIS_ID)
        answer = await site.client.get("/api/v1" + site.filled(route.path, **nobodys), as_=site.admin)
        path = next(path for path, item in said.items() if item.get("get", {}).get("operationId") == route.name)
        if answer.status >= 400:
            seen.add(answer.code)
            if answer.code not in said[path]["get"]["responses"][str(answer.status)]["x-codes"]:
                unsaid.append((route, answer.code))
    assert not unsaid
    assert "orders.not_found" in seen


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "string", "minLength": 12}, "Exampleaaaaa"),
        ({"type": "string", "pattern": "^[0-9]{6}$"}, "123456"),
        ({"type": "integer", "minimum": 3}, 3),
        ({"type": "integer", "maximum": 0}, 0),
        ({"anyOf": [{"type": "null"}, {"type": "boolean"}]}, True),
        ({"type": "array", "items": {"const": 1}, "minItems": 2}, [1, 1]),
        ({"$ref": "#/components/schemas/A"}, {"name": "Example"}),
        ({"type": "string", "examples": ["TEA"]}, "TEA"),
    ],
)
def test_the_plainest_value_is_made(schema: dict[str, Any], expected: Any) -> None:
    shapes = {"A": {"type": "object", "properties": {"name": {"type": "string"}, "odd": {"type": "string", "pattern": "^%$"}}}}
    assert example_of(schema, shapes) == expected


def test_what_can_not_be_made_is_left_out_and_not_wrong() -> None:
    with pytest.raises(NoExample):
        example_of({"type": "string", "pattern": "^%$"}, {})
    with pytest.raises(NoExample):
        example_of({"$ref": "#/a/A"}, {"A": {"type": "object", "properties": {"a": {"$ref": "#/a/A"}}, "required": ["a"]}})
