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

from celeriac.errors import MessageError
from celeriac.message.message import Headers, Message, Properties, new_id

HEADER_NAMES = frozenset(Headers.__struct_fields__)


class _Envelope(Struct):
    body: str
    headers: Headers | Raw
    properties: Properties
    content_type: str | None = field(name="content-type", default="application/json")
    content_encoding: str | None = field(name="content-encoding", default="utf-8")


class _RawEnvelope(Struct):
    body: str
    headers: Raw
    properties: Properties
    content_type: str | None = field(name="content-type", default="application/json")
    content_encoding: str | None = field(name="content-encoding", default="utf-8")


_encode = msgspec.json.Encoder(enc_hook=str).encode
_decode_envelope = msgspec.json.Decoder(_RawEnvelope).decode
_decode_headers = msgspec.json.Decoder(Headers).decode
_b64encode = binascii.b2a_base64
_b64decode = binascii.a2b_base64


def encode(message: Message, queue: str) -> bytes:
    """Return the envelope of `message` for `queue`; the properties that depend on the queue are set."""
    properties = message.properties
    properties.body_encoding = "base64"
    # kombu keys what a worker holds by this tag, so two messages of one task (a retry) must differ in it.
    properties.delivery_tag = os.urandom(8).hex()
    properties.delivery_info = {"exchange": "", "routing_key": queue}
    headers: Headers | Raw = message.headers
    if message.custom:
        merged = {**message.custom, **msgspec.to_builtins(message.headers)}
        headers = Raw(_encode(merged))
    elif message.raw_headers is not None:
        headers = _merge_received(message)
    return _encode(
        _Envelope(
            _b64encode(message.body, newline=False).decode("ascii"),
            headers,
            properties,
            message.content_type,
            message.content_encoding,
        )
    )


def _merge_received(message: Message) -> Raw:
    """Headers of a received message with our changes, the sender's own headers kept."""
    return Raw(_encode({**custom_headers(message), **msgspec.to_builtins(message.headers)}))


def decode(payload: bytes) -> Message:
    """Return the message in an envelope; raises MessageError with the reason if it is none."""
    try:
        envelope = _decode_envelope(payload)
        headers = _decode_headers(envelope.headers)
        encoding = envelope.properties.body_encoding
        body = _b64decode(envelope.body) if encoding == "base64" else envelope.body.encode()
    except (msgspec.MsgspecError, binascii.Error, UnicodeError, ValueError, TypeError) as error:
        raise MessageError(_why_unreadable(payload, error)) from None
    except RecursionError:
        raise MessageError("it is nested too deeply") from None
    return Message(
        headers,
        envelope.properties,
        body,
        envelope.content_type or "application/json",
        envelope.content_encoding or "utf-8",
        None,
        envelope.headers,
    )


def _why_unreadable(payload: bytes, error: Exception) -> str:
    if not payload.lstrip().startswith(b"{"):
        return f"not a task message: it starts with {payload[:24]!r}"
    return f"not a task message of protocol 2: {error}"


def custom_headers(message: Message) -> dict[str, Any]:
    """Return the sender's own headers of a message, which stand beside the protocol's."""
    if message.custom is not None:
        return message.custom
    if message.raw_headers is None:
        return {}
    known = HEADER_NAMES
    every: dict[str, Any] = msgspec.json.decode(message.raw_headers)
    return {name: value for name, value in every.items() if name not in known}


__all__ = ["Headers", "Message", "Properties", "custom_headers", "decode", "encode", "new_id"]
