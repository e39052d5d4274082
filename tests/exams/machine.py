"""Brokers against a model: hypothesis finds a sequence of calls after which a keeper and a simple model disagree.

The model knows where each message is and in what order it may come out, no more. Time stands still for keepers that
read the server's clock; a keeper whose clock can be set is taken through due times and leases as well.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from celeriac.broker import Action, Broker, Delivery, Publication, Settlement
from celeriac.errors import LeaseLost

QUEUES = ("a", "b")
LEASE = 10.5  # never a whole number of ticks
#: Where the clock is the server's, no example lasts so long.
LONG_LEASE = 36_000.5


class Clock:
    """A clock that stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass(frozen=True)
class Kept:
    """A message in the model; its payload tells it from all others."""

    payload: bytes
    queue: str
    priority: int


@dataclass
class Line:
    """The ready messages of one queue and priority.

    What was put back comes before what waits, in any order among itself; what was scheduled comes anywhere.
    """

    front: set[Kept] = field(default_factory=set)
    waiting: list[Kept] = field(default_factory=list)
    anywhere: set[Kept] = field(default_factory=set)

    def __len__(self) -> int:
        return len(self.front) + len(self.waiting) + len(self.anywhere)

    def take(self, kept: Kept) -> None:
        if kept in self.anywhere:
            self.anywhere.remove(kept)
        elif self.front:
            assert kept in self.front, "what was put back was not claimed before what waits"
            self.front.remove(kept)
        else:
            assert self.waiting
            assert kept == self.waiting.pop(0), "an older message waits"


@dataclass
class Holder:
    """A consumer in the model."""

    name: str
    deadline: float
    seq: int = 0
    held: dict[int, Kept] = field(default_factory=dict)


Items = st.lists(
    st.tuples(st.sampled_from(QUEUES), st.sampled_from((0, 3, 9)), st.sampled_from((None, None, -1, 1, 3))),
    min_size=1,
    max_size=4,
)
Who = st.integers(0, 10)
Picks = st.lists(
    st.tuples(
        st.integers(0, 10), st.sampled_from(Action), st.booleans(), st.sampled_from((-1, 1, 3)), st.booleans()
    ),
    max_size=3,
)


class BrokerMachine(RuleBasedStateMachine):
    """Give it `open`, which returns an empty broker, and `clock` if the broker lives by it."""

    open: Callable[[], Broker]
    clock: Clock | None = None

    def __init__(self) -> None:
        super().__init__()
        self.broker = type(self).open()
        self.lines: dict[tuple[str, int], Line] = {}
        self.scheduled: dict[Kept, float] = {}
        self.holders: list[Holder] = []
        self.gone: list[Holder] = []
        self.dead: list[bytes] = []
        self.revoked: set[str] = set()
        self.count = 0

    # -- the model

    @property
    def now(self) -> float:
        return time.time() if self.clock is None else self.clock()

    @property
    def lease(self) -> float:
        return LONG_LEASE if self.clock is None else LEASE

    def new_payload(self) -> bytes:
        self.count += 1
        return b"%d" % self.count

    def due(self, ticks: int) -> float:
        """A due time some ticks from now: far away where the clock stands still."""
        return self.now + (ticks if self.clock is not None else ticks * 3600) + 0.25

    def line(self, kept: Kept) -> Line:
        return self.lines.setdefault((kept.queue, kept.priority), Line())

    def ready(self, queues: Sequence[str]) -> dict[tuple[str, int], Line]:
        for kept in [kept for kept, due in self.scheduled.items() if due <= self.now]:
            del self.scheduled[kept]
            self.line(kept).anywhere.add(kept)
        return {key: line for key, line in self.lines.items() if key[0] in queues and len(line)}

    def later(self, kept: Kept, due: float) -> None:
        self.scheduled[kept] = due
        self.ready(())

    def holder(self, who: int) -> Holder:
        return self.holders[who % len(self.holders)]

    def give_back(self, holder: Holder) -> None:
        for kept in holder.held.values():
            self.line(kept).front.add(kept)

    def publication(self, queue: str, priority: int, ticks: int | None) -> Publication:
        kept = Kept(self.new_payload(), queue, priority)
        due = None if ticks is None else self.due(ticks)
        if due is None:
            self.line(kept).waiting.append(kept)
        else:
            self.later(kept, due)
        return Publication(f"id-{self.count}", "machine.task", queue, kept.payload, priority, due)

    # -- what producers and consumers do

    @rule()
    def register(self) -> None:
        holder = Holder(f"consumer-{self.count}-{len(self.holders) + len(self.gone)}", self.now + self.lease)
        self.broker.register(holder.name, self.lease)
        self.holders.append(holder)

    @rule(items=Items)
    def publish(self, items: list[tuple[str, int, int | None]]) -> None:
        self.broker.publish([self.publication(*item) for item in items], 60.0)

    @precondition(lambda self: self.holders)
    @rule(who=Who, queues=st.sampled_from((("a",), ("b",), ("a", "b"), ("b", "a"))), limit=st.integers(1, 5))
    def claim(self, who: int, queues: tuple[str, ...], limit: int) -> None:
        holder = self.holder(who)
        holder.seq += 1
        ready = self.ready(queues)
        available = sum(map(len, ready.values()))
        claimed = self.broker.claim(holder.name, queues, limit, holder.seq)
        assert min(1, available) <= len(claimed) <= min(limit, available)
        for delivery in claimed:
            assert delivery.queue in queues
            priority = max(priority for queue, priority in self.ready(queues) if queue == delivery.queue)
            kept = Kept(delivery.payload, delivery.queue, priority)
            self.line(kept).take(kept)
            assert delivery.tag not in holder.held
            assert delivery.size == len(delivery.payload)
            holder.held[delivery.tag] = kept

    @precondition(lambda self: self.holders)
    @rule(who=Who, back=st.integers(0, 3))
    def claim_with_an_old_number(self, who: int, back: int) -> None:
        holder = self.holder(who)
        if holder.seq:
            assert self.broker.claim(holder.name, QUEUES, 5, max(0, holder.seq - back)) == []

    @precondition(lambda self: self.holders)
    @rule(who=Who, ahead=st.integers(0, 3))
    def held(self, who: int, ahead: int) -> None:
        holder = self.holder(who)
        holder.seq += ahead
        self.agree(self.broker.held(holder.name, holder.seq), holder.held)

    @precondition(lambda self: self.holders)
    @rule(who=Who, picks=Picks, unknown=st.booleans())
    def settle(self, who: int, picks: list[tuple[int, Action, bool, int, bool]], unknown: bool) -> None:
        holder = self.holder(who)
        settlements, refused = [], set()
        if unknown:
            strangers = {tag for other in self.holders if other is not holder for tag in other.held}
            refused = {max(holder.held, default=0) + 10_000, *sorted(strangers)[:1]} - holder.held.keys()
            settlements += [
                Settlement(tag, publish=(Publication("x", "x", "a", b"never"),)) for tag in refused
            ]
        for pick, action, changed, ticks, publishes in picks:
            if holder.held:
                tag = sorted(holder.held)[pick % len(holder.held)]
                settlements.append(
                    self.settlement(tag, holder.held.pop(tag), action, changed, ticks, publishes)
                )
        assert self.broker.settle(holder.name, settlements) == refused

    def settlement(
        self, tag: int, kept: Kept, action: Action, changed: bool, ticks: int, publishes: bool
    ) -> Settlement:
        payload = self.new_payload() if changed else None
        settlement = Settlement(tag, action, payload, reason=kept.payload.decode())
        kept = Kept(payload or kept.payload, kept.queue, kept.priority)
        if action is Action.PUT_BACK:
            self.line(kept).front.add(kept)
        elif action is Action.SCHEDULE:
            settlement.due = self.due(ticks)
            self.later(kept, settlement.due)
        elif action is Action.DEAD:
            self.dead.append(kept.payload)
        if publishes:
            settlement.publish = (self.publication(kept.queue, kept.priority, ticks if ticks > 0 else None),)
        return settlement

    @precondition(lambda self: self.holders)
    @rule(who=Who)
    def unregister(self, who: int) -> None:
        holder = self.holder(who)
        self.broker.unregister(holder.name)
        self.holders.remove(holder)
        self.gone.append(holder)
        self.give_back(holder)

    @precondition(lambda self: self.gone)
    @rule(who=Who)
    def one_that_is_gone(self, who: int) -> None:
        holder = self.gone[who % len(self.gone)]
        with pytest.raises(LeaseLost):
            self.broker.claim(holder.name, QUEUES, 5, holder.seq + 1)
        settlements = [
            Settlement(tag, publish=(Publication("x", "x", "a", b"never"),)) for tag in holder.held
        ]
        assert self.broker.settle(holder.name, settlements) == holder.held.keys()
        self.broker.unregister(holder.name)

    # -- what supervisors and administrators do

    @precondition(lambda self: len(self.holders) > 1)
    @rule(who=Who, expired_only=st.booleans())
    def adopt(self, who: int, expired_only: bool) -> None:
        dead, heir = self.holder(who), self.holder(who + 1)
        moved = self.broker.adopt(dead.name, heir.name, expired_only=expired_only)
        if expired_only and dead.deadline >= self.now:
            assert moved == []
            return
        tags = {kept.payload: kept for kept in dead.held.values()}
        assert {delivery.payload for delivery in moved} == tags.keys()
        for delivery in moved:
            assert delivery.tag not in heir.held
            heir.held[delivery.tag] = tags[delivery.payload]
        self.holders.remove(dead)
        self.gone.append(dead)

    @rule(who=Who)
    def renew(self, who: int) -> None:
        names = {holder.name for holder in self.gone[:2]}
        if self.holders:
            holder = self.holder(who)
            holder.deadline = self.now + self.lease
            assert self.broker.renew([holder.name, *names], self.lease) == names
        else:
            assert self.broker.renew(list(names), self.lease) == names

    @precondition(lambda self: self.clock is not None)
    @rule(ticks=st.integers(1, 6))
    def time_goes_on(self, ticks: int) -> None:
        assert self.clock is not None
        self.clock.now += ticks

    @rule(queue=st.sampled_from(QUEUES))
    def purge(self, queue: str) -> None:
        lines = self.ready([queue])
        scheduled = [kept for kept in self.scheduled if kept.queue == queue]
        assert self.broker.purge([queue]) == sum(map(len, lines.values())) + len(scheduled)
        for key in lines:
            del self.lines[key]
        for kept in scheduled:
            del self.scheduled[kept]

    @precondition(lambda self: self.dead)
    @rule(pick=st.integers(0, 10), queue=st.sampled_from(QUEUES), priority=st.sampled_from((0, 3, 9)))
    def revive(self, pick: int, queue: str, priority: int) -> None:
        letters = self.broker.dead_letters(1000)
        chosen = letters[pick % len(letters) :][:2]
        again = {letter.key: self.publication(queue, priority, None) for letter in chosen}
        never = Publication("x", "x", "a", b"never")
        assert self.broker.revive({**again, "unknown": never}) == len(chosen)
        for letter in chosen:
            self.dead.remove(letter.payload)

    @precondition(lambda self: self.dead)
    @rule(pick=st.integers(0, 10))
    def discard(self, pick: int) -> None:
        letters = self.broker.dead_letters(1000)
        chosen = letters[pick % len(letters) :][:2]
        assert self.broker.discard([*(letter.key for letter in chosen), "unknown"]) == len(chosen)
        for letter in chosen:
            self.dead.remove(letter.payload)

    @rule(ids=st.sets(st.sampled_from("pqrs")), asked=st.sets(st.sampled_from("pqrst")))
    def revoke(self, ids: set[str], asked: set[str]) -> None:
        self.broker.revoke(ids, 1e6)
        self.revoked |= ids
        assert self.broker.revoked(asked) == asked & self.revoked

    @rule()
    def command(self) -> None:
        before = list(self.broker.commands().items())
        self.broker.command(b"any")
        assert list(self.broker.commands().items())[:-1] == before

    @rule()
    def maintain(self) -> None:
        self.broker.maintain()

    # -- what always holds

    @invariant()
    def every_message_is_in_one_place(self) -> None:
        depths = self.broker.depths()
        for queue in QUEUES:
            waiting = sum(len(line) for key, line in self.lines.items() if key[0] == queue)
            waiting += sum(kept.queue == queue for kept in self.scheduled)
            held = sum(kept.queue == queue for holder in self.holders for kept in holder.held.values())
            depth = depths.pop(queue, None)
            seen = (0, 0) if depth is None else (depth.ready + depth.scheduled, depth.in_flight)
            assert seen == (waiting, held)
            assert depth is None or waiting + held
        assert depths == {}

    @invariant()
    def the_dead_rest(self) -> None:
        # Those of one settlement died at one time; pages and order are the exam's business.
        assert sorted(letter.payload for letter in self.broker.dead_letters(1000)) == sorted(self.dead)
        assert self.broker.count_dead_letters() == len(self.dead)

    @invariant()
    def leases_run_out_in_their_time(self) -> None:
        expired = {holder.name for holder in self.holders if holder.deadline < self.now}
        assert set(self.broker.expired()) == expired

    @staticmethod
    def agree(deliveries: list[Delivery], held: dict[int, Kept]) -> None:
        seen = {delivery.tag: (delivery.queue, delivery.payload) for delivery in deliveries}
        assert seen == {tag: (kept.queue, kept.payload) for tag, kept in held.items()}

    def teardown(self) -> None:
        """In the end everything comes out."""
        for holder in self.holders:
            self.agree(self.broker.held(holder.name, holder.seq), holder.held)
            self.broker.unregister(holder.name)
            self.give_back(holder)
        self.holders.clear()
        self.register()
        for _ in range(1 + self.count // 5):
            self.claim(0, QUEUES, 5)
        assert not self.ready(QUEUES)
        self.broker.close()


def run(open_broker: Callable[[], Broker], clock: Clock | None = None, **options: Any) -> None:
    """Let hypothesis look for a disagreement; `options` are its settings."""
    given = {"open": staticmethod(open_broker), "clock": clock}
    machine = type("Machine", (BrokerMachine,), given)
    run_state_machine_as_test(machine, settings=settings(deadline=None, **options))
