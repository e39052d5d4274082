"""A small HTTP server in a thread of a process that forks: answers a GET from memory, and does nothing else.

Made by `health`. A fork copies all locks as they are, so at that moment the thread must hold none. It works behind a
gate that a fork closes first; outside of it, the thread only waits for the kernel. That is why this is not
`http.server`, whose date, logging and threads take locks of the C library and of others whenever they like. The child
closes what it got of the sockets.

Everything is bounded: how many connections there are (the oldest makes room), how long one may take, how much is read.
"""

import os
import selectors
import socket
import threading
import time
import warnings
from collections.abc import Callable

from msgspec import Struct

from celeriac.errors import ImproperlyConfigured
from celeriac.waker import Waker

_MOST = 50  # connections at a time
_HEAD = 8192  # bytes of a request
_PATIENCE = 5.0  # seconds that a connection has
_PAUSE = 0.1  # seconds until it accepts connections again, where it could not
_PHRASES = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    501: "Not Implemented",
    503: "Service Unavailable",
}


class Answer(Struct):
    """What there is to say."""

    status: int
    body: bytes
    content_type: str = "text/plain; charset=utf-8"

    def encode(self, body: bool = True) -> bytes:
        """Return it as bytes, without the body where only its head is asked for."""
        head = (
            f"HTTP/1.1 {self.status} {_PHRASES[self.status]}\r\nContent-Type: {self.content_type}\r\n"
            f"Content-Length: {len(self.body)}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n"
        )
        return head.encode() + (self.body if body else b"")


class Connection:
    """One connection: a request is read, an answer written, and then what else comes is thrown away."""

    __slots__ = ("answered", "head", "rest", "socket", "until")

    def __init__(self, connected: socket.socket, until: float) -> None:
        self.socket = connected
        self.until = until
        self.head = b""
        self.rest = memoryview(b"")
        self.answered = False


class HealthServer:
    """Answers on `host` and `port` with what `answer(path)` returns, from `open` to `close`."""

    def __init__(self, host: str, port: int, answer: Callable[[str], Answer]) -> None:
        self.host = host
        self.port = port
        self._answer = answer
        self._gate = threading.Lock()
        self._selector = selectors.DefaultSelector()
        self._waker = Waker()
        self._connections: dict[socket.socket, Connection] = {}
        self._listener: socket.socket | None = None
        self._thread: threading.Thread | None = None
        self._shut = False
        self._closed = False
        self._exhausted = False

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://[{self.host}]:{self.port}" if ":" in self.host else f"http://{self.host}:{self.port}"

    def open(self) -> None:
        """Listen and start the thread; raises ImproperlyConfigured where that cannot be."""
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        try:
            listener = socket.create_server((self.host, self.port), family=family, backlog=_MOST)
        except OSError as error:
            # What Python adds to the text is said already; names that are not found have numbers of their own.
            why = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
            raise ImproperlyConfigured(
                f"The worker's health cannot be told on {self.url}: {why}. "
                "Choose others with --health-port and --health-host, or --health-port 0 for none."
            ) from None
        listener.setblocking(False)
        self._listener = listener
        self._selector.register(listener, selectors.EVENT_READ)
        self._selector.register(self._waker, selectors.EVENT_READ)
        # Python warns who forks beside a thread; this one is known to hold nothing then.
        warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
        # For good: there is no taking it back. All three do nothing once this is closed.
        os.register_at_fork(
            before=self._before_fork, after_in_parent=self._after_fork, after_in_child=self._in_child
        )
        self._thread = threading.Thread(target=self._run, name="celeriac-health", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread and all connections. May be called twice, and before `open`."""
        if self._closed:
            return
        self._closed = True
        if self._thread is not None:
            self._waker.poke()
            self._thread.join()
        self._drop_all()

    def _drop_all(self) -> None:
        for each in list(self._connections):
            each.close()
        if self._listener is not None:
            self._listener.close()
        self._selector.close()
        self._waker.close()

    # -- around a fork, in the thread that forks

    def _before_fork(self) -> None:
        if not self._closed:
            self._gate.acquire()
            self._shut = True

    def _after_fork(self) -> None:
        if self._shut:
            self._shut = False
            self._gate.release()

    def _in_child(self) -> None:
        if not self._closed:
            self._closed = True
            self._drop_all()

    # -- the thread

    def _run(self) -> None:
        while not self._closed:
            if self._exhausted:
                self._exhausted = False
                self._waker.wait(_PAUSE)
            events = self._selector.select(1.0 if self._connections else None)
            with self._gate:
                self._handle(events)

    def _handle(self, events: list[tuple[selectors.SelectorKey, int]]) -> None:
        now = time.monotonic()
        for key, _ in events:
            if key.fileobj is self._listener:
                self._accept(now)
            elif key.data is not None:
                self._go_on(key.data)
        for connection in [each for each in self._connections.values() if each.until <= now]:
            self._drop(connection)

    def _accept(self, now: float) -> None:
        listener = self._listener
        assert listener is not None  # for mypy
        for _ in range(_MOST):
            try:
                connected, _address = listener.accept()
            except BlockingIOError:
                return
            except OSError:
                # Out of file descriptors, say, and it would say so again at once.
                self._make_room()
                self._exhausted = True
                return
            connected.setblocking(False)
            if len(self._connections) >= _MOST:
                self._make_room()
            self._connections[connected] = connection = Connection(connected, now + _PATIENCE)
            self._selector.register(connected, selectors.EVENT_READ, connection)

    def _make_room(self) -> None:
        """Drop the oldest connection: somebody holds them, and who comes now may be the one that is to know."""
        oldest = next(iter(self._connections.values()), None)
        if oldest is not None:
            self._drop(oldest)

    def _drop(self, connection: Connection) -> None:
        if self._connections.pop(connection.socket, None) is not None:
            self._selector.unregister(connection.socket)
            connection.socket.close()

    def _go_on(self, connection: Connection) -> None:
        if connection.socket not in self._connections:
            return  # dropped in this round
        try:
            if connection.rest:
                self._write(connection)
            else:
                self._read(connection)
        except BlockingIOError:
            pass
        except OSError:
            self._drop(connection)

    def _read(self, connection: Connection) -> None:
        data = connection.socket.recv(_HEAD)
        if not data:
            self._drop(connection)
        elif not connection.answered:
            connection.head += data
            answer = self._reply(connection.head)
            if answer is not None:
                connection.answered = True
                connection.head = b""
                connection.rest = memoryview(answer)
                self._selector.modify(connection.socket, selectors.EVENT_WRITE, connection)

    def _write(self, connection: Connection) -> None:
        connection.rest = connection.rest[connection.socket.send(connection.rest) :]
        if not connection.rest:
            # Closed at once, the answer would be lost where not all of the request has been read.
            connection.socket.shutdown(socket.SHUT_WR)
            self._selector.modify(connection.socket, selectors.EVENT_READ, connection)

    def _reply(self, head: bytes) -> bytes | None:
        """Return the answer to a request, None while that is not all there."""
        line, end, _ = head.partition(b"\n")
        if not end or not (b"\n\r\n" in head or b"\n\n" in head):
            return None if len(head) < _HEAD else _plain(431)
        words = line.decode("latin-1").split()
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            return _plain(400)
        if words[0] not in ("GET", "HEAD"):
            return _plain(405)
        try:
            answer = self._answer(words[1].partition("?")[0])
        except Exception as error:
            answer = Answer(500, f"{error!r}\n".encode())
        return answer.encode(words[0] == "GET")


def _plain(status: int) -> bytes:
    return Answer(status, f"{_PHRASES[status]}\n".encode()).encode()
