"""Settling, with and without results."""

import time
import uuid
from collections.abc import Collection, Sequence

import pytest

from celeriac import states
from celeriac.broker import Action, Broker, Delivery, QueueDepth, Settlement
from celeriac.errors import LeaseLost
from celeriac.store import Record, ResultStore
from celeriac.testing.broker_exam.equipment import (
    LEASE,
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
    scheduled,
    start,
)


class _AlienStore(ResultStore):
    """A result store on a server that no broker knows."""

    schemes = ("alien",)

    def store(self, records: Sequence[Record]) -> None:
        raise AssertionError("a broker wrote to a store that it does not share a server with")

    def fetch(self, ids: Sequence[str]) -> dict[str, Record]:
        return {}

    def wait(self, task_id: str, timeout: float | None) -> Record | None:
        return None

    def forget(self, ids: Collection[str]) -> None:
        return None


class SettleChecks(Fixtures):
    """How deliveries end."""

    def test_done_is_gone(self, broker: Broker) -> None:
        broker.publish(numbered(3), SOON)
        consumer = Consumer(broker)
        claimed = consumer.drain()
        assert consumer.settle(*claimed) == set()
        assert broker.depths() == {}
        assert broker.held(consumer.name, consumer.seq) == []
        broker.unregister(consumer.name)
        assert Consumer(broker).claim() == []

    def test_nothing_to_settle(self, broker: Broker) -> None:
        assert broker.settle(Consumer(broker).name, []) == set()

    def test_put_back_goes_before_what_waits(self, broker: Broker) -> None:
        broker.publish(numbered(5), SOON)
        consumer = Consumer(broker)
        first, second, third = consumer.claim(limit=3)
        assert consumer.settle(second, action=Action.PUT_BACK) == set()
        assert consumer.settle(first) == consumer.settle(third) == set()
        assert payloads(consumer.drain()) == [b"m1", b"m3", b"m4"]

    def test_several_put_back_go_before_what_waits(self, broker: Broker) -> None:
        broker.publish(numbered(6), SOON)
        consumer = Consumer(broker)
        consumer.settle(*consumer.claim(limit=3), action=Action.PUT_BACK)
        again = payloads(consumer.drain())
        assert sorted(again[:3]) == [b"m0", b"m1", b"m2"]
        assert again[3:] == [b"m3", b"m4", b"m5"]

    def test_put_back_newest_first_restores_the_order(self, broker: Broker) -> None:
        broker.publish(numbered(6), SOON)
        consumer = Consumer(broker)
        consumer.settle(*reversed(consumer.claim(limit=3)), action=Action.PUT_BACK)
        assert payloads(consumer.drain()) == [b"m0", b"m1", b"m2", b"m3", b"m4", b"m5"]

    def test_put_back_keeps_queue_and_priority(self, broker: Broker) -> None:
        broker.publish([message(b"high", "p", priority=9), message(b"low", "p")], SOON)
        consumer = Consumer(broker)
        (high,) = consumer.claim("p", limit=1)
        consumer.settle(high, action=Action.PUT_BACK)
        broker.publish([message(b"middle", "p", priority=3)], SOON)
        again = consumer.drain("p", limit=1)
        assert payloads(again) == [b"high", b"middle", b"low"]
        assert {delivery.queue for delivery in again} == {"p"}

    def test_put_back_with_another_payload(self, broker: Broker) -> None:
        broker.publish(numbered(1), SOON)
        consumer = Consumer(broker)
        consumer.settle(*consumer.claim(), action=Action.PUT_BACK, payload=b"\x00\xffonce more")
        (again,) = consumer.claim()
        assert (again.payload, again.size) == (b"\x00\xffonce more", 11)

    def test_put_back_may_be_claimed_by_another(self, broker: Broker, make_broker: MakeBroker) -> None:
        broker.publish(numbered(1), SOON)
        consumer = Consumer(broker)
        (mine,) = consumer.claim()
        consumer.settle(mine, action=Action.PUT_BACK)

        def claim(other: Broker) -> set[int]:
            taker = Consumer(other)
            deliveries = taker.claim()
            assert payloads(deliveries) == [b"m0"]
            # The tag was mine; if the broker gives it out again, it is not mine any more.
            assert consumer.settle(mine) == {mine.tag}
            return taker.settle(*deliveries)

        assert elsewhere(make_broker, claim) == set()

    def test_schedule(self, broker: Broker) -> None:
        broker.publish([message(b"m", priority=9)], SOON)
        consumer = Consumer(broker)
        due = time.time() + 0.4
        assert consumer.settle(*consumer.claim(), action=Action.SCHEDULE, due=due) == set()
        assert scheduled(broker, "q", 1, due)
        broker.publish([message(b"low")], SOON)
        eventually(passed(due))
        assert payloads(consumer.drain(limit=1)) == [b"m", b"low"]

    def test_schedule_is_not_early(self, broker: Broker) -> None:
        broker.publish(numbered(1), SOON)
        consumer = Consumer(broker)
        due = time.time() + 0.4
        consumer.settle(*consumer.claim(), action=Action.SCHEDULE, due=due)
        assert payloads(consumer.await_claim()) == [b"m0"]
        assert time.time() >= due - 0.01

    def test_schedule_with_another_payload(self, broker: Broker) -> None:
        broker.publish(numbered(1), SOON)
        consumer = Consumer(broker)
        consumer.settle(
            *consumer.claim(), action=Action.SCHEDULE, due=time.time() - 1, payload=b"\x00\xffsecond try"
        )
        (again,) = consumer.await_claim()
        assert (again.payload, again.size) == (b"\x00\xffsecond try", 12)

    def test_dead(self, broker: Broker, make_broker: MakeBroker) -> None:
        payload = bytes(range(256)) * 400
        broker.publish([message(payload)], SOON)
        consumer = Consumer(broker)
        assert consumer.settle(*consumer.claim(), action=Action.DEAD, reason="gräßlich: 'x'") == set()
        assert broker.depths() == {}
        assert consumer.claim() == []
        (letter,) = elsewhere(make_broker, lambda other: other.dead_letters())
        assert (letter.queue, letter.reason, letter.payload) == ("q", "gräßlich: 'x'", payload)
        assert letter.key
        assert abs(letter.died - time.time()) < 60

    def test_dead_is_nobodys(self, broker: Broker) -> None:
        broker.publish(numbered(1), SOON)
        consumer = Consumer(broker)
        (delivery,) = consumer.claim()
        consumer.settle(delivery, action=Action.DEAD)
        assert consumer.settle(delivery) == {delivery.tag}
        broker.unregister(consumer.name)
        assert broker.count_dead_letters() == 1
        assert Consumer(broker).claim() == []

    def test_a_tag_settles_once(self, broker: Broker) -> None:
        broker.publish(numbered(1), SOON)
        consumer = Consumer(broker)
        (delivery,) = consumer.claim()
        assert consumer.settle(delivery) == set()
        assert consumer.settle(delivery, action=Action.PUT_BACK) == {delivery.tag}
        assert broker.depths() == {}

    def test_unknown_and_foreign_tags_are_refused(self, broker: Broker) -> None:
        broker.publish(numbered(2), SOON)
        first, second = Consumer(broker), Consumer(broker)
        (mine,) = first.claim(limit=1)
        (foreign,) = second.claim(limit=1)
        unknown = max(mine.tag, foreign.tag) + 1000
        tags = [foreign.tag, unknown, mine.tag]
        assert broker.settle(first.name, [Settlement(tag) for tag in tags]) == {foreign.tag, unknown}
        assert first.held_tags() == set()
        assert second.held_tags() == {foreign.tag}

    def test_settled_by_another_instance(self, broker: Broker, make_broker: MakeBroker) -> None:
        """As after a reconnect: what was settled already is refused, the rest is not."""
        broker.publish(numbered(2), SOON)
        consumer = Consumer(broker)
        first, second = consumer.claim()
        assert consumer.settle(first) == set()
        settlements = [Settlement(first.tag, Action.PUT_BACK), Settlement(second.tag)]
        assert elsewhere(make_broker, lambda other: other.settle(consumer.name, settlements)) == {first.tag}
        assert broker.depths() == {}

    def test_two_put_back_in_one_name(self, broker: Broker, make_broker: MakeBroker) -> None:
        """A child and its supervisor: what the one has put back and somebody has claimed, the other leaves there."""
        count = 60
        broker.publish(numbered(count), SOON)
        consumer = Consumer(broker)
        tags = [delivery.tag for delivery in consumer.drain()]

        def put_back(other: Broker) -> int:
            refused = 0
            for first in range(0, count, 5):
                settlements = [Settlement(tag, Action.PUT_BACK) for tag in tags[first : first + 5]]
                refused += len(other.settle(consumer.name, settlements))
            return refused

        def take(other: Broker) -> list[bytes]:
            thief = Consumer(other)
            taken: list[Delivery] = []
            while len(taken) < count and (batch := thief.await_claim(timeout=SOON)):
                taken += batch
            assert thief.held_tags() == {delivery.tag for delivery in taken}
            return payloads(taken)

        thief, *rivals = [start(make_broker, take), *(start(make_broker, put_back) for _ in range(2))]
        assert sum(rival.result(LONG) for rival in rivals) == count
        assert sorted(thief.result(LONG)) == sorted(b"m%d" % number for number in range(count))
        assert broker.depths() == {"q": QueueDepth(in_flight=count)}

    def test_without_a_lease_everything_is_refused(self, broker: Broker) -> None:
        broker.publish(numbered(2), SOON)
        consumer = Consumer(broker)
        tags = {delivery.tag for delivery in consumer.claim()}
        assert broker.settle("nobody", [Settlement(tag) for tag in tags]) == tags
        assert consumer.held_tags() == tags

    def test_a_thousand_at_once(self, broker: Broker) -> None:
        broker.publish(numbered(1000), SOON)
        consumer = Consumer(broker)
        claimed = consumer.drain(limit=500)
        actions = [Action.DONE, Action.PUT_BACK, Action.SCHEDULE, Action.DEAD]
        later = time.time() + 3600
        settlements = [Settlement(d.tag, actions[n % 4], due=later) for n, d in enumerate(claimed)]
        assert broker.settle(consumer.name, settlements) == set()
        assert broker.depths() == {"q": QueueDepth(ready=250, scheduled=250)}
        assert broker.count_dead_letters() == 250

    def test_publish_with_a_settlement(self, broker: Broker) -> None:
        broker.publish(numbered(1), SOON)
        consumer = Consumer(broker)
        later = message(b"later", "r", due=time.time() + 3600)
        assert (
            consumer.settle(*consumer.claim(), publish=(message(b"one", "r"), message(b"two", "r"), later))
            == set()
        )
        assert broker.depths() == {"r": QueueDepth(ready=2, scheduled=1)}
        assert payloads(consumer.drain("r")) == [b"one", b"two"]

    @pytest.mark.parametrize("action", list(Action), ids=lambda action: action.name)
    def test_publish_however_the_delivery_ends(self, broker: Broker, action: Action) -> None:
        broker.publish(numbered(1), SOON)
        consumer = Consumer(broker)
        (mine,) = consumer.claim()
        follows = message(b"follows", "r")
        settlement = Settlement(
            mine.tag, action, due=time.time() + 3600, reason="for a reason", publish=(follows,)
        )
        assert broker.settle(consumer.name, [settlement]) == set()
        assert payloads(consumer.drain("r")) == [b"follows"]
        assert broker.count_dead_letters() == (action is Action.DEAD)

    def test_a_refused_settlement_publishes_nothing(self, broker: Broker) -> None:
        broker.publish(numbered(1), SOON)
        consumer = Consumer(broker)
        (mine,) = consumer.claim()
        settlements = [
            Settlement(mine.tag + 1000, publish=(message(b"refused", "r"),)),
            Settlement(mine.tag, publish=(message(b"accepted", "r"),)),
        ]
        assert broker.settle(consumer.name, settlements) == {mine.tag + 1000}
        assert payloads(consumer.drain("r")) == [b"accepted"]
        again = message(b"again", "r")
        assert broker.settle(consumer.name, [Settlement(mine.tag, publish=(again,))]) == {mine.tag}
        assert consumer.drain("r") == []

    def test_unregister_gives_back_as_it_was(self, broker: Broker) -> None:
        broker.publish([message(b"high", priority=9), *numbered(5)], SOON)
        consumer = Consumer(broker)
        assert len(consumer.claim(limit=4)) == 4
        broker.publish([message(b"middle", priority=3)], SOON)
        broker.unregister(consumer.name)
        expected = [b"high", b"middle", b"m0", b"m1", b"m2", b"m3", b"m4"]
        assert payloads(Consumer(broker).drain(limit=1)) == expected

    def test_unregister_ends_the_lease(self, broker: Broker) -> None:
        broker.publish(numbered(2), SOON)
        consumer = Consumer(broker)
        (delivery,) = consumer.claim(limit=1)
        broker.unregister(consumer.name)
        broker.unregister(consumer.name)
        assert consumer.settle(delivery) == {delivery.tag}
        with pytest.raises(LeaseLost):
            consumer.claim()
        assert broker.renew([consumer.name], LEASE) == {consumer.name}
        assert broker.depths() == {"q": QueueDepth(ready=2)}


class RecordChecks(Fixtures):
    """Results in the settlement's own transaction."""

    def test_shares_no_alien_store(self, broker: Broker) -> None:
        assert broker.shares(_AlienStore()) is False

    def test_record_is_stored_when_accepted(self, broker: Broker, store: ResultStore | None) -> None:
        store = self._shared(broker, store)
        broker.publish(numbered(3), SOON)
        consumer = Consumer(broker)
        claimed = consumer.drain()
        records = [Record(str(uuid.uuid4()), states.SUCCESS, b"%d" % n, name="exam") for n in range(3)]
        settlements = [Settlement(d.tag, record=record) for d, record in zip(claimed, records, strict=True)]
        assert broker.settle(consumer.name, settlements, store) == set()
        assert store.fetch([record.id for record in records]) == {record.id: record for record in records}

    def test_record_is_not_stored_when_refused(self, broker: Broker, store: ResultStore | None) -> None:
        store = self._shared(broker, store)
        broker.publish(numbered(1), SOON)
        consumer = Consumer(broker)
        (mine,) = consumer.claim()
        good, bad = Record(str(uuid.uuid4()), states.SUCCESS), Record(str(uuid.uuid4()), states.SUCCESS)
        settlements = [Settlement(mine.tag + 1000, record=bad), Settlement(mine.tag, record=good)]
        assert broker.settle(consumer.name, settlements, store) == {mine.tag + 1000}
        assert set(store.fetch([good.id, bad.id])) == {good.id}
        assert broker.settle("nobody", [Settlement(mine.tag, record=bad)], store) == {mine.tag}
        assert store.fetch([bad.id]) == {}

    def test_record_is_ignored_without_a_store(self, broker: Broker, store: ResultStore | None) -> None:
        store = self._shared(broker, store)
        broker.publish(numbered(1), SOON)
        consumer = Consumer(broker)
        record = Record(str(uuid.uuid4()), states.SUCCESS)
        assert consumer.settle(*consumer.claim(), record=record) == set()
        assert store.fetch([record.id]) == {}

    def test_record_never_overwrites_a_success(self, broker: Broker, store: ResultStore | None) -> None:
        store = self._shared(broker, store)
        broker.publish(numbered(1), SOON)
        consumer = Consumer(broker)
        success = Record(str(uuid.uuid4()), states.SUCCESS, b"42")
        store.store([success])
        failure = Record(success.id, states.FAILURE)
        assert consumer.settle(*consumer.claim(), store=store, record=failure) == set()
        assert store.fetch([success.id]) == {success.id: success}

    @staticmethod
    def _shared(broker: Broker, store: ResultStore | None) -> ResultStore:
        if store is None:
            pytest.skip("this broker shares its transactions with no store")
        assert broker.shares(store) is True
        return store
