"""A network between client and server that fails when told to, and only then: a TCP proxy with a thread each way.

`Proxy.fail` begins a fault and `heal` ends it. A connection through which anything was swallowed stays dead for good,
as bytes of it are missing; connections that are made after `heal` are good.
"""

import contextlib
import socket
import struct
import threading
from typing import Literal

from tests.servers import free_port

#: refuse: connections are cut and new ones refused. blackhole: they are accepted, and nothing passes either way.
#: half-open: the server has forgotten the connections, and the client is not told. silent: the server gets what it is
#: sent, and its answers do not arrive.
Fault = Literal["refuse", "blackhole", "half-open", "silent"]


class _Link:
    """One connection: its two ends, and whether requests and answers are swallowed."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client = client
        self.server = server
        self.deaf = False
        self.mute = False
        self._left = 2
        self._closed = threading.Event()
        self._lock = threading.Lock()

    def start(self) -> None:
        """Begin to pass on both ways."""
        for source, sink, asks in ((self.client, self.server, True), (self.server, self.client, False)):
            threading.Thread(target=self._pump, args=(source, sink, asks), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, asks: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if not (self.deaf if asks else self.mute):
                    sink.sendall(data)
        if asks or not self.mute:  # else the server is gone, and the client does not hear of it
            self.cut()
        with self._lock:
            self._left -= 1
            if not self._left:
                self.client.close()
                self.server.close()
                self._closed.set()

    @property
    def open(self) -> bool:
        """Whether it still passes on anything."""
        return bool(self._left) and not self.mute

    def cut(self) -> None:
        """End it at both ends with a reset."""
        self.deaf = self.mute = True
        for end in (self.client, self.server):
            with contextlib.suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                end.shutdown(socket.SHUT_RD)  # wakes the thread that reads; the last one closes, which resets

    def wait_closed(self) -> None:
        """Wait until both ends have been told."""
        assert self._closed.wait(60.0), "A connection does not end."

    def fail(self, fault: Fault) -> None:
        """Suffer one of the faults that leave the client's end open."""
        self.mute = True
        if fault != "silent":
            self.deaf = True
        if fault == "half-open":
            with contextlib.suppress(OSError):
                self.server.shutdown(socket.SHUT_RDWR)


class Proxy:
    """Passes connections to its own `port` on to 127.0.0.1:`target`. A context manager."""

    def __init__(self, target: int) -> None:
        self._target = target
        self.port = free_port()  # one that stays free while connections are refused
        self._listener = self._listen(self.port)
        self._links: list[_Link] = []
        self._lock = threading.Lock()
        self._fault: Fault | None = None

    def _listen(self, port: int) -> socket.socket:
        listener = socket.create_server(("127.0.0.1", port), backlog=100)
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
        return listener

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                self._link(listener.accept()[0])

    def _link(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(("127.0.0.1", self._target), 60.0)
        except OSError:
            client.close()
            return
        server.settimeout(None)
        for end in (client, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link = _Link(client, server)
        with self._lock:
            if self._fault == "refuse":  # it was in the listener's queue
                link.cut()
            elif self._fault is not None:
                link.fail(self._fault)
            self._links.append(link)
            link.start()

    @property
    def connected(self) -> bool:
        """Whether there is a connection that anything passes through."""
        with self._lock:
            return any(link.open for link in self._links)

    def fail(self, fault: Fault) -> int:
        """Begin `fault` for all connections, open and new ones; return how many were open."""
        with self._lock:
            self._fault = fault
            count = sum(link.open for link in self._links)
            if fault == "refuse":
                _close(self._listener)
            for link in self._links:
                if fault == "refuse":
                    link.cut()
                else:
                    link.fail(fault)
            if fault == "refuse":
                for link in self._links:
                    link.wait_closed()
        return count

    def heal(self) -> None:
        """End it for new connections."""
        with self._lock:
            if self._fault == "refuse":
                self._listener = self._listen(self.port)
            self._fault = None

    def cut(self) -> int:
        """Cut all connections, once; return how many there were."""
        with self._lock:
            links, self._links = self._links, []
        count = sum(link.open for link in links)
        for link in links:
            link.cut()
        for link in links:
            link.wait_closed()
        return count

    def close(self) -> None:
        """End it; may be called twice."""
        _close(self._listener)
        self.cut()

    def __enter__(self) -> "Proxy":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def _close(listener: socket.socket) -> None:
    with contextlib.suppress(OSError):
        listener.shutdown(socket.SHUT_RDWR)  # ends accept(), which would go on for one more connection
    listener.close()
