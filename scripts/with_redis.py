"""Usage: with_redis.py COMMAND...: runs a command with a private Redis, and stops the Redis when it ends.

The server listens on a free port of this machine only, keeps its append-only file in a temporary folder, and is named
to the command by CELERY_BROKER_URL. `make demo BROKER=redis` calls this. Ctrl-C is left to the command.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager

READY_WITHIN = 60.0
GRACE = 10.0


@contextmanager
def private_redis() -> Iterator[str]:
    """The URL of a Redis that nobody else uses."""
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        sys.exit("There is no redis-server here. On Debian and Ubuntu: apt-get install redis-server")
    with tempfile.TemporaryDirectory(prefix="celeriac-redis-") as folder:
        port = _free_port()
        options = {
            "--bind": "127.0.0.1",
            "--port": str(port),
            "--dir": folder,
            "--appendonly": "yes",
            "--save": "",
            "--loglevel": "warning",
            "--logfile": "redis.log",
        }
        arguments = [part for option in options.items() for part in option]
        # In a session of its own: Ctrl-C must not end it before those who use it.
        server = subprocess.Popen([program, *arguments], stdin=subprocess.DEVNULL, start_new_session=True)
        try:
            _await(server, port)
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            _stop(server)


def run(command: list[str], url: str) -> int:
    """Run the command to its end; its exit status."""
    process = subprocess.Popen(command, env=os.environ | {"CELERY_BROKER_URL": url})
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to the command too
    signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    status = process.wait()
    return status if status >= 0 else 128 - status


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _await(server: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + READY_WITHIN
    while time.monotonic() < deadline:
        if server.poll() is not None:
            sys.exit(f"redis-server ended with status {server.returncode} instead of starting.")
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                if connection.recv(16).startswith(b"+PONG"):
                    return
        except OSError:
            pass
        time.sleep(0.05)
    sys.exit(f"redis-server did not answer within {READY_WITHIN:.0f} s.")


def _stop(server: subprocess.Popen[bytes]) -> None:
    server.terminate()
    try:
        server.wait(GRACE)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def main() -> int:
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # by way of `finally`, which stops the server
    with private_redis() as url:
        return run(sys.argv[1:], url)


if __name__ == "__main__":
    sys.exit(main())
