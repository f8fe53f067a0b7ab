"""From path to endpoint."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fortress.http.router import Router, parameters_of

ORDER = UUID("01a2053f-e4f4-737b-a0aa-fca20d01e174")


@pytest.fixture
def router() -> Router[str]:
    made: Router[str] = Router()
    made.add("GET", "/orders", "list")
    made.add("POST", "/orders", "place")
    made.add("GET", "/orders/{id:uuid}", "read")
    made.add("GET", "/orders/{id:uuid}/lines/{number:int}", "line")
    made.add("GET", "/users/me", "me")
    made.add("GET", "/users/{id:uuid}", "user")
    made.add("GET", "/files/{name:str}", "file")
    return made


@pytest.mark.parametrize(
    ("path", "methods", "values"),
    [
        ("/orders", {"GET": "list", "POST": "place"}, ()),
        (f"/orders/{ORDER}", {"GET": "read"}, (ORDER,)),
        (f"/orders/{ORDER}/lines/7", {"GET": "line"}, (ORDER, 7)),
        ("/users/me", {"GET": "me"}, ()),
        (f"/users/{ORDER}", {"GET": "user"}, (ORDER,)),
        ("/files/a.txt", {"GET": "file"}, ("a.txt",)),
    ],
)
def test_a_path_finds_its_methods_and_values(router: Router[str], path: str, methods: dict[str, str], values: tuple[object, ...]) -> None:
    assert router.find(path) == (methods, values)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "*",
        "/",
        "//orders",
        "/orders/",
        "/Orders",
        "/orders/7",
        "/orders/{id}",
        f"/orders/{{{ORDER}}}",
        f"/orders/{ORDER.hex}",
        f"/orders/{ORDER}/lines/-1",
        f"/orders/{ORDER}/lines/1.0",
        f"/orders/{ORDER}/lines/" + "9" * 19,
        f"/orders/{ORDER}/lines/٣",
        "/users/me/x.css",
        "/users/me;a.js",
        "/files/",
        "/files/a\x00b",
        "/files/" + "a" * 201,
        "/files/../orders",
    ],
)
def test_what_is_not_exactly_a_path_of_ours_is_not_found(router: Router[str], path: str) -> None:
    assert router.find(path)[0] == {}


def test_the_same_method_and_path_twice_is_refused(router: Router[str]) -> None:
    with pytest.raises(ValueError, match="declared twice"):
        router.add("GET", "/orders", "again")


def test_two_types_of_parameter_in_one_place_are_refused(router: Router[str]) -> None:
    with pytest.raises(ValueError, match="another type"):
        router.add("GET", "/orders/{id:int}", "number")


def test_a_parameter_of_an_unknown_type_is_refused() -> None:
    with pytest.raises(ValueError, match="one of"):
        parameters_of("/orders/{id:float}")


@given(st.text())
def test_any_text_as_a_path_is_answered(path: str) -> None:
    router: Router[str] = Router()
    router.add("GET", "/a/{b:uuid}", "read")
    endpoints, values = router.find(path)
    assert endpoints == {} or len(values) == 1
