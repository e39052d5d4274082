"""Publishing, now and for later."""

import threading
import time
from collections import Counter

import pytest

from celeriac.broker import Broker, Publication, QueueDepth
from celeriac.testing.broker_exam.equipment import (
    EXOTIC,
    LONG,
    NAMES,
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
    scheduled,
    start,
)


class PublishChecks(Fixtures):
    """Publishing, and the order in which messages are handed out."""

    def test_a_message_arrives_as_it_was_sent(self, broker: Broker) -> None:
        broker.publish([message(b"payload")], SOON)
        (delivery,) = Consumer(broker).claim()
        assert isinstance(delivery.tag, int)
        assert (delivery.queue, delivery.payload, delivery.size) == ("q", b"payload", 7)

    def test_another_instance_sees_it(self, broker: Broker, make_broker: MakeBroker) -> None:
        elsewhere(make_broker, lambda other: other.publish([message(b"from afar")], SOON))
        assert payloads(Consumer(broker).claim()) == [b"from afar"]

    def test_nothing_to_publish(self, broker: Broker) -> None:
        broker.publish([], SOON)
        assert Consumer(broker).claim() == []

    def test_first_in_first_out(self, broker: Broker) -> None:
        broker.publish(numbered(3), SOON)
        broker.publish([message(b"m3")], SOON)
        broker.publish([message(b"m4")], SOON)
        assert payloads(Consumer(broker).drain()) == [b"m0", b"m1", b"m2", b"m3", b"m4"]

    def test_higher_priority_first(self, broker: Broker) -> None:
        # In steps of three: a broker may keep fewer than ten lists.
        for priority in (3, 0, 9, 6, 0, 9):
            broker.publish([message(b"%d" % priority, priority=priority)], SOON)
        assert payloads(Consumer(broker).drain(limit=1)) == [b"9", b"9", b"6", b"3", b"0", b"0"]

    def test_priority_within_a_batch(self, broker: Broker) -> None:
        broker.publish(
            [message(b"low"), message(b"high", priority=9), message(b"low2"), message(b"high2", priority=9)],
            SOON,
        )
        assert payloads(Consumer(broker).drain()) == [b"high", b"high2", b"low", b"low2"]

    def test_every_priority_is_served(self, broker: Broker) -> None:
        broker.publish([message(b"%d" % priority, priority=priority) for priority in range(10)], SOON)
        assert sorted(payloads(Consumer(broker).drain())) == [b"%d" % priority for priority in range(10)]

    @pytest.mark.parametrize("payload", EXOTIC, ids=lambda payload: repr(payload[:8]))
    def test_payloads_are_bytes_and_nothing_else(self, broker: Broker, payload: bytes) -> None:
        broker.publish([message(payload)], SOON)
        (delivery,) = Consumer(broker).claim()
        assert delivery.payload == payload
        assert delivery.size == len(payload)

    @pytest.mark.parametrize("queue", NAMES)
    def test_queue_names(self, broker: Broker, queue: str) -> None:
        broker.publish([message(b"here", queue)], SOON)
        consumer = Consumer(broker)
        assert consumer.claim("other") == []
        (delivery,) = consumer.claim(queue)
        assert delivery.queue == queue
        assert broker.depths() == {queue: QueueDepth(in_flight=1)}
        assert consumer.settle(delivery) == set()

    def test_ids_and_task_names(self, broker: Broker) -> None:
        names = ["", "käse → 😀", 'it\'s "q"\\', "x" * 255, "%s{}"]
        broker.publish([Publication(name, name, "q", b"%d" % n) for n, name in enumerate(names)], SOON)
        assert payloads(Consumer(broker).drain()) == [b"%d" % n for n in range(len(names))]

    def test_equal_messages_are_two(self, broker: Broker) -> None:
        twin = message(b"twin")
        broker.publish([twin, twin], SOON)
        claimed = Consumer(broker).drain()
        assert payloads(claimed) == [b"twin", b"twin"]
        assert len({delivery.tag for delivery in claimed}) == 2

    def test_once_under_each_key(self, broker: Broker, make_broker: MakeBroker) -> None:
        due = time.time() + 3600
        some = {"a": message(b"a"), "b": message(b"b", "other"), "c": message(b"c", priority=9)}
        broker.publish_once(some, SOON)
        again = {"a": message(b"not again"), "d": message(b"d"), "later": message(b"later", due=due)}
        elsewhere(make_broker, lambda other: other.publish_once(again, SOON))
        assert broker.depths() == {"q": QueueDepth(ready=3, scheduled=1), "other": QueueDepth(ready=1)}
        consumer = Consumer(broker)
        assert payloads(consumer.drain()) == [b"c", b"a", b"d"]
        for each in consumer.drain("other"):
            consumer.settle(each)
        broker.publish_once(some | again, SOON)
        assert broker.depths()["q"].ready == 0, (
            "what has been claimed or is scheduled was published all the same"
        )

    def test_a_key_that_is_done_is_forgotten(self, broker: Broker) -> None:
        broker.publish_once({"a": message(b"a"), "b": message(b"b")}, SOON)
        broker.publish_once({"c": message(b"c")}, SOON, ["a", "never used"])
        broker.publish_once({}, SOON, ["c"])
        broker.publish_once({key: message(key.encode()) for key in "abc"}, SOON)
        assert payloads(Consumer(broker).drain()) == [b"a", b"b", b"c", b"a", b"c"]

    def test_once_whoever_tries(self, broker: Broker, make_broker: MakeBroker) -> None:
        keys = [f"key-{number}" for number in range(50)]

        def publish(other: Broker) -> None:
            for first in range(0, len(keys), 5):
                other.publish_once({key: message(key.encode()) for key in keys[first : first + 5]}, SOON)

        others = [start(make_broker, publish) for _ in range(3)]
        for each in others:
            each.result(LONG)
        assert sorted(payloads(Consumer(broker).drain())) == sorted(key.encode() for key in keys)

    def test_a_batch_of_5000(self, broker: Broker) -> None:
        broker.publish(numbered(5000), LONG)
        assert broker.depths() == {"q": QueueDepth(ready=5000)}
        assert payloads(Consumer(broker).drain(limit=1000)) == [b"m%d" % number for number in range(5000)]

    def test_a_batch_appears_whole(self, broker: Broker, make_broker: MakeBroker) -> None:
        """One claim may pass by what is being committed at that moment; the claim after it has all the rest."""
        batches, size = 20, 50

        def publish(other: Broker) -> None:
            for number in range(batches):
                other.publish(numbered(size, b"%d-" % number), SOON)

        publisher = start(make_broker, publish)
        consumer = Consumer(broker)
        seen: Counter[bytes] = Counter()
        begun: set[bytes] = set()
        deadline = time.monotonic() + LONG
        while seen.total() < batches * size and time.monotonic() < deadline:
            batch = payloads(consumer.claim(limit=10_000))
            seen.update(payload.split(b"-")[0] for payload in batch)
            halves = [number for number in begun if seen[number] < size]
            assert not halves, "half of a batch was to be seen"
            begun = set(seen)
        publisher.result(LONG)
        assert set(seen.values()) == {size} and len(seen) == batches

    def test_threads_may_share_an_instance_to_publish(self, make_broker: MakeBroker) -> None:
        shared = make_broker()
        together = threading.Barrier(4, timeout=LONG)

        def publish(_: Broker) -> None:
            for publication in numbered(25):
                shared.publish([publication], SOON)
            together.wait()
            shared.close()

        for future in [start(make_broker, publish) for _ in range(4)]:
            future.result(LONG)
        shared.close()
        seen = elsewhere(make_broker, lambda other: payloads(Consumer(other).drain()))
        assert Counter(seen) == {b"m%d" % number: 4 for number in range(25)}


class ScheduleChecks(Fixtures):
    """Messages for later."""

    def test_not_before_it_is_due(self, broker: Broker) -> None:
        due = time.time() + 0.5
        broker.publish([message(b"later", due=due)], SOON)
        consumer = Consumer(broker)
        claimed = consumer.claim()
        assert claimed == [] or time.time() >= due
        if not claimed:
            claimed = consumer.await_claim()
        assert payloads(claimed) == [b"later"]
        assert time.time() >= due - 0.01
        assert claimed[0].queue == "q"

    def test_far_away_is_not_now(self, broker: Broker) -> None:
        broker.publish([message(b"next year", due=time.time() + 365 * 86400), message(b"now")], SOON)
        assert payloads(Consumer(broker).drain()) == [b"now"]
        assert broker.depths() == {"q": QueueDepth(scheduled=1, in_flight=1)}

    def test_due_in_the_past_is_now(self, broker: Broker) -> None:
        broker.publish([message(b"late", due=time.time() - 10), message(b"0", due=0.0)], SOON)
        assert sorted(payloads(Consumer(broker).drain())) == [b"0", b"late"]

    def test_each_at_its_own_time(self, broker: Broker) -> None:
        now = time.time()
        due = {b"first": now + 0.3, b"second": now + 0.7}
        broker.publish([message(payload, due=due[payload]) for payload in (b"second", b"first")], SOON)
        consumer = Consumer(broker)
        one = payloads(consumer.await_claim(limit=1))
        # A consumer that comes late finds both of them due, in any order.
        assert one == [b"first"] or time.time() >= due[b"second"]
        other = payloads(consumer.await_claim(limit=1))
        assert sorted(one + other) == [b"first", b"second"]
        assert time.time() >= due[b"second"] - 0.01

    def test_priority_holds_when_due(self, broker: Broker) -> None:
        due = time.time() + 0.2
        broker.publish([message(b"low", due=due), message(b"high", priority=9, due=due)], SOON)
        eventually(passed(due))
        assert payloads(Consumer(broker).drain(limit=1)) == [b"high", b"low"]

    def test_equal_scheduled_messages_are_two(self, broker: Broker) -> None:
        due = time.time() + 0.2
        twin = message(b"twin", due=due)
        broker.publish([twin, twin], SOON)
        assert scheduled(broker, "q", 2, due)
        eventually(passed(due))
        assert payloads(Consumer(broker).drain()) == [b"twin", b"twin"]

    def test_two_thousand_at_once(self, broker: Broker) -> None:
        due = time.time() + 1.0
        broker.publish(numbered(2000, due=due), LONG)
        eventually(passed(due))
        assert sorted(payloads(Consumer(broker).drain())) == sorted(b"m%d" % number for number in range(2000))

    @pytest.mark.parametrize("payload", EXOTIC, ids=lambda payload: repr(payload[:8]))
    def test_payloads_survive_the_schedule(self, broker: Broker, payload: bytes) -> None:
        due = time.time() + 0.05
        broker.publish([message(payload, due=due)], SOON)
        assert payloads(Consumer(broker).await_claim()) == [payload]
