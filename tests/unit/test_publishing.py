"""The signals around publishing: when they are sent, with what, and what a receiver can change."""

import logging
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from celeriac import Celeriac, Task
from celeriac.brokers.memory import MemoryBroker
from celeriac.message import protocol
from celeriac.message.message import Message
from celeriac.signals import after_task_publish, before_task_publish
from celeriac.worker.options import WorkerOptions
from celeriac.worker.solo import SoloWorker

URL = "memory://publishing"


@pytest.fixture
def app(tmp_path: Any) -> Iterator[Celeriac]:
    made = Celeriac("publishing", broker=URL, backend=URL, worker_state_dir=str(tmp_path))
    yield made
    MemoryBroker(URL).clear()
    made.close()


@pytest.fixture
def told() -> Iterator[list[Any]]:
    """What both signals tell, in order; a receiver puts a header into each message on its way."""
    lines: list[Any] = []

    def before(sender: str, headers: dict[str, Any], **more: Any) -> None:
        lines.append(("before", sender, SimpleNamespace(headers=dict(headers), **more)))
        headers["x-trace"] = f"trace {sum(1 for line in lines if line[0] == 'before')}"

    def after(sender: str, headers: dict[str, Any], **more: Any) -> None:
        lines.append(("after", sender, SimpleNamespace(headers=headers, **more)))

    before_task_publish.connect(before)
    after_task_publish.connect(after)
    yield lines
    before_task_publish.disconnect(before)
    after_task_publish.disconnect(after)


def kinds(told: list[Any]) -> list[str]:
    return [kind for kind, *_ in told]


def waiting(app: Celeriac) -> list[Message]:
    app.broker.register("looks", 60)
    deliveries = app.broker.claim("looks", ["celery", "other"], 100, 1)
    return [protocol.decode(delivery.payload) for delivery in deliveries]


@pytest.fixture
def add(app: Celeriac) -> Task:
    @app.task(name="shop.add")
    def add(x: int, y: int = 0) -> int:
        return x + y

    made: Task = add
    return made


@pytest.mark.parametrize("number", [1, 2])
def test_arguments(app: Celeriac, add: Task, told: list[Any], number: int) -> None:
    app.conf.update(task_protocol=number)
    given = {"headers": {"mine": 1}, "queue": "other", "priority": 3, "compression": "gzip", "shadow": "sum"}
    result = add.apply_async((1,), {"y": 2}, **given)
    (_, sender, before), (_, sender_after, after) = told
    assert sender == sender_after == "shop.add"
    for each in (before, after):
        assert (each.exchange, each.routing_key) == ("", "other")
        args, kwargs, embed = each.body
        assert (args, kwargs) == ([1], {"y": 2})
        assert set(embed) == {"callbacks", "errbacks", "chain", "chord"}
        assert each.headers["id"] == result.id
        assert each.headers["task"] == "shop.add"
        assert each.headers["argsrepr"] == "(1,)"
        assert each.headers["mine"] == 1
    assert before.headers["shadow"] == "sum"
    assert before.properties["correlation_id"] == result.id
    assert before.properties["priority"] == 3
    assert (before.declare, before.retry_policy) == ([], {})
    assert "x-trace" not in before.headers
    assert after.headers["x-trace"] == "trace 1"
    (message,) = waiting(app)
    assert protocol.custom_headers(message) == {"mine": 1, "x-trace": "trace 1"}


def test_a_batch_is_told_call_by_call_and_again_when_it_is_published(
    app: Celeriac, add: Task, told: list[Any]
) -> None:
    with app.batch():
        first, second = add.delay(1), add.delay(2)
        assert kinds(told) == ["before", "before"]
    assert kinds(told) == ["before", "before", "after", "after"]
    ids = [first.id, second.id]
    assert [each.headers["id"] for _, _, each in told] == [*ids, *ids]
    assert [message.custom for message in waiting(app)] == [{"x-trace": "trace 1"}, {"x-trace": "trace 2"}]


def test_by_name_too(app: Celeriac, told: list[Any]) -> None:
    app.send_task("elsewhere.task", [1])
    assert [line[:2] for line in told] == [("before", "elsewhere.task"), ("after", "elsewhere.task")]


def test_nothing_is_told_of_a_call_that_is_not_published(app: Celeriac, add: Task, told: list[Any]) -> None:
    assert add.apply((1, 2)).get() == 3
    app.conf.update(task_always_eager=True)
    assert add.delay(1, 2).get() == 3

    @app.task(bind=True, max_retries=1)
    def again(self: Task) -> int:
        if self.request.retries == 0:
            raise self.retry(countdown=0)
        return self.request.retries

    assert again.delay().get() == 1
    assert told == []


def test_after_is_not_told_where_the_broker_refuses(
    app: Celeriac, add: Task, told: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    app.broker.close()

    class Down(MemoryBroker):
        def publish(self, publications: Any, timeout: float) -> None:
            raise ConnectionError("away")

    monkeypatch.setattr(app, "_broker", Down(URL))
    with pytest.raises(ConnectionError):
        add.delay(1)
    assert kinds(told) == ["before"]


def test_a_retry_is_published_too(app: Celeriac, told: list[Any]) -> None:
    seen: list[Any] = []

    @app.task(bind=True, max_retries=3)
    def flaky(self: Task, x: int) -> None:
        seen.append((self.request.headers, self.request.get("x-trace"), self.request.get("x-other", "none")))
        if self.request.retries == 0:
            raise self.retry(countdown=0, args=(x + 1,), queue="other")
        worker.stop()

    flaky.delay(1)
    worker = SoloWorker(app, WorkerOptions(queues=("celery", "other")).resolve(app.conf))
    assert worker.run() == 0
    assert kinds(told) == ["before", "after", "before", "after"]
    before, after = told[2][2], told[3][2]
    assert before.headers["retries"] == after.headers["retries"] == 1
    assert before.headers["x-trace"] == "trace 1"
    assert after.headers["x-trace"] == "trace 2"
    assert before.routing_key == after.routing_key == "other"
    assert before.body[:2] == after.body[:2] == ([2], {})
    traces = [({"x-trace": trace}, trace, "none") for trace in ("trace 1", "trace 2")]
    assert seen == traces


def test_headers_are_attributes_of_the_request(app: Celeriac, told: list[Any]) -> None:
    seen: list[Any] = []

    @app.task(bind=True)
    def look(self: Task) -> None:
        seen.append((self.request.traceparent, self.request.id, hasattr(self.request, "nothing")))
        worker.stop()

    result = look.apply_async(headers={"traceparent": "00-1"})
    worker = SoloWorker(app, WorkerOptions().resolve(app.conf))
    assert worker.run() == 0
    assert seen == [("00-1", result.id, False)]


def test_what_cannot_travel_is_told_and_left_out(
    app: Celeriac, add: Task, caplog: pytest.LogCaptureFixture
) -> None:
    def spoil(headers: dict[Any, Any], **_more: Any) -> None:
        headers |= {"good": 1, "bad": object(), 3: "three", "id": "other", "task": "other"}
        raise ValueError("and it fails")

    before_task_publish.connect(spoil)
    with caplog.at_level(logging.ERROR):
        result = add.delay(1)
    before_task_publish.disconnect(spoil)
    (message,) = waiting(app)
    assert (message.headers.id, message.headers.task) == (result.id, "shop.add")
    assert message.custom == {"good": 1}
    assert "set the header 'bad' of shop.add to <object" in caplog.text
    assert "and it fails" in caplog.text


def test_headers_can_be_taken_away(app: Celeriac, add: Task) -> None:
    def clean(headers: dict[str, Any], **_more: Any) -> None:
        del headers["mine"]

    before_task_publish.connect(clean)
    add.apply_async((1,), headers={"mine": 1})
    before_task_publish.disconnect(clean)
    (message,) = waiting(app)
    assert message.custom is None
