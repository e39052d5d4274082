"""Whatever happens in whatever order: every message lies in exactly one place in Redis.

Hypothesis makes up histories of publishers, consumers and heirs; after each step all keys are read and compared with a
simple model of who should have what.
"""

import itertools
import time
from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from celeriac.broker import Action, Publication, Settlement
from celeriac.brokers.redis import RedisBroker
from celeriac.config import Settings
from celeriac.errors import LeaseLost
from celeriac.redis_client.connection import pack
from tests.servers import RedisServer

pytestmark = [pytest.mark.redis, pytest.mark.slow]

CONSUMERS = ("one", "two", "three")
QUEUES = ("a", "b")
FAR = time.time() + 10_000_000


class Histories(RuleBasedStateMachine):
    """Two brokers, as in two processes, on one database. A message is its payload, unique."""

    url = ""

    @initialize()
    def begin(self) -> None:
        # One that settles by its own account, and one that knows of nothing and has to ask.
        self.brokers = [RedisBroker(self.url, Settings()), RedisBroker(self.url, Settings())]
        self.brokers[0]._exchange(pack(("FLUSHDB",)), 1)
        self.numbers = itertools.count()
        self.ready: Counter[tuple[str, bytes]] = Counter()
        self.scheduled: Counter[tuple[str, bytes]] = Counter()
        self.held: dict[str, dict[int, tuple[str, bytes]]] = {}
        self.dead: Counter[tuple[str, bytes]] = Counter()
        self.seqs: dict[str, int] = {}
        for consumer in CONSUMERS:
            self.register(consumer)
        self.publish(0, [(queue, None) for queue in QUEUES * 3])

    def teardown(self) -> None:
        for broker in getattr(self, "brokers", ()):
            broker.close()

    def make(self, queue: str, due: float | None) -> Publication:
        payload = b"m%d" % next(self.numbers)
        (self.ready if due is None or due < 1 else self.scheduled)[queue, payload] += 1
        return Publication("id", "t", queue, payload, next(self.numbers) % 10, due)

    @rule(
        which=st.integers(0, 1),
        batch=st.lists(
            st.tuples(st.sampled_from(QUEUES), st.sampled_from([None, 0.5, FAR])), min_size=1, max_size=4
        ),
    )
    def publish(self, which: int, batch: list[tuple[str, float | None]]) -> None:
        self.brokers[which].publish([self.make(queue, due) for queue, due in batch], 60.0)

    @rule(consumer=st.sampled_from(CONSUMERS))
    def register(self, consumer: str) -> None:
        self.brokers[0].register(consumer, 36_000)
        self.held.setdefault(consumer, {})
        self.seqs[consumer] = -1

    @rule(
        which=st.integers(0, 1),
        consumer=st.sampled_from(CONSUMERS),
        queues=st.sampled_from([("a",), ("b",), ("a", "b")]),
        limit=st.integers(1, 5),
        stale=st.booleans(),
    )
    def claim(self, which: int, consumer: str, queues: tuple[str, ...], limit: int, stale: bool) -> None:
        seq = self.seqs.get(consumer, -1) + (0 if stale else 1)
        if consumer not in self.held:
            with pytest.raises(LeaseLost):
                self.brokers[which].claim(consumer, queues, limit, seq)
            return
        deliveries = self.brokers[which].claim(consumer, queues, limit, seq)
        there = sum(count for (queue, _), count in self.ready.items() if queue in queues)
        assert len(deliveries) == (0 if stale else min(limit, there))
        self.seqs[consumer] = seq
        for delivery in deliveries:
            message = (delivery.queue, delivery.payload)
            assert self.ready[message] == 1
            del self.ready[message]
            assert all(delivery.tag not in held for held in self.held.values())
            self.held[consumer][delivery.tag] = message

    @rule(
        which=st.integers(0, 1),
        consumer=st.sampled_from(CONSUMERS),
        ends=st.lists(st.tuples(st.integers(0, 5), st.sampled_from(Action), st.booleans()), max_size=4),
    )
    def settle(self, which: int, consumer: str, ends: list[tuple[int, Action, bool]]) -> None:
        tags = [tag for held in self.held.values() for tag in held] + [1]
        settlements: list[Settlement] = []
        expected: set[int] = set()
        for index, action, publishes in ends:
            tag = tags[index % len(tags)]
            message = self.held.get(consumer, {}).pop(tag, None)
            settlement = Settlement(tag, action, due=FAR, reason="why")
            if message is None:
                expected.add(tag)
                settlement.publish = (Publication("id", "t", "a", b"never"),) if publishes else ()
            else:
                settlement.publish = (self.make("b", None),) if publishes else ()
                places = {
                    Action.PUT_BACK: self.ready,
                    Action.SCHEDULE: self.scheduled,
                    Action.DEAD: self.dead,
                }
                if action in places:
                    places[action][message] += 1
            settlements.append(settlement)
        done = {settlement.tag for settlement in settlements}
        refused = self.brokers[which].settle(consumer, settlements)
        assert refused == expected & done

    @rule(
        which=st.integers(0, 1),
        dead=st.sampled_from(CONSUMERS),
        by=st.sampled_from(CONSUMERS),
        expired_only=st.booleans(),
    )
    def adopt(self, which: int, dead: str, by: str, expired_only: bool) -> None:
        if by not in self.held:
            with pytest.raises(LeaseLost):
                self.brokers[which].adopt(dead, by, expired_only=expired_only)
            return
        moved = self.brokers[which].adopt(dead, by, expired_only=expired_only)
        if expired_only or dead == by or dead not in self.held:
            assert moved == []
            return
        inherited = self.held.pop(dead)
        assert {d.tag: (d.queue, d.payload) for d in moved} == inherited
        self.held[by].update(inherited)

    @rule(which=st.integers(0, 1), consumer=st.sampled_from(CONSUMERS))
    def unregister(self, which: int, consumer: str) -> None:
        self.brokers[which].unregister(consumer)
        for message in self.held.pop(consumer, {}).values():
            self.ready[message] += 1

    @precondition(lambda self: any(self.held))
    @rule(which=st.integers(0, 1), consumer=st.sampled_from(CONSUMERS), ahead=st.integers(0, 2))
    def ask(self, which: int, consumer: str, ahead: int) -> None:
        if consumer not in self.held:
            return
        self.seqs[consumer] += ahead
        held = self.brokers[which].held(consumer, self.seqs[consumer])
        assert {d.tag: (d.queue, d.payload) for d in held} == self.held[consumer]

    @rule()
    def maintain(self) -> None:
        self.brokers[1].maintain()

    @rule(queue=st.sampled_from(QUEUES))
    def purge(self, queue: str) -> None:
        gone = 0
        for place in (self.ready, self.scheduled):
            for message in [message for message in place if message[0] == queue]:
                gone += place.pop(message)
        assert self.brokers[0].purge([queue]) == gone

    @invariant()
    def each_message_is_in_one_place(self) -> None:
        if not hasattr(self, "brokers"):
            return
        broker = self.brokers[0]

        def call(*words: Any) -> Any:
            return broker._exchange(pack(words), 1)[0]

        ready: Counter[tuple[str, bytes]] = Counter()
        scheduled: Counter[tuple[str, bytes]] = Counter()
        for queue in QUEUES:
            for key in broker._layout.list_keys(queue):
                ready.update((queue, payload) for payload in call("LRANGE", key, 0, -1))
            scheduled.update(
                (queue, member[16:]) for member in call("ZRANGE", f"celeriac:scheduled:{queue}", 0, -1)
            )
        held = {
            consumer: {
                int(tag): payload for tag, payload in call("HGETALL", f"celeriac:inflight:{consumer}").items()
            }
            for consumer in CONSUMERS
        }
        assert ready == +self.ready
        assert scheduled == +self.scheduled
        assert held == {
            consumer: {tag: payload for tag, (_, payload) in self.held.get(consumer, {}).items()}
            for consumer in CONSUMERS
        }
        assert Counter((letter.queue, letter.payload) for letter in broker.dead_letters()) == self.dead
        assert {name.decode() for name in call("ZRANGE", "celeriac:leases", 0, -1)} == set(self.held)
        assert {name.decode() for name in call("HKEYS", "celeriac:seqs")} == set(self.held)


def test_histories(redis_server: RedisServer) -> None:
    class OnThisServer(Histories):
        url = redis_server.url[:-1] + "7"

    test = OnThisServer.TestCase
    test.settings = settings(
        max_examples=80,
        stateful_step_count=30,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    test("runTest").runTest()
