"""The parts of a worker under faults that real processes meet too seldom: on the memory broker, in one process."""

import logging
import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from celeriac import Celeriac
from celeriac.broker import Delivery, Publication, Settlement
from celeriac.brokers.memory import MemoryBroker
from celeriac.config import Settings
from celeriac.errors import BrokerDown, StoreError, WorkerLostError
from celeriac.execute import Executor
from celeriac.message import protocol
from celeriac.message.message import Headers, Message, Properties
from celeriac.run import Run
from celeriac.store import Record, ResultStore
from celeriac.stores.memory import MemoryStore
from celeriac.waker import Waker
from celeriac.worker.caretaker import Caretaker
from celeriac.worker.death import Death
from celeriac.worker.fetcher import Fetcher
from celeriac.worker.options import WorkerOptions
from celeriac.worker.outage import Notice, Outage
from celeriac.worker.pool import Finished, Pool
from celeriac.worker.recorder import Recorder
from celeriac.worker.recovery import FORGOTTEN, Recovery, stale_records
from celeriac.worker.solo import SoloWorker
from tests.scenarios.harness import PATIENCE, until


class Cut(MemoryBroker):
    """A memory broker whose calls fail when they are told to: before they have an effect, or after it."""

    schemes = ("cut",)

    def __init__(self, url: str, settings: Any = None) -> None:
        super().__init__(url, settings)
        self.cuts: list[str] = []
        self.settled: list[list[Settlement]] = []

    def _cut(self, point: str) -> None:
        if point in self.cuts:
            self.cuts.remove(point)
            raise BrokerDown(f"cut {point}.")

    def settle(
        self, consumer: str, settlements: Sequence[Settlement], store: ResultStore | None = None
    ) -> set[int]:
        self._cut("before settle")
        refused = super().settle(consumer, settlements, store)
        self.settled.append(list(settlements))
        self._cut("after settle")
        return refused

    def adopt(self, dead: str, by: str, *, expired_only: bool = True) -> list[Delivery]:
        deliveries = super().adopt(dead, by, expired_only=expired_only)
        self._cut("after adopt")
        return deliveries

    def register(self, consumer: str, lease: float, queues: Sequence[str] = ()) -> None:
        self._cut("before register")
        super().register(consumer, lease, queues)


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Celeriac]:
    made = Celeriac("p", broker="memory://parts", backend="memory://parts", worker_state_dir=str(tmp_path))
    made._broker = Cut("memory://parts", made.conf)
    yield made
    MemoryBroker("memory://parts").clear()
    MemoryStore("memory://parts").clear()
    made.close()


@pytest.fixture
def broker(app: Celeriac) -> Cut:
    assert isinstance(app.broker, Cut)
    return app.broker


class Working:
    """A worker in a thread."""

    def __init__(self, app: Celeriac) -> None:
        self.worker = SoloWorker(app, WorkerOptions().resolve(app.conf))
        self.thread = threading.Thread(target=self.worker.run)

    def __enter__(self) -> SoloWorker:
        self.thread.start()
        assert self.worker.ready.wait(PATIENCE)
        return self.worker

    def __exit__(self, *exc_info: object) -> None:
        self.worker.stop()
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive()


def suspect(name: str, task_id: str = "suspect-1") -> bytes:
    marked = Message(Headers(name, task_id), Properties(celeriac_suspect=True), b"[[],{},{}]")
    return protocol.encode(marked, "celery")


# -- the fetcher


@pytest.mark.parametrize("cut", ["before settle", "after settle"])
def test_an_at_most_once_task_runs_although_the_reply_to_its_settlement_was_lost(
    app: Celeriac, broker: Cut, cut: str
) -> None:
    ran: list[int] = []

    @app.task(acks_late=False)
    def early(n: int) -> int:
        ran.append(n)
        return n

    with Working(app):
        broker.cuts.append(cut)
        assert early.delay(1).get(PATIENCE) == 1
    assert ran == [1]
    assert not broker.cuts


def test_an_at_most_once_task_does_not_run_where_its_settlement_was_refused(
    app: Celeriac, broker: Cut
) -> None:
    ran: list[int] = []
    at_door, go_on = threading.Event(), threading.Event()

    @app.task(acks_late=False)
    def early() -> None:
        ran.append(1)

    original = broker.settle

    def settle(
        consumer: str, settlements: Sequence[Settlement], store: ResultStore | None = None
    ) -> set[int]:
        at_door.set()
        assert go_on.wait(PATIENCE)
        return original(consumer, settlements, store)

    broker.settle = settle  # type: ignore[method-assign]
    with Working(app) as worker:
        early.delay()
        assert at_door.wait(PATIENCE)
        broker.register("thief", 60)
        stolen = broker.adopt(worker.recorder.consumer, "thief", expired_only=False)
        go_on.set()
        until(lambda: worker.recorder.consumer not in broker._shelf.consumers, "the lease is lost")
    assert len(stolen) == 1
    assert not ran


@pytest.mark.parametrize("cut", ["before settle", "after settle"])
def test_a_suspect_whose_settlement_was_cut_does_not_stop_its_worker(
    app: Celeriac, broker: Cut, cut: str
) -> None:
    @app.task(name="odd")
    def odd() -> int:
        return 1

    with Working(app):
        broker.cuts.append(cut)
        broker.publish([Publication("suspect-1", "odd", "celery", suspect("odd"))], 1)
        assert odd.delay().get(PATIENCE) == 1
        assert app.AsyncResult("suspect-1").get(PATIENCE) == 1
    assert not broker.cuts


def test_what_was_sent_without_a_delivery_is_not_sent_again_when_the_rest_of_its_batch_fails(
    app: Celeriac, broker: Cut, tmp_path: Path
) -> None:
    """The retry of an at-most-once task, and beside it a settlement that is cut."""
    recorder = Recorder.create(tmp_path / "x.flight", "c", "b", 2)
    pool = Pool(Executor(app, "w@h"), recorder, Waker(), 1, 0)
    fetcher = Fetcher(
        broker, None, pool.executor, pool, recorder, pool.waker, ["celery"], None, 1.0, lambda text: None
    )
    (delivery,) = held_by(broker, "c", 1)
    retry = Publication("again", "t", "celery", b"{}")
    pool.outbox += [Finished(Settlement(0, publish=(retry,))), Finished(Settlement(delivery.tag))]
    broker.cuts.append("before settle")
    with pytest.raises(BrokerDown):
        fetcher._settle()
    assert fetcher._settle() == 2
    depth = broker.depths()["celery"]
    assert (depth.ready, depth.in_flight) == (1, 0)
    recorder.remove()


def test_what_is_taken_back_while_threads_take_too_is_neither_lost_nor_done_twice(
    app: Celeriac, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    ran: list[int] = []

    @app.task(name="count", ignore_result=True)
    def count(n: int) -> None:
        ran.append(n)

    recorder = Recorder.create(tmp_path / "x.flight", "c", "b", 2)
    pool = Pool(Executor(app, "w@h"), recorder, Waker(), 2, 0)
    threads = [threading.Thread(target=pool.work, args=(number,)) for number in range(2)]
    interval = sys.getswitchinterval()
    request.addfinalizer(lambda: sys.setswitchinterval(interval))
    sys.setswitchinterval(1e-6)
    for thread in threads:
        thread.start()
    taken: list[int] = []
    total = 4000
    for n in range(total):
        message = Message(Headers("count", str(n)), Properties(), b"[[%d],{},{}]" % n)
        pool.submit(Run(n + 1, "celery", message, app.tasks["count"]))
        if n % 5 == 4:
            taken += [run.tag - 1 for run in pool.take_back()]
        while pool.outbox:
            recorder.settled(pool.outbox.popleft().position, 1)
    for _ in threads:
        pool.inbox.put(None)
    for thread in threads:
        thread.join(PATIENCE)
    assert sorted(ran + taken) == list(range(total))
    recorder.remove()


class Away(MemoryStore):
    """A store that is away until it is back."""

    schemes = ("away",)
    away = True

    def store(self, records: Any) -> None:
        if self.away:
            raise StoreError("The store is away.")
        super().store(records)


def test_a_store_that_is_away_is_told_once_and_so_is_its_return(
    app: Celeriac, caplog: pytest.LogCaptureFixture
) -> None:
    away = Away("memory://parts")
    app._store = (away,)

    @app.task
    def job(n: int) -> int:
        return n

    with caplog.at_level(logging.INFO, "celeriac"), Working(app):
        results = app.send_many(job.s(n) for n in range(20))
        until(lambda: "The store is away." in caplog.text, "that it is away is told")
        away.away = False
        assert [result.get(PATIENCE) for result in results] == list(range(20))
        until(lambda: "Back after" in caplog.text, "its return is told")
    told = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert told == ["The store is away. The worker waits and goes on when it is back."]
    assert caplog.text.count("Back after") == 1


def test_a_worker_without_a_supervisor_waits_for_its_broker_too(
    app: Celeriac, broker: Cut, caplog: pytest.LogCaptureFixture
) -> None:
    broker.cuts += ["before register"] * 3
    with caplog.at_level(logging.INFO, "celeriac"), Working(app):
        pass
    told = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert told == ["cut before register. The worker starts when it is there."]


# -- recovery


@pytest.fixture
def recovery(app: Celeriac) -> Recovery:
    return Recovery(app.broker, app.store, "w@h", 3)


def held_by(broker: Cut, consumer: str, count: int, lease: float = 60) -> list[Delivery]:
    """Have a consumer claim `count` messages."""
    broker.register(consumer, lease)
    for n in range(count):
        payload = protocol.encode(Message(Headers("t", f"id-{n}"), Properties(), b"[[],{},{}]"), "celery")
        broker.publish([Publication(f"id-{n}", "t", "celery", payload)], 1)
    return broker.claim(consumer, ["celery"], count, 1)


def messages(broker: Cut) -> list[Message]:
    """Claim all that is ready."""
    broker.register("reader", 60)
    return [protocol.decode(delivery.payload) for delivery in broker.claim("reader", ["celery"], 100, 1)]


def record_of(tmp_path: Path, slots: int = 4) -> Recorder:
    return Recorder.create(tmp_path / "dead.flight", "dead", "b", slots)


def test_what_ran_goes_back_in_order_and_its_last_chance_is_alone(
    broker: Cut, recovery: Recovery, tmp_path: Path
) -> None:
    expected = [(0, False), (1, False), (2, True)]
    held = held_by(broker, "dead", 4)
    for losses, alone in expected[1:]:
        recorder = record_of(tmp_path)
        for slot in (0, 1):
            recorder.begin(slot, held[slot].tag, 1.0)
        recovery.child(recorder, Death("signal 9 (SIGKILL)"))
        broker.register("dead", 60)
        held = broker.claim("dead", ["celery"], 4, 1)
        found = [protocol.decode(delivery.payload) for delivery in held]
        assert [message.headers.id for message in found] == ["id-0", "id-1", "id-2", "id-3"]
        marks = [(m.properties.celeriac_losses, m.properties.celeriac_suspect) for m in found]
        assert marks == [(losses, alone)] * 2 + [(0, False)] * 2


@pytest.mark.parametrize(
    ("died", "peak", "after"),
    [
        (32.25, None, " after 31.2 s"),
        (None, None, ""),
        (32.25, 510_000, " after 31.2 s, with 498 MB at most"),
    ],
)
def test_what_became_of_a_lost_task_is_told(
    app: Celeriac, broker: Cut, tmp_path: Path, died: float | None, peak: int | None, after: str
) -> None:
    (held,) = held_by(broker, "dead", 1)
    recorder = record_of(tmp_path)
    recorder.begin(0, held.tag, 1.0)
    Recovery(app.broker, app.store, "w@h", 1).child(
        recorder, Death("signal 9 (SIGKILL)", died, peak, "the trace")
    )
    reason = f"its process died 1 times while it ran, the last time by signal 9 (SIGKILL){after}"
    with pytest.raises(WorkerLostError) as caught:
        app.AsyncResult("id-0").get(PATIENCE)
    assert (caught.value.code, str(caught.value)) == ("E120", f"t: {reason}. (celeriac help E120)")
    (letter,) = broker.dead_letters()
    assert letter.reason == reason
    assert app.AsyncResult("id-0").traceback == "the trace"


def test_results_of_at_most_once_tasks_are_stored_for_the_dead(
    app: Celeriac, broker: Cut, recovery: Recovery, tmp_path: Path
) -> None:
    broker.register("dead", 60)
    recorder = record_of(tmp_path)
    recorder.finish(0, Settlement(0, record=Record("early-1", "SUCCESS", b"5")))
    recovery.child(recorder, Death("signal 9 (SIGKILL)"))
    assert app.AsyncResult("early-1").get(PATIENCE) == 5


@pytest.mark.parametrize("spoilt", ["positions", "entry"])
def test_a_spoilt_flight_record_makes_suspects_of_all_it_held(
    broker: Cut, recovery: Recovery, tmp_path: Path, spoilt: str
) -> None:
    """A process that dies of a stray pointer may have written anywhere."""
    held = held_by(broker, "dead", 3)
    recorder = record_of(tmp_path)
    recorder.begin(0, held[0].tag, 1.0)
    recorder.finish(0, Settlement(held[0].tag, record=Record("id-0", "SUCCESS", b"1")))
    if spoilt == "positions":
        recorder._memory[24:32] = b"\x7f" * 8
    else:
        recorder._memory[recorder._ring + 4 : recorder._ring + 12] = b"\xc1" * 8
    recovery.child(recorder, Death("signal 11 (SIGSEGV)"))
    found = messages(broker)
    assert [(m.headers.id, m.properties.celeriac_suspect) for m in found] == [
        ("id-0", True),
        ("id-1", True),
        ("id-2", True),
    ]
    assert not (tmp_path / "dead.flight").exists()


@pytest.mark.parametrize("cut", ["after adopt", "before settle"])
def test_a_take_over_that_is_cut_short_is_finished_later(
    broker: Cut, recovery: Recovery, tmp_path: Path, cut: str
) -> None:
    now = 100.0
    broker._clock = lambda: now
    held_by(broker, "dead", 3, lease=10)
    broker.register("own", 1000)
    caretaker = Caretaker(broker, None, recovery, (tmp_path, "b"), "own", 1000, list, clock=lambda: now)
    now = 600.0  # half a lease later: everybody has had the time to renew
    broker.cuts.append(cut)
    caretaker.turn()
    assert caretaker.trouble
    assert broker.depths()["celery"].in_flight == 3
    caretaker.turn()
    assert not caretaker.trouble
    assert broker.depths()["celery"].ready == 3
    assert all(message.properties.celeriac_suspect for message in messages(broker))


# -- old results


def test_old_results_go_in_batches_a_moment_at_a_time(broker: Cut, tmp_path: Path) -> None:
    now = [1000.0]
    spent = 0.0

    def clock() -> float:
        now[0] += spent
        return now[0]

    store = MemoryStore(f"memory://{tmp_path}", Settings(result_expires=60), clock=lambda: now[0])
    store.store([Record(str(n), "SUCCESS", finished=1.0) for n in range(4500)])
    store.store([Record("young", "SUCCESS", finished=2000.0)])
    recovery = Recovery(broker, store, "host", 3)
    caretaker = Caretaker(broker, store, recovery, (tmp_path, "b"), "own", 15, list, clock=clock)
    caretaker.turn()
    assert len(store.fetch([str(n) for n in range(4500)])) == 4500, (
        "not at once: others may just have done it"
    )
    now[0] += 61
    spent = 0.07
    caretaker.turn()
    left = len(store.fetch([str(n) for n in range(4500)]))
    assert 0 < left < 4500
    assert caretaker.next - now[0] < 1
    spent = 0.0
    caretaker.turn()
    assert not store.fetch([str(n) for n in range(4500)])
    assert store.fetch(["young"])
    assert caretaker.next - now[0] > 1


# -- saying it once


def test_an_outage_is_told_once_and_its_end_when_all_are_back(caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    outage = Outage(lambda: now)

    def look(*texts: str) -> list[str]:
        caplog.clear()
        with caplog.at_level(logging.INFO, "celeriac"):
            outage.look(texts)
        return [record.getMessage() for record in caplog.records]

    assert look("", "") == [] and outage.next is None
    assert look("", "It is away.") == ["It is away. The worker waits and goes on when it is back."]
    now = 1.0
    assert look("Away!", "It is away.") == []
    assert look("", "It is away.") == []
    now = 2.0
    assert look("", "") == [] and outage.next == 2.5
    now = 2.2
    assert look("I notice only now.", "") == [] and outage.next is None
    now = 3.0
    assert look("", "") == []
    now = 3.5
    assert look("", "") == ["Back after 3.0 s: the worker goes on."]
    assert look("", "") == [] and outage.next is None
    now = 20.0
    assert look("It is away. Is it running?  ping")[0].endswith(
        "running?  ping. The worker waits and goes on when it is back."
    )


def test_a_notice_holds_any_text() -> None:
    notice = Notice()
    assert notice.read() == ""
    for text in ("short", "ü" * 600, "", "again\udcff"):
        notice.write(text)
        assert notice.read() == text.replace("\udcff", "?")[:511]
    notice.close()


def test_flight_records_of_other_brokers_are_left_and_opened_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, broker in (("ours", "b"), ("theirs", "other"), ("ancient", "other")):
        Recorder.create(tmp_path / f"{name}.flight", name, broker, 1).close()
    old = time.time() - FORGOTTEN - 60
    os.utime(tmp_path / "ancient.flight", (old, old))
    opened: list[str] = []
    open_stale = Recorder.open_stale
    monkeypatch.setattr(Recorder, "open_stale", lambda path: [opened.append(path.stem), open_stale(path)][1])
    foreign: set[Path] = set()
    for _ in range(3):
        for recorder in stale_records(tmp_path, "b", foreign):
            assert recorder.consumer == "ours"
            recorder.close()
    assert sorted(opened) == ["ancient", "ours", "ours", "ours", "theirs"]
    assert {path.name for path in tmp_path.iterdir()} == {"ours.flight", "theirs.flight"}
