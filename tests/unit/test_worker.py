"""A worker in a thread on the memory broker: every way that a run can end, and what is left behind."""

import asyncio
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from celeriac import Celeriac, Ignore, Reject, Task
from celeriac.broker import Broker, Delivery, Publication, Settlement
from celeriac.brokers.memory import MemoryBroker
from celeriac.errors import (
    BrokerDown,
    EncodeError,
    ImproperlyConfigured,
    NotRegistered,
    StoreError,
    TaskError,
    TaskRevokedError,
)
from celeriac.message import protocol
from celeriac.message.message import Headers, Message, Properties
from celeriac.store import Record, ResultStore
from celeriac.stores.memory import MemoryStore
from celeriac.worker.options import WorkerOptions
from celeriac.worker.solo import SoloWorker
from tests.unit.running import PATIENCE, until, working


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Celeriac]:
    made = Celeriac("w", broker="memory://worker", backend="memory://worker", worker_state_dir=str(tmp_path))
    yield made
    broker, store = MemoryBroker("memory://worker"), MemoryStore("memory://worker")
    broker.clear()
    store.clear()
    made.close()


def put(app: Celeriac, payload: bytes, queue: str = "celery") -> None:
    app.broker.publish([Publication("x", "t", queue, payload)], 1)


def message(name: str, body: bytes = b"[[],{},{}]", **headers: Any) -> Message:
    return Message(Headers(name, headers.pop("id", "foreign-1"), **headers), Properties(), body)


def test_results_of_every_kind_of_end(app: Celeriac) -> None:
    @app.task
    def fine(x: int) -> dict[str, int]:
        return {"x": x}

    @app.task
    def fails() -> None:
        raise ZeroDivisionError("by zero")

    @app.task
    def leaves() -> None:
        raise SystemExit(3)

    @app.task
    def ignored() -> None:
        raise Ignore

    @app.task
    def memory() -> None:
        raise MemoryError("full")

    @app.task
    def unstorable() -> object:
        return object()

    with working(app):
        assert fine.delay(1).get(PATIENCE) == {"x": 1}
        with pytest.raises(ZeroDivisionError, match="by zero"):
            fails.delay().get(PATIENCE)
        with pytest.raises(TaskError):
            leaves.delay().get(PATIENCE)
        with pytest.raises(MemoryError):
            memory.delay().get(PATIENCE)
        result = unstorable.delay()
        with pytest.raises(EncodeError, match="cannot be stored"):
            result.get(PATIENCE)
        quiet = ignored.delay()
        assert fine.delay(2).get(PATIENCE) == {"x": 2}
        until(lambda: not app.broker.depths())
        assert quiet.state == "PENDING"
    failed = fails.AsyncResult(result.id).record
    assert failed is not None and failed.state == "FAILURE"


def test_a_record_tells_what_people_ask(app: Celeriac) -> None:
    @app.task(name="shop.pay")
    def pay(order: int, currency: str = "EUR") -> str:
        return currency

    with working(app):
        result = pay.apply_async((7,), {"currency": "CHF"}, queue="celery")
        result.get(PATIENCE)
    record = result.record
    assert record is not None
    assert (record.name, record.args, record.kwargs) == ("shop.pay", "(7,)", "{'currency': 'CHF'}")
    assert record.queue == "celery" and record.worker.startswith("celery@")
    assert record.enqueued is not None and record.started is not None and record.finished is not None
    assert record.enqueued <= record.started <= record.finished
    assert record.root_id == result.id


def test_retry_keeps_the_id_and_counts(app: Celeriac) -> None:
    seen: list[tuple[str, int]] = []

    @app.task(bind=True, autoretry_for=(ValueError,), retry_kwargs={"countdown": 0.05, "max_retries": 5})
    def flaky(self: Task) -> int:
        seen.append((self.request.id, self.request.retries))
        if self.request.retries < 2:
            raise ValueError("again")
        return self.request.retries

    with working(app):
        result = flaky.delay()
        assert result.get(PATIENCE) == 2
    assert seen == [(result.id, 0), (result.id, 1), (result.id, 2)]
    assert result.record is not None and result.record.retries == 2


def test_expired_tasks_are_revoked_not_run(app: Celeriac) -> None:
    ran = []

    @app.task
    def late() -> None:
        ran.append(1)

    result = late.apply_async(expires=-1)
    with working(app), pytest.raises(TaskRevokedError):
        result.get(PATIENCE)
    assert result.state == "REVOKED" and not ran


def test_reject_goes_to_the_dead_letters_or_back(app: Celeriac) -> None:
    runs = []

    @app.task
    def refuses() -> None:
        raise Reject("no thanks")

    @app.task
    def again() -> None:
        runs.append(1)
        if len(runs) < 3:
            raise Reject("later", requeue=True)

    with working(app):
        again.delay().get(PATIENCE)
        refused = refuses.delay()
        until(lambda: app.broker.count_dead_letters())
    assert len(runs) == 3
    assert refused.state == "FAILURE"
    assert "no thanks" in app.broker.dead_letters()[0].reason


GARBAGE: dict[str, bytes] = {
    "random": b"\x00\x93\xff\xfe" * 20,
    "empty": b"",
    "truncated": protocol.encode(message("t"), "celery")[:80],
    "a number": b"42",
    "a list": b"[1,2,3]",
    "no headers": b'{"body":"","properties":{}}',
    "headers of a wrong type": b'{"body":"","headers":[1],"properties":{}}',
    "id of a wrong type": b'{"body":"","headers":{"id":5,"task":"t"},"properties":{}}',
    "no task": b'{"body":"","headers":{"id":"5"},"properties":{}}',
    "deep": b'{"body":"","headers":' + b"[" * 200_000 + b"]" * 200_000 + b',"properties":{}}',
    "bad base64": b'{"body":"!!!","headers":{"id":"5","task":"t"},"properties":{"body_encoding":"base64"}}',
    "body no JSON": protocol.encode(message("job", b"\xff\x00"), "celery"),
    "body not three": protocol.encode(message("job", b"[1]"), "celery"),
    "body of wrong types": protocol.encode(message("job", b'["x",5,null]'), "celery"),
    "body deep": protocol.encode(message("job", b"[" * 200_000), "celery"),
    "body tagged wrong": protocol.encode(
        message("job", b'[[{"__type__":"evil","__value__":1}],{},{}]'), "celery"
    ),
    "pickle": protocol.encode(
        Message(
            Headers("job", "p"),
            Properties(),
            b"cos\nsystem\n(S'false'\ntR.",
            "application/x-python-serialize",
        ),
        "celery",
    ),
    "a chain": protocol.encode(
        message("job", b'[[],{},{"chain":[{"task":"job"}],"callbacks":null}]'), "celery"
    ),
    "unknown task": protocol.encode(message("nobody.knows"), "celery"),
    "huge": b"x" * 20_000,
    "eta of nonsense but fine": protocol.encode(message("job", eta="tomorrow"), "celery"),
}


def test_garbage_becomes_dead_letters_and_the_worker_goes_on(tmp_path: Path) -> None:
    app = Celeriac(
        "garbage", broker="memory://garbage", backend="memory://garbage", worker_state_dir=str(tmp_path),
        worker_max_message_bytes=700_000,
    )  # fmt: skip
    ran = []

    @app.task(name="job")
    def job() -> str:
        ran.append(1)
        return "done"

    with working(app):
        for payload in GARBAGE.values():
            put(app, payload)
        put(app, b"y" * 800_000)
        assert job.delay().get(PATIENCE) == "done"
        until(lambda: not app.broker.depths())
        letters = app.broker.dead_letters()
    # Only the message with a senseless eta is a task that can run; and the last one, which was sent properly.
    assert len(ran) == 2
    assert len(letters) == len(GARBAGE) - 1 + 1
    assert all(letter.reason for letter in letters)
    reasons = " | ".join(letter.reason for letter in letters)
    for word in (
        "carries chain",
        "too large",
        "unknown task 'nobody.knows'",
        "protocol 2",
        "refused",
        "nested",
        "unknown type",
    ):
        assert word in reasons, (word, reasons)
    by_payload = {letter.payload for letter in letters}
    assert GARBAGE["random"] in by_payload and b"y" * 800_000 in by_payload  # kept whole
    with pytest.raises(NotRegistered):
        app.AsyncResult("foreign-1").get(PATIENCE) if app.AsyncResult(
            "foreign-1"
        ).state != "SUCCESS" else _raise()
    app.close()


def _raise() -> None:
    raise NotRegistered("overwritten by a success of the same id")


def test_a_celery_message_with_a_future_eta_waits_in_the_broker(app: Celeriac) -> None:
    ran: list[tuple[str, datetime]] = []

    @app.task(name="eta.job", bind=True)
    def job(self: Task) -> None:
        ran.append((self.request.id, datetime.now(UTC)))

    soon, late = (datetime.now(UTC) + timedelta(seconds=seconds) for seconds in (0.3, 3600))
    with working(app):
        for name, eta in (("late", late), ("soon", soon)):
            put(app, protocol.encode(message("eta.job", id=name, eta=eta.isoformat()), "celery"))
        until(lambda: ran)
        until(
            lambda: (
                (app.broker.depths()["celery"].scheduled, app.broker.depths()["celery"].in_flight) == (1, 0)
            )
        )
    ((name, moment),) = ran
    assert name == "soon" and moment >= soon


def test_coroutines_run_side_by_side(app: Celeriac) -> None:
    together = 0
    many = asyncio.Event()

    @app.task
    async def sleeper(n: int) -> int:
        nonlocal together
        together += 1
        if together > 10:
            many.set()
        async with asyncio.timeout(PATIENCE):
            await many.wait()
        return n

    @app.task
    async def broken() -> None:
        await asyncio.sleep(0)
        raise ValueError("in a coroutine")

    with working(app):
        results = [sleeper.delay(n) for n in range(50)]
        assert [result.get(PATIENCE) for result in results] == list(range(50))
        with pytest.raises(ValueError, match="in a coroutine"):
            broken.delay().get(PATIENCE)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (WorkerOptions(concurrency=-2), "concurrency is -2: it is a number of processes or threads, from 1."),
        (WorkerOptions(pool="forks"), "There is no pool 'forks'. Pools: prefork, threads, solo."),
        (
            WorkerOptions(loglevel="loud"),
            "'LOUD' is not a log level. Levels: debug, info, warning, error, critical.",
        ),
    ],
)
def test_options_that_no_worker_can_have_are_refused(
    app: Celeriac, options: WorkerOptions, said: str
) -> None:
    with pytest.raises(ImproperlyConfigured) as raised:
        options.resolve(app.conf)
    assert str(raised.value) == said


def test_stopping_finishes_what_runs_and_gives_back_the_rest(app: Celeriac) -> None:
    begun, go_on = threading.Event(), threading.Event()
    ran: list[int] = []

    @app.task
    def slow(n: int) -> None:
        begun.set()
        assert go_on.wait(2 * PATIENCE)
        ran.append(n)

    app.send_many(slow.s(n) for n in range(20))
    worker = SoloWorker(app, WorkerOptions().resolve(app.conf))
    thread = threading.Thread(target=worker.run)
    thread.start()
    assert begun.wait(PATIENCE)
    worker.stop()
    worker.stop()
    go_on.set()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    depth = app.broker.depths()["celery"]
    assert depth.in_flight == 0
    assert len(ran) + depth.ready == 20
    assert ran  # what ran was finished


def test_a_long_task_keeps_no_others_waiting(app: Celeriac) -> None:
    """What was claimed along with a task that turns out long goes back, for other workers."""
    begun, go_on = threading.Event(), threading.Event()

    @app.task(ignore_result=True)
    def quick() -> None: ...

    @app.task(ignore_result=True)
    def long() -> None:
        begun.set()
        assert go_on.wait(2 * PATIENCE)

    with working(app):
        app.send_many(quick.s() for _ in range(300))  # teaches the fetcher that tasks are short
        until(lambda: not app.broker.depths())
        app.send_many([quick.s(), long.s(), *(quick.s() for _ in range(50))])
        assert begun.wait(PATIENCE)
        until(
            lambda: app.broker.depths()["celery"].in_flight == 1 and app.broker.depths()["celery"].ready == 50
        )
        go_on.set()
        until(lambda: not app.broker.depths())


def test_at_most_once_settles_before_the_run(app: Celeriac) -> None:
    held: list[int] = []

    @app.task(acks_late=False)
    def early() -> str:
        held.append(sum(depth.in_flight for depth in app.broker.depths().values()))
        return "ok"

    with working(app):
        assert early.delay().get(PATIENCE) == "ok"
    assert held == [0]


def test_started_is_stored_when_asked_for(app: Celeriac) -> None:
    go_on = threading.Event()

    @app.task(track_started=True)
    def tracked() -> None:
        assert go_on.wait(2 * PATIENCE)

    with working(app):
        result = tracked.delay()
        until(lambda: result.state == "STARTED")
        go_on.set()
        result.get(PATIENCE)
    assert result.state == "SUCCESS"


def test_a_result_larger_than_the_flight_record_arrives(app: Celeriac) -> None:
    @app.task
    def large() -> str:
        return "x" * 2_000_000

    with working(app):
        assert len(large.delay().get(PATIENCE)) == 2_000_000
        assert len(large.delay().get(PATIENCE)) == 2_000_000


class Shaky(MemoryBroker):
    """A memory broker whose connection can be cut: before a call has an effect, or after it, its reply lost."""

    schemes = ("shaky",)
    cut: str = ""

    def _shake(self, when: str) -> None:
        if Shaky.cut == when:
            Shaky.cut = ""
            raise BrokerDown("cut")

    def claim(self, consumer: str, queues: Any, limit: int, seq: int) -> list[Delivery]:
        self._shake("before claim")
        deliveries = super().claim(consumer, queues, limit, seq)
        if deliveries:
            self._shake("after claim")
        return deliveries

    def settle(self, consumer: str, settlements: Any, store: ResultStore | None = None) -> set[int]:
        self._shake("before settle")
        refused = super().settle(consumer, settlements, store)
        self._shake("after settle")
        return refused


@pytest.mark.parametrize("cut", ["before claim", "after claim", "before settle", "after settle"])
def test_a_cut_at_any_step_loses_nothing_and_runs_nothing_twice(app: Celeriac, cut: str) -> None:
    shaky = Shaky("memory://worker", app.conf)
    app._broker = shaky
    ran: list[int] = []

    @app.task(bind=True)
    def once(self: Task, n: int) -> int:
        ran.append(n)
        return n

    with working(app):
        once.delay(-1).get(PATIENCE)
        Shaky.cut = cut
        results = app.send_many(once.s(n) for n in range(30))
        assert [result.get(PATIENCE) for result in results] == list(range(30))
        until(lambda: not app.broker.depths())
    assert Shaky.cut == ""
    assert sorted(ran) == list(range(-1, 30))


class Away(MemoryStore):
    """A store that is away until it is told otherwise."""

    schemes = ("away",)

    def __init__(self) -> None:
        super().__init__("memory://worker")
        self.away = True
        self.asked = threading.Event()

    def store(self, records: Any) -> None:
        if self.away:
            self.asked.set()
            raise StoreError("away")
        super().store(records)


def test_results_wait_for_a_store_that_is_away(app: Celeriac) -> None:
    away = Away()
    app._store = (away,)
    assert not app.broker.shares(away)

    @app.task
    def job(n: int) -> int:
        return n

    with working(app):
        results = app.send_many(job.s(n) for n in range(50))
        assert away.asked.wait(PATIENCE)
        away.away = False
        assert [result.get(PATIENCE) for result in results] == list(range(50))


def test_a_consumer_that_lost_its_lease_ends_without_a_word_to_the_broker(app: Celeriac) -> None:
    begun, go_on = threading.Event(), threading.Event()
    runs: list[str] = []

    @app.task
    def slow(name: str) -> str:
        begun.set()
        assert go_on.wait(2 * PATIENCE)
        runs.append(name)
        return name

    worker = SoloWorker(app, WorkerOptions().resolve(app.conf))
    thread = threading.Thread(target=worker.run)
    thread.start()
    result = slow.delay("a")
    assert begun.wait(PATIENCE)
    broker: Broker = app.broker
    broker.register("thief", 60)
    stolen = broker.adopt(worker.recorder.consumer, "thief", expired_only=False)
    assert len(stolen) == 1
    go_on.set()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert result.state == "PENDING"  # the stale holder's result was refused
    assert (
        broker.settle("thief", [Settlement(stolen[0].tag, record=Record(result.id, "SUCCESS", b'"theirs"'))])
        == set()
    )


def test_suspects_run_alone(app: Celeriac) -> None:
    alongside: list[int] = []

    @app.task(name="suspect", ignore_result=True)
    def suspect() -> None:
        alongside.append(sum(depth.in_flight for depth in app.broker.depths().values()))

    @app.task(ignore_result=True)
    def quick() -> None: ...

    marked = message("suspect")
    marked.properties.celeriac_suspect = True
    with working(app):
        app.send_many(quick.s() for _ in range(300))
        until(lambda: not app.broker.depths())
        with app.batch():
            for _ in range(50):
                quick.delay()
        put(app, protocol.encode(marked, "celery"))
        app.send_many(quick.s() for _ in range(50))
        until(lambda: not app.broker.depths())
    assert alongside == [1]


def test_the_envelope_survives_a_retry_with_custom_headers(app: Celeriac) -> None:
    headers: list[Any] = []

    @app.task(bind=True)
    def job(self: Task) -> None:
        headers.append(
            (self.request.headers, self.request.parent_id, self.request.delivery_info["routing_key"])
        )
        if self.request.retries == 0:
            raise self.retry(countdown=0)

    with working(app):
        result = job.apply_async(headers={"tenant": {"id": 7}})
        result.get(PATIENCE)
    assert headers == [({"tenant": {"id": 7}}, None, "celery"), ({"tenant": {"id": 7}}, result.id, "celery")]
    assert msgspec.json.encode(headers)
