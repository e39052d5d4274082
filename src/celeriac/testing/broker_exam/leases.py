"""Leases and adoption."""

import threading
import time
import uuid

import pytest

from celeriac import states
from celeriac.broker import Action, Broker, Delivery, QueueDepth, Settlement
from celeriac.errors import LeaseLost
from celeriac.store import Record, ResultStore
from celeriac.testing.broker_exam.equipment import (
    LEASE,
    LONG,
    SHORT,
    SOON,
    Consumer,
    Fixtures,
    MakeBroker,
    elsewhere,
    eventually,
    message,
    numbered,
    payloads,
    start,
)


class LeaseChecks(Fixtures):
    """Leases, and who takes over."""

    def test_a_lease_runs_out(self, broker: Broker, make_broker: MakeBroker) -> None:
        alive, before = Consumer(broker), time.monotonic()
        dying = Consumer(broker, SHORT)
        at_first = broker.expired()
        assert dying.name not in at_first or time.monotonic() - before > SHORT
        eventually(lambda: dying.name in broker.expired())
        assert time.monotonic() - before >= SHORT - 0.02
        assert elsewhere(make_broker, lambda other: other.expired()) == [dying.name]
        assert alive.name not in broker.expired()

    def test_renew(self, broker: Broker, make_broker: MakeBroker) -> None:
        renewed, dying = Consumer(broker, SHORT), Consumer(broker, SHORT)
        assert elsewhere(make_broker, lambda other: other.renew([renewed.name, "nobody"], LEASE)) == {
            "nobody"
        }
        eventually(lambda: dying.name in broker.expired())
        assert broker.expired() == [dying.name]
        assert broker.renew([], LEASE) == set()

    def test_an_expired_lease_that_nobody_took_can_be_renewed(self, broker: Broker) -> None:
        broker.publish(numbered(2), SOON)
        consumer = Consumer(broker, SHORT)
        first, second = consumer.claim()
        eventually(lambda: consumer.name in broker.expired())
        assert consumer.settle(first) == set()
        assert broker.renew([consumer.name], LEASE) == set()
        assert broker.expired() == []
        assert consumer.settle(second) == set()

    def test_a_living_consumer_is_not_adopted(self, broker: Broker) -> None:
        broker.publish(numbered(2), SOON)
        alive, heir = Consumer(broker), Consumer(broker)
        claimed = alive.claim()
        assert broker.adopt(alive.name, heir.name) == []
        assert alive.held_tags() == {delivery.tag for delivery in claimed}
        assert alive.settle(*claimed) == set()

    @pytest.mark.parametrize("expired_only", [True, False])
    def test_adopt(self, broker: Broker, make_broker: MakeBroker, expired_only: bool) -> None:
        broker.publish([message(b"high", priority=9), *numbered(2), message(b"there", "p")], SOON)
        dead = Consumer(broker, SHORT if expired_only else LEASE)
        claimed = dead.drain("q", "p")
        if expired_only:
            eventually(lambda: dead.name in broker.expired())

        def adopt(other: Broker) -> tuple[list[Delivery], set[int]]:
            heir = Consumer(other)
            moved = other.adopt(dead.name, heir.name, expired_only=expired_only)
            assert {delivery.tag for delivery in moved} == heir.held_tags()
            return moved, heir.settle(*moved)

        moved, refused = elsewhere(make_broker, adopt)
        assert sorted(payloads(moved)) == [b"high", b"m0", b"m1", b"there"]
        assert {delivery.payload: delivery.queue for delivery in moved}[b"there"] == "p"
        assert refused == set()
        assert broker.depths() == {}
        assert broker.expired() == []
        assert dead.settle(*claimed) == {delivery.tag for delivery in claimed}

    def test_what_was_adopted_keeps_its_priority(self, broker: Broker) -> None:
        broker.publish([message(b"high", priority=9), message(b"low")], SOON)
        dead, heir = Consumer(broker), Consumer(broker)
        dead.claim(limit=1)
        moved = broker.adopt(dead.name, heir.name, expired_only=False)
        assert heir.settle(*moved, action=Action.PUT_BACK) == set()
        broker.publish([message(b"middle", priority=3)], SOON)
        assert payloads(heir.drain(limit=1)) == [b"high", b"middle", b"low"]

    def test_the_stale_holder_is_refused(self, broker: Broker, store: ResultStore | None) -> None:
        broker.publish(numbered(3), SOON)
        stale, heir = Consumer(broker), Consumer(broker)
        first, second = stale.claim(limit=2)
        broker.adopt(stale.name, heir.name, expired_only=False)
        retry, record = message(b"retry", "r"), Record(str(uuid.uuid4()), states.SUCCESS)
        refused = broker.settle(
            stale.name,
            [Settlement(first.tag, publish=(retry,), record=record), Settlement(second.tag, Action.PUT_BACK)],
            store,
        )
        assert refused == {first.tag, second.tag}
        assert broker.depths() == {"q": QueueDepth(ready=1, in_flight=2)}
        if store is not None:
            assert store.fetch([record.id]) == {}
        with pytest.raises(LeaseLost):
            stale.claim()
        with pytest.raises(LeaseLost):
            broker.held(stale.name, stale.seq + 1)
        assert broker.renew([stale.name, heir.name], LEASE) == {stale.name}
        assert stale.name not in broker.expired()
        broker.unregister(stale.name)
        assert len(heir.held_tags()) == 2

    def test_adopting_twice(self, broker: Broker) -> None:
        broker.publish(numbered(2), SOON)
        dead, heir, late = Consumer(broker), Consumer(broker), Consumer(broker)
        dead.claim()
        assert len(broker.adopt(dead.name, heir.name, expired_only=False)) == 2
        assert broker.adopt(dead.name, late.name, expired_only=False) == []
        assert broker.adopt("nobody", late.name, expired_only=False) == []
        assert late.held_tags() == set()
        assert len(heir.held_tags()) == 2

    def test_two_adopters_at_a_time(self, broker: Broker, make_broker: MakeBroker) -> None:
        broker.publish(numbered(50), SOON)
        dead = Consumer(broker)
        claimed = dead.drain()
        together = threading.Barrier(2, timeout=LONG)

        def adopt(other: Broker) -> tuple[list[bytes], int]:
            heir = Consumer(other)
            together.wait()
            moved = other.adopt(dead.name, heir.name, expired_only=False)
            return payloads(moved), len(heir.held_tags())

        results = sorted(future.result(LONG) for future in [start(make_broker, adopt) for _ in range(2)])
        assert results[0] == ([], 0)
        assert results[1][1] == 50
        assert sorted(results[1][0]) == sorted(payloads(claimed))

    def test_an_heir_without_a_lease_gets_nothing(self, broker: Broker) -> None:
        broker.publish(numbered(2), SOON)
        dead = Consumer(broker)
        dead.claim()
        with pytest.raises(LeaseLost):
            broker.adopt(dead.name, "nobody", expired_only=False)
        assert len(dead.held_tags()) == 2

    def test_adopting_oneself_loses_nothing(self, broker: Broker) -> None:
        broker.publish(numbered(2), SOON)
        consumer = Consumer(broker)
        claimed = consumer.claim()
        broker.adopt(consumer.name, consumer.name, expired_only=False)
        assert consumer.settle(*claimed) == set()
        assert broker.depths() == {}

    def test_an_heir_that_held_something_keeps_it(self, broker: Broker) -> None:
        broker.publish(numbered(4), SOON)
        dead, heir = Consumer(broker), Consumer(broker)
        dead.claim(limit=2)
        own = heir.claim()
        moved = broker.adopt(dead.name, heir.name, expired_only=False)
        assert {delivery.tag for delivery in own + moved} == heir.held_tags()
        assert len(heir.held_tags()) == 4
