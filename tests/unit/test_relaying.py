"""How often a worker looks into the outbox, and what it says where it cannot."""

import logging
import math

import pytest

from celeriac.errors import BrokerDown
from celeriac.worker.relaying import Relaying


class Outbox:
    """An outbox that takes a while, does not get done at once, or cannot be reached. `now` is its worker's clock."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.seconds = 0.0
        self.done = True
        self.down = False

    def sweep(self) -> bool:
        self.now += self.seconds
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
    relaying = Relaying(outbox, lambda: outbox.now)
    assert relaying.next <= outbox.now
    relaying.look()
    assert relaying.next == 1002.0
    outbox.done = False
    relaying.look()
    assert relaying.next <= outbox.now


def test_a_database_that_takes_its_time_does_not_take_the_workers(caplog: pytest.LogCaptureFixture) -> None:
    outbox = Outbox()
    outbox.seconds, outbox.down = 0.6, True
    relaying = Relaying(outbox, lambda: outbox.now)
    with caplog.at_level(logging.WARNING, "celeriac.worker"):
        relaying.look()
        assert relaying.next == pytest.approx(1000.6 + 4 * 0.6)
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
