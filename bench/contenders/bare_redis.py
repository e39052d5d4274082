"""No task queue at all: a bare socket that pushes a message of the usual size. The limit, not a peer."""

import json
import socket
import uuid
from collections.abc import Iterable
from urllib.parse import urlsplit

from redis import Redis

from bench import arena


def prepare() -> None:
    pass


def one_by_one(numbers: Iterable[int]) -> None:
    address = urlsplit(arena.REDIS_URL)
    with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        send, receive = connection.sendall, connection.recv
        padding = "x" * 500
        for number in numbers:
            body = json.dumps({"id": str(uuid.uuid4()), "args": [number], "padding": padding}).encode()
            send(b"*3\r\n$5\r\nLPUSH\r\n$4\r\nbare\r\n$%d\r\n%b\r\n" % (len(body), body))
            if not receive(64).startswith(b":"):
                raise RuntimeError("Redis did not take the message")


def waiting() -> int:
    return int(Redis.from_url(arena.REDIS_URL).llen("bare"))
