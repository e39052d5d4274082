"""Waiting for something to do."""

import fcntl
import math
import os
import resource
import threading
import time
from collections.abc import Callable, Sequence

import pytest

from celeriac.broker import Action, Broker
from celeriac.testing.broker_exam.equipment import (
    LONG,
    SOON,
    Consumer,
    Fixtures,
    MakeBroker,
    elsewhere,
    message,
    numbered,
    payloads,
    pipe,
    start,
)


class WaitChecks(Fixtures):
    """Waking up in time, and only then."""

    def test_returns_at_the_timeout(self, broker: Broker) -> None:
        before = time.monotonic()
        with pipe() as (never, _):
            broker.wait(["q"], 0.2, never)
        assert time.monotonic() - before < SOON

    def test_an_idle_wait_rests(self, broker: Broker) -> None:
        broker.publish([message(b"far", due=time.time() + 3600)], SOON)
        returns = 0
        end = time.monotonic() + 1.0
        with pipe() as (never, _):
            while (left := end - time.monotonic()) > 0:
                broker.wait(["q"], left, never)
                returns += 1
        assert returns <= 60, "it may return early, but not always"

    def test_returns_at_once_if_something_is_ready(self, broker: Broker) -> None:
        broker.publish([message(b"m", "b")], SOON)
        self._returns_at_once(broker, ["a", "b"])

    def test_a_publish_between_claim_and_wait_is_not_slept_through(
        self, broker: Broker, make_broker: MakeBroker
    ) -> None:
        consumer = Consumer(broker)
        assert consumer.claim() == []
        elsewhere(make_broker, lambda other: other.publish(numbered(1), SOON))
        self._returns_at_once(broker, ["q"])
        assert len(consumer.claim()) == 1
        assert consumer.claim() == []
        broker.publish(numbered(1), SOON)
        self._returns_at_once(broker, ["q"])

    @pytest.mark.parametrize("queues", [("q",), ("a", "b", "q")])
    def test_wakes_at_a_publish_from_elsewhere(
        self, broker: Broker, make_broker: MakeBroker, queues: tuple[str, ...]
    ) -> None:
        self._wakes(make_broker, queues, lambda: broker.publish(numbered(1), SOON))

    def test_wakes_at_a_publish_of_high_priority(self, broker: Broker, make_broker: MakeBroker) -> None:
        self._wakes(make_broker, ("q",), lambda: broker.publish(numbered(1, priority=9), SOON))

    def test_wakes_at_a_put_back(self, broker: Broker, make_broker: MakeBroker) -> None:
        broker.publish(numbered(1), SOON)
        consumer = Consumer(broker)
        claimed = consumer.claim()
        self._wakes(make_broker, ("q",), lambda: consumer.settle(*claimed, action=Action.PUT_BACK))

    def test_wakes_at_a_publish_with_a_settlement(self, broker: Broker, make_broker: MakeBroker) -> None:
        broker.publish([message(b"first", "p")], SOON)
        consumer = Consumer(broker)
        claimed = consumer.claim("p")
        self._wakes(make_broker, ("q",), lambda: consumer.settle(*claimed, publish=tuple(numbered(1))))

    def test_wakes_when_a_dead_letter_is_revived(self, broker: Broker, make_broker: MakeBroker) -> None:
        broker.publish(numbered(1), SOON)
        consumer = Consumer(broker)
        consumer.settle(*consumer.claim(), action=Action.DEAD)
        (letter,) = broker.dead_letters()
        (again,) = numbered(1)
        self._wakes(make_broker, ("q",), lambda: broker.revive({letter.key: again}))

    def test_wakes_when_a_consumer_gives_back(self, broker: Broker, make_broker: MakeBroker) -> None:
        broker.publish(numbered(1), SOON)
        consumer = Consumer(broker)
        assert len(consumer.claim()) == 1
        self._wakes(make_broker, ("q",), lambda: broker.unregister(consumer.name))

    def test_wakes_when_a_scheduled_message_is_due(self, broker: Broker, make_broker: MakeBroker) -> None:
        broker.publish([message(b"far", due=time.time() + 3600)], SOON)
        due = time.time() + 0.4
        broker.publish([message(b"m0", due=due)], SOON)
        self._wakes(make_broker, ("q",), lambda: None, due)

    def test_wakes_when_one_scheduled_meanwhile_is_due(self, broker: Broker, make_broker: MakeBroker) -> None:
        broker.publish([message(b"far", due=time.time() + 3600)], SOON)
        self._wakes(
            make_broker, ("q",), lambda: broker.publish([message(b"m0", due=time.time() + 0.3)], SOON)
        )

    def test_wakes_when_one_put_off_meanwhile_is_due(self, broker: Broker, make_broker: MakeBroker) -> None:
        broker.publish(numbered(1), SOON)
        consumer = Consumer(broker)
        claimed = consumer.claim()
        self._wakes(
            make_broker,
            ("q",),
            lambda: consumer.settle(*claimed, action=Action.SCHEDULE, due=time.time() + 0.3),
        )

    def test_never_misses_one_of_many(self, broker: Broker, make_broker: MakeBroker) -> None:
        """Publishes at every possible moment of a waiter's loop; a lost wake-up would cost its whole timeout."""
        rounds = 40
        claimed = threading.Semaphore(0)

        def wait(other: Broker) -> int:
            consumer = Consumer(other)
            for _ in range(rounds):
                if not consumer.settle(*consumer.await_claim()):
                    claimed.release()
            return len(consumer.drain())

        waiter = start(make_broker, wait)
        pause = threading.Event()
        for number in range(rounds):
            pause.wait(0.0007 * (number % 8))
            broker.publish(numbered(1), SOON)
            assert claimed.acquire(timeout=SOON), f"publish {number} was slept through"
        assert waiter.result(SOON) == 0

    def test_returns_when_interrupted_before(self, broker: Broker) -> None:
        with pipe() as (interrupt, poke):
            os.write(poke, b"!")
            self._returns_at_once(broker, ["q"], interrupt)
            self._returns_at_once(broker, ["q"], interrupt)
            assert os.read(interrupt, 10) == b"!", "the interrupt is the caller's to read"

    def test_the_interrupt_may_have_a_high_number(self, broker: Broker) -> None:
        """A process with many connections; `select` goes up to 1023 only."""
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        if limits[1] != resource.RLIM_INFINITY and limits[1] < 1200:
            pytest.skip("this machine allows no more than a thousand descriptors")
        with pipe() as (low, poke):
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(limits[0], 1200), limits[1]))
            high = fcntl.fcntl(low, fcntl.F_DUPFD, 1100)
            try:
                os.write(poke, b"!")
                self._returns_at_once(broker, ["q"], high)
            finally:
                os.close(high)
                resource.setrlimit(resource.RLIMIT_NOFILE, limits)

    def test_returns_when_interrupted_meanwhile(self, make_broker: MakeBroker) -> None:
        entered = threading.Event()
        with pipe() as (interrupt, poke):

            def wait(other: Broker) -> None:
                entered.set()
                deadline = time.monotonic() + LONG
                read = False
                while not read and (left := deadline - time.monotonic()) > 0:
                    other.wait(["q"], left, interrupt)
                    os.set_blocking(interrupt, False)
                    try:
                        read = os.read(interrupt, 10) == b"!"
                    except BlockingIOError:
                        pass
                assert read

            waiter = start(make_broker, wait)
            assert entered.wait(SOON)
            threading.Event().wait(0.1)
            os.write(poke, b"!")
            waiter.result(SOON)

    @staticmethod
    def _returns_at_once(broker: Broker, queues: Sequence[str], interrupt: int | None = None) -> None:
        before = time.monotonic()
        with pipe() as (never, _):
            broker.wait(queues, LONG, never if interrupt is None else interrupt)
        assert time.monotonic() - before < SOON, "it slept though there was something to do"

    @staticmethod
    def _wakes(
        make_broker: MakeBroker, queues: tuple[str, ...], cause: Callable[[], object], due: float = math.inf
    ) -> None:
        """Check that a consumer elsewhere, already waiting for `queues`, gets the message that `cause` makes ready.

        `due` is when it is ready without a cause; a consumer that comes later than that has no need to wait.
        """
        entered = threading.Event()

        def wait(other: Broker) -> list[bytes]:
            consumer = Consumer(other)
            early = consumer.claim(*queues)
            assert not early or time.time() >= due
            entered.set()
            return payloads(early or consumer.await_claim(*queues))

        waiter = start(make_broker, wait)
        assert entered.wait(SOON)
        threading.Event().wait(
            0.1
        )  # to be asleep by then; if it is not yet, the check is milder, never wrong
        cause()
        assert waiter.result(SOON) == [b"m0"]
