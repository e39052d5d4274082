"""The broker inside one process: for tests, scripts and workers in a thread.

A real broker with every promise of the contract but durability: it keeps the same bytes in heaps and
dictionaries under one lock. `memory://NAME` names one of several in the process.
"""

import heapq
import itertools
import math
import select
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, ClassVar

from celeriac.broker import (
    COMMAND_SECONDS,
    Action,
    Broker,
    DeadLetter,
    Delivery,
    Fired,
    Firing,
    Publication,
    QueueDepth,
    Settlement,
    run_office,
)
from celeriac.errors import LeaseLost
from celeriac.store import ResultStore
from celeriac.waker import Waker

# (-priority, order, payload): the smallest is served first. What is put back gets a negative order.
_Ready = tuple[int, int, bytes]
_Held = tuple[str, int, bytes]  # queue, priority, payload


class _Consumer:
    __slots__ = ("deadline", "held", "lease", "queues", "seq", "turn")

    def __init__(self, lease: float, deadline: float, queues: tuple[str, ...]) -> None:
        self.lease = lease
        self.deadline = deadline
        self.queues = queues
        self.held: dict[int, _Held] = {}
        self.seq = -1
        self.turn = 0


class _Shelf:
    """The messages of one named memory broker; shared by all MemoryBroker objects with its URL."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.ready: dict[str, list[_Ready]] = {}
        self.scheduled: list[tuple[float, int, str, int, bytes]] = []
        self.consumers: dict[str, _Consumer] = {}
        self.dead: list[DeadLetter] = []
        self.revoked: dict[str, float] = {}
        self.commands: dict[str, tuple[float, bytes]] = {}
        self.fired: dict[str, Fired] = {}
        self.offices: dict[str, tuple[str, float]] = {}
        self.waiters: set[Waker] = set()
        self.order = itertools.count(1)
        self.back = itertools.count(1)
        self.tags = itertools.count(1)


_shelves: dict[str, _Shelf] = {}


class MemoryBroker(Broker):
    """Messages in this process's memory."""

    schemes = ("memory",)
    shared: ClassVar[bool] = False

    def __init__(
        self, url: str = "memory://", settings: Any = None, *, clock: Callable[[], float] = time.time
    ) -> None:
        self.safe_url = url
        if settings is not None:
            self.max_message_bytes = settings.worker_max_message_bytes
        self._clock = clock
        self._shelf = _shelves.setdefault(url, _Shelf())

    def publish(self, publications: Sequence[Publication], timeout: float) -> None:
        shelf = self._shelf
        with shelf.lock:
            for publication in publications:
                self._put(publication)
            if shelf.waiters:
                self._poke()

    def _put(self, publication: Publication) -> None:
        shelf = self._shelf
        due = publication.due
        if due is not None and due > self._clock():
            entry = (due, next(shelf.order), publication.queue, publication.priority, publication.payload)
            heapq.heappush(shelf.scheduled, entry)
            return
        entry_ready = (-publication.priority, next(shelf.order), publication.payload)
        heap = shelf.ready.get(publication.queue)
        if heap is None:
            heap = shelf.ready[publication.queue] = []
        heapq.heappush(heap, entry_ready)

    def _poke(self) -> None:
        for waker in self._shelf.waiters:
            waker.poke()

    def register(self, consumer: str, lease: float, queues: Sequence[str] = ()) -> None:
        with self._shelf.lock:
            self._shelf.consumers[consumer] = _Consumer(lease, self._clock() + lease, tuple(queues))

    def claim(self, consumer: str, queues: Sequence[str], limit: int, seq: int) -> list[Delivery]:
        shelf = self._shelf
        with shelf.lock:
            state = self._state(consumer)
            if seq <= state.seq:
                return []
            state.seq = seq
            self._promote()
            state.turn += 1
            deliveries: list[Delivery] = []
            for number in range(len(queues)):
                queue = queues[(number + state.turn) % len(queues)]
                heap = shelf.ready.get(queue)
                while heap and len(deliveries) < limit:
                    priority, _, payload = heapq.heappop(heap)
                    tag = next(shelf.tags)
                    state.held[tag] = (queue, -priority, payload)
                    deliveries.append(self._delivery(tag, queue, payload))
            return deliveries

    def _state(self, consumer: str) -> _Consumer:
        state = self._shelf.consumers.get(consumer)
        if state is None:
            raise LeaseLost(f"The lease of {consumer} was taken over.")
        return state

    def _delivery(self, tag: int, queue: str, payload: bytes) -> Delivery:
        size = len(payload)
        payload = payload if size <= self.max_message_bytes else payload[:4096]
        return Delivery(tag, queue, payload, size, not self._shelf.revoked)

    def _promote(self) -> None:
        scheduled = self._shelf.scheduled
        now = self._clock()
        while scheduled and scheduled[0][0] <= now:
            _, order, queue, priority, payload = heapq.heappop(scheduled)
            heapq.heappush(self._shelf.ready.setdefault(queue, []), (-priority, order, payload))

    def held(self, consumer: str, seq: int) -> list[Delivery]:
        with self._shelf.lock:
            state = self._state(consumer)
            state.seq = max(state.seq, seq)
            return [self._delivery(tag, queue, payload) for tag, (queue, _, payload) in state.held.items()]

    def settle(
        self, consumer: str, settlements: Sequence[Settlement], store: ResultStore | None = None
    ) -> set[int]:
        shelf = self._shelf
        refused: set[int] = set()
        records = []
        with shelf.lock:
            state = shelf.consumers.get(consumer)
            for settlement in settlements:
                held = state.held.pop(settlement.tag, None) if state is not None else None
                if held is None:
                    refused.add(settlement.tag)
                    continue
                if settlement.action:
                    self._return(settlement, held)
                for publication in settlement.publish:
                    self._put(publication)
                if settlement.record is not None:
                    records.append(settlement.record)
                if settlement.frees is not None:
                    self._resign(*settlement.frees)
            if shelf.waiters:
                self._poke()
        if store is not None and records:
            store.store(records)
        return refused

    def _return(self, settlement: Settlement, held: _Held) -> None:
        shelf = self._shelf
        queue, priority, payload = held
        if settlement.payload is not None:
            payload = settlement.payload
        if settlement.action is Action.PUT_BACK:
            heapq.heappush(shelf.ready.setdefault(queue, []), (-priority, -next(shelf.back), payload))
        elif settlement.action is Action.SCHEDULE:
            due = settlement.due or 0.0
            heapq.heappush(shelf.scheduled, (due, next(shelf.order), queue, priority, payload))
        else:
            shelf.dead.append(
                DeadLetter(str(settlement.tag), queue, settlement.reason, self._clock(), payload)
            )

    def shares(self, store: ResultStore) -> bool:
        # Nothing can come between the two in one process.
        return "memory" in store.schemes

    def unregister(self, consumer: str) -> None:
        with self._shelf.lock:
            state = self._shelf.consumers.pop(consumer, None)
            if state is None:
                return
            for held in reversed(state.held.values()):
                self._return(Settlement(0, Action.PUT_BACK), held)
            self._poke()

    def wait(self, queues: Sequence[str], timeout: float, interrupt: int) -> None:
        shelf = self._shelf
        waker = Waker()
        try:
            with shelf.lock:
                shelf.waiters.add(waker)
                self._promote()
                if any(shelf.ready.get(queue) for queue in queues):
                    return
                if shelf.scheduled:
                    timeout = min(timeout, max(0.0, shelf.scheduled[0][0] - self._clock()))
            poll = select.poll()  # not `select`, which takes no descriptor above 1023
            poll.register(waker.fileno(), select.POLLIN)
            poll.register(interrupt, select.POLLIN)
            poll.poll(math.ceil(max(0.0, timeout) * 1000))
        finally:
            with shelf.lock:
                shelf.waiters.discard(waker)
            waker.close()

    def renew(self, consumers: Sequence[str], lease: float) -> set[str]:
        lost: set[str] = set()
        with self._shelf.lock:
            for consumer in consumers:
                state = self._shelf.consumers.get(consumer)
                if state is None:
                    lost.add(consumer)
                else:
                    state.deadline = self._clock() + lease
        return lost

    def expired(self) -> list[str]:
        now = self._clock()
        with self._shelf.lock:
            return [name for name, state in self._shelf.consumers.items() if state.deadline < now]

    def adopt(self, dead: str, by: str, *, expired_only: bool = True) -> list[Delivery]:
        shelf = self._shelf
        with shelf.lock:
            taker = self._state(by)
            state = shelf.consumers.get(dead)
            if state is None or state is taker or (expired_only and state.deadline >= self._clock()):
                return []
            del shelf.consumers[dead]
            taker.held.update(state.held)
            return [self._delivery(tag, queue, payload) for tag, (queue, _, payload) in state.held.items()]

    def maintain(self) -> None:
        now = self._clock()
        shelf = self._shelf
        with shelf.lock:
            shelf.revoked = {each: until for each, until in shelf.revoked.items() if until > now}
            shelf.commands = {key: each for key, each in shelf.commands.items() if each[0] > now}

    def revoke(self, ids: Collection[str], seconds: float) -> None:
        until = self._clock() + seconds
        with self._shelf.lock:
            self._shelf.revoked.update(dict.fromkeys(ids, until))

    def revoked(self, ids: Collection[str]) -> set[str]:
        now = self._clock()
        known = self._shelf.revoked
        return {each for each in ids if known.get(each, now) > now}

    def command(self, payload: bytes) -> None:
        shelf = self._shelf
        with shelf.lock:
            shelf.commands[str(next(shelf.tags))] = self._clock() + COMMAND_SECONDS, payload

    def commands(self) -> dict[str, bytes]:
        now = self._clock()
        with self._shelf.lock:
            return {key: payload for key, (until, payload) in self._shelf.commands.items() if until > now}

    def now(self) -> float:
        return self._clock()

    def fire(self, firings: Sequence[Firing]) -> set[str]:
        shelf = self._shelf
        accepted = set()
        with shelf.lock:
            for firing in firings:
                known = shelf.fired.get(firing.entry)
                if (None if known is None else known.slot) != firing.expected:
                    continue
                count, at = (0, 0.0) if known is None else (known.count, known.at)
                publications = firing.publications
                if firing.hold and publications and not self._hold(firing):
                    publications = ()
                if publications:
                    count, at = count + len(publications), self._clock()
                shelf.fired[firing.entry] = Fired(firing.slot, count, at)
                accepted.add(firing.entry)
                for publication in publications:
                    self._put(publication)
            self._poke()
        return accepted

    def fired(self, entries: Collection[str]) -> dict[str, Fired]:
        known = self._shelf.fired
        return {entry: known[entry] for entry in entries if entry in known}

    def unschedule(self, entries: Collection[str]) -> None:
        with self._shelf.lock:
            for entry in entries:
                self._shelf.fired.pop(entry, None)

    def _hold(self, firing: Firing) -> bool:
        candidate = firing.publications[0].id
        return self._elect(run_office(firing.entry), candidate, firing.hold) == candidate

    def elect(self, office: str, candidate: str, seconds: float) -> str:
        with self._shelf.lock:
            return self._elect(office, candidate, seconds)

    def _elect(self, office: str, candidate: str, seconds: float) -> str:
        now, offices = self._clock(), self._shelf.offices
        holder, until = offices.get(office, (candidate, now))
        if holder == candidate or until < now:
            offices[office] = candidate, now + seconds
        return offices[office][0]

    def resign(self, office: str, candidate: str) -> None:
        with self._shelf.lock:
            self._resign(office, candidate)

    def _resign(self, office: str, candidate: str) -> None:
        if self._shelf.offices.get(office, ("", 0.0))[0] == candidate:
            del self._shelf.offices[office]

    def depths(self) -> dict[str, QueueDepth]:
        shelf = self._shelf
        depths: dict[str, QueueDepth] = {}
        with shelf.lock:
            for queue, heap in shelf.ready.items():
                if heap:
                    depths.setdefault(queue, QueueDepth()).ready += len(heap)
            for _, _, queue, _, _ in shelf.scheduled:
                depths.setdefault(queue, QueueDepth()).scheduled += 1
            for state in shelf.consumers.values():
                for queue, _, _ in state.held.values():
                    depths.setdefault(queue, QueueDepth()).in_flight += 1
        return depths

    def heads(self) -> list[tuple[str, bytes]]:
        with self._shelf.lock:
            first: dict[tuple[str, int], _Ready] = {}
            for queue, heap in self._shelf.ready.items():
                for each in heap:
                    first[queue, each[0]] = min(each, first.get((queue, each[0]), each))
        return [(queue, payload) for (queue, _), (_, _, payload) in first.items()]

    def readers(self) -> dict[str, tuple[str, ...]]:
        now = self._clock()
        with self._shelf.lock:
            consumers = self._shelf.consumers.items()
            return {name: each.queues for name, each in consumers if each.queues and each.deadline >= now}

    def dead_letters(self, limit: int = 100, offset: int = 0) -> list[DeadLetter]:
        with self._shelf.lock:
            return self._shelf.dead[::-1][offset : offset + limit]

    def count_dead_letters(self) -> int:
        return len(self._shelf.dead)

    def revive(self, publications: Mapping[str, Publication]) -> int:
        shelf = self._shelf
        with shelf.lock:
            found = {letter.key for letter in shelf.dead} & publications.keys()
            shelf.dead[:] = [letter for letter in shelf.dead if letter.key not in found]
            for key, publication in publications.items():
                if key in found:
                    self._put(publication)
            self._poke()
        return len(found)

    def discard(self, keys: Collection[str]) -> int:
        shelf = self._shelf
        with shelf.lock:
            before = len(shelf.dead)
            shelf.dead[:] = [letter for letter in shelf.dead if letter.key not in keys]
            return before - len(shelf.dead)

    def purge(self, queues: Iterable[str]) -> int:
        shelf = self._shelf
        names = set(queues)
        with shelf.lock:
            count = sum(len(shelf.ready.pop(queue, ())) for queue in names)
            kept = [entry for entry in shelf.scheduled if entry[2] not in names]
            count += len(shelf.scheduled) - len(kept)
            heapq.heapify(kept)
            shelf.scheduled = kept
        return count

    def close(self) -> None:
        """Nothing is open."""

    def clear(self) -> None:
        """Forget everything, for tests; the other brokers of this URL forget it too."""
        shelf = self._shelf
        with shelf.lock:
            rooms = (
                shelf.ready, shelf.scheduled, shelf.consumers, shelf.dead,
                shelf.revoked, shelf.commands, shelf.fired, shelf.offices,
            )  # fmt: skip
            for room in rooms:
                room.clear()
