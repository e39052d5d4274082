"""Tells the signals around publishing: what is about to be sent, and that it lies at the broker.

`prepare` is called where a message is made, before it is encoded, so that headers which a receiver adds travel with it;
`published` by whoever has handed publications to the broker. The callers look first whether anybody listens.
"""

import logging
from collections.abc import Sequence
from typing import Any

import msgspec

from celeriac.broker import Publication
from celeriac.message import compression, protocol, serializers
from celeriac.message.message import Message
from celeriac.signals import after_task_publish, before_task_publish

logger = logging.getLogger("celeriac")


def prepare(message: Message, queue: str, body: tuple[Any, ...]) -> None:
    """Tell `before_task_publish`, and give the message the headers that its receivers set.

    `body` are args, kwargs and what follows the task; it is only shown, as everything is but the headers that
    are not the protocol's. What cannot travel is told and left out: a receiver cannot keep a task from being sent.
    """
    headers: dict[Any, Any] = _headers(message)
    before_task_publish.send(
        message.headers.task,
        body=body,
        exchange="",
        routing_key=queue,
        headers=headers,
        properties=msgspec.to_builtins(message.properties),
        declare=[],
        retry_policy={},
    )
    own: dict[str, Any] = {}
    for name, value in headers.items():
        if name in protocol.HEADER_NAMES:
            continue
        if isinstance(name, str) and is_json(value):
            own[name] = value
        else:
            logger.error(
                "A receiver of before_task_publish set the header %r of %s to %r, which is left out: headers hold "
                "text, numbers, True, False, None, and lists and dicts of these.",
                name,
                message.headers.task,
                value,
            )
    message.custom = own or None


def published(publications: Sequence[Publication]) -> None:
    """Tell `after_task_publish` of each. Raises nothing: what is published is not to be published again."""
    for publication in publications:
        try:
            message = protocol.decode(
                publication.payload, accept=serializers.by_content_type, limit=_NO_LIMIT
            )
            body = message.body
            if message.compression is not None:
                body = compression.decompress(body, message.compression, _NO_LIMIT)
            parts = serializers.loads(body, message.content_type, serializers.by_content_type)
            after_task_publish.send(
                publication.task,
                headers=_headers(message),
                body=tuple(parts),
                exchange="",
                routing_key=publication.queue,
            )
        except Exception:
            logger.exception("after_task_publish could not be told of %s.", publication.task)


#: The messages are this process's own, whatever their serializer and length.
_NO_LIMIT = 2**31


def _headers(message: Message) -> dict[str, Any]:
    """Return a message's headers as one dict, as they stand on the wire."""
    headers: dict[str, Any] = msgspec.to_builtins(message.headers)
    return {**(message.custom or {}), **headers}


def is_json(value: Any, levels: int = protocol.MAX_DEPTH) -> bool:
    """Return whether a header's value can be written as JSON and read again as what it is."""
    if value is None or isinstance(value, str | int | float):
        return True
    if levels and isinstance(value, list | tuple):
        return all(is_json(each, levels - 1) for each in value)
    if levels and isinstance(value, dict):
        return all(isinstance(key, str) and is_json(each, levels - 1) for key, each in value.items())
    return False
