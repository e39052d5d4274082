"""Claiming and holding."""

import time
from collections import Counter
from functools import partial

import pytest

from celeriac.broker import Broker, QueueDepth
from celeriac.errors import LeaseLost
from celeriac.testing.broker_exam.equipment import (
    LONG,
    SOON,
    Consumer,
    Fixtures,
    MakeBroker,
    elsewhere,
    eventually,
    message,
    numbered,
    passed,
    payloads,
    start,
)


class ClaimChecks(Fixtures):
    """Who gets what, once."""

    def test_never_more_than_the_limit(self, broker: Broker) -> None:
        broker.publish([*numbered(10, queue="a"), *numbered(10, queue="b")], SOON)
        consumer = Consumer(broker)
        batches = []
        while batch := consumer.claim("a", "b", limit=3):
            batches.append(len(batch))
        assert sum(batches) == 20
        assert max(batches) <= 3

    def test_the_limit_counts_scheduled_ones_too(self, broker: Broker) -> None:
        due = time.time() + 0.2
        broker.publish(numbered(10, due=due), SOON)
        eventually(passed(due))
        consumer = Consumer(broker)
        assert len(consumer.claim(limit=3)) <= 3
        consumer.drain(limit=3)
        assert len(consumer.held_tags()) == 10

    def test_only_the_queues_asked_for(self, broker: Broker) -> None:
        broker.publish([message(b"a", "a"), message(b"b", "b"), message(b"c", "c")], SOON)
        consumer = Consumer(broker)
        assert sorted(payloads(consumer.drain("a", "c"))) == [b"a", b"c"]
        assert payloads(consumer.drain("b")) == [b"b"]

    @pytest.mark.parametrize("queues", [("full", "small"), ("small", "full"), ("full", "empty", "small")])
    def test_a_full_queue_does_not_starve_another(self, broker: Broker, queues: tuple[str, ...]) -> None:
        broker.publish([*numbered(200, b"full", queue="full"), message(b"small", "small")], SOON)
        consumer = Consumer(broker)
        rounds = [payloads(consumer.claim(*queues, limit=10)) for _ in range(len(queues))]
        assert b"small" in [payload for batch in rounds for payload in batch]

    def test_two_consumers_share_the_work(self, broker: Broker, make_broker: MakeBroker) -> None:
        broker.publish(numbered(10), SOON)
        first = Consumer(broker)
        mine = payloads(first.claim(limit=4))
        theirs = elsewhere(make_broker, lambda other: payloads(Consumer(other).drain()))
        assert sorted(mine + theirs) == sorted(b"m%d" % number for number in range(10))

    def test_an_old_number_claims_nothing(self, broker: Broker) -> None:
        consumer = Consumer(broker)
        assert broker.claim(consumer.name, ["q"], 10, 5) == []
        broker.publish(numbered(3), SOON)
        for stale in (5, 4, 0):
            assert broker.claim(consumer.name, ["q"], 10, stale) == []
        assert broker.depths() == {"q": QueueDepth(ready=3)}
        assert len(broker.claim(consumer.name, ["q"], 1, 6)) == 1

    def test_numbers_are_each_consumers_own(self, broker: Broker) -> None:
        broker.publish(numbered(2), SOON)
        assert len(broker.claim(Consumer(broker).name, ["q"], 1, 1000)) == 1
        assert len(broker.claim(Consumer(broker).name, ["q"], 1, 1)) == 1

    def test_without_a_lease(self, broker: Broker) -> None:
        broker.publish(numbered(1), SOON)
        with pytest.raises(LeaseLost):
            broker.claim("nobody", ["q"], 10, 1)
        with pytest.raises(LeaseLost):
            broker.held("nobody", 1)
        assert broker.depths() == {"q": QueueDepth(ready=1)}

    def test_held_is_what_was_claimed_and_not_settled(self, broker: Broker, make_broker: MakeBroker) -> None:
        broker.publish([message(b"high", priority=9), *numbered(4), *numbered(2, b"other", queue="p")], SOON)
        consumer = Consumer(broker)
        assert broker.held(consumer.name, 0) == []
        claimed = consumer.drain("q", "p")
        consumer.settle(claimed[1], claimed[3])
        held = elsewhere(make_broker, lambda other: other.held(consumer.name, consumer.seq))
        expected = [delivery for index, delivery in enumerate(claimed) if index not in (1, 3)]
        assert sorted(held, key=lambda delivery: delivery.tag) == sorted(
            expected, key=lambda delivery: delivery.tag
        )

    def test_held_closes_the_door_behind_earlier_claims(
        self, broker: Broker, make_broker: MakeBroker
    ) -> None:
        consumer = Consumer(broker)
        broker.publish(numbered(3), SOON)
        assert elsewhere(make_broker, lambda other: other.held(consumer.name, 20)) == []
        assert broker.claim(consumer.name, ["q"], 10, 19) == []
        assert broker.claim(consumer.name, ["q"], 10, 20) == []
        assert broker.depths() == {"q": QueueDepth(ready=3)}
        assert len(broker.claim(consumer.name, ["q"], 10, 21)) == 3

    def test_held_with_an_old_number_opens_no_door(self, broker: Broker) -> None:
        consumer = Consumer(broker)
        broker.publish(numbered(2), SOON)
        assert len(broker.claim(consumer.name, ["q"], 1, 10)) == 1
        assert len(broker.held(consumer.name, 3)) == 1
        assert broker.claim(consumer.name, ["q"], 1, 9) == []

    def test_many_claimers_each_message_once(self, make_broker: MakeBroker) -> None:
        total = 2000
        seen: list[bytes] = []
        deadline = time.monotonic() + 2 * LONG

        def publish(prefix: bytes, broker: Broker) -> None:
            for first in range(0, total // 2, 20):
                broker.publish([message(b"%s%d" % (prefix, first + n), "ab"[n % 2]) for n in range(20)], SOON)

        def work(broker: Broker) -> set[int]:
            consumer = Consumer(broker)
            refused: set[int] = set()
            while len(seen) < total and time.monotonic() < deadline:
                batch = consumer.await_claim("a", "b", timeout=0.1, limit=17)
                refused |= consumer.settle(*batch)
                seen.extend(payloads(batch))
            return refused

        workers = [start(make_broker, work) for _ in range(4)]
        publishers = [start(make_broker, partial(publish, prefix)) for prefix in (b"x", b"y")]
        for publisher in publishers:
            publisher.result(3 * LONG)
        assert [worker.result(3 * LONG) for worker in workers] == [set()] * 4
        assert Counter(seen) == {
            b"%s%d" % (prefix, n): 1 for prefix in (b"x", b"y") for n in range(total // 2)
        }
        assert elsewhere(make_broker, lambda broker: broker.depths()) == {}
