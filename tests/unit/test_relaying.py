"""How often a worker looks into the outbox, and what it says where it cannot."""

import logging
import math
import time

import pytest

from celeriac.errors import BrokerDown
from celeriac.worker.relaying import Relaying


class Outbox:
    """An outbox that takes a while, does not get done at once, or cannot be reached."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.done = True
        self.down = False

    def sweep(self) -> bool:
        end = time.monotonic() + self.seconds
        while time.monotonic() < end:
            pass
        if self.down:
            raise BrokerDown("Redis is away")
        return self.done

    def keep(self, publications: object, told: object) -> None:
        raise NotImplementedError

    def waiting(self) -> int:
        raise NotImplementedError


def test_without_an_outbox_it_is_never_due() -> None:
    relaying = Relaying(None)
    relaying.look()
    assert relaying.next == math.inf


def test_every_two_seconds_and_on_while_there_is_more() -> None:
    outbox = Outbox()
    relaying = Relaying(outbox)
    assert relaying.next <= time.monotonic()
    before = time.monotonic()
    relaying.look()
    assert before + 2 <= relaying.next <= time.monotonic() + 2
    outbox.done = False
    relaying.look()
    assert relaying.next <= time.monotonic()


def test_a_database_that_takes_its_time_does_not_take_the_workers(caplog: pytest.LogCaptureFixture) -> None:
    outbox = Outbox()
    outbox.seconds, outbox.down = 0.6, True
    relaying = Relaying(outbox)
    with caplog.at_level(logging.WARNING, "celeriac.worker"):
        relaying.look()
        over = time.monotonic()
        assert over + 2.3 <= relaying.next <= over + 20
        outbox.seconds = 0.0
        relaying.look()
    told = [each.getMessage() for each in caplog.records]
    assert told == ["Redis is away. What senders have left in the outbox waits there."]
    outbox.down = False
    relaying.look()
    outbox.down = True
    with caplog.at_level(logging.WARNING, "celeriac.worker"):
        relaying.look()
    assert len(caplog.records) == 2, "once for each time"
