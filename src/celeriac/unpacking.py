"""From bytes to arguments: which messages a worker reads, under which settings, and what is in their bodies.

`decoder` reads envelopes; `Unpacker` the body of a message, which stays packed until its task runs.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec

from celeriac import callbacks
from celeriac.config import Settings
from celeriac.errors import MessageError
from celeriac.message import compression, protocol, serializers
from celeriac.message.message import Message

Parts = tuple[list[Any], dict[str, Any], dict[str, Any] | None]
_decode_body = msgspec.json.Decoder(Parts).decode


def decoder(conf: Settings) -> Callable[[bytes], Message]:
    """Return what decodes messages under these settings; raises ImproperlyConfigured, NotInstalled."""
    accept = serializers.content_types(conf.accept_content)
    return partial(protocol.decode, accept=accept, limit=conf.worker_max_message_bytes)


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
