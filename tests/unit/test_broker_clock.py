"""The broker's clock as a worker reckons it."""

from celeriac.brokers.memory import MemoryBroker
from celeriac.worker.broker_clock import BrokerClock


class SlowBroker(MemoryBroker):
    """An hour ahead; its answers are on their way back for as many seconds as they are told to."""

    def __init__(self, *seconds: float) -> None:
        super().__init__()
        self.seconds = list(seconds)
        self.machine = 1000.0

    def now(self) -> float:
        moment = self.machine + 3600
        self.machine += self.seconds.pop(0)
        return moment


def measured(broker: SlowBroker) -> BrokerClock:
    """Return the clock after one look."""
    clock = BrokerClock(broker, time_of_day=lambda: broker.machine)
    clock.measure(0.0)
    return clock


def test_a_quick_answer_is_enough() -> None:
    broker = SlowBroker(0.2, 0.1)
    assert measured(broker).offset == 3599.9
    assert broker.seconds == [0.1]


def test_an_answer_that_took_long_is_asked_for_again() -> None:
    broker = SlowBroker(3.0, 0.0, 0.0)
    clock = measured(broker)
    assert clock() == broker.machine + 3600
    assert broker.seconds == [0.0]


def test_the_quickest_of_three_counts() -> None:
    broker = SlowBroker(3.0, 1.0, 2.0, 0.0)
    assert measured(broker).offset == 3599.5
    assert broker.seconds == [0.0]
