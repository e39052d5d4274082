"""The only place where messages become bytes and bytes become messages.

The bytes are kombu's envelope as it lies in a Redis list (Celery task protocol 2, kombu 5.7, captured from
real traffic); the database and memory brokers keep the same bytes, so a message looks alike everywhere.
Brokers move them unread; `celeriac.app` encodes, the worker decodes. Anything that does not fit
raises MessageError, whatever the bytes are.
"""

import binascii
import os
from typing import Any

import msgspec
from msgspec import Raw, Struct, field

from celeriac.errors import EncodeError, MessageError
from celeriac.message.message import Headers, Message, Properties, new_id

HEADER_NAMES = frozenset(Headers.__struct_fields__)


#: How deep the values of headers may be nested; deeper ones could be read here and not be written again there.
MAX_DEPTH = 100


class _Envelope(Struct, gc=False):
    body: str
    headers: Headers
    properties: Properties
    content_type: str | None = field(name="content-type", default="application/json")
    content_encoding: str | None = field(name="content-encoding", default="utf-8")


class _RawEnvelope(Struct, gc=False):
    body: str
    headers: Raw
    properties: Properties
    content_type: str | None = field(name="content-type", default="application/json")
    content_encoding: str | None = field(name="content-encoding", default="utf-8")


_encode = msgspec.json.Encoder(enc_hook=str).encode
_decode_envelope = msgspec.json.Decoder(_Envelope).decode
_decode_raw_envelope = msgspec.json.Decoder(_RawEnvelope).decode
_b64encode = binascii.b2a_base64
_b64decode = binascii.a2b_base64


def encode(message: Message, queue: str) -> bytes:
    """Return the envelope of `message` for `queue`; the properties that depend on the queue are set.

    Raises EncodeError for custom headers or texts that JSON cannot hold; never for a message that was decoded.
    """
    properties = message.properties
    properties.body_encoding = "base64"
    # kombu keys what a worker holds by this tag, so two messages of one task (a retry) must differ in it.
    properties.delivery_tag = os.urandom(8).hex()
    properties.delivery_info = {"exchange": "", "routing_key": queue}
    body = _b64encode(message.body, newline=False).decode("ascii")
    content_type, content_encoding = message.content_type, message.content_encoding
    try:
        if not message.custom:
            return _encode(_Envelope(body, message.headers, properties, content_type, content_encoding))
        headers = _encode({**message.custom, **msgspec.to_builtins(message.headers)})
        if _may_be_deep(headers) and _deeper_than(message.custom, MAX_DEPTH):
            raise ValueError("they are nested too deeply")
        return _encode(_RawEnvelope(body, Raw(headers), properties, content_type, content_encoding))
    except (ValueError, TypeError, RecursionError) as error:
        raise EncodeError(
            f"The headers of {message.headers.task} cannot be written as JSON: {error}"
        ) from None


def decode(payload: bytes) -> Message:
    """Return the message in an envelope; raises MessageError with the reason if it is none."""
    try:
        try:
            if _may_be_deep(payload):
                _refuse_depth(payload)
            envelope, custom = _decode_envelope(payload), None
        except msgspec.ValidationError:
            # Headers beside the protocol's, or nonsense.
            envelope, custom = _decode_with_care(payload)
        encoding = envelope.properties.body_encoding
        body = _b64decode(envelope.body) if encoding == "base64" else envelope.body.encode()
    except (ValueError, TypeError) as error:
        raise MessageError(_why_unreadable(payload, error)) from None
    except RecursionError:
        raise MessageError("it is nested too deeply") from None
    return Message(
        envelope.headers,
        envelope.properties,
        body,
        envelope.content_type or "application/json",
        envelope.content_encoding or "utf-8",
        custom,
    )


def _decode_with_care(payload: bytes) -> tuple[_Envelope, dict[str, Any] | None]:
    """Read the sender's own headers too; what passes here can be written again, by a retry or a dead child's heir."""
    raw = _decode_raw_envelope(payload)
    every = msgspec.json.decode(raw.headers)
    own = [name for name in every if name not in HEADER_NAMES] if isinstance(every, dict) else ()
    custom = {name: every.pop(name) for name in own} or None
    headers = msgspec.convert(every, Headers)
    return _Envelope(raw.body, headers, raw.properties, raw.content_type, raw.content_encoding), custom


def _refuse_depth(payload: bytes) -> None:
    if _deeper_than(msgspec.json.decode(_decode_raw_envelope(payload).headers), MAX_DEPTH):
        raise MessageError("it is nested too deeply")


def _may_be_deep(written: bytes) -> bool:
    return written.count(b"[") + written.count(b"{") > MAX_DEPTH


def _deeper_than(value: Any, levels: int) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return any(levels == 0 or _deeper_than(each, levels - 1) for each in inner)


def _why_unreadable(payload: bytes, error: Exception) -> str:
    if not payload.lstrip().startswith(b"{"):
        return f"not a task message: it starts with {payload[:24]!r}"
    return f"not a task message of protocol 2: {error}"


def custom_headers(message: Message) -> dict[str, Any]:
    """Return the sender's own headers of a message, which stand beside the protocol's."""
    return message.custom or {}


__all__ = ["Headers", "Message", "Properties", "custom_headers", "decode", "encode", "new_id"]
