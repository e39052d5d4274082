"""Results in the format that `result_serializer` and `result_compression` name, where that is not plain JSON.

A `Record` holds JSON in any case. A value that another serializer has written stands in it as a wrapped one: its
content type and its bytes, which only those unwrap whose settings accept the type. The Redis and cache stores write
the whole entry in the format, as Celery's do, and read every format that is accepted, whoever wrote it (Celery 5.7,
captured).
"""

import base64
from collections.abc import Callable
from typing import Any

import msgspec

from celeriac.config import Settings
from celeriac.errors import EncodeError, ImproperlyConfigured, MessageError, StoreError
from celeriac.message import compression, meta, serializers
from celeriac.message.serializers import JSON, Serializer, json_dumps, json_loads
from celeriac.states import EXCEPTION_STATES
from celeriac.store import Record

#: Before a compressed entry: then the compression's content type, a NUL, and the bytes. Celery's.
_COMPRESSED = b"\x00celery-compressed\x00"
_WRAPPED = b'{"__type__":"serialized","__value__":'
_LARGEST = 256 * 1024 * 1024  # of a compressed entry when it is unpacked
_BUILT_IN = frozenset({"json", "pickle", "msgpack", "yaml"})
_plain = msgspec.json.Decoder().decode


def accepted(conf: Settings) -> frozenset[str]:
    """Return the content types that results are read in."""
    names = conf.accept_content if conf.result_accept_content is None else conf.result_accept_content
    return serializers.content_types(names)


def serializer_of(conf: Settings) -> Serializer:
    """Return what results are written with; raises ImproperlyConfigured where nobody could read them."""
    row = serializers.find(conf.result_serializer)
    row.available()
    if row is not JSON and row.content_type not in accepted(conf):
        raise ImproperlyConfigured(
            f"result_serializer is {row.name!r}, which result_accept_content (unset: accept_content) does not name: "
            f"nobody could read the results. Add {row.name!r} to it."
        )
    return row


def writer(conf: Settings) -> Callable[[Any], bytes]:
    """Return what makes the `result` of a record from a value; it raises EncodeError."""
    row = serializer_of(conf)
    return json_dumps if row is JSON else lambda value: _wrap(row, value)


def read(result: bytes, conf: Settings) -> Any:
    """Return the value in the `result` of a record; raises MessageError for one that is not accepted or readable."""
    if not result.startswith(_WRAPPED):
        return json_loads(result)
    content_type, data = _unwrap(result)
    return serializers.loads(data, content_type, accepted(conf))


def described(result: bytes) -> str:
    """Return what is to be shown of a value that is not JSON, which is never read for that; "" for JSON."""
    if not result.startswith(_WRAPPED):
        return ""
    try:
        content_type, data = _unwrap(result)
    except MessageError:
        return ""
    return f"{content_type}, {len(data):,} bytes"


def wrapped(content_type: str, data: bytes) -> bytes:
    """Return the `result` of a record for a value that is written already, in another format than JSON."""
    return _WRAPPED + json_dumps([content_type, base64.b64encode(data).decode()]) + b"}"


def _wrap(row: Serializer, value: Any) -> bytes:
    return wrapped(row.content_type, row.dumps(value))


def _unwrap(result: bytes) -> tuple[str, bytes]:
    try:
        content_type, data = _plain(result)["__value__"]
        return str(content_type), base64.b64decode(data, validate=True)
    except (ValueError, TypeError) as error:
        raise MessageError(f"a wrapped result that is none: {error}") from None


class ResultFormat:
    """How one store writes and reads entries under these settings. `plain`: it writes the JSON of `meta`."""

    def __init__(self, conf: Settings) -> None:
        self._row = serializer_of(conf)
        self._compression = conf.result_compression
        self._accept = accepted(conf)
        if self._compression is not None:
            compression.compress(b"", self._compression)  # says now what is wrong with it
        self.plain = self._row is JSON and not self._compression

    def encode(self, record: Record) -> bytes:
        """Return the entry of a record."""
        data = meta.encode(record) if self._row is JSON else self._encode(record)
        if self._compression:
            packed, content_type = compression.compress(data, self._compression)
            data = _COMPRESSED + content_type.encode() + b"\x00" + packed
        return data

    def _encode(self, record: Record) -> bytes:
        fields = _plain(meta.encode(msgspec.structs.replace(record, result=b"null")))
        try:
            fields["result"] = self._value(record.result)
            return self._row.dumps(fields)
        except (EncodeError, MessageError):
            # The meta of a state, say, which JSON could hold: it goes with JSON's tags.
            fields["result"] = _plain(record.result)
            return self._row.dumps(fields)

    def _value(self, result: bytes) -> Any:
        if not result.startswith(_WRAPPED):
            return json_loads(result)
        content_type, data = _unwrap(result)
        return serializers.loads(data, content_type, {self._row.content_type})

    def decode(self, data: bytes) -> Record:
        """Return the record of an entry; raises StoreError."""
        if data[:1] == b"{":
            return meta.decode(data)
        try:
            if data.startswith(_COMPRESSED):
                name, _, packed = data[len(_COMPRESSED) :].partition(b"\x00")
                return self.decode(compression.decompress(packed, name.decode("ascii", "replace"), _LARGEST))
            row = self._written_with(data)
            fields = serializers.loads(data, row.content_type, self._accept)
            return _record(row, fields)
        except (MessageError, EncodeError, ValueError, TypeError, AttributeError) as error:
            raise StoreError(
                f"A stored result cannot be read: {error}. result_accept_content says what is read."
            ) from None

    def _written_with(self, data: bytes) -> Serializer:
        """Return the serializer of an entry: a registered one if the settings name it, else by the first byte."""
        if self._row.name not in _BUILT_IN:
            return self._row
        first = data[0] if data else 0
        if first == 0x80:
            return serializers.find("pickle")
        return serializers.find("msgpack" if 0x80 < first < 0x90 or first in (0xDE, 0xDF) else "yaml")


def _record(row: Serializer, fields: Any) -> Record:
    """Return the record that Celery's fields tell of."""
    result = fields.pop("result", None)
    for name in ("args", "kwargs"):  # values, which are only shown
        if not isinstance(fields.get(name), str | None):
            fields[name] = repr(fields[name])
    record = meta.decode(json_dumps(fields))
    if isinstance(result, BaseException):
        record.result = _told(result)
    elif record.state in EXCEPTION_STATES:
        record.result = json_dumps(result)
    else:
        record.result = json_dumps(None) if result is None else _wrap(row, result)
    return record


def _told(error: BaseException) -> bytes:
    """Return an exception that Celery has pickled as it would stand in JSON."""
    told = {"exc_type": type(error).__name__, "exc_module": type(error).__module__}
    try:
        return json_dumps({**told, "exc_message": list(error.args)})
    except EncodeError:
        return json_dumps({**told, "exc_message": [str(error)]})
