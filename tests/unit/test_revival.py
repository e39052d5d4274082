"""The look through the dead letters at a worker's start: which go back, how, and for how long it looks."""

import logging
from collections.abc import Callable, Iterator, Sequence

import pytest

from celeriac.broker import Action, DeadLetter, Publication, Settlement
from celeriac.brokers.memory import MemoryBroker
from celeriac.execute import unknown_task
from celeriac.message import protocol
from celeriac.message.message import Headers, Message, Properties
from celeriac.worker.revival import Revival

KNOWN = {"known": None, "other": None}


@pytest.fixture
def broker() -> Iterator[MemoryBroker]:
    broker = MemoryBroker("memory://revival")
    broker.register("worker", 600)
    yield broker
    broker.clear()


def bury(
    broker: MemoryBroker,
    number: int,
    task: str = "known",
    queue: str = "celery",
    reason: str = "",
    losses: int = 0,
) -> None:
    """Set a message aside; without a reason because its task is unknown."""
    properties = Properties(priority=number % 10, celeriac_losses=losses, celeriac_suspect=bool(losses))
    payload = protocol.encode(Message(Headers(task, f"id-{number}"), properties, b"[[],{},{}]"), queue)
    broker.publish([Publication(f"id-{number}", task, queue, payload)], 1)
    (delivery,) = broker.claim("worker", [queue], 1, next(broker._shelf.tags))
    broker.settle("worker", [Settlement(delivery.tag, Action.DEAD, reason=reason or unknown_task(task))])


def claimed(broker: MemoryBroker, queue: str = "celery") -> list[Message]:
    deliveries = broker.claim("worker", [queue], 10_000, next(broker._shelf.tags))
    return [protocol.decode(delivery.payload) for delivery in deliveries]


def finish(revival: Revival) -> int:
    """Return how many steps it took."""
    steps = 1
    while not revival.step():
        steps += 1
    return steps


def test_only_what_nobody_knew_and_this_worker_reads_goes_back(
    broker: MemoryBroker, caplog: pytest.LogCaptureFixture
) -> None:
    bury(broker, 1)
    bury(broker, 2, "unknown")
    bury(broker, 3, queue="elsewhere")
    bury(broker, 4, reason="its process died 3 times while it ran")
    bury(broker, 5, reason=unknown_task("another"))
    broker.publish([Publication("x", "t", "celery", b"garbage")], 1)
    (delivery,) = broker.claim("worker", ["celery"], 1, next(broker._shelf.tags))
    broker.settle("worker", [Settlement(delivery.tag, Action.DEAD, reason="unknown task 'known'")])
    bury(broker, 6, "other", losses=2)
    with caplog.at_level(logging.INFO, "celeriac"):
        assert finish(Revival(broker, KNOWN, ("celery", "b"))) == 1
    assert broker.count_dead_letters() == 5
    found = claimed(broker)
    assert [message.headers.id for message in found] == ["id-6", "id-1"]  # the higher priority first
    assert [message.properties.priority for message in found] == [6, 1]
    assert not any(m.properties.celeriac_losses or m.properties.celeriac_suspect for m in found)
    assert [record.getMessage() for record in caplog.records] == [
        "2 dead letters go back to their queues: this worker knows their tasks."
    ]


def test_nothing_is_said_where_there_is_nothing(
    broker: MemoryBroker, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "celeriac"):
        assert Revival(broker, KNOWN, ("celery",)).step()
    assert not caplog.records


@pytest.mark.parametrize("every", [1, 2, 7, 1000])
def test_many_are_looked_through_page_by_page(broker: MemoryBroker, every: int) -> None:
    for number in range(0, 3500, 10):
        bury(broker, number, "known" if number // 10 % every == 0 else "unknown")
    known = [f"id-{number}" for number in range(0, 3500, 10) if number // 10 % every == 0]
    finish(Revival(broker, KNOWN, ("celery",)))
    assert sorted(message.headers.id for message in claimed(broker)) == sorted(known)
    assert broker.count_dead_letters() == 350 - len(known)


class Slow(MemoryBroker):
    """A broker that takes its time for each page."""

    schemes = ("slow",)
    tick: Callable[[], None]

    def dead_letters(self, limit: int = 100, offset: int = 0) -> list[DeadLetter]:
        self.tick()
        return super().dead_letters(limit, offset)


@pytest.mark.parametrize(("seconds", "steps", "left"), [(0.15, 3, 0), (0.3, 5, 0), (6.0, 2, 200)])
def test_it_looks_in_steps_and_not_for_ever(
    broker: MemoryBroker,
    caplog: pytest.LogCaptureFixture,
    seconds: float,
    steps: int,
    left: int,
) -> None:
    now = 0.0
    slow = Slow("memory://revival")

    def tick() -> None:
        nonlocal now
        now += seconds

    slow.tick = tick
    for number in range(0, 4000, 10):
        bury(broker, number)
    with caplog.at_level(logging.INFO, "celeriac"):
        assert finish(Revival(slow, KNOWN, ("celery",), clock=lambda: now)) == steps
    assert broker.count_dead_letters() == left
    told: Sequence[str] = [record.getMessage() for record in caplog.records]
    assert len(told) == (2 if left else 1)
