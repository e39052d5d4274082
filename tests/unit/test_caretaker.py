"""What a caretaker takes over from others, and what it leaves to them for a while."""

from pathlib import Path

import pytest

from celeriac.broker import Publication
from celeriac.brokers.memory import MemoryBroker
from celeriac.worker.caretaker import Caretaker
from celeriac.worker.recovery import Recovery

LEASE = 15.0


class Clocks:
    """The monotonic clock, and the time of day, which is the broker's too."""

    def __init__(self) -> None:
        self.monotonic = 1_000.0
        self.day = 1_800_000_000.0

    def pass_by(self, seconds: float) -> None:
        """Let time pass."""
        self.monotonic += seconds
        self.day += seconds


@pytest.mark.parametrize("leap", [3600.0, 0.0, -3600.0])
def test_who_lives_keeps_what_it_holds_when_the_time_of_day_leaps(tmp_path: Path, leap: float) -> None:
    """The clock is set, or the machine has slept: all leases have run out at once, and one is the first to renew."""
    clocks = Clocks()
    broker = MemoryBroker(f"memory://leap{leap}", clock=lambda: clocks.day)
    broker.publish([Publication("1", "t", "q", b"message")], 1)
    broker.register("neighbour", LEASE)
    assert broker.claim("neighbour", ["q"], 1, 1)
    caretaker = Caretaker(
        broker, None, Recovery(broker, None, "host", 3), (tmp_path, "b"), "me", LEASE, list,
        lambda: clocks.monotonic, lambda: clocks.day,
    )  # fmt: skip
    assert caretaker.arrive(lambda seconds: False)
    for _ in range(4):
        clocks.pass_by(LEASE / 3)
        caretaker.turn()
        broker.renew(["neighbour"], LEASE)
    clocks.day += leap
    clocks.pass_by(LEASE / 3)
    caretaker.turn()
    assert broker.renew(["neighbour"], LEASE) == set(), "its lease was taken over though it lives"
    # And when it does not live any more it is not waited for longer than that.
    for _ in range(6):
        clocks.pass_by(LEASE / 3)
        caretaker.turn()
    assert broker.renew(["neighbour"], LEASE) == {"neighbour"}
    assert caretaker.trouble == ""
    broker.clear()
