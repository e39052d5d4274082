"""Serializers of arguments and results, one row each, and the content types they answer for.

Called by `celeriac.message.protocol`, `celeriac.app` and `celeriac.execute`. The JSON is kombu's: values
that JSON has not are tagged `{"__type__": ..., "__value__": ...}` (kombu 5.7, kombu/utils/json.py).
Never guesses a type: what cannot be held is an `EncodeError`.
"""

import base64
import dataclasses
import datetime as dt
import decimal
import enum
import json
import pickle
import uuid
from collections.abc import Callable, Collection
from types import UnionType
from typing import Any

import msgspec

from celeriac.errors import ContentDisallowed, EncodeError, ImproperlyConfigured, MessageError

# Types that msgspec writes exactly as kombu does. Floats are not among them: it writes NaN as null.
_PLAIN = frozenset({int, str, bool, type(None)})
_MAX_DEPTH_TEXT = "it is nested too deeply"

_fast_encode = msgspec.json.Encoder().encode
_fast_decode = msgspec.json.Decoder().decode


def _tag(kind: str, value: Any) -> dict[str, Any]:
    return {"__type__": kind, "__value__": value}


def _tag_bytes(value: bytes | bytearray | memoryview) -> dict[str, Any]:
    raw = bytes(value)
    try:
        return _tag("bytes", raw.decode())
    except UnicodeDecodeError:
        return _tag("base64", base64.b64encode(raw).decode("ascii"))


# Asked in this order: a datetime is a date as well.
_to_plain: list[tuple[type | UnionType, Callable[[Any], Any]]] = [
    (dt.datetime, lambda value: _tag("datetime", value.isoformat())),
    (dt.date, lambda value: _tag("date", value.isoformat())),
    (dt.time, lambda value: _tag("time", value.isoformat())),
    (decimal.Decimal, lambda value: _tag("decimal", str(value))),
    (uuid.UUID, lambda value: _tag("uuid", {"hex": value.hex})),
    (bytes | bytearray | memoryview, _tag_bytes),
    (enum.Enum, lambda value: value.value),
]


def register_type(cls: type, to_plain: Callable[[Any], Any]) -> None:
    """Let JSON hold instances of `cls`: `to_plain` turns one into a value that JSON has."""
    _to_plain.append((cls, to_plain))


def _tagged(value: Any) -> Any:
    """The hook for what JSON has not."""
    for cls, to_plain in _to_plain:
        if isinstance(value, cls):
            return to_plain(value)
    if hasattr(value, "__json__"):
        return value.__json__()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    raise EncodeError(f"{type(value).__qualname__} is not JSON serializable")


_from_tag: dict[str, Callable[[Any], Any]] = {
    "datetime": dt.datetime.fromisoformat,
    "date": lambda value: dt.datetime.fromisoformat(value).date(),
    "time": dt.time.fromisoformat,
    "decimal": decimal.Decimal,
    "uuid": lambda value: uuid.UUID(value["hex"] if isinstance(value, dict) else value),
    "bytes": lambda value: value.encode(),
    "base64": base64.b64decode,
}


def _untag(value: dict[str, Any]) -> Any:
    if len(value) != 2 or "__type__" not in value or "__value__" not in value:
        return value
    kind = value["__type__"]
    read = _from_tag.get(kind) if isinstance(kind, str) else None
    if read is None:
        raise MessageError(f"a value of the unknown type {kind!r}")
    try:
        return read(value["__value__"])
    except Exception as error:
        # Anything may stand there, and each type has its own way to complain.
        raise MessageError(f"a value that is no {kind}: {error}") from None


_slow_encode = json.JSONEncoder(default=_tagged, separators=(",", ":")).encode
_slow_decode = json.JSONDecoder(object_hook=_untag).decode


def is_plain(args: Collection[Any], kwargs: dict[str, Any]) -> bool:
    """Return whether all arguments are of types that the fast encoder writes exactly."""
    return _PLAIN.issuperset(map(type, args)) and (
        not kwargs or _PLAIN.issuperset(map(type, kwargs.values()))
    )


def json_dumps(value: Any) -> bytes:
    """Return `value` as JSON with kombu's tags; raises EncodeError."""
    if type(value) in _PLAIN:
        try:
            return _fast_encode(value)
        except ValueError:
            pass  # a lone surrogate, which json writes as an escape; or a number of thousands of digits
    try:
        return _slow_encode(value).encode()
    except RecursionError:
        raise EncodeError(
            f"The value cannot be written as JSON: {_MAX_DEPTH_TEXT}, or contains itself."
        ) from None
    except ValueError as error:
        raise EncodeError(f"The value cannot be written as JSON: {error}.") from None
    except TypeError as error:
        raise EncodeError(str(error)) from error


def json_dumps_plain(value: Any) -> bytes:
    """`json_dumps` for a value of which `is_plain` has said that the fast encoder will do."""
    try:
        return _fast_encode(value)
    except ValueError:
        return json_dumps(value)


def json_loads(data: bytes) -> Any:
    """Return what `json_dumps` wrote; raises MessageError."""
    try:
        if b'"__type__"' not in data:
            try:
                return _fast_decode(data)
            except msgspec.DecodeError:
                pass  # NaN and its kind, which json reads and msgspec does not
        return _slow_decode(data.decode())
    except RecursionError:
        raise MessageError(_MAX_DEPTH_TEXT) from None
    except ValueError as error:
        raise MessageError(f"not readable as JSON: {error}") from None


def _pickle_loads(data: bytes) -> Any:
    try:
        return pickle.loads(data)  # noqa: S301 - only reached where accept_content names pickle
    except Exception as error:
        raise MessageError(f"not readable as pickle: {error!r}") from None


def _pickle_dumps(value: Any) -> bytes:
    try:
        return pickle.dumps(value)
    except Exception as error:
        raise EncodeError(f"{type(value).__qualname__} cannot be pickled: {error}") from error


class Serializer(msgspec.Struct, frozen=True):
    """One way to write values, by Celery's short name and by content type."""

    name: str
    content_type: str
    content_encoding: str
    dumps: Callable[[Any], bytes]
    loads: Callable[[bytes], Any]


_rows = (
    Serializer("json", "application/json", "utf-8", json_dumps, json_loads),
    Serializer("pickle", "application/x-python-serialize", "binary", _pickle_dumps, _pickle_loads),
)
by_name: dict[str, Serializer] = {row.name: row for row in _rows}
by_content_type: dict[str, Serializer] = {row.content_type: row for row in _rows}
JSON = by_name["json"]


def find(name: str) -> Serializer:
    """Return the serializer called `name` (short name or content type); raises ImproperlyConfigured."""
    row = by_name.get(name) or by_content_type.get(name)
    if row is None:
        raise ImproperlyConfigured(f"There is no serializer {name!r}. Known: {', '.join(sorted(by_name))}.")
    return row


def content_types(names: Collection[str]) -> frozenset[str]:
    """Return the content types that an `accept_content` setting allows."""
    return frozenset(find(name).content_type for name in names)


def loads(data: bytes, content_type: str, accept: Collection[str]) -> Any:
    """Decode `data`; raises ContentDisallowed where `accept` has not the type, MessageError if unreadable."""
    if content_type not in accept:
        raise ContentDisallowed(
            f"content type {content_type!r} is refused; accept_content allows {', '.join(sorted(accept))}"
        )
    return by_content_type[content_type].loads(data)
