"""Giving back in the name of a child at any moment of its life: every message runs, and runs once."""

import asyncio
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from celeriac import Celeriac
from celeriac.broker import Delivery, Settlement
from celeriac.brokers.memory import MemoryBroker
from celeriac.errors import BrokerDown, BrokerError
from celeriac.store import ResultStore
from celeriac.stores.memory import MemoryStore
from celeriac.waker import Waker
from celeriac.worker import fetcher
from celeriac.worker.options import WorkerOptions
from celeriac.worker.outage import Notice
from celeriac.worker.recorder import FREEZING, FROZEN, THAWED, Recorder
from celeriac.worker.solo import SoloWorker
from celeriac.worker.stuck import STUCK_AFTER, StuckChildren
from tests.scenarios.harness import PATIENCE, until

#: So often the worker is frozen at least.
ENOUGH = 20


class LastingTags(MemoryBroker):
    """A memory broker whose tags, as a database's, stay with a message however often it is claimed.

    `cuts` says at which settlements nobody gets an answer, before it has an effect or after it.
    """

    schemes = ("lasting",)

    def __init__(self, url: str, settings: Any = None) -> None:
        super().__init__(url, settings)
        self.mutex = threading.RLock()
        self.cuts: list[str] = []
        self.put_back = 0

    def claim(self, consumer: str, queues: Sequence[str], limit: int, seq: int) -> list[Delivery]:
        with self.mutex:
            deliveries = super().claim(consumer, queues, limit, seq)
            held = self._shelf.consumers[consumer].held
            for delivery in deliveries:
                lasting = int(delivery.payload.split(b"number-")[1].split(b'"')[0]) + 1_000_000
                held[lasting] = held.pop(delivery.tag)
                delivery.tag = lasting
            return deliveries

    def held(self, consumer: str, seq: int) -> list[Delivery]:
        with self.mutex:
            return super().held(consumer, seq)

    def settle(
        self, consumer: str, settlements: Sequence[Settlement], store: ResultStore | None = None
    ) -> set[int]:
        with self.mutex:
            cut = self.cuts.pop() if self.cuts else ""
            if cut == "before":
                raise BrokerDown("cut.")
            refused = super().settle(consumer, settlements, store)
            self.put_back += sum(each.action == 1 and each.tag not in refused for each in settlements)
            if cut == "after":
                raise BrokerDown("cut.")
            return refused


@pytest.fixture(params=[MemoryBroker, LastingTags])
def app(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Celeriac]:
    made = Celeriac("s", broker="memory://stuck", backend="memory://stuck", worker_state_dir=str(tmp_path))
    made._broker = request.param("memory://stuck", made.conf)
    yield made
    MemoryBroker("memory://stuck").clear()
    MemoryStore("memory://stuck").clear()
    made.close()


class Working:
    """A worker in a thread, with threads that give way at every turn."""

    def __init__(self, app: Celeriac) -> None:
        self.worker = SoloWorker(app, WorkerOptions().resolve(app.conf))
        self.thread = threading.Thread(target=self.worker.run)
        self.interval = sys.getswitchinterval()

    def __enter__(self) -> SoloWorker:
        self.thread.start()
        assert self.worker.ready.wait(PATIENCE)
        until(lambda: self.worker.recorder.ready, "the worker has set an interval of its own")
        sys.setswitchinterval(1e-5)
        return self.worker

    def __exit__(self, *exc_info: object) -> None:
        sys.setswitchinterval(self.interval)
        self.worker.stop()
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive()


def hasty(app: Celeriac) -> StuckChildren:
    """One for whom every child that is at work has been so for too long."""
    return StuckChildren(app.broker, clock=lambda: time.monotonic() + 2 * STUCK_AFTER)


def test_every_message_runs_once_however_often_they_go_back(app: Celeriac) -> None:
    cuts = isinstance(app.broker, LastingTags)
    ran: Counter[int] = Counter()
    total = 3000
    chance = random.Random(7)

    @app.task(name="count")
    def count(n: int) -> None:
        if n % 50 == 0:
            time.sleep(0.002)
        ran[n] += 1

    @app.task(name="early", acks_late=False)
    def early(n: int) -> None:
        ran[n] += 1

    @app.task(name="await")
    async def awaits(n: int) -> None:
        await asyncio.sleep(0.001)
        ran[n] += 1

    kinds = [count] * 8 + [early, awaits]

    def send(first: int) -> None:
        with app.batch():
            for n in range(first, total):
                kinds[n % len(kinds)].apply_async((n,), task_id=f"number-{n}")

    send(0)
    stuck = hasty(app)
    frozen = cut = 0
    with Working(app) as worker:
        deadline = time.monotonic() + PATIENCE
        while len(ran) < total:
            assert time.monotonic() < deadline, f"{total - len(ran)} do not run"
            if cuts and cut < 30 and not app.broker.cuts and chance.random() < 0.1:  # type: ignore[attr-defined]
                app.broker.cuts.append(chance.choice(["before", "after"]))  # type: ignore[attr-defined]
                cut += 1
            before = worker.recorder.freeze
            try:
                stuck.look([worker])
            except BrokerError:
                assert worker.recorder.freeze in (FREEZING, FROZEN)
            frozen += before == THAWED != worker.recorder.freeze
            time.sleep(chance.random() * 0.004)
            if len(ran) == total and frozen <= ENOUGH:  # this thread was not let run meanwhile
                total += 500
                send(total - 500)
        if cuts:
            with app.broker.mutex:  # type: ignore[attr-defined]
                app.broker.cuts.clear()  # type: ignore[attr-defined]
        until(lambda: stuck.look([worker]) or worker.recorder.freeze == THAWED, "the last thaw")
        until(lambda: not app.broker.depths(), "all is settled")
    print(f"frozen {frozen} times, {getattr(app.broker, 'put_back', '?')} went back")
    assert frozen > ENOUGH
    assert set(ran) == set(range(total)) and set(ran.values()) == {1}


def test_a_child_that_rests_or_starts_tasks_is_let_be(app: Celeriac, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetcher, "_IDLE", 600.0)  # it does not look for itself just then
    go_on = threading.Event()

    @app.task(name="long")
    def long(n: int) -> None:
        assert go_on.wait(PATIENCE)

    now = time.monotonic()
    stuck = StuckChildren(app.broker, clock=lambda: now)
    with Working(app) as worker:
        recorder = worker.recorder
        until(lambda: not recorder.last_turn, "it rests")
        now = time.monotonic() + 100
        stuck.look([worker])
        assert recorder.freeze == THAWED
        assert stuck.next == now + STUCK_AFTER
        long.apply_async((1,), task_id="number-1")
        until(recorder.running, "it runs")
        # The fetcher moves all the time, though the task is long.
        long.apply_async((2,), task_id="number-2")
        turned = recorder.last_turn
        until(lambda: recorder.last_turn > turned, "it moves")
        now = recorder.last_turn + STUCK_AFTER / 2
        stuck.look([worker])
        assert recorder.freeze == THAWED
        go_on.set()


def test_while_it_says_that_the_broker_is_away_nothing_goes_back(app: Celeriac) -> None:
    go_on = threading.Event()

    @app.task(name="long")
    def long(n: int) -> None:
        assert go_on.wait(PATIENCE)

    with Working(app) as worker:
        worker.recorder.turned(1.0)
        worker.recorder.begin(0, 5, 1.0)
        worker.notice.write("It is away.")
        hasty(app).look([worker])
        assert worker.recorder.freeze == THAWED
        worker.notice.write("")
        worker.recorder.clear(0)
        go_on.set()


def test_what_a_stopped_child_has_claimed_and_not_seen_goes_back(app: Celeriac, tmp_path: Path) -> None:
    """Its claim was on the way when it was stopped: no task of it runs, and it does not rest."""
    noop = app.task(name="noop")(lambda n: None)
    for number in range(3):
        noop.apply_async((number,), task_id=f"number-{number}")
    broker = app.broker
    broker.register("stopped", 100)
    broker.register("other", 100)
    child = Stopped(Recorder.create(tmp_path / "a.flight", "stopped", "b", 1))
    child.recorder.turned(100.0)
    assert len(broker.claim("stopped", ["celery"], 3, 1)) == 3
    now = 100.0 + STUCK_AFTER / 2
    stuck = StuckChildren(broker, clock=lambda: now)
    stuck.look([child])
    assert broker.depths()["celery"].in_flight == 3
    now = 100.0 + STUCK_AFTER
    stuck.look([child])
    assert child.recorder.freeze == FROZEN
    assert child.waker.clear(), "it is to look when it goes on"
    assert [each.tag for each in broker.held("stopped", 2)] == []
    assert len(broker.claim("other", ["celery"], 3, 1)) == 3


class Stopped:
    """A child that does nothing any more."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.waker = Waker()
        self.notice = Notice()
