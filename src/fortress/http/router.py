"""From method and path to the endpoint, in time that depends on the path's length alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Generic, TypeVar
from uuid import UUID

E = TypeVar("E")
Convert = Callable[[str], Any]
_UUID_LENGTH: Final = 36
_MAX_TEXT: Final = 200
_MAX_DIGITS: Final = 18


def _uuid(text: str) -> UUID:
    if len(text) != _UUID_LENGTH:
        raise ValueError
    return UUID(text)


def _int(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > _MAX_DIGITS:
        raise ValueError
    return int(text)


def _text(text: str) -> str:
    if not text or len(text) > _MAX_TEXT or not text.isprintable():
        raise ValueError
    return text


CONVERTERS: Final[Mapping[str, Convert]] = {"uuid": _uuid, "int": _int, "str": _text}


class _Node(Generic[E]):
    __slots__ = ("children", "convert", "endpoints", "parameter")

    def __init__(self) -> None:
        self.children: dict[str, _Node[E]] = {}
        self.endpoints: dict[str, E] = {}
        self.convert: Convert | None = None
        self.parameter: _Node[E] | None = None


class Router(Generic[E]):
    """A tree of path segments; a fixed segment wins over a parameter. Routes may not be added after the start."""

    def __init__(self) -> None:
        self._root: _Node[E] = _Node()
        self._fixed: dict[str, dict[str, E]] = {}

    def add(self, method: str, template: str, endpoint: E) -> None:
        """Register `template` (`/orders/{order_id:uuid}`).

        Raises:
            ValueError: the method and template are taken, or two types of parameter meet in one place.
        """
        node = self._root
        for segment in template.split("/")[1:]:
            node = self._step(node, segment, template)
        if method in node.endpoints:
            raise ValueError(f"{method} {template} is declared twice")
        node.endpoints[method] = endpoint
        if "{" not in template:
            self._fixed[template] = node.endpoints

    def find(self, path: str) -> tuple[Mapping[str, E], tuple[Any, ...]]:
        """The endpoints at `path` by method, and the parameters' values; no endpoints: nothing is there."""
        fixed = self._fixed.get(path)
        return (fixed, ()) if fixed is not None else self._walk(path)

    def _walk(self, path: str) -> tuple[Mapping[str, E], tuple[Any, ...]]:
        node = self._root
        values: list[Any] = []
        for segment in path.split("/")[1:]:
            child = node.children.get(segment)
            if child is None:
                child = node.parameter
                if child is None or node.convert is None:
                    return {}, ()
                try:
                    values.append(node.convert(segment))
                except ValueError:
                    return {}, ()
            node = child
        return node.endpoints, tuple(values)

    def _step(self, node: _Node[E], segment: str, template: str) -> _Node[E]:
        if not segment.startswith("{"):
            return node.children.setdefault(segment, _Node())
        convert = CONVERTERS[parameter_of(segment)[1]]
        if node.convert not in (None, convert):
            raise ValueError(f"{template}: another route has a parameter of another type here")
        node.convert = convert
        node.parameter = node.parameter or _Node()
        return node.parameter


def parameter_of(segment: str) -> tuple[str, str]:
    """Name and type of `{name:type}`; the type is `str` when not said."""
    name, _, kind = segment.strip("{}").partition(":")
    if kind and kind not in CONVERTERS:
        raise ValueError(f"{segment}: a parameter is one of {', '.join(CONVERTERS)}")
    return name, kind or "str"


def parameters_of(template: str) -> dict[str, str]:
    """The parameters of a template, by name, with their types, in order."""
    return dict(parameter_of(segment) for segment in template.split("/") if segment.startswith("{"))
