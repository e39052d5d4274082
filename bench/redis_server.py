"""A private Redis for one run: free port on loopback, no persistence, gone afterwards.

Speaks the few words it needs itself, so that the bench's own process imports no client.
"""

import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .procs import Failed, Process, wait_until

DATABASES = 32


@dataclass(frozen=True, slots=True)
class RedisServer:
    """The address of the running server."""

    port: int
    version: str

    def url(self, database: int = 0) -> str:
        return f"redis://127.0.0.1:{self.port}/{database}"

    def flush(self) -> None:
        """Empty all its databases."""
        _call(self.port, b"FLUSHALL")


def program() -> str | None:
    """The server's program, if this machine has one."""
    return shutil.which("redis-server") or shutil.which("valkey-server")


@contextmanager
def private_redis(folder: Path) -> Iterator[RedisServer]:
    """Run a server as long as the block lasts."""
    executable = program()
    if executable is None:
        raise Failed("there is no redis-server on this machine; install it to measure the Redis rows")
    folder.mkdir(parents=True, exist_ok=True)
    port = _free_port()
    argv = [executable, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    argv += ["--databases", str(DATABASES), "--maxmemory-policy", "noeviction", "--dir", str(folder)]
    process = Process(argv, env=os.environ, log=folder / "redis.log", cwd=folder)
    try:
        wait_until(lambda: _answers(port) or not process.alive, "redis-server answering", seconds=10)
        if not process.alive:
            raise Failed(f"redis-server did not start\n{process.tail()}")
        yield RedisServer(port, _version(port))
    finally:
        process.stop()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(port: int) -> bool:
    try:
        return _call(port, b"PING").startswith(b"+PONG")
    except OSError:
        return False


def _version(port: int) -> str:
    for line in _call(port, b"INFO server").decode().splitlines():
        if line.startswith("redis_version:"):
            return line.partition(":")[2]
    return "unknown"


def _call(port: int, command: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(command + b"\r\n")
        return connection.recv(65536)
