"""Celery's first task protocol, where task, id and all that concerns them stand in the body.

Called by `celeriac.message.protocol` alone, which knows the envelope. What is read becomes protocol 2 at once, so that
nothing else has to know of it; what is written loses what protocol 1 has no place for: `shadow`, `ignore_result`,
the ids of root and parent, stamps.
"""

from collections.abc import Collection, Mapping

import msgspec

from celeriac.errors import EncodeError, MessageError
from celeriac.message import compression, serializers
from celeriac.message.message import Headers, Message
from celeriac.message.reprs import REPR_LIMIT, bounded_repr

#: The parts of a body that are headers in protocol 2, under the same names.
_SHARED = ("task", "id", "group", "group_index", "retries", "eta", "expires", "timelimit")
_NO_LIMIT = 1 << 40


def read(message: Message, accept: Collection[str], limit: int) -> None:
    """Turn a message of protocol 1 into one of protocol 2; raises MessageError.

    Its body has to be read for that: only if `accept` has its content type, and `limit` bounds what is decompressed.
    """
    parts = serializers.loads(_unpacked(message, limit), message.content_type, accept)
    if not isinstance(parts, dict) or "task" not in parts:
        raise MessageError(
            "not a task message: no header `task`, as in protocol 2, and none in its body, as in protocol 1"
        )
    args, kwargs = parts.get("args") or [], parts.get("kwargs") or {}
    if not isinstance(args, list | tuple) or not isinstance(kwargs, Mapping):
        raise MessageError("not a task message of protocol 1: args must be a list, and kwargs an object")
    try:
        named = {name: parts[name] for name in _SHARED if name in parts}
        if named.get("group") is None:
            named["group"] = parts.get("taskset")  # its older name
        message.headers = msgspec.convert(named, Headers)
    except (ValueError, TypeError) as error:
        raise MessageError(f"not a task message of protocol 1: {error}") from None
    headers = message.headers
    # Short ones always: where a format has references, a small body can hold a value of any size.
    headers.argsrepr, headers.kwargsrepr = (
        bounded_repr(tuple(args), REPR_LIMIT),
        bounded_repr(dict(kwargs), REPR_LIMIT),
    )
    embed = {name: parts.get(name) for name in ("callbacks", "errbacks", "chain", "chord")}
    try:
        body = serializers.find(message.content_type).dumps([list(args), dict(kwargs), embed])
    except EncodeError as error:
        raise MessageError(f"not a task message of protocol 1: {error}") from None
    message.body = _packed(body, message)


def write(message: Message) -> bytes:
    """Return the body of `message` in protocol 1; raises EncodeError for what it cannot carry."""
    serializer = serializers.find(message.content_type)
    args, kwargs, embed = serializer.loads(_unpacked(message, _NO_LIMIT))
    embed = embed or {}
    if embed.get("chain"):
        raise EncodeError(
            f"{message.headers.task} is followed by a chain, for which protocol 1 has no place: set task_protocol to 2."
        )
    headers = message.headers
    parts = {
        "task": headers.task,
        "id": headers.id,
        "args": args,
        "kwargs": kwargs,
        "group": headers.group,
        "group_index": headers.group_index,
        "retries": headers.retries,
        "eta": headers.eta,
        "expires": headers.expires,
        "utc": True,
        "callbacks": embed.get("callbacks"),
        "errbacks": embed.get("errbacks"),
        "timelimit": headers.timelimit,
        "taskset": headers.group,
        "chord": embed.get("chord"),
    }
    return _packed(serializer.dumps(parts), message)


def _unpacked(message: Message, limit: int) -> bytes:
    if message.compression is None:
        return message.body
    return compression.decompress(message.body, message.compression, limit)


def _packed(body: bytes, message: Message) -> bytes:
    # As it came: what was let in compressed may be too long for a queue without.
    return body if message.compression is None else compression.compress(body, message.compression)[0]
