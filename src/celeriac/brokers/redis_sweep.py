"""Giving back what dead Celery workers left behind in `unacked`.

A queue that only our workers read would else never see again what a Celery worker held when it died. The rules
are kombu's: one sweeper at a time under the lock `unacked_mutex`, entries of `unacked_index` older than the
visibility timeout, back to the consuming end of the queue, marked as redelivered. What kombu would drop in
silence (a message that cannot be read, an exchange that nothing is bound to) becomes a dead letter.
"""

import json
import os
import re
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from celeriac.brokers.redis_layout import Layout
from celeriac.redis_client.connection import Connection, pack
from celeriac.redis_client.scripts import Argument, Script

#: Entries for each sweep; the next one is a few seconds away.
_MOST = 100

#: Looks up the members of an exchange's table of bindings.
Bound = Callable[[str], Iterable[bytes]]


def sweep(connection: Connection, layout: Layout, scripts: Mapping[str, Script], patience: float) -> int:
    """Restore what is overdue and return how many; raises as `Connection.exchange` does."""

    def call(*command: Argument) -> Any:
        return connection.exchange(pack(command), 1, patience)[0]

    overdue = time.time() - layout.visibility_timeout
    look = ("ZRANGE", layout.unacked_index, overdue, "-inf", "BYSCORE", "REV", "LIMIT", 0, _MOST)
    if not call(*look):
        return 0
    token = os.urandom(16).hex()
    if call("SET", layout.unacked_mutex, token, "NX", "PX", int(layout.unacked_mutex_expire * 1000)) is None:
        return 0  # somebody else is at it
    try:
        restored = 0
        for tag in call(*look):
            stored = call("HGET", layout.unacked, tag)
            if stored is None:
                call("ZREM", layout.unacked_index, tag)  # acknowledged: only its index entry is left
                continue
            fate = _fate(stored, layout, lambda exchange: call("SMEMBERS", layout.binding(exchange)))
            args = (layout.unacked, layout.unacked_index, tag, stored, *fate)
            restored += scripts["restore"].run(connection, args, patience)
        return restored
    finally:
        scripts["unlock"].run(connection, (layout.unacked_mutex, token), patience)


def _fate(stored: bytes, layout: Layout, bound: Bound) -> tuple[Argument, ...]:
    """Return what is to become of an entry of `unacked`, as `restore.lua` takes it."""
    try:
        envelope, exchange, routing_key = json.loads(stored)
        properties = envelope["properties"]
        priority = properties.get("priority") or 0
        envelope["headers"]["redelivered"] = True
        properties["delivery_info"]["redelivered"] = True
        payload = json.dumps(envelope).encode()
        step = layout.step(int(priority))
        if not isinstance(exchange, str) or not isinstance(routing_key, str):
            raise TypeError("exchange and routing key are not text")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        return "dead", "", f"left by a dead Celery worker, and unreadable: {error}", stored
    queues = _queues(exchange, routing_key, layout, bound)
    if not queues:
        reason = (
            f"left by a dead Celery worker; nothing is bound to exchange {exchange!r} for {routing_key!r}"
        )
        return "dead", routing_key, reason, payload
    return "ready", payload, *(layout.list_key(queue, step) for queue in queues)


def _queues(exchange: str, routing_key: str, layout: Layout, bound: Bound) -> list[str]:
    """Return the queues that an exchange leads to, as kombu finds them; the anonymous one leads to its routing key."""
    if not exchange:
        return [routing_key]
    queues = set()
    for member in bound(exchange):
        key, pattern, queue = member.decode(errors="replace").split(layout.sep)
        if key == routing_key or (pattern and _topic(key).fullmatch(routing_key)):
            queues.add(queue)
    return sorted(queues)


def _topic(key: str) -> re.Pattern[str]:
    """Return what a topic's key stands for. The pattern beside it in the table is not ours to trust."""
    words = {"*": r"[^.]+", "#": r".*?"}
    return re.compile(r"\.".join(words.get(word) or re.escape(word) for word in key.split(".")))
