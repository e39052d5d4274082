"""The memory keepers beyond the exam: names, clocks, clearing."""

import itertools
import threading

import pytest

from celeriac import states
from celeriac.broker import Action, DeadLetter, Publication, QueueDepth, Settlement
from celeriac.brokers.memory import MemoryBroker
from celeriac.config import Settings
from celeriac.store import Record
from celeriac.stores.memory import MemoryStore
from tests.unit.running import PATIENCE

_numbers = itertools.count()


class Clock:
    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def url() -> str:
    return f"memory://unit-{next(_numbers)}"


def publication(payload: bytes, due: float | None = None) -> Publication:
    return Publication("id", "task", "q", payload, due=due)


class TestBroker:
    def test_one_url_is_one_broker(self, url: str) -> None:
        first, second, other = MemoryBroker(url), MemoryBroker(url), MemoryBroker(url + "x")
        first.publish([publication(b"m")], 1.0)
        assert second.depths() == {"q": QueueDepth(ready=1)}
        assert other.depths() == {}

    def test_clearing_is_for_all(self, url: str) -> None:
        first, second = MemoryBroker(url), MemoryBroker(url)
        first.register("c", 10)
        first.publish([publication(b"m"), publication(b"n", due=1e12)], 1.0)
        second.clear()
        for broker in (first, second, MemoryBroker(url)):
            assert broker.depths() == {}
            assert broker.renew(["c"], 10) == {"c"}
        first.publish([publication(b"m")], 1.0)
        assert second.depths() == {"q": QueueDepth(ready=1)}

    def test_its_messages_stay_in_the_process(self, url: str) -> None:
        assert MemoryBroker(url).shared is False
        assert MemoryBroker(url).safe_url == url

    def test_the_limit_comes_from_the_settings(self, url: str) -> None:
        broker = MemoryBroker(url, Settings(worker_max_message_bytes=10_000))
        broker.register("c", 10)
        broker.publish([publication(b"x" * 10_000), publication(b"y" * 10_001)], 1.0)
        fits, cut = broker.claim("c", ["q"], 10, 1)
        assert (len(fits.payload), fits.size) == (10_000, 10_000)
        assert (len(cut.payload) < 10_000, cut.size) == (True, 10_001)

    def test_due_by_its_clock(self, url: str) -> None:
        clock = Clock()
        broker = MemoryBroker(url, clock=clock)
        broker.register("c", 1e9)
        broker.publish([publication(b"m", due=1100.0)], 1.0)
        clock.now = 1099.9
        assert broker.claim("c", ["q"], 10, 1) == []
        clock.now = 1100.0
        assert [delivery.payload for delivery in broker.claim("c", ["q"], 10, 2)] == [b"m"]

    def test_leases_by_its_clock(self, url: str) -> None:
        clock = Clock()
        broker = MemoryBroker(url, clock=clock)
        broker.register("dead", 15)
        broker.register("heir", 100)
        broker.publish([publication(b"m")], 1.0)
        broker.claim("dead", ["q"], 10, 1)
        clock.now += 15
        assert (broker.expired(), broker.adopt("dead", "heir")) == ([], [])
        clock.now += 0.1
        assert broker.expired() == ["dead"]
        assert [delivery.payload for delivery in broker.adopt("dead", "heir")] == [b"m"]

    def test_the_time_of_death(self, url: str) -> None:
        broker = MemoryBroker(url, clock=Clock(1234.5))
        broker.register("c", 10)
        broker.publish([publication(b"m")], 1.0)
        (delivery,) = broker.claim("c", ["q"], 10, 1)
        broker.settle("c", [Settlement(delivery.tag, Action.DEAD, reason="why")])
        assert broker.dead_letters() == [DeadLetter(str(delivery.tag), "q", "why", 1234.5, b"m")]

    def test_any_memory_store_is_in_reach(self, url: str) -> None:
        assert MemoryBroker(url).shares(MemoryStore("cache+memory://")) is True


class TestStore:
    def test_one_url_is_one_store(self, url: str) -> None:
        first, second, other = MemoryStore(url), MemoryStore(url), MemoryStore(url + "x")
        record = Record("i", states.SUCCESS)
        first.store([record])
        assert second.fetch(["i"]) == {"i": record}
        assert other.fetch(["i"]) == {}
        second.clear()
        assert first.fetch(["i"]) == {}

    def test_expires_by_its_clock(self, url: str) -> None:
        clock = Clock()
        store = MemoryStore(url, Settings(result_expires=60), clock=clock)
        store.store([Record(str(n), states.SUCCESS, finished=1000.0 + n) for n in range(5)])
        store.store([Record("running", states.STARTED)])
        clock.now = 1063.5
        assert store.expire(2) == 2
        assert store.expire(10) == 2
        assert store.expire(10) == 0
        assert set(store.fetch(["0", "1", "2", "3", "4", "running"])) == {"4", "running"}

    def test_many_waiters_wake(self, url: str) -> None:
        store = MemoryStore(url)
        ready = threading.Barrier(9, timeout=PATIENCE)
        seen: list[Record | None] = []

        def wait(number: int) -> None:
            ready.wait()
            seen.append(store.wait(str(number % 2), PATIENCE))

        threads = [threading.Thread(target=wait, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        ready.wait()
        store.store([Record("0", states.SUCCESS)])
        store.store([Record("1", states.FAILURE)])
        for thread in threads:
            thread.join(PATIENCE)
        assert sorted(record.id for record in seen if record is not None) == ["0"] * 4 + ["1"] * 4
