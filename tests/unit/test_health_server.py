"""The small HTTP server: what it answers, to whom it does not listen for ever, and that forks beside it are safe."""

import contextlib
import gc
import os
import resource
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from celeriac.errors import ImproperlyConfigured
from celeriac.worker import health_server
from celeriac.worker.health_server import Answer, HealthServer
from tests.servers import free_port

DEADLINE = 60.0


def answer(path: str) -> Answer:
    if path == "/error":
        raise ValueError("no")
    if path == "/large":
        return Answer(200, b"x" * 5_000_000)
    return Answer(200 if path == "/live" else 404, f"{path}\n".encode())


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[HealthServer]:
    # Who is slow, as a busy machine makes it, is not left; and who is waited for has not come by that.
    monkeypatch.setattr(health_server, "_PATIENCE", 10 * DEADLINE)
    found = HealthServer("127.0.0.1", free_port(), answer)
    found.open()
    yield found
    found.close()
    found.close()


def connect(server: HealthServer) -> socket.socket:
    return socket.create_connection((server.host, server.port), DEADLINE)


def say(server: HealthServer, data: bytes) -> bytes:
    """Send bytes and return all that comes until the other side ends."""
    with connect(server) as connection:
        connection.sendall(data)
        return until_end(connection)


def until_end(connection: socket.socket) -> bytes:
    parts = []
    while data := connection.recv(65536):
        parts.append(data)
    return b"".join(parts)


@pytest.mark.parametrize(
    ("request_", "status", "body"),
    [
        (b"GET /live HTTP/1.1\r\nHost: x\r\n\r\n", b"200 OK", b"/live\n"),
        (b"GET /live?a=b HTTP/1.0\r\n\r\n", b"200 OK", b"/live\n"),
        (b"GET /live HTTP/1.0\n\n", b"200 OK", b"/live\n"),
        (b"HEAD /live HTTP/1.1\r\n\r\n", b"200 OK", b""),
        (b"GET /other HTTP/1.1\r\n\r\n", b"404 Not Found", b"/other\n"),
        (b"GET /error HTTP/1.1\r\n\r\n", b"500 Internal Server Error", b"ValueError('no')\n"),
        (
            b"POST /live HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello",
            b"405 Method Not Allowed",
            b"Method Not Allowed\n",
        ),
        (b"nonsense\r\n\r\n", b"400 Bad Request", b"Bad Request\n"),
        (b"\r\n\r\n", b"400 Bad Request", b"Bad Request\n"),
        (b"\x16\x03\x01\x02\x00\x01\n\n", b"400 Bad Request", b"Bad Request\n"),
        (b"GET /live HTTP/2.0\r\n\r\n", b"400 Bad Request", b"Bad Request\n"),
        (
            b"GET /" + b"x" * 20_000,
            b"431 Request Header Fields Too Large",
            b"Request Header Fields Too Large\n",
        ),
        (
            b"GET /live HTTP/1.1\r\n" + b"a: b\r\n" * 20_000,
            b"431 Request Header Fields Too Large",
            b"Request Header Fields Too Large\n",
        ),
    ],
)
def test_requests_good_and_bad(server: HealthServer, request_: bytes, status: bytes, body: bytes) -> None:
    head, _, got = say(server, request_).partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"HTTP/1.1 " + status
    assert b"Connection: close" in lines
    assert got == body


def test_a_request_in_pieces(server: HealthServer) -> None:
    with connect(server) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for part in (b"GET /li", b"ve HTTP/1.1\r", b"\n\r", b"\n"):
            connection.sendall(part)
        assert until_end(connection).endswith(b"\r\n\r\n/live\n")


def test_a_large_answer_to_one_who_reads_slowly(server: HealthServer) -> None:
    with connect(server) as slow:
        slow.sendall(b"GET /large HTTP/1.1\r\n\r\n")
        assert say(server, b"GET /live HTTP/1.1\r\n\r\n").endswith(b"/live\n")
        assert until_end(slow).endswith(b"x" * 5_000_000)


def test_who_says_nothing_is_left_after_a_while(
    server: HealthServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health_server, "_PATIENCE", 0.3)
    with connect(server) as silent, connect(server) as slow, connect(server) as deaf:
        for connection, words in ((slow, b"GET /live"), (deaf, b"GET /large HTTP/1.1\r\n\r\n")):
            with contextlib.suppress(ConnectionError):  # it may have been left by now
                connection.sendall(words)
        assert silent.recv(10) == b""
        with contextlib.suppress(ConnectionError):
            assert slow.recv(10) == b""
    monkeypatch.setattr(health_server, "_PATIENCE", 10 * DEADLINE)
    assert say(server, b"GET /live HTTP/1.1\r\n\r\n").endswith(b"/live\n")


def test_many_who_hold_connections_do_not_keep_others_out(server: HealthServer) -> None:
    held = [connect(server) for _ in range(3 * health_server._MOST)]
    try:
        assert say(server, b"GET /live HTTP/1.1\r\n\r\n").endswith(b"/live\n")
        assert len(server._connections) <= health_server._MOST
        ready, _, _ = select.select(held[: health_server._MOST], [], [], DEADLINE)
        assert ready, "the oldest had to go"
    finally:
        for each in held:
            each.close()


def test_who_leaves_early_harms_nobody(server: HealthServer) -> None:
    for _ in range(50):
        with connect(server) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # with a reset
            connection.sendall(b"GET /large HTTP/1.1\r\n\r\n")
    assert say(server, b"GET /live HTTP/1.1\r\n\r\n").endswith(b"/live\n")


def test_out_of_file_descriptors(server: HealthServer) -> None:
    """It answers when there are some again, and does not turn in circles until then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    gc.collect()  # what is closed meanwhile would be free for the server
    client, taken = socket.socket(), [os.dup(0)]
    client.settimeout(DEADLINE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(taken) + 50, hard))
    try:
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.dup(0))
        assert server._thread is not None and server._thread.ident is not None
        busy = time.pthread_getcpuclockid(server._thread.ident)
        before = time.clock_gettime(busy)
        client.connect((server.host, server.port))
        client.sendall(b"GET /live HTTP/1.1\r\n\r\n")
        assert not select.select([client], [], [], 1.0)[0]
        assert time.clock_gettime(busy) - before < 0.2
    finally:
        for each in taken:
            os.close(each)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    with client:
        assert until_end(client).endswith(b"/live\n")


def test_a_port_in_use() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = HealthServer("127.0.0.1", port, answer)
        with pytest.raises(
            ImproperlyConfigured, match=rf"http://127.0.0.1:{port}: Address already in use\. Choose"
        ):
            server.open()
        server.close()


@pytest.mark.parametrize("host", ["192.0.2.1", "no.such.host.invalid"])
def test_an_address_that_is_not_ours(host: str) -> None:
    server = HealthServer(host, free_port(), answer)
    with pytest.raises(ImproperlyConfigured, match="The worker's health cannot be told on"):
        server.open()
    server.close()


def test_ipv6() -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("there is no IPv6 here")
    server = HealthServer("::1", free_port("::1", socket.AF_INET6), answer)
    with closing(server):
        server.open()
        assert server.url == f"http://[::1]:{server.port}"
        assert say(server, b"GET /live HTTP/1.1\r\n\r\n").endswith(b"/live\n")


def in_child(work: Callable[[], None]) -> bool:
    """Fork, do `work` in the child, return whether it was done."""
    receiver, sender = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            work()
            os.write(sender, b"done")
        finally:
            os.kill(
                os.getpid(), signal.SIGKILL
            )  # at any other end, the coverage of the child would be written
    os.close(sender)
    try:
        ready, _, _ = select.select([receiver], [], [], DEADLINE)
        return bool(ready) and os.read(receiver, 4) == b"done"
    finally:
        os.close(receiver)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def test_no_fork_finds_a_lock_held() -> None:
    """The answers hold a lock nearly always; no child may inherit it locked, nor any of the sockets."""
    lock = threading.Lock()

    def slow_answer(path: str) -> Answer:
        with lock:
            end = time.monotonic() + 0.003
            while time.monotonic() < end:
                pass
        return Answer(200, b"ok\n")

    server = HealthServer("127.0.0.1", free_port(), slow_answer)
    over, asked = threading.Event(), 0

    def ask() -> None:
        nonlocal asked
        while not over.is_set():
            assert say(server, b"GET /live HTTP/1.1\r\n\r\n").endswith(b"ok\n")
            asked += 1

    def work() -> None:
        assert lock.acquire(timeout=2)
        lock.release()
        assert server._listener is not None
        assert server._listener.fileno() == -1
        assert not server._connections or all(each.fileno() == -1 for each in server._connections)
        # What a task may do: fork again, beside a server that is none of this process.
        assert in_child(lambda: None)

    with closing(server):
        server.open()
        thread = threading.Thread(target=ask)
        thread.start()
        try:
            count = 0
            while count < 60 or asked <= 10:
                assert in_child(work)
                assert thread.is_alive()
                count += 1
        finally:
            over.set()
            thread.join(DEADLINE)
    assert not thread.is_alive()
    assert in_child(lambda: None), "a closed server is in nobody's way"
