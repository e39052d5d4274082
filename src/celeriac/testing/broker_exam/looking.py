"""Looking into a broker, and housekeeping."""

import os
import time
import warnings

import pytest

from celeriac.broker import Action, Broker, Delivery, QueueDepth, Settlement
from celeriac.testing.broker_exam.equipment import (
    LEASE,
    LONG,
    NAMES,
    SHORT,
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


class LookChecks(Fixtures):
    """What administrators see and do."""

    def test_an_empty_broker(self, broker: Broker) -> None:
        assert broker.depths() == {}
        assert broker.dead_letters() == []
        assert broker.count_dead_letters() == 0
        assert broker.expired() == []

    def test_depths(self, broker: Broker) -> None:
        broker.publish([*numbered(4), message(b"high", priority=9), *numbered(2, queue="p")], SOON)
        broker.publish(numbered(3, queue="s", due=time.time() + 3600), SOON)
        consumer = Consumer(broker)
        consumer.claim(limit=2)
        expected = {
            "q": QueueDepth(ready=3, in_flight=2),
            "p": QueueDepth(ready=2),
            "s": QueueDepth(scheduled=3),
        }
        assert broker.depths() == expected

    def test_heads(self, broker: Broker) -> None:
        assert broker.heads() == []
        broker.publish([*numbered(3), message(b"high", priority=9), *numbered(2, queue="p")], SOON)
        broker.publish(numbered(3, queue="s", due=time.time() + 3600), SOON)
        consumer = Consumer(broker)
        high, first = consumer.claim(limit=2)
        assert sorted(broker.heads()) == [("p", b"m0"), ("q", b"m1")]
        consumer.settle(first, action=Action.PUT_BACK)
        assert sorted(broker.heads()) == [("p", b"m0"), ("q", b"m0")]
        consumer.settle(high, action=Action.PUT_BACK)
        assert sorted(broker.heads()) == [("p", b"m0"), ("q", b"high"), ("q", b"m0")]

    def test_readers(self, broker: Broker, make_broker: MakeBroker) -> None:
        if broker.readers() is None:
            pytest.skip("it cannot tell who reads")
        assert broker.readers() == {}
        broker.register("a", LEASE, ["q", "p"])
        broker.register("odd", LEASE, NAMES)
        broker.register("ends", SHORT, ["q"])
        broker.register("reads nothing", LEASE)
        known = elsewhere(make_broker, lambda other: other.readers()) or {}
        assert known.keys() - {"ends"} == {"a", "odd"}
        assert known["a"] == ("q", "p")
        assert known["odd"] == NAMES
        eventually(lambda: "ends" not in (broker.readers() or {}))
        broker.register("a", LEASE, ["r"])
        assert (broker.readers() or {})["a"] == ("r",)
        broker.adopt("odd", "reads nothing", expired_only=False)
        broker.unregister("a")
        assert broker.readers() == {}
        broker.register("odd", LEASE)
        broker.register("a", LEASE)
        assert broker.readers() == {}

    def test_dead_letters_newest_first_in_pages(self, broker: Broker) -> None:
        broker.publish(numbered(7), SOON)
        consumer = Consumer(broker)
        claimed = consumer.drain()
        for delivery in claimed[:4]:
            consumer.settle(delivery, action=Action.DEAD, reason=delivery.payload.decode())
        settlements = [Settlement(d.tag, Action.DEAD, reason=d.payload.decode()) for d in claimed[4:]]
        broker.settle(consumer.name, settlements)
        newest_first = [f"m{number}" for number in reversed(range(7))]
        letters = broker.dead_letters()
        assert [letter.reason for letter in letters] == newest_first
        assert len({letter.key for letter in letters}) == 7
        pages = [broker.dead_letters(3, offset) for offset in (0, 3, 6, 9)]
        assert [len(page) for page in pages] == [3, 3, 1, 0]
        assert [letter for page in pages for letter in page] == letters
        assert broker.count_dead_letters() == 7

    def test_revived_letters_are_messages_again(self, broker: Broker) -> None:
        publications = [message(b"high", priority=9), *numbered(4)]
        broker.publish(publications, SOON)
        consumer = Consumer(broker)
        consumer.settle(*consumer.drain(), action=Action.DEAD, reason="why")
        letters = {letter.payload: letter for letter in broker.dead_letters()}
        broker.publish([message(b"waits")], SOON)
        again = {
            letters[b"m1"].key: message(b"m1"),
            letters[b"m0"].key: message(b"changed"),
            letters[b"high"].key: message(b"high", priority=9),
            letters[b"m3"].key: message(b"later", "p", due=time.time() + 3600),
            "unknown": message(b"never"),
            "987654321987": message(b"never"),
        }
        assert broker.revive(again) == 4
        assert broker.depths() == {"q": QueueDepth(ready=4), "p": QueueDepth(scheduled=1)}
        assert broker.dead_letters() == [letters[b"m2"]]
        assert broker.count_dead_letters() == 1
        assert broker.revive(again) == 0
        assert broker.revive({}) == 0
        assert payloads(consumer.drain()) == [b"high", b"waits", b"m1", b"changed"]

    def test_discarded_letters_are_gone(self, broker: Broker) -> None:
        broker.publish(numbered(5), SOON)
        consumer = Consumer(broker)
        consumer.settle(*consumer.claim(limit=3), action=Action.DEAD, reason="why")
        (held,) = consumer.claim(limit=1)
        newest, middle, oldest = broker.dead_letters()
        assert broker.discard([]) == 0
        assert broker.discard([oldest.key, newest.key, "unknown", "987654321987", str(held.tag)]) == 2
        assert broker.dead_letters() == [middle]
        assert broker.count_dead_letters() == 1
        assert broker.discard([oldest.key]) == 0
        assert broker.revive({newest.key: message(b"never")}) == 0
        assert broker.depths() == {"q": QueueDepth(ready=1, in_flight=1)}
        assert consumer.settle(held) == set()

    def test_what_is_no_dead_letter_is_not_revived(self, broker: Broker) -> None:
        broker.publish([*numbered(3), message(b"s", due=time.time() + 3600)], SOON)
        consumer = Consumer(broker)
        held = consumer.claim(limit=2)
        assert consumer.settle(held[0], action=Action.PUT_BACK) == set()
        before = broker.depths()
        assert broker.revive({str(delivery.tag): message(b"never") for delivery in held}) == 0
        assert broker.depths() == before
        assert consumer.held_tags() == {held[1].tag}

    def test_a_letter_is_revived_once(self, broker: Broker, make_broker: MakeBroker) -> None:
        """Also if several want to at the same time."""
        count = 200
        broker.publish(numbered(count), SOON)
        consumer = Consumer(broker)
        consumer.settle(*consumer.drain(), action=Action.DEAD)
        keys = [letter.key for letter in broker.dead_letters(count)]

        def revive(other: Broker) -> int:
            revived = 0
            for first in range(0, count, 20):
                revived += other.revive({key: message(key.encode()) for key in keys[first : first + 20]})
            return revived

        others = [start(make_broker, revive) for _ in range(3)]
        assert sum(other.result(LONG) for other in others) == count
        assert sorted(payloads(consumer.drain())) == sorted(key.encode() for key in keys)
        assert broker.count_dead_letters() == 0

    def test_purge(self, broker: Broker) -> None:
        broker.publish([*numbered(5), message(b"high", priority=9), *numbered(2, queue="kept")], SOON)
        broker.publish(numbered(3, due=time.time() + 3600), SOON)
        consumer = Consumer(broker)
        (held,) = consumer.claim(limit=1)
        assert broker.purge(["q", "unknown"]) == 8
        assert broker.depths() == {"q": QueueDepth(in_flight=1), "kept": QueueDepth(ready=2)}
        assert broker.purge(["q"]) == 0
        assert broker.purge([]) == 0
        assert consumer.settle(held, action=Action.PUT_BACK) == set()
        assert payloads(consumer.drain()) == [held.payload]

    def test_purged_scheduled_messages_never_come(self, broker: Broker) -> None:
        due = time.time() + 0.3
        broker.publish([message(b"purged", due=due), message(b"kept", "kept", due=due)], SOON)
        assert broker.purge(["q"]) == 1
        eventually(passed(due))
        assert payloads(Consumer(broker).drain("q", "kept")) == [b"kept"]

    def test_too_long_messages_are_handed_out_cut(self, broker: Broker, make_broker: MakeBroker) -> None:
        long = bytes(range(256)) * 100
        limit = 10_000

        def check(other: Broker) -> None:
            def is_cut(delivery: Delivery) -> bool:
                return (
                    delivery.size == len(long)
                    and len(delivery.payload) <= limit
                    and long.startswith(delivery.payload)
                )

            assert other.max_message_bytes == limit
            consumer, heir = Consumer(other), Consumer(other)
            fits, cut = consumer.drain()
            assert fits.payload == b"x" * limit
            assert is_cut(cut)
            assert is_cut({d.tag: d for d in other.held(consumer.name, consumer.seq)}[cut.tag])
            moved = {d.size: d for d in other.adopt(consumer.name, heir.name, expired_only=False)}
            assert is_cut(moved[len(long)])
            assert heir.settle(moved[len(long)], action=Action.DEAD, reason="too long") == set()

        broker.publish([message(b"x" * limit), message(long)], SOON)
        elsewhere(lambda: make_broker(worker_max_message_bytes=limit), check)
        assert [letter.payload for letter in broker.dead_letters()] == [long]

    def test_a_cut_message_goes_back_whole(self, broker: Broker, make_broker: MakeBroker) -> None:
        def put_back(other: Broker) -> None:
            consumer = Consumer(other)
            consumer.settle(*consumer.claim(), action=Action.PUT_BACK)
            consumer.claim()
            other.unregister(consumer.name)

        broker.publish([message(b"long" * 5000)], SOON)
        elsewhere(lambda: make_broker(worker_max_message_bytes=1000), put_back)
        assert payloads(Consumer(broker).claim()) == [b"long" * 5000]

    def test_maintenance_loses_nothing(self, broker: Broker) -> None:
        broker.publish([*numbered(4), message(b"later", due=time.time() + 3600)], SOON)
        consumer = Consumer(broker)
        consumer.settle(*consumer.claim(limit=1), action=Action.DEAD)
        consumer.claim(limit=1)
        before = broker.depths()
        assert before == {"q": QueueDepth(ready=2, scheduled=1, in_flight=1)}
        broker.maintain()
        broker.maintain()
        assert broker.depths() == before
        assert broker.count_dead_letters() == 1
        assert len(consumer.held_tags()) == 1

    def test_warnings_are_sentences(self, broker: Broker) -> None:
        for warning in broker.check():
            assert warning.endswith((".", "!"))

    def test_close_twice(self, make_broker: MakeBroker) -> None:
        broker = make_broker()
        broker.publish(numbered(1), SOON)
        broker.close()
        broker.close()


class ProcessChecks(Fixtures):
    """What a fork must not break."""

    def test_a_fork_makes_its_own_connections(self, broker: Broker) -> None:
        if not broker.shared:
            pytest.skip("its messages do not leave this process")
        broker.publish([message(b"for the child", "down")], SOON)
        with warnings.catch_warnings():
            # Other checks' threads may still be ending; the child touches nothing of theirs.
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if pid == 0:
            code = 1
            try:
                consumer = Consumer(broker)
                claimed = consumer.claim("down")
                done = consumer.settle(*claimed) == set() and payloads(claimed) == [b"for the child"]
                broker.publish([message(b"from the child", "up")], SOON)
                broker.close()
                code = 0 if done else 2
            finally:
                os._exit(code)
        consumer = Consumer(broker)
        assert payloads(consumer.await_claim("up", timeout=SOON)) == [b"from the child"]
        _, status = os.waitpid(pid, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        assert broker.depths() == {"up": QueueDepth(in_flight=1)}
