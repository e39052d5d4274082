"""What the checks work with: a consumer, a second process, patience."""

import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import pytest

from celeriac.broker import Action, Broker, Delivery, Publication, Settlement
from celeriac.store import ResultStore
from celeriac.testing.elsewhere import LONG as LONG
from celeriac.testing.elsewhere import SOON as SOON
from celeriac.testing.elsewhere import elsewhere as elsewhere
from celeriac.testing.elsewhere import start as start

T = TypeVar("T")
MakeBroker = Callable[..., Broker]

#: A lease that no check outlives, and one that runs out.
LEASE = 3600.0
SHORT = 0.4

EXOTIC = (
    b"",
    b"\x00",
    b"\x00\xff\xfe'\"\\",
    bytes(range(256)),
    "käse".encode("latin-1"),
    b"\n\r\n",
    b"x" * 100_000,
)
NAMES = ("ünï → 😀", "a b", "a:b.c-d_e", "100%", "{tag}", 'it\'s "q"', "back\\slash", "x" * 100)


def message(payload: bytes, queue: str = "q", priority: int = 0, due: float | None = None) -> Publication:
    """Return a publication with an id of its own."""
    return Publication(str(uuid.uuid4()), "exam.task", queue, payload, priority, due)


def numbered(count: int, prefix: bytes = b"m", **fields: Any) -> list[Publication]:
    """Return `count` publications whose payloads end in their number."""
    return [message(b"%s%d" % (prefix, number), **fields) for number in range(count)]


def payloads(deliveries: Sequence[Delivery]) -> list[bytes]:
    """Return what was delivered, in order."""
    return [delivery.payload for delivery in deliveries]


class Consumer:
    """A worker child as a broker sees it: a name, a lease, claims with rising numbers."""

    def __init__(self, broker: Broker, lease: float = LEASE) -> None:
        self.broker = broker
        self.name = f"exam-{uuid.uuid4().hex[:12]}"
        self.seq = 0
        broker.register(self.name, lease)

    def claim(self, *queues: str, limit: int = 100) -> list[Delivery]:
        self.seq += 1
        return self.broker.claim(self.name, queues or ("q",), limit, self.seq)

    def drain(self, *queues: str, limit: int = 100) -> list[Delivery]:
        """Claim until there is nothing left."""
        deliveries: list[Delivery] = []
        while batch := self.claim(*queues, limit=limit):
            deliveries += batch
        return deliveries

    def await_claim(self, *queues: str, timeout: float | None = None, limit: int = 100) -> list[Delivery]:
        """Claim as a worker does: look, wait for a sign, look again, for `timeout` seconds (None: LONG)."""
        deadline = time.monotonic() + (LONG if timeout is None else timeout)
        with pipe() as (never, _):
            while not (deliveries := self.claim(*queues, limit=limit)):
                left = deadline - time.monotonic()
                if left <= 0:
                    break
                self.broker.wait(queues or ("q",), left, never)
        return deliveries

    def settle(
        self,
        *deliveries: Delivery,
        action: Action = Action.DONE,
        store: ResultStore | None = None,
        **fields: Any,
    ) -> set[int]:
        """Settle `deliveries` all alike."""
        settlements = [Settlement(delivery.tag, action, **fields) for delivery in deliveries]
        return self.broker.settle(self.name, settlements, store)

    def held_tags(self) -> set[int]:
        return {delivery.tag for delivery in self.broker.held(self.name, self.seq)}


@contextmanager
def pipe() -> Iterator[tuple[int, int]]:
    """A pipe's two ends, closed at the end."""
    read, write = os.pipe()
    try:
        yield read, write
    finally:
        os.close(read)
        os.close(write)


def eventually(look: Callable[[], T]) -> T:
    """Look again and again until there is something true to see, which has to be soon."""
    deadline = time.monotonic() + SOON
    pause = threading.Event()
    while not (seen := look()):
        assert time.monotonic() < deadline, f"not within {SOON} s"
        pause.wait(0.02)
    return seen


def passed(moment: float) -> Callable[[], bool]:
    """Return a look at whether the unix time `moment` is over, a little longer for coarse clocks."""
    return lambda: time.time() > moment + 0.02


def scheduled(broker: Broker, queue: str, count: int, due: float) -> bool:
    """Return whether `count` messages of `queue` are for later; they may be ready instead once `due` has come."""
    depth = broker.depths()[queue]
    if time.time() < due:
        return (depth.scheduled, depth.ready) == (count, 0)
    return depth.scheduled + depth.ready == count


class Fixtures:
    @pytest.fixture
    def make_broker(self) -> MakeBroker:
        """Return a function that opens the keeper; keyword arguments are settings. To be overridden."""
        raise NotImplementedError("an exam needs a fixture `make_broker`")

    @pytest.fixture
    def broker(self, make_broker: MakeBroker) -> Iterator[Broker]:
        broker = make_broker()
        yield broker
        broker.close()

    @pytest.fixture
    def store(self) -> ResultStore | None:
        """Return a result store that `broker` shares its transactions with. To be overridden if there is one."""
        return None
