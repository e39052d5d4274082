"""The only place where messages become bytes and bytes become messages.

The bytes are kombu's envelope as it lies in a Redis list (Celery task protocol 2, kombu 5.7, captured from
real traffic); the database and memory brokers keep the same bytes, so a message looks alike everywhere.
Brokers move them unread; `celeriac.sending` encodes, the worker decodes. Anything that does not fit
raises MessageError, whatever the bytes are. Protocol 1, where task and id stand in the body, is read as if it were
protocol 2, and written where `task_protocol` asks for it: `celeriac.message.protocol1`.
"""

import binascii
import os
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Raw, Struct, field

from celeriac.errors import EncodeError, MessageError
from celeriac.message import protocol1, serializers
from celeriac.message.message import Headers, Message, Properties, new_id

if TYPE_CHECKING:  # who signs nothing does without
    from celeriac.message.signing import Signer

HEADER_NAMES = frozenset(Headers.__struct_fields__)


#: How deep the values of headers may be nested; deeper ones could be read here and not be written again there.
MAX_DEPTH = 100
#: How long a body may become when it has to be decompressed to be read at all, where nothing else is said.
MAX_BYTES = 8 * 1024 * 1024
ONLY_JSON = frozenset({serializers.JSON.content_type})


#: The header that holds a signature. To Celery it is one of the sender's own.
SIGNATURE = "celeriac_signature"


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
_decode_headers = msgspec.json.Decoder(dict[str, Any]).decode
_random = os.urandom
_b64encode = binascii.b2a_base64
_b64decode = binascii.a2b_base64


def encode(message: Message, queue: str, signer: "Signer | None" = None) -> bytes:
    """Return the envelope of `message` for `queue`; the properties that depend on the queue are set.

    Signed if there is a `signer`.

    Raises EncodeError for custom headers or texts that JSON cannot hold; never for a message that was decoded.
    """
    properties = message.properties
    properties.body_encoding = "base64"
    # kombu keys what a worker holds by this tag, so two messages of one task (a retry) must differ in it.
    properties.delivery_tag = _random(8).hex()
    properties.delivery_info = {"exchange": "", "routing_key": queue}
    body = _b64encode(message.body, newline=False).decode()
    content_type, content_encoding = message.content_type, message.content_encoding
    try:
        if not message.custom and message.compression is None and signer is None:
            return _encode(_Envelope(body, message.headers, properties, content_type, content_encoding))
        headers = _own_headers(message, msgspec.to_builtins(message.headers), queue, message.body, signer)
        return _encode(_RawEnvelope(body, headers, properties, content_type, content_encoding))
    except (ValueError, TypeError, RecursionError) as error:
        raise _unwritable(message, error) from None


def encode_protocol_1(message: Message, queue: str, signer: "Signer | None" = None) -> bytes:
    """`encode`, for workers that know protocol 1 only: all headers but the sender's own move into the body."""
    body = protocol1.write(message)
    encode(message, queue)  # sets the properties, and refuses what could not be written again
    packed = _b64encode(body, newline=False).decode("ascii")
    content_type, content_encoding = message.content_type, message.content_encoding
    headers = _own_headers(message, {}, queue, body, signer)
    return _encode(_RawEnvelope(packed, headers, message.properties, content_type, content_encoding))


def _own_headers(
    message: Message, protocols: dict[str, Any], queue: str, body: bytes, signer: "Signer | None"
) -> Raw:
    """Return the headers of a message that has more than the protocol's."""
    custom = message.custom or {}
    more = {}
    if message.compression is not None or "compression" in custom:
        more["compression"] = message.compression  # never the sender's: it says how the body is to be read
    every = {**custom, **protocols, **more}
    every.pop(SIGNATURE, None)  # never the sender's either
    if signer is not None:
        every[SIGNATURE] = signer.sign(queue, every, message.properties, _content(message), body)
    headers = _encode(every)
    if _may_be_deep(headers) and _deeper_than(custom, MAX_DEPTH):
        raise ValueError("they are nested too deeply")
    return Raw(headers)


def _content(message: Message) -> str:
    return f"{message.content_type} {message.content_encoding}"


def _unwritable(message: Message, error: Exception) -> EncodeError:
    return EncodeError(f"The headers of {message.headers.task} cannot be written as JSON: {error}")


def decode(
    payload: bytes,
    queue: str = "",
    accept: Collection[str] = ONLY_JSON,
    limit: int = MAX_BYTES,
    signer: "Signer | None" = None,
) -> Message:
    """Return the message in an envelope; raises MessageError with the reason if it is none.

    With a `signer` it raises BadSignature for one that is not signed, or for another queue, before anything is made of
    it. Only of protocol 1 the body is read too: if `accept` has its content type, and up to `limit` bytes of it.
    """
    try:
        try:
            if payload.count(b"[") + payload.count(b"{") > MAX_DEPTH:  # `_may_be_deep`, without the call
                _refuse_depth(payload)
            if signer is not None:
                return _decode_with_care(payload, queue, accept, limit, signer)
            envelope, custom = _decode_envelope(payload), None
        except msgspec.ValidationError:
            # Headers beside the protocol's, protocol 1, or nonsense.
            return _decode_with_care(payload, queue, accept, limit, None)
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


def _decode_with_care(
    payload: bytes, queue: str, accept: Collection[str], limit: int, signer: "Signer | None"
) -> Message:
    """Read the sender's own headers too; what passes here can be written again, by a retry or a dead child's heir."""
    raw = _decode_raw_envelope(payload)
    every = _decode_headers(raw.headers)
    signature = every.pop(SIGNATURE, None)
    message = Message(
        Headers("", ""),
        raw.properties,
        _b64decode(raw.body) if raw.properties.body_encoding == "base64" else raw.body.encode(),
        raw.content_type or "application/json",
        raw.content_encoding or "utf-8",
    )
    if signer is not None:
        signer.check(signature, queue, every, message.properties, _content(message), message.body)
    custom = {name: every.pop(name) for name in [name for name in every if name not in HEADER_NAMES]}
    compression = custom.pop("compression", None)
    # The look first: to make ready for a union of types takes longer than all the rest.
    message.compression = compression if compression is None else msgspec.convert(compression, str)
    message.custom = custom or None
    if "task" in every:
        message.headers = msgspec.convert(every, Headers)
    else:
        protocol1.read(message, accept, limit)
        _encode(message.headers)
    return message


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
