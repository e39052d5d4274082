"""Pieces of Markdown, and values in people's words, for `docs/generate.py`."""

import typing
from collections.abc import Iterable
from types import NoneType, UnionType
from typing import Any, get_args, get_origin

import msgspec


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a table."""
    head = tuple(head)
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(_cell(cell) for cell in line)} |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def code(value: object) -> str:
    """Return a value as code."""
    return f"`{value}`"


def plain_type(hint: Any) -> str:
    """Return a type as people say it."""
    if get_origin(hint) is typing.Annotated:
        hint = get_args(hint)[0]
    if get_origin(hint) in (typing.Union, UnionType):
        return " or ".join(plain_type(part) for part in get_args(hint) if part is not NoneType)
    if get_origin(hint) is not None:
        inside = [part for part in get_args(hint) if part is not Any]
        name = get_origin(hint).__name__
        return f"{name} of {plain_type(inside[0])}" if name == "list" and inside else str(name)
    return {
        "str": "text",
        "float": "seconds",
        "int": "number",
        "bool": "true or false",
        "datetime": "time",
    }.get(hint.__name__, hint.__name__)


def range_of(hint: Any) -> str:
    """Return a value's least and largest, where it has them. That times are not for ever needs no words."""
    for part in getattr(hint, "__metadata__", ()):
        if isinstance(part, msgspec.Meta) and (part.gt, part.ge) != (None, None):
            if part.gt is not None:
                return f", more than {part.gt}"
            return f", from {part.ge}" if part.le in (None, 1e9) else f", {part.ge} to {part.le}"
    return "".join(range_of(part) for part in get_args(hint))


def default_of(field: Any) -> str:
    value = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return code(value)
