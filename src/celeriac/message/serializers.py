"""Serializers of arguments and results, one row each, and the content types they answer for.

Called by `celeriac.message.protocol1`, `celeriac.sending` and `celeriac.execute`; `celeriac.serialization` is its
public face. The JSON is kombu's: values that JSON has not are tagged `{"__type__": ..., "__value__": ...}` (kombu 5.7,
kombu/utils/json.py). Never guesses a type: what cannot be held is an `EncodeError`. The formats that a project has to
ask for are in `celeriac.message.formats`.
"""

import base64
import dataclasses
import datetime as dt
import decimal
import enum
import json
import uuid
from collections.abc import Callable, Collection
from typing import Any

import msgspec

from celeriac.errors import ContentDisallowed, EncodeError, ImproperlyConfigured, MessageError
from celeriac.message import formats

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


# The tag of a type and what stands behind it. Asked in this order: a datetime is a date as well.
_tagged_types: dict[type, tuple[str, Callable[[Any], Any]]] = {
    dt.datetime: ("datetime", dt.datetime.isoformat),
    dt.date: ("date", dt.date.isoformat),
    dt.time: ("time", dt.time.isoformat),
    decimal.Decimal: ("decimal", str),
    uuid.UUID: ("uuid", lambda value: {"hex": value.hex}),
}
# Types that arrive as something plainer, in any format.
_plain_types: dict[type, Callable[[Any], Any]] = {enum.Enum: lambda value: value.value}


def register_type(
    cls: type,
    marker: str | None,
    encoder: Callable[[Any], Any],
    decoder: Callable[[Any], Any] = lambda value: value,
) -> None:
    """Let JSON hold instances of `cls`, as kombu's function of this name does.

    `encoder` turns one into a value that JSON has, `decoder` turns that back. Without a `marker` the value arrives as
    what `encoder` made of it.
    """
    if marker is None:
        _plain_types[cls] = encoder
    else:
        _tagged_types[cls] = (marker, encoder)
        _from_tag[marker] = decoder


def _tagged(value: Any) -> Any:
    """The hook for what JSON has not."""
    if not hasattr(value, "__json__"):
        for cls, (marker, encoder) in _tagged_types.items():
            if isinstance(value, cls):
                return _tag(marker, encoder(value))
        if isinstance(value, bytes | bytearray | memoryview):
            return _tag_bytes(value)
    return _plainer(value, "JSON")


def _plainer(value: Any, kind: str) -> Any:
    """Return what any format can hold of an enum's member, a dataclass and the like; raises EncodeError."""
    if hasattr(value, "__json__"):
        return value.__json__()
    for cls, encoder in _plain_types.items():
        if isinstance(value, cls):
            return encoder(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    raise EncodeError(f"{type(value).__qualname__} is not {kind} serializable")


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


class Serializer(msgspec.Struct, frozen=True):
    """One way to write values, by Celery's short name and by content type.

    `available` raises NotInstalled where a package is missing.
    """

    name: str
    content_type: str
    content_encoding: str
    dumps: Callable[[Any], bytes]
    loads: Callable[[bytes], Any]
    available: Callable[[], Any] = bool


JSON = Serializer("json", "application/json", "utf-8", json_dumps, json_loads)
_rows = (
    JSON,
    Serializer(
        "pickle", "application/x-python-serialize", "binary", formats.pickle_dumps, formats.pickle_loads
    ),
    Serializer(
        "msgpack",
        "application/x-msgpack",
        "binary",
        lambda value: formats.msgpack_dumps(value, lambda each: _plainer(each, "msgpack")),
        formats.msgpack_loads,
        formats.msgpack,
    ),
    Serializer("yaml", "application/x-yaml", "utf-8", formats.yaml_dumps, formats.yaml_loads, formats.yaml),
)
by_name: dict[str, Serializer] = {row.name: row for row in _rows}
by_content_type: dict[str, Serializer] = {row.content_type: row for row in _rows}


def register(
    name: str,
    encoder: Callable[[Any], bytes | str] | None,
    decoder: Callable[[bytes], Any] | None,
    content_type: str,
    content_encoding: str = "utf-8",
) -> None:
    """Add a serializer, or replace one; with kombu's signature.

    Settings and options then know it by `name`. Workers read it where `accept_content` names it. Whatever `encoder` or
    `decoder` raises is told as an `EncodeError` to the caller, or as the reason of a dead letter. Without one of them
    it only reads, or only writes.
    """
    if name == JSON.name or content_type == JSON.content_type:
        raise ImproperlyConfigured(
            "The serializer json cannot be replaced: results and other processes rely on it. Register another name "
            "and content type, and set task_serializer and accept_content to the name."
        )
    row = Serializer(
        name, content_type, content_encoding, formats.writer(name, encoder), formats.reader(name, decoder)
    )
    unregister(name)
    by_name[name] = by_content_type[content_type] = row


def unregister(name: str) -> None:
    """Forget a serializer that was registered; nothing happens if it was not."""
    row = by_name.pop(name, None)
    if row is not None:
        by_content_type.pop(row.content_type, None)


def find(name: str) -> Serializer:
    """Return the serializer called `name` (short name or content type); raises ImproperlyConfigured."""
    row = by_name.get(name) or by_content_type.get(name)
    if row is None:
        raise ImproperlyConfigured(
            f"There is no serializer {name!r}. Known: {', '.join(sorted(by_name))}. Add your own with "
            "celeriac.serialization.register()."
        )
    return row


def content_types(names: Collection[str]) -> frozenset[str]:
    """Return the content types that an `accept_content` setting allows.

    Raises ImproperlyConfigured for an unknown name, NotInstalled where a package is missing.
    """
    rows = [find(name) for name in names]
    for row in rows:
        row.available()
    return frozenset(row.content_type for row in rows)


def loads(data: bytes, content_type: str, accept: Collection[str]) -> Any:
    """Decode `data`; raises ContentDisallowed where `accept` has not the type, MessageError if unreadable."""
    row = by_content_type.get(content_type)
    if row is None or content_type not in accept:
        raise ContentDisallowed(
            f"content type {content_type!r} is refused; accept_content allows {', '.join(sorted(accept))}"
        )
    return row.loads(data)
