"""The task API on the caller's side: sending, options, batches, eager mode, results."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from celeriac import AsyncResult, Celeriac, registry, shared_task
from celeriac.app import AlwaysEagerIgnored
from celeriac.brokers.memory import MemoryBroker
from celeriac.context import current
from celeriac.errors import (
    CallError,
    EncodeError,
    ImproperlyConfigured,
    MaxRetriesExceededError,
    NotATask,
    Retry,
    TaskTimeout,
    UnknownOption,
    UnstorableResult,
    WaitInTask,
    WaitInTransaction,
    WrongOption,
)
from celeriac.message import protocol
from celeriac.message.message import Message
from celeriac.naming import DuplicateTaskNameWarning
from celeriac.result import allow_join_result
from celeriac.store import Record
from celeriac.task import Task
from tests.unit.running import PATIENCE


@pytest.fixture
def app() -> Iterator[Celeriac]:
    made = Celeriac("unit", broker="memory://unit", backend="memory://unit")
    yield made
    broker = made.broker
    assert isinstance(broker, MemoryBroker)
    broker.clear()
    made.close()


def waiting(app: Celeriac, queue: str = "celery") -> list[Message]:
    """Claim everything that is ready."""
    app.broker.register("looker", 60)
    return [protocol.decode(delivery.payload) for delivery in app.broker.claim("looker", [queue], 1000, 1)]


def test_delay_puts_a_message_of_protocol_2_on_the_default_queue(app: Celeriac) -> None:
    @app.task(name="shop.add")
    def add(x: int, y: int = 2) -> int:
        return x + y

    before = time.time()
    result = add.delay(1, y=5)
    (message,) = waiting(app)
    assert message.headers.id == result.id == str(result)
    assert message.headers.task == "shop.add"
    assert message.headers.root_id == result.id
    assert message.headers.parent_id is None
    assert message.headers.argsrepr == "(1,)"
    assert message.headers.kwargsrepr == "{'y': 5}"
    assert message.headers.origin is not None and message.headers.origin.startswith("gen")
    assert message.body == b'[[1],{"y":5},{"callbacks":null,"errbacks":null,"chain":null,"chord":null}]'
    assert message.properties.correlation_id == result.id
    assert message.properties.delivery_mode == 2
    assert before <= (message.properties.timestamp or 0) <= time.time()


def test_apply_async_options_reach_the_message(app: Celeriac) -> None:
    @app.task(queue="mails", priority=3)
    def send(x: int) -> None: ...

    send.apply_async(
        (1,), task_id="my-id", headers={"x-tenant": 7}, ignore_result=True, shadow="sending", priority=8
    )
    send.apply_async(kwargs={"x": 2}, queue="other", time_limit=9, soft_time_limit=4)
    (first,) = waiting(app, "mails")
    assert first.headers.id == "my-id"
    assert protocol.custom_headers(first) == {"x-tenant": 7}
    assert first.headers.ignore_result is True
    assert first.headers.shadow == "sending"
    assert first.properties.priority == 8
    app.broker.unregister("looker")
    messages = {message.headers.task: message for message in waiting(app, "other")}
    assert next(iter(messages.values())).headers.timelimit == (9.0, 4.0)
    assert next(iter(messages.values())).properties.priority == 3


@pytest.mark.parametrize(
    ("options", "seconds"),
    [
        ({"countdown": 50}, 50),
        ({"eta": lambda: datetime.now(UTC) + timedelta(seconds=70)}, 70),
        ({"eta": lambda: (datetime.now(UTC) + timedelta(seconds=80)).isoformat()}, 80),
        ({"countdown": 50, "eta": lambda: datetime.now(UTC) + timedelta(hours=1)}, 50),
    ],
)
def test_scheduled_calls_wait_in_the_broker(app: Celeriac, options: dict[str, Any], seconds: float) -> None:
    @app.task
    def later() -> None: ...

    later.apply_async(**{name: value() if callable(value) else value for name, value in options.items()})
    assert waiting(app) == []
    assert app.broker.depths()["celery"].scheduled == 1
    before = time.time()
    publication = app._sender.publication(later, (), {}, {"countdown": seconds})  # type: ignore[union-attr]
    assert publication.due is not None and before <= publication.due - seconds <= time.time()


def test_a_call_that_is_due_already_runs_at_once(app: Celeriac) -> None:
    @app.task
    def now() -> None: ...

    now.apply_async(countdown=-5)
    assert len(waiting(app)) == 1


def test_expires_is_an_absolute_time_and_a_ttl(app: Celeriac) -> None:
    @app.task(expires=60)
    def short() -> None: ...

    before = time.time()
    short.delay()
    (message,) = waiting(app)
    assert message.headers.expires is not None
    assert before - 1e-6 <= datetime.fromisoformat(message.headers.expires).timestamp() - 60 <= time.time()
    assert message.properties.expiration == "60000"


def test_all_times_of_a_call_count_from_one_moment(app: Celeriac) -> None:
    """Also where the process is not scheduled for a while as it sends."""
    times = itertools.count(1_800_000_000.0, 100.0)
    sender = app.sender(lambda: next(times))
    options = {"countdown": 50, "expires": 60}
    publication = app.publication("elsewhere", (), {}, options, sender=sender)
    message = protocol.decode(publication.payload)
    assert (message.properties.timestamp, publication.due) == (1_800_000_000.0, 1_800_000_050.0)
    assert datetime.fromisoformat(message.headers.expires or "").timestamp() == 1_800_000_060.0
    assert message.properties.expiration == "60000"


@pytest.mark.parametrize(
    "bad",
    [
        {"countdown": "10"},
        {"countdown": True},
        {"eta": "tomorrow"},
        {"priority": 10},
        {"priority": "high"},
        {"expires": "soon"},
        {"countdown": 1e13},
        {"countdown": float("nan")},
        {"expires": float("inf")},
        {"task_id": 77},
        {"task_id": ""},
        {"queue": 5},
        {"headers": ["x"]},
        {"headers": {7: "x"}},
    ],
)
def test_options_of_the_wrong_kind_are_refused_where_they_are_given(
    app: Celeriac, bad: dict[str, Any]
) -> None:
    @app.task
    def job() -> None: ...

    with pytest.raises(CallError, match=rf"^{next(iter(bad))} .* At \S*test_app.py:\d+$"):
        job.apply_async(**bad)
    assert waiting(app) == []


def test_a_uuid_is_a_task_id(app: Celeriac) -> None:
    @app.task
    def job() -> None: ...

    number = uuid4()
    assert job.apply_async(task_id=number).id == str(number)
    assert [message.headers.id for message in waiting(app)] == [str(number)]


def test_args_must_be_a_sequence_and_kwargs_a_mapping(app: Celeriac) -> None:
    @app.task
    def job(text: str) -> None: ...

    with pytest.raises(TypeError, match="list or tuple"):
        job.apply_async("text")
    with pytest.raises(TypeError, match="dict"):
        job.apply_async(("x",), ["y"])


def test_unknown_options_name_the_nearest_one(app: Celeriac) -> None:
    @app.task
    def job() -> None: ...

    with pytest.raises(UnknownOption, match="Did you mean 'queue'"):
        job.apply_async(que="x")
    with pytest.raises(UnknownOption, match="Did you mean 'max_retries'"):
        app.task(max_retires=3)(lambda: None)
    with pytest.raises(UnknownOption, match="this release"):
        job.apply_async(chord=job.s())
    with pytest.raises(UnknownOption, match=r"send_many\(\) has no option 'que'"):
        app.send_many([(job, (), {}, {"que": "x"})])
    with pytest.raises(UnknownOption, match=r"apply\(\) has no option 'que'"):
        job.apply(que="x")


def test_retry_refuses_what_it_would_not_heed(app: Celeriac) -> None:
    @app.task(bind=True)
    def job(self: Task, options: dict[str, Any]) -> None:
        self.retry(countdown=0, **options)

    with pytest.raises(UnknownOption, match="Did you mean 'queue'"):
        job.apply(({"que": "x"},)).get()
    with pytest.raises(UnknownOption, match=r"retry\(\) does not support the option 'expires'"):
        job.apply(({"expires": 5},)).get()


def test_the_decorator_called_with_a_function_takes_options(app: Celeriac) -> None:
    assert app.task(lambda: None, name="shop.nothing", queue="quiet").queue == "quiet"
    assert "shop.nothing" in app.tasks


def test_packages_to_look_for_tasks_in_may_come_of_a_function(app: Celeriac) -> None:
    app.autodiscover_tasks(lambda: ["celeriac"], related_name="states")
    assert app.load_tasks() == ["celeriac.states"]


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [((), {}), ((1, 2, 3, 4), {}), ((1,), {"a": 2}), ((1, 2), {"nope": 3}), ((), {"b": 1})],
)
def test_arguments_that_do_not_fit_are_refused_with_the_signature(
    app: Celeriac, args: tuple[int, ...], kwargs: dict[str, int]
) -> None:
    @app.task(name="shop.f")
    def f(a: int, b: int, c: int = 0) -> None: ...

    with pytest.raises(CallError, match=r"shop\.f\(a: .*test_app\.py:\d+"):
        f.delay(*args, **kwargs)
    assert waiting(app) == []


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [((1, 2), {}), ((1,), {"b": 2}), ((), {"a": 1, "b": 2}), ((1, 2), {"c": 3}), ((1, 2, 3), {})],
)
def test_arguments_that_fit_pass(app: Celeriac, args: tuple[int, ...], kwargs: dict[str, int]) -> None:
    @app.task
    def f(a: int, b: int, c: int = 0) -> None: ...

    f.delay(*args, **kwargs)
    assert len(waiting(app)) == 1


def test_star_and_keyword_only_parameters(app: Celeriac) -> None:
    @app.task
    def f(a: int, *rest: int, key: int, **more: int) -> None: ...

    f.delay(1, 2, 3, key=4, other=5)
    with pytest.raises(CallError, match="key"):
        f.delay(1)

    @app.task
    def g(a: int, /, b: int) -> None: ...

    g.delay(1, b=2)
    with pytest.raises(CallError):
        g.delay(a=1, b=2)


def test_typing_false_leaves_the_check_to_the_worker(app: Celeriac) -> None:
    @app.task(typing=False)
    def f(a: int) -> None: ...

    f.delay()
    assert len(waiting(app)) == 1


def test_send_many_and_batch_publish_all_or_nothing(app: Celeriac) -> None:
    @app.task
    def f(a: int) -> None: ...

    results = app.send_many([f.s(1), (f, (2,)), (f, (), {"a": 3}), (f, (4,), {}, {"queue": "other"})])
    assert [type(result) for result in results] == [AsyncResult] * 4
    assert app.broker.depths()["celery"].ready == 3
    assert app.broker.depths()["other"].ready == 1
    with pytest.raises(CallError):
        app.send_many([f.s(1), f.s()])
    with pytest.raises(RuntimeError), app.batch():
        f.delay(5)
        raise RuntimeError
    assert app.broker.depths()["celery"].ready == 3
    with app.batch():
        f.delay(6)
        with app.batch():
            f.delay(7)
        assert app.broker.depths()["celery"].ready == 3
    assert app.broker.depths()["celery"].ready == 5


def test_waiting_for_a_batch_that_is_not_sent_would_never_end(app: Celeriac) -> None:
    @app.task
    def f() -> None: ...

    with app.batch():
        inside = f.delay()
        with pytest.raises(WaitInTransaction, match="batch"):
            inside.get()
    with pytest.raises(TaskTimeout):
        inside.get(timeout=0.01)
    with pytest.raises(ZeroDivisionError), app.batch():
        lost = f.delay()
        raise ZeroDivisionError
    with pytest.raises(WaitInTransaction, match="not sent"):
        lost.get()


def test_a_batch_is_of_one_app(app: Celeriac) -> None:
    other = Celeriac("other", broker="memory://other", set_as_current=False)
    task = other.task(lambda: None)
    with pytest.raises(ZeroDivisionError), app.batch():
        task.delay()
        raise ZeroDivisionError
    assert other.broker.depths()["celery"].ready == 1
    assert isinstance(other.broker, MemoryBroker)
    other.broker.clear()
    other.close()


def test_routes_by_name_and_glob_give_way_to_attributes_and_options() -> None:
    app = Celeriac(
        "routes",
        broker="memory://routes",
        task_routes={"mail.*": "mails", "mail.urgent": {"queue": "urgent", "priority": 9}},
    )
    names = {}
    for name, options in {"mail.a": {}, "mail.urgent": {}, "mail.own": {"queue": "own"}, "else": {}}.items():
        task = app.task(name=name, **options)(lambda: None)
        names[name] = app._sender.publication(task, (), {}, {}) if app._sender else None
        task.delay()
    depths = app.broker.depths()
    assert {queue: depth.ready for queue, depth in depths.items()} == {
        "mails": 1,
        "urgent": 1,
        "own": 1,
        "celery": 1,
    }
    app.close()


def test_shared_tasks_go_through_the_current_app(app: Celeriac) -> None:
    @shared_task(name="unit.shared")
    def shared(x: int) -> int:
        return x

    try:
        shared.delay(1)
        assert len(waiting(app)) == 1
        assert app.tasks["unit.shared"] is shared
        other = Celeriac("other", broker="memory://unit-other")
        shared.delay(2)
        assert other.broker.depths()["celery"].ready == 1
        other.close()
        assert shared.app is app
    finally:
        del registry.shared_tasks["unit.shared"]


def test_the_current_app_and_task(app: Celeriac) -> None:
    other = Celeriac("other", broker="memory://unit-other")
    assert registry.current_app() is other
    app.set_default()
    assert registry.current_app() is app
    assert app.current_task is None

    @shared_task(name="unit.asks")
    def asks() -> str:
        app.finalize()
        assert app.current_task is asks
        return str(other.current_worker_task)

    try:
        assert asks.apply().get() == "<@task: unit.asks>"
        other.set_current()
        assert registry.current_app() is other
    finally:
        del registry.shared_tasks["unit.asks"]
        other.close()


def test_without_an_app_the_error_says_what_to_do() -> None:
    @shared_task(name="unit.lonely")
    def lonely() -> None: ...

    try:
        if not registry.has_app():
            with pytest.raises(ImproperlyConfigured, match="INSTALLED_APPS"):
                lonely.delay()
    finally:
        del registry.shared_tasks["unit.lonely"]


def test_two_functions_with_one_name_warn_and_the_first_stays(app: Celeriac) -> None:
    first = app.task(name="same")(lambda: 1)

    def other() -> int:
        return 2

    with pytest.warns(DuplicateTaskNameWarning, match="same"):
        app.task(name="same")(other)
    assert app.tasks["same"] is first


class TestSendTask:
    """Sending by name."""

    def test_no_task_of_the_name_need_be_there(self, app: Celeriac, caplog: pytest.LogCaptureFixture) -> None:
        app.task(name="shop.add")(lambda x: x)
        app.conf.update(task_routes={"mails.*": "mails"})
        result = app.send_task("mails.send", (1,), {"to": "a@b"}, task_id="my-id", priority=4, countdown=60)
        assert isinstance(result, AsyncResult) and result.id == "my-id"
        app.send_task("mails.send", ["now"], queue="other")
        assert waiting(app, "mails") == []  # due in a minute
        assert app.broker.depths()["mails"].scheduled == 1
        (message,) = waiting(app, "other")
        assert message.headers.task == "mails.send"
        assert message.headers.ignore_result is None
        assert message.headers.argsrepr == "('now',)"
        assert not caplog.records

    def test_a_registered_task_gives_its_options_and_its_signature(self, app: Celeriac) -> None:
        @app.task(name="shop.send", queue="mails", priority=3, ignore_result=True)
        def send(x: int) -> None: ...

        @shared_task(name="unit.shared", queue="mails")
        def shared() -> None: ...

        try:
            app.send_task("shop.send", kwargs={"x": 1})
            app.send_task("unit.shared")
            app.send_task("shop.send", [2], queue="other")
        finally:
            del registry.shared_tasks["unit.shared"]
        first, second = waiting(app, "mails")
        assert first.headers.ignore_result is True
        assert first.properties.priority == 3
        assert second.headers.task == "unit.shared"
        assert len(waiting(app, "other")) == 1
        with pytest.raises(CallError, match="missing a required argument: 'x'"):
            app.send_task("shop.send")

    def test_what_a_task_says_holds_from_its_registration_on(self, app: Celeriac) -> None:
        app.send_task("shop.late")
        app.task(name="shop.late", queue="mails")(lambda: None)
        app.send_task("shop.late")
        assert [len(waiting(app, queue)) for queue in ("celery", "mails")] == [1, 1]

    def test_calls_are_checked_as_far_as_a_name_tells(self, app: Celeriac) -> None:
        with pytest.raises(UnknownOption, match=r"send_task\(\) has no option 'que'. Did you mean 'queue'"):
            app.send_task("else.where", que="mails")
        with pytest.raises(TypeError, match="args must be a list or tuple, not str"):
            app.send_task("else.where", "ab")  # type: ignore[arg-type]
        with pytest.raises(EncodeError, match=r'Argument "#1" of else\.where is a set'):
            app.send_task("else.where", [{1}])
        assert app.broker.depths() == {}

    def test_e105_a_near_miss_is_told_once_and_sent(
        self, app: Celeriac, caplog: pytest.LogCaptureFixture
    ) -> None:
        app.task(name="shop.tasks.send_report")(lambda: None)
        for _ in range(2):
            app.send_task("shop.tasks.sned_report")
        (record,) = caplog.records
        assert record.levelname == "WARNING" and record.name == "celeriac"
        assert record.getMessage().startswith(
            'E105: there is no task "shop.tasks.sned_report" in this process. '
            'Did you mean "shop.tasks.send_report"? It is sent all the same'
        )
        assert "test_app.py:" in record.getMessage()
        assert [message.headers.task for message in waiting(app)] == ["shop.tasks.sned_report"] * 2

    def test_batches_take_it_and_eager_mode_does_not(self, app: Celeriac) -> None:
        with app.batch():
            app.send_task("else.where")
            assert app.broker.depths() == {}
        assert len(waiting(app)) == 1
        app.conf.update(task_always_eager=True)
        with pytest.warns(AlwaysEagerIgnored):
            app.send_task("else.where")
        assert len(waiting(app)) == 1


def test_what_is_no_task_is_refused_where_it_is_defined(app: Celeriac) -> None:
    with pytest.raises(ImproperlyConfigured, match="bind=True"):

        @app.task
        def method(self: Any) -> None: ...

    with pytest.raises(ImproperlyConfigured, match="generator"):

        @app.task
        def stream() -> Iterator[int]:
            yield 1

    @app.task
    def once() -> None: ...

    with pytest.raises(ImproperlyConfigured, match="already"):
        app.task(once)


def test_a_base_class_gives_defaults_and_methods(app: Celeriac) -> None:
    class Base(Task):
        max_retries = 7

        def helper(self) -> str:
            return f"helped {self.name}"

    @app.task(base=Base, bind=True, name="based")
    def based(self: Base) -> str:
        return self.helper()

    assert based.max_retries == 7
    assert based.apply().get() == "helped based"
    assert based() == "helped based"


def test_register_task_takes_a_class(app: Celeriac) -> None:
    class Adder(Task):
        name = "adder"

        def run(self, a: int, b: int) -> int:
            return a + b

    adder = app.register_task(Adder)
    assert adder.apply((1, 2)).get() == 3
    adder.delay(1, 2)
    with pytest.raises(CallError):
        adder.delay(1)


class TestEager:
    def test_apply_runs_through_the_execution_path(self, app: Celeriac) -> None:
        @app.task(bind=True)
        def who(self: Task, x: tuple[int, ...]) -> list[Any]:
            assert current.get() is not None
            return [self.request.id, self.request.retries, x]

        result = who.apply(((1, 2),), task_id="abc")
        assert result.get() == ["abc", 0, [1, 2]]  # tuples become lists, as on the wire
        assert result.successful() and result.ready() and result.state == "SUCCESS"
        assert current.get() is None

    def test_retries_run_inline(self, app: Celeriac) -> None:
        runs = []

        @app.task(autoretry_for=(ValueError,), retry_backoff=True, max_retries=2)
        def flaky() -> None:
            runs.append(1)
            raise ValueError("always")

        result = flaky.apply()
        assert len(runs) == 3
        assert result.state == "FAILURE"
        with pytest.raises(ValueError, match="always"):
            result.get()
        assert isinstance(result.get(propagate=False), ValueError)

    def test_always_eager_and_propagates(self) -> None:
        app = Celeriac("eager", task_always_eager=True, task_eager_propagates=True)

        @app.task
        def boom() -> None:
            raise KeyError("no")

        @app.task
        async def later(x: int) -> int:
            return x + 1

        with pytest.raises(KeyError):
            boom.delay()
        assert later.delay(1).get() == 2
        with pytest.raises(EncodeError):
            later.delay({1})
        app.close()


class TestRetry:
    def test_called_directly_it_raises_the_cause_or_retry(self, app: Celeriac) -> None:
        @app.task(bind=True)
        def job(self: Task, cause: Exception | None = None) -> None:
            raise self.retry(exc=cause)

        with pytest.raises(Retry):
            job()
        with pytest.raises(ValueError, match="x"):
            job(ValueError("x"))

    def test_limits(self, app: Celeriac) -> None:
        runs: list[int] = []

        @app.task(bind=True, max_retries=1)
        def job(self: Task, with_cause: bool, limit: int | None = None) -> None:
            runs.append(self.request.retries)
            raise self.retry(countdown=0, exc=OSError("cause") if with_cause else None, max_retries=limit)

        with pytest.raises(OSError, match="cause"):
            job.apply((True,)).get()
        assert runs == [0, 1]
        with pytest.raises(MaxRetriesExceededError, match="Can't retry"):
            job.apply((False,)).get()
        runs.clear()
        with pytest.raises(OSError, match="cause"):
            job.apply((True, 3)).get()
        assert runs == [0, 1, 2, 3]

    def test_arguments_can_be_replaced_and_retry_need_not_throw(self, app: Celeriac) -> None:
        seen = []

        @app.task(bind=True)
        def job(self: Task, n: int) -> int:
            seen.append(n)
            if n < 3:
                self.retry(args=(n + 1,), countdown=0, throw=False)
            return n

        result = job.apply((1,))
        assert result.get() == 3
        assert seen == [1, 2, 3]
        assert result.record is not None
        assert (result.record.args, result.record.kwargs) == ("(3,)", "{}")

    def test_it_stays_the_child_of_who_sent_it(self, app: Celeriac) -> None:
        @app.task(bind=True)
        def child(self: Task) -> None:
            if not self.request.retries:
                self.retry(countdown=0)

        @app.task(bind=True)
        def parent(self: Task) -> list[str | None]:
            record = child.apply().record
            assert record is not None
            return [record.parent_id, record.root_id, self.request.id]

        by, root, sender = parent.apply().get()
        assert by == root == sender


def test_get_times_out_refuses_inside_tasks_and_without_a_store(app: Celeriac) -> None:
    @app.task
    def idle() -> None: ...

    result = idle.delay()
    assert result.state == "PENDING" and not result.ready() and not result.exists()
    with pytest.raises(TaskTimeout):
        result.get(timeout=0.01)

    @app.task
    def waits() -> None:
        app.AsyncResult("x").get()

    with pytest.raises(WaitInTask):
        waits.apply().get()
    bare = Celeriac("bare", broker="memory://bare", set_as_current=False)
    with pytest.raises(ImproperlyConfigured, match="result_backend"):
        bare.AsyncResult("x").get()


def test_a_result_that_is_not_stored_is_not_waited_for(app: Celeriac) -> None:
    @app.task(ignore_result=True)
    def quiet() -> None: ...

    @app.task
    def loud() -> None: ...

    assert quiet.delay().get() is None
    assert asyncio.run(quiet.delay().aget()) is None
    assert quiet.delay_on_commit().get() is None
    assert loud.apply_async(ignore_result=True).get() is None
    with pytest.raises(TaskTimeout):
        quiet.apply_async(ignore_result=False).get(timeout=0.01)


def test_a_handle_is_made_of_an_id_alone(app: Celeriac) -> None:
    @app.task
    def job() -> None: ...

    sent = job.delay()
    app.store.store([Record(sent.id, "SUCCESS", b"5")])  # type: ignore[union-attr]
    assert AsyncResult(sent.id).get(timeout=PATIENCE) == 5


def test_coroutines_wait_without_blocking_the_loop(app: Celeriac) -> None:
    @app.task
    def job() -> None: ...

    async def main() -> int:
        sent = job.delay()
        with pytest.raises(TaskTimeout, match=r"within 0\.01 s"):
            await sent.aget(timeout=0.01)
        waiting = asyncio.ensure_future(sent.aget())
        await asyncio.sleep(0)
        app.store.store([Record(sent.id, "SUCCESS", b"5")])  # type: ignore[union-attr]
        return await asyncio.wait_for(waiting, PATIENCE)

    assert asyncio.run(main()) == 5
    assert asyncio.run(job.apply().aget()) is None


def test_an_app_without_a_broker_says_so() -> None:
    app = Celeriac("none", set_as_current=False)
    task = app.task(lambda: None)
    with pytest.raises(ImproperlyConfigured, match="broker_url is not set"):
        task.delay()


def test_children_know_parent_and_root(app: Celeriac) -> None:
    @app.task
    def inner() -> None: ...

    @app.task
    def outer() -> None:
        inner.delay()

    outer.apply(task_id="outer-id")
    (message,) = waiting(app)
    assert message.headers.parent_id == "outer-id"
    assert message.headers.root_id == "outer-id"


def test_on_commit_without_a_framework_is_at_once(app: Celeriac) -> None:
    @app.task
    def job(x: int) -> None: ...

    result = job.delay_on_commit(1)
    job.apply_async_on_commit((2,), priority=4)
    assert {message.headers.id for message in waiting(app)} >= {result.id}
    with pytest.raises(CallError):
        job.delay_on_commit()


def test_coroutines_send_without_blocking_the_loop(app: Celeriac) -> None:
    @app.task
    def job(x: int) -> None: ...

    async def view() -> list[str]:
        return [(await job.adelay(1)).id, (await job.aapply_async((2,), countdown=0)).id]

    ids = asyncio.run(view())
    assert [message.headers.id for message in waiting(app)] == ids


def deep(levels: int) -> list[Any]:
    nested: list[Any] = []
    for _ in range(levels):
        nested = [nested]
    return nested


def cyclic() -> list[Any]:
    values: list[Any] = [1]
    values.append(values)
    return values


@pytest.mark.parametrize(
    "value", [cyclic(), deep(100_000), {"a": [cyclic()]}], ids=["cycle", "deep", "inside"]
)
def test_an_argument_that_contains_itself_is_told(app: Celeriac, value: Any) -> None:
    task = app.task(name="nested")(lambda order: None)
    with pytest.raises(EncodeError, match=r'^"order.* of nested cannot be serialised as json: .*[^.]\.  At '):
        task.delay(value)


@pytest.mark.parametrize(
    "value", [object(), {1}, datetime.now(UTC), b"bytes", {"in": [{1: 2}]}, cyclic()], ids=range(6)
)
def test_headers_hold_what_json_has(app: Celeriac, value: Any) -> None:
    task = app.task(name="headed")(lambda: None)
    with pytest.raises(EncodeError, match="The header 'trace' is "):
        task.apply_async(headers={"trace": value})


@pytest.mark.parametrize("name", ["id", "lang", "retries", "stamps"])
def test_headers_of_the_protocol_cannot_be_set(app: Celeriac, name: str) -> None:
    task = app.task(name="headed")(lambda: None)
    with pytest.raises(CallError, match=f"headers cannot set '{name}'"):
        task.apply_async(headers={name: "x"})


def test_waiting_inside_a_task_only_for_those_who_say_so(app: Celeriac) -> None:
    @app.task(name="inner")
    def inner() -> int:
        return 5

    @app.task(name="outer")
    def outer(how: str) -> int:
        result = inner.apply()
        if how == "plain":
            return result.get()
        if how == "context":
            with allow_join_result():
                return result.get()
        return result.get(disable_sync_subtasks=False)

    with pytest.raises(WaitInTask, match="disable_sync_subtasks=False"):
        outer.apply(("plain",), throw=True)
    assert outer.apply(("context",), throw=True).get() == 5
    assert outer.apply(("option",), throw=True).get() == 5


def test_a_result_tells_what_is_stored_of_the_run(app: Celeriac) -> None:
    assert app.store is not None
    result: AsyncResult[Any] = app.AsyncResult("told")
    assert (result.name, result.args, result.worker, result.retries) == (None, None, None, None)
    assert result.maybe_throw() is None
    app.store.store(
        [Record("told", "FAILURE", b'{"exc_type":"KeyError","exc_message":["k"],"exc_module":"builtins"}', None,
                "shop.add", "(1,)", "{'y': 2}", "mails", "w1@host", 3, finished=1.0)]
    )  # fmt: skip
    assert (result.name, result.args, result.kwargs) == ("shop.add", "(1,)", "{'y': 2}")
    assert (result.queue, result.worker, result.retries) == ("mails", "w1@host", 3)
    with pytest.raises(KeyError):
        result.maybe_throw()
    assert isinstance(result.throw(propagate=False), KeyError)


def test_each_of_these_errors_has_its_number(app: Celeriac) -> None:
    task = app.task(name="numbered")(lambda: object())
    with pytest.raises(
        WrongOption, match=r"countdown must be a number of seconds, not .10.\.  At "
    ) as caught:
        task.apply_async(countdown="10")  # type: ignore[arg-type]
    assert (caught.value.code, isinstance(caught.value, CallError)) == ("E125", True)
    with pytest.raises(UnstorableResult, match="returned object, which cannot be stored") as told:
        task.apply(throw=True)
    assert told.value.code == "E118"
    with pytest.raises(NotATask, match="is not bound") as refused:
        app.task(name="unbound")(lambda self: None)
    assert refused.value.code == "E119"
