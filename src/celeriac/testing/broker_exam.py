"""The exam of brokers: every promise of `celeriac.broker.Broker`, as pytest checks over any keeper.

Inherit and say how the keeper is opened; that is all:

    class TestMyBroker(BrokerExam):
        @pytest.fixture
        def make_broker(self, my_server):
            return lambda **settings: MyBroker(my_server.url, Settings(**settings))

Each check begins with an empty broker: the fixture sees to it. `make_broker()` opens one more, independent
instance for the same messages, as another process would; it is also called in threads, and each instance is closed
in the thread that opened it. `store` is a result store that the broker shares its transactions with, or None.

Every wait has a deadline. Leases are short and the broker's own clock decides, so that no check sleeps long.
"""

import os
import threading
import time
import uuid
import warnings
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

import pytest

from celeriac import states
from celeriac.broker import Action, Broker, Delivery, Publication, QueueDepth, Settlement
from celeriac.errors import LeaseLost
from celeriac.store import Record, ResultStore

T = TypeVar("T")
MakeBroker = Callable[..., Broker]

#: What has to happen at once, happens within this time on a busy machine too.
SOON = 5.0
#: Longer than any check takes.
LONG = 15.0
#: A lease that no check outlives, and one that runs out.
LEASE = 60.0
SHORT = 0.4

EXOTIC = (
    b"",
    b"\x00",
    b"\x00\xff\xfe'\"\\",
    bytes(range(256)),
    "käse".encode("latin-1"),
    b"\n\r\n",
    b"x" * 100_000,
)
NAMES = ("ünï → 😀", "a b", "a:b.c-d_e", "100%", "{tag}", 'it\'s "q"', "back\\slash", "x" * 100)


def message(payload: bytes, queue: str = "q", priority: int = 0, due: float | None = None) -> Publication:
    """Return a publication with an id of its own."""
    return Publication(str(uuid.uuid4()), "exam.task", queue, payload, priority, due)


def numbered(count: int, prefix: bytes = b"m", **fields: Any) -> list[Publication]:
    """Return `count` publications whose payloads end in their number."""
    return [message(b"%s%d" % (prefix, number), **fields) for number in range(count)]


def payloads(deliveries: Sequence[Delivery]) -> list[bytes]:
    """Return what was delivered, in order."""
    return [delivery.payload for delivery in deliveries]


class Consumer:
    """A worker child as a broker sees it: a name, a lease, claims with rising numbers."""

    def __init__(self, broker: Broker, lease: float = LEASE) -> None:
        self.broker = broker
        self.name = f"exam-{uuid.uuid4().hex[:12]}"
        self.seq = 0
        broker.register(self.name, lease)

    def claim(self, *queues: str, limit: int = 100) -> list[Delivery]:
        self.seq += 1
        return self.broker.claim(self.name, queues or ("q",), limit, self.seq)

    def drain(self, *queues: str, limit: int = 100) -> list[Delivery]:
        """Claim until there is nothing left."""
        deliveries: list[Delivery] = []
        while batch := self.claim(*queues, limit=limit):
            deliveries += batch
        return deliveries

    def await_claim(self, *queues: str, timeout: float | None = None, limit: int = 100) -> list[Delivery]:
        """Claim as a worker does: look, wait for a sign, look again, for `timeout` seconds (None: LONG)."""
        deadline = time.monotonic() + (LONG if timeout is None else timeout)
        with pipe() as (never, _):
            while not (deliveries := self.claim(*queues, limit=limit)):
                left = deadline - time.monotonic()
                if left <= 0:
                    break
                self.broker.wait(queues or ("q",), left, never)
        return deliveries

    def settle(
        self,
        *deliveries: Delivery,
        action: Action = Action.DONE,
        store: ResultStore | None = None,
        **fields: Any,
    ) -> set[int]:
        """Settle `deliveries` all alike."""
        settlements = [Settlement(delivery.tag, action, **fields) for delivery in deliveries]
        return self.broker.settle(self.name, settlements, store)

    def held_tags(self) -> set[int]:
        return {delivery.tag for delivery in self.broker.held(self.name, self.seq)}


@contextmanager
def pipe() -> Iterator[tuple[int, int]]:
    """A pipe's two ends, closed at the end."""
    read, write = os.pipe()
    try:
        yield read, write
    finally:
        os.close(read)
        os.close(write)


def start(make_broker: MakeBroker, work: Callable[[Broker], T]) -> "Future[T]":
    """Run `work` in a thread with a broker of its own, as another process would."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            broker = make_broker()
            try:
                result = work(broker)
            finally:
                broker.close()
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(result)

    threading.Thread(target=run, daemon=True).start()
    return future


def elsewhere(make_broker: MakeBroker, work: Callable[[Broker], T]) -> T:
    """`start`, and wait for the result."""
    return start(make_broker, work).result(LONG)


def eventually(look: Callable[[], T]) -> T:
    """Look again and again until there is something true to see, which has to be soon."""
    deadline = time.monotonic() + SOON
    pause = threading.Event()
    while not (seen := look()):
        assert time.monotonic() < deadline, f"not within {SOON} s"
        pause.wait(0.02)
    return seen


def passed(moment: float) -> Callable[[], bool]:
    """Return a look at whether the unix time `moment` is over, a little longer for coarse clocks."""
    return lambda: time.time() > moment + 0.02


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


class _Fixtures:
    @pytest.fixture
    def make_broker(self) -> MakeBroker:
        """Return a function that opens the keeper; keyword arguments are settings. To be overridden."""
        raise NotImplementedError("an exam needs a fixture `make_broker`")

    @pytest.fixture
    def broker(self, make_broker: MakeBroker) -> Iterator[Broker]:
        broker = make_broker()
        yield broker
        broker.close()

    @pytest.fixture
    def store(self) -> ResultStore | None:
        """Return a result store that `broker` shares its transactions with. To be overridden if there is one."""
        return None


class PublishChecks(_Fixtures):
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

    def test_equal_messages_are_two(self, broker: Broker) -> None:
        twin = message(b"twin")
        broker.publish([twin, twin], SOON)
        claimed = Consumer(broker).drain()
        assert payloads(claimed) == [b"twin", b"twin"]
        assert len({delivery.tag for delivery in claimed}) == 2

    def test_a_batch_of_5000(self, broker: Broker) -> None:
        broker.publish(numbered(5000), LONG)
        assert broker.depths() == {"q": QueueDepth(ready=5000)}
        assert payloads(Consumer(broker).drain(limit=1000)) == [b"m%d" % number for number in range(5000)]

    def test_a_batch_appears_whole(self, broker: Broker, make_broker: MakeBroker) -> None:
        def publish(other: Broker) -> None:
            for _ in range(20):
                other.publish(numbered(50), SOON)

        publisher = start(make_broker, publish)
        consumer = Consumer(broker)
        seen = 0
        deadline = time.monotonic() + LONG
        while seen < 1000 and time.monotonic() < deadline:
            batch = consumer.claim(limit=10_000)
            assert len(batch) % 50 == 0, "half of a batch was to be seen"
            seen += len(batch)
        publisher.result(LONG)
        assert seen == 1000

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


class ScheduleChecks(_Fixtures):
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
        broker.publish([message(b"second", due=now + 0.7), message(b"first", due=now + 0.3)], SOON)
        consumer = Consumer(broker)
        assert payloads(consumer.await_claim(limit=1)) == [b"first"]
        assert payloads(consumer.await_claim(limit=1)) == [b"second"]

    def test_priority_holds_when_due(self, broker: Broker) -> None:
        due = time.time() + 0.2
        broker.publish([message(b"low", due=due), message(b"high", priority=9, due=due)], SOON)
        eventually(passed(due))
        assert payloads(Consumer(broker).drain(limit=1)) == [b"high", b"low"]

    def test_equal_scheduled_messages_are_two(self, broker: Broker) -> None:
        due = time.time() + 0.2
        twin = message(b"twin", due=due)
        broker.publish([twin, twin], SOON)
        assert broker.depths() == {"q": QueueDepth(scheduled=2)}
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


class ClaimChecks(_Fixtures):
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


class SettleChecks(_Fixtures):
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
        assert broker.depths() == {"q": QueueDepth(scheduled=1)}
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


class RecordChecks(_Fixtures):
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


class LeaseChecks(_Fixtures):
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

    def test_an_heir_that_held_something_keeps_it(self, broker: Broker) -> None:
        broker.publish(numbered(4), SOON)
        dead, heir = Consumer(broker), Consumer(broker)
        dead.claim(limit=2)
        own = heir.claim()
        moved = broker.adopt(dead.name, heir.name, expired_only=False)
        assert {delivery.tag for delivery in own + moved} == heir.held_tags()
        assert len(heir.held_tags()) == 4


class LookChecks(_Fixtures):
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


class WaitChecks(_Fixtures):
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

    def test_wakes_when_a_consumer_gives_back(self, broker: Broker, make_broker: MakeBroker) -> None:
        broker.publish(numbered(1), SOON)
        consumer = Consumer(broker)
        assert len(consumer.claim()) == 1
        self._wakes(make_broker, ("q",), lambda: broker.unregister(consumer.name))

    def test_wakes_when_a_scheduled_message_is_due(self, broker: Broker, make_broker: MakeBroker) -> None:
        broker.publish([message(b"far", due=time.time() + 3600)], SOON)
        broker.publish([message(b"m0", due=time.time() + 0.4)], SOON)
        self._wakes(make_broker, ("q",), lambda: None)

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
    def _wakes(make_broker: MakeBroker, queues: tuple[str, ...], cause: Callable[[], object]) -> None:
        """Check that a consumer elsewhere, already waiting for `queues`, gets the message that `cause` makes ready."""
        entered = threading.Event()

        def wait(other: Broker) -> list[bytes]:
            consumer = Consumer(other)
            assert consumer.claim(*queues) == []
            entered.set()
            return payloads(consumer.await_claim(*queues))

        waiter = start(make_broker, wait)
        assert entered.wait(SOON)
        threading.Event().wait(
            0.1
        )  # to be asleep by then; if it is not yet, the check is milder, never wrong
        cause()
        assert waiter.result(SOON) == [b"m0"]


class ProcessChecks(_Fixtures):
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


class BrokerExam(
    PublishChecks,
    ScheduleChecks,
    ClaimChecks,
    SettleChecks,
    RecordChecks,
    LeaseChecks,
    LookChecks,
    WaitChecks,
    ProcessChecks,
):
    """All checks; a keeper that passes keeps every promise of the contract that can be seen from outside."""
