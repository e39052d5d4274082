"""From bytes to arguments: which messages are read, under which settings, and what is in their bodies.

`Codec` reads envelopes, and writes again what was read; `Unpacker` reads the body of a message, which stays packed
until its task runs.
"""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from celeriac import callbacks
from celeriac.config import Settings
from celeriac.errors import MessageError
from celeriac.message import compression, protocol, serializers
from celeriac.message.message import Message

if TYPE_CHECKING:  # who signs nothing does without
    from celeriac.message.signing import Signer

Parts = tuple[list[Any], dict[str, Any], dict[str, Any] | None]
_decode_body = msgspec.json.Decoder(Parts).decode


class Codec:
    """How bytes become messages, and messages bytes again, under the settings of one app.

    For whoever takes messages from a broker. Where `task_signing` is on, `decode` lets nothing through that is not
    signed, so that nothing else can be signed again by `encode`. Raises ImproperlyConfigured and NotInstalled.
    """

    __slots__ = ("decode", "encode", "encode_protocol_1", "read")

    def __init__(self, conf: Settings, signer: "Signer | None" = None) -> None:
        accept = serializers.content_types(conf.accept_content)
        #: Returns the message in an envelope, whoever sent it, to be looked at; raises MessageError.
        self.read: Callable[[bytes], Message] = partial(
            protocol.decode, accept=accept, limit=conf.worker_max_message_bytes
        )
        #: Returns a message that came from a queue, to be run or to be sent on; raises MessageError, BadSignature.
        self.decode: Callable[[bytes, str], Message] = partial(self.read, signer=signer)
        #: Returns the bytes of a message that was decoded, for a queue.
        self.encode: Callable[[Message, str], bytes] = (
            protocol.encode if signer is None else partial(protocol.encode, signer=signer)
        )
        #: `encode`, for workers that know protocol 1 only.
        self.encode_protocol_1: Callable[[Message, str], bytes] = partial(
            protocol.encode_protocol_1, signer=signer
        )


#: Of an app that sets nothing.
PLAIN = Codec(Settings())


class Unpacker:
    """Reads bodies of the serializers that the settings accept, as long as they allow."""

    def __init__(self, conf: Settings) -> None:
        self.accept = serializers.content_types(conf.accept_content)
        self.accepts_json = "application/json" in self.accept
        self.max_bytes = conf.worker_max_message_bytes

    def unpack(self, message: Message) -> Parts:
        """Return the arguments of a message and what is to follow its task; raises MessageError."""
        parts = self._read(message)
        embed = parts[2]
        if embed and any(embed.values()):
            callbacks.check(embed)
        return parts

    def _read(self, message: Message) -> Parts:
        body = message.body
        if message.compression is not None:
            body = compression.decompress(body, message.compression, self.max_bytes)
        if self.accepts_json and message.content_type == "application/json" and b'"__type__"' not in body:
            try:
                decoded: Parts = _decode_body(body)
                return decoded
            except (ValueError, RecursionError):
                pass  # the slow way reads more, and says what is wrong
        parts = serializers.loads(body, message.content_type, self.accept)
        try:
            converted: Parts = msgspec.convert(parts, Parts)
            return converted
        except (ValueError, TypeError):
            raise MessageError("the body is not [args, kwargs, options]") from None
