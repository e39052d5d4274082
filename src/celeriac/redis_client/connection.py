"""One connection to a Redis server: a blocking socket, a deadline, and replies parsed by hiredis.

Used by `celeriac.redis_client.client`. A connection belongs to one thread of one process. What goes wrong is told by
how much is known: `Unsent` (the last command was certainly not executed), `Lost` (it may have been) and
`ServerError` (the server refused it). After the first two the connection is closed: an answer that comes
late must never be taken for the answer to another question.
"""

import os
import select
import socket
import struct
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

import hiredis

from celeriac.redis_client.address import Address

#: The oldest server that has all we need: RPOP with a count, ZRANGE BYSCORE REV, client-side tracking.
OLDEST = (6, 2)

#: Seconds without an answer after which a connection is asked whether it still leads anywhere.
_FRESH = 2.0

_MORE: Any = object()
_RECEIVE = 128 * 1024
#: A command as it is sent; its stub knows of tuples of one only.
pack: Callable[[tuple[Any, ...]], bytes] = hiredis.pack_command
_PING = pack(("PING",))


class Unsent(Exception):
    """The last command was certainly not executed. `tries` counts attempts to connect within `seconds`."""

    def __init__(self, reason: str, tries: int = 0, seconds: float = 0.0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.tries = tries
        self.seconds = seconds


class Lost(Exception):
    """The command was sent and no answer came: it may or may not have been executed."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class ServerError(Exception):
    """The server's refusal, in its own words."""

    @property
    def kind(self) -> str:
        """The first word: WRONGPASS, LOADING, OOM, ..."""
        return str(self).partition(" ")[0]


def reason_of(error: BaseException, timeout: float) -> str:
    """Return a few words for what a socket said."""
    match error:
        case ConnectionRefusedError():
            return "connection refused"
        case TimeoutError() | BlockingIOError():
            return f"no answer within {timeout:.1f} s"
        case ConnectionResetError() | BrokenPipeError():
            return "connection reset by the server"
        case FileNotFoundError():
            return "there is no such socket file"
        case OSError():
            return (error.strerror or str(error)).lower()
    return str(error)


class Connection:
    """An open connection, logged in and with its database selected."""

    __slots__ = (
        "__weakref__",
        "_buffer",
        "_closing",
        "_pid",
        "_poll",
        "_reader",
        "_sock",
        "_timeout",
        "_tls",
        "_used",
        "_view",
        "declared",
        "version",
    )

    def __init__(self, address: Address, timeout: float, opening: tuple[str, ...] = ()) -> None:
        """Connect within `timeout` seconds, and send the command `opening`; raises Unsent or ServerError."""
        self._pid = os.getpid()
        self._tls = address.tls is not None
        self._buffer = bytearray(_RECEIVE)
        self._view = memoryview(self._buffer)
        self._reader = hiredis.Reader(notEnoughData=_MORE, replyError=ServerError)
        self._timeout = -1.0
        self._used = 0.0
        #: Queues that were declared through this connection; a new one, perhaps to an emptied server, does it again.
        self.declared: set[str] = set()
        deadline = time.monotonic() + timeout
        self._sock: socket.socket | None = None
        try:
            sock = self._sock = _open(address, deadline)
            # Its thread may end without closing it. Not __del__: in a circle of garbage the socket might go first.
            self._closing = weakref.finalize(self, sock.close)
            self._closing.atexit = False
            self._poll = select.poll()
            self._poll.register(self._sock, select.POLLIN)
            self.version = self._greet(address, opening, max(0.01, deadline - time.monotonic()))
        except OSError as error:
            self.close()
            raise Unsent(reason_of(error, timeout)) from None
        except Lost as error:
            raise Unsent(error.reason) from None
        except BaseException:
            self.close()
            raise

    def _greet(self, address: Address, opening: tuple[str, ...], timeout: float) -> str:
        """Log in, switch to RESP3, select the database; return the server's version."""
        hello: tuple[str | int, ...] = ("HELLO", 3)
        if address.password is not None:
            hello += ("AUTH", address.username or "default", address.password)
        data = pack((*hello, "SETNAME", "celeriac"))
        replies = 1
        for command in (("SELECT", address.place.db) if address.place.db else (), opening):
            if command:
                data += pack(command)
                replies += 1
        try:
            answers = self.exchange(data, replies, timeout)
            for answer in answers:
                if isinstance(answer, ServerError):
                    raise answer
        except ServerError as error:
            if error.kind == "ERR" and "unknown command" in str(error).lower():
                raise ServerError(f"TOOOLD it is older than Redis {OLDEST[0]}.{OLDEST[1]}") from None
            raise
        version = answers[0][b"version"].decode()
        if tuple(int(part) for part in version.split(".")[:2]) < OLDEST:
            raise ServerError(f"TOOOLD it is Redis {version}, older than {OLDEST[0]}.{OLDEST[1]}")
        return str(version)

    @property
    def usable(self) -> bool:
        """Whether a command can be sent: open, this process's own, and not closed by the server meanwhile."""
        return self._sock is not None and self._pid == os.getpid() and not self._poll.poll(0)

    def answers(self, timeout: float) -> bool:
        """Whether it still leads to the server, as far as is known; asks where the last answer is some seconds old.

        What lies between may have forgotten a connection that was idle and tell nobody. It is better to notice that
        now than to send something and not to know what became of it.
        """
        if time.monotonic() - self._used < _FRESH:
            return True
        try:
            self.exchange(_PING, 1, timeout)
        except (Unsent, Lost):
            return False
        except ServerError:
            pass
        return True

    @property
    def mine(self) -> bool:
        """Whether it is open and was opened by this process."""
        return self._sock is not None and self._pid == os.getpid()

    def exchange(self, data: bytes, replies: int, timeout: float) -> list[Any]:
        """Send packed commands and return their replies; raises Unsent, Lost, or ServerError.

        What counts is the last command: Unsent and ServerError say that this one was not executed, and refusals of
        others are among the replies unless it was refused too. `timeout` bounds each wait, six times that the whole.
        """
        sock = self._sock
        if sock is None:
            raise Unsent("the connection is closed")
        try:
            if timeout != self._timeout:
                self._set_timeout(sock, timeout)
            self._send(sock, data)
            answers = self._receive(sock, replies, timeout)
        except BaseException:
            self.close()
            raise
        self._used = time.monotonic()
        if isinstance(answers[-1], ServerError):
            refusals = [answer for answer in answers if isinstance(answer, ServerError)]
            if refusals[0].kind == "READONLY":
                self.close()  # a replica now: perhaps the name leads to the new master
            raise refusals[0]
        return answers

    def _set_timeout(self, sock: socket.socket, timeout: float) -> None:
        if self._tls:
            sock.settimeout(timeout)
        else:
            # The kernel's own timeouts: `settimeout` would cost a poll() before every call.
            value = struct.pack("ll", int(timeout), int(timeout % 1 * 1e6) or 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, value)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, value)
        self._timeout = timeout

    def _send(self, sock: socket.socket, data: bytes) -> None:
        """Send all of `data`. A command of which the end is missing is never executed: any failure is Unsent."""
        try:
            sent = sock.send(data)
            if sent < len(data):
                deadline = time.monotonic() + self._timeout
                view = memoryview(data)
                while sent < len(data):
                    if time.monotonic() > deadline:
                        raise TimeoutError
                    sent += sock.send(view[sent:])
        except OSError as error:
            raise Unsent(reason_of(error, self._timeout)) from None

    def _receive(self, sock: socket.socket, count: int, timeout: float) -> list[Any]:
        answers: list[Any] = []
        gets = self._reader.gets
        deadline = time.monotonic() + 6 * timeout
        try:
            while len(answers) < count:
                answer = gets()
                if answer is _MORE:
                    if time.monotonic() > deadline:
                        raise TimeoutError
                    self._feed(sock)
                elif type(answer) is not hiredis.PushNotification:
                    # A push that comes before the answer tells of what the answer knows already.
                    answers.append(answer)
        except OSError as error:
            raise Lost(reason_of(error, timeout)) from None
        except hiredis.ProtocolError as error:
            raise Lost(f"it does not speak the Redis protocol: {error}") from None
        return answers

    def _feed(self, sock: socket.socket) -> None:
        size = sock.recv_into(self._view)
        if not size:
            raise ConnectionResetError
        self._reader.feed(self._buffer, 0, size)  # type: ignore[arg-type]

    def push(self, timeout: float, interrupt: int | None = None) -> list[Any] | None:
        """Wait for a push; return it, or None once `timeout` is over or the descriptor `interrupt` is readable."""
        sock = self._sock
        if sock is None:
            raise Lost("the connection is closed")
        deadline = time.monotonic() + timeout
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        if interrupt is not None:
            poll.register(interrupt, select.POLLIN)
        try:
            while True:
                answer = self._reader.gets()
                if answer is not _MORE:
                    return answer if isinstance(answer, list) else [answer]
                if not (self._tls and sock.pending()):  # type: ignore[attr-defined]
                    left = deadline - time.monotonic()
                    # Rounded up: a look a moment too early would only have to be repeated.
                    ready = poll.poll(max(0, int(left * 1000) + 1) if left > 0 else 0)
                    if not any(fd == sock.fileno() for fd, _ in ready):
                        return None
                self._feed(sock)
                self._used = time.monotonic()
        except OSError as error:
            self.close()
            raise Lost(reason_of(error, timeout)) from None
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close it. May be called twice, and in a child after a fork, where it leaves the parent's end alone."""
        sock, self._sock = self._sock, None
        if sock is not None:
            self._closing.detach()
            sock.close()


def _open(address: Address, deadline: float) -> socket.socket:
    place = address.place
    if place.path:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.settimeout(max(0.01, deadline - time.monotonic()))
            sock.connect(place.path)
        except BaseException:
            sock.close()
            raise
        sock.settimeout(None)
        return sock
    sock = _connect(place.host, place.port, deadline)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (("TCP_KEEPIDLE", 20), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, option):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
    if address.tls is None:
        sock.settimeout(None)
        return sock
    try:
        sock.settimeout(max(0.01, deadline - time.monotonic()))
        return address.tls.context().wrap_socket(sock, server_hostname=place.host)
    except BaseException:
        sock.close()
        raise


def _connect(host: str, port: int, deadline: float) -> socket.socket:
    """Try the addresses of `host` in turn; raises the last one's OSError."""
    failure: OSError = TimeoutError()
    for family, kind, protocol, _, target in _resolve(host, port, deadline):
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(max(0.01, deadline - time.monotonic()))
            sock.connect(target)
        except OSError as error:
            sock.close()
            failure = error
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise failure


def _resolve(host: str, port: int, deadline: float) -> list[Any]:
    """`getaddrinfo` with a deadline, which it has not: a silent name server would hold delay() for half a minute."""
    try:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        pass  # a name
    found: list[Any] = []

    def look_up() -> None:
        try:
            found.append(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except OSError as error:
            found.append(error)

    thread = threading.Thread(target=look_up, name="celeriac-resolve", daemon=True)
    thread.start()
    thread.join(max(0.01, deadline - time.monotonic()))
    if not found:
        raise TimeoutError
    if isinstance(found[0], OSError):
        raise OSError(0, f"the host name {host} is unknown ({found[0].strerror})")
    addresses: list[Any] = found[0]
    return addresses
