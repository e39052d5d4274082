"""`link` and `link_error`: what follows a task, how it is sent or called, and what of it is stored."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from celeriac import AsyncResult, Celeriac, Ignore, Reject, Task
from celeriac.message import protocol, serializers
from celeriac.testing import Queue


class Shop:
    """An app with a few tasks, and a note of what they did."""

    def __init__(self) -> None:
        self.app = Celeriac("shop", broker="memory://not-for-tests", backend="memory://not-for-tests")
        self.done: list[Any] = []
        self.define_tasks()
        self.define_callbacks()
        self.define_parents()

    def define_tasks(self) -> None:
        task = self.app.task

        @task(name="add")
        def add(x: int, y: int) -> int:
            self.done.append(("add", x, y))
            return x + y

        @task(name="fail")
        def fail(text: str = "no") -> None:
            raise LookupError(text)

        @task(name="twice", bind=True, max_retries=1, default_retry_delay=0)
        def twice(task_: Task, n: int) -> int:
            if not task_.request.retries:
                raise task_.retry(args=(n + 1,))
            return n

        @task(name="ignored")
        def ignored() -> None:
            raise Ignore

        @task(name="rejected")
        def rejected() -> None:
            raise Reject("for a reason")

        @task(name="thing")
        def thing() -> object:
            return object()

        @task(name="coroutine")
        async def coroutine(fails: bool = False) -> str:
            if fails:
                raise LookupError("in a coroutine")
            return "from a coroutine"

    def define_callbacks(self) -> None:
        task = self.app.task

        @task(name="note")
        def note(*what: Any, **named: Any) -> None:
            self.done.append(("note", what, named))

        @task(name="by_id")
        def by_id(task_id: str) -> None:
            self.done.append(("by_id", task_id))

        @task(name="by_error")
        def by_error(request: Any, error: BaseException, traceback: str, more: int = 0) -> None:
            last = traceback.strip().splitlines()[-1]
            self.done.append(("by_error", request.id, type(error).__name__, str(error), last, more))

        @task(name="bound", bind=True)
        def bound(self_: Task, task_id: str, more: int = 0) -> None:
            self.done.append(("bound", task_id, self_.request.parent_id))

        @task(name="broken")
        def broken(request: Any, error: BaseException, traceback: str) -> None:
            raise RuntimeError("a broken errback")

    def define_parents(self) -> None:
        task, note = self.app.task, self.note

        @task(name="parent", bind=True)
        def parent(task_: Task, **options: Any) -> list[str]:
            sent = [note.apply_async((n,), **options).id for n in range(3)]
            assert [child.id for child in task_.request.children or ()] == (sent if not options else [])
            return sent

        @task(name="quiet", trail=False)
        def quiet() -> str:
            return note.delay().id

        @task(name="many")
        def many() -> None:
            self.app.send_many(note.s() for _ in range(1500))

    def __getattr__(self, name: str) -> Any:
        return self.app.tasks[name]


@pytest.fixture
def shop() -> Iterator[Shop]:
    shop = Shop()
    yield shop
    shop.app.close()


@pytest.fixture
def queue(shop: Shop) -> Iterator[Queue]:
    with Queue(shop.app) as queue:
        yield queue


def drain(queue: Queue) -> None:
    queue.drain(raise_errors=False)


def test_a_callback_gets_the_value_first(shop: Shop, queue: Queue) -> None:
    result = shop.add.apply_async((1, 2), link=shop.add.s(10))
    drain(queue)
    assert shop.done == [("add", 1, 2), ("add", 3, 10)]
    (child,) = result.children
    assert child.get() == 13
    assert child.children == []
    assert AsyncResult("never-sent", shop.app).children is None


def test_several_callbacks_and_callbacks_of_callbacks(shop: Shop, queue: Queue) -> None:
    first = shop.add.s(10)
    first.link(shop.note.s(mark="second"))
    result = shop.add.apply_async(
        (1, 2), link=[first, shop.note.si("fixed"), shop.by_id.s().set(queue="other")]
    )
    assert [call.task for call in queue.calls] == ["add"]
    drain(queue)
    assert sorted(shop.done, key=repr) == [
        ("add", 1, 2),
        ("add", 3, 10),
        ("by_id", 3),
        ("note", ("fixed",), {}),
        ("note", (13,), {"mark": "second"}),
    ]
    assert len(result.children) == 3
    assert {call.task: call.queue for call in queue.calls}["by_id"] == "other"


def test_ids_tell_where_a_callback_comes_from(shop: Shop, queue: Queue) -> None:
    result = shop.add.apply_async((1, 2), link=shop.coroutine.si().set(task_id="mine"))
    drain(queue)
    record = AsyncResult("mine", shop.app).record
    assert record is not None
    assert (record.parent_id, record.root_id) == (result.id, result.id)


def test_one_of_a_task_that_is_not_known_here_is_sent(shop: Shop, queue: Queue) -> None:
    shop.add.apply_async((1, 2), link=shop.app.signature("elsewhere.job", queue="elsewhere"))
    drain(queue)
    call = queue.assert_enqueued("elsewhere.job", args=(3,), queue="elsewhere")
    assert call is not None


def test_nothing_follows_what_did_not_succeed(shop: Shop, queue: Queue) -> None:
    for task in (shop.fail, shop.ignored, shop.rejected):
        task.apply_async(link=shop.note.s())
    drain(queue)
    assert shop.done == []


def test_links_survive_a_retry_with_other_arguments(shop: Shop, queue: Queue) -> None:
    shop.twice.apply_async((1,), link=shop.note.s(), link_error=shop.by_id.s())
    drain(queue)
    assert shop.done == [("note", (2,), {})]


def test_coroutines_are_followed_too(shop: Shop, queue: Queue) -> None:
    shop.coroutine.apply_async(link=shop.note.s())
    failed = shop.coroutine.apply_async((True,), link_error=[shop.by_error.s(), shop.by_id.s()])
    drain(queue)
    assert [one[:3] for one in shop.done] == [
        ("by_error", failed.id, "LookupError"),
        ("note", ("from a coroutine",), {}),
        ("by_id", failed.id),
    ]


def test_errbacks(shop: Shop, queue: Queue) -> None:
    errbacks = [
        shop.by_id.s(),
        shop.by_error.s(7),
        shop.bound.s(),
        shop.note.si("fixed"),
        shop.app.signature("elsewhere.job"),
    ]
    result = shop.fail.apply_async(("gone",), link_error=errbacks, link=shop.note.s("never"))
    drain(queue)
    called = ("by_error", result.id, "LookupError", "gone", "LookupError: gone", 7)
    assert shop.done == [
        called,  # in the worker, at once
        ("note", ("fixed",), {}),  # so is this, which takes any number of arguments
        ("by_id", result.id),
        ("bound", result.id, result.id),
    ]
    queue.assert_enqueued("elsewhere.job", args=(result.id,))
    assert result.state == "FAILURE"


def test_a_rejected_task_has_failed(shop: Shop, queue: Queue) -> None:
    result = shop.rejected.apply_async(link_error=shop.by_id.s())
    drain(queue)
    assert shop.done == [("by_id", result.id)]


def test_a_broken_errback_stops_nothing(shop: Shop, queue: Queue, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        result = shop.fail.apply_async(link_error=[shop.broken.s(), shop.by_id.s(), shop.add.s()])
        drain(queue)
    assert shop.done == [("by_id", result.id)]
    assert isinstance(result.result, LookupError)
    told = [record.message for record in caplog.records if "link_error" in record.message]
    assert told == [f"link_error of fail[{result.id}] failed: {name}" for name in ("broken", "add")]


def test_a_callback_that_cannot_be_sent_is_a_failure(shop: Shop, queue: Queue) -> None:
    wrong = shop.add.apply_async((1, 2), link=shop.add.s(3, 4), link_error=shop.by_id.s())
    thing = shop.thing.apply_async(link=shop.note.s(), ignore_result=True, link_error=shop.by_id.s())
    drain(queue)
    assert shop.done == [("add", 1, 2), ("by_id", wrong.id), ("by_id", thing.id)]
    assert "too many positional" in str(wrong.result)


def test_children_are_what_a_task_has_sent(shop: Shop, queue: Queue) -> None:
    parent, quiet, many = shop.parent.delay(), shop.quiet.delay(), shop.many.delay()
    alone = shop.parent.delay(add_to_parent=False)
    queue.drain(limit=2000)
    assert [child.id for child in parent.children] == parent.get()
    assert alone.children == []
    assert quiet.children == []
    assert len(many.children) == 1000


EMBEDS = [
    ({"chain": [{"task": "add"}]}, "carries chain"),
    ({"chord": {"task": "add"}}, "carries chord"),
    ({"callbacks": [{"task": "celery.chain", "subtask_type": "chain"}]}, "carries a chain in callbacks"),
    ({"callbacks": [{"task": 7}]}, "callbacks is not a list of signatures"),
    ({"callbacks": "add"}, "callbacks is not a list of signatures"),
    ({"errbacks": [None]}, "errbacks is not a list of signatures"),
    ({"errbacks": [{"task": "add", "args": 7}]}, "errbacks is not a list of signatures"),
    ({"callbacks": [{"task": "add", "kwargs": [1]}]}, "callbacks is not a list of signatures"),
    ({"callbacks": [{"task": "add", "options": "x"}]}, "callbacks is not a list of signatures"),
    ({"callbacks": 7}, "callbacks is not a list of signatures"),
]


@pytest.mark.parametrize(("embed", "why"), EMBEDS)
def test_what_cannot_follow_keeps_the_task_from_running(
    shop: Shop, queue: Queue, embed: dict[str, Any], why: str
) -> None:
    """What follows would be lost in silence."""
    send(shop, [[1, 2], {}, embed])
    drain(queue)
    assert shop.done == []
    (letter,) = shop.app.broker.dead_letters()
    assert why in letter.reason


def test_options_that_are_celerys_own_do_not_matter(shop: Shop, queue: Queue) -> None:
    callback = {
        "task": "note",
        "args": [],
        "kwargs": {},
        "options": {"reply_to": "x", "task_id": "abc", "producer": None, "chord": None, "queue": "q"},
        "subtask_type": None,
        "immutable": False,
        "chord_size": None,
    }
    send(shop, [[1, 2], {}, {"callbacks": [callback], "errbacks": None, "chain": None, "chord": None}])
    drain(queue)
    assert shop.done == [("add", 1, 2), ("note", (3,), {})]
    assert AsyncResult("abc", shop.app).state == "SUCCESS"


def send(shop: Shop, body: list[Any]) -> None:
    publication = shop.app.publication("add", (1, 2), {}, {})
    message = protocol.decode(publication.payload)
    message.body = serializers.json_dumps(body)
    publication.payload = protocol.encode(message, "celery")
    shop.app.publish([publication])


@pytest.mark.parametrize("serializer", ["json", "msgpack", "yaml"])
def test_links_travel_with_every_serializer(serializer: str) -> None:
    app = Celeriac("serializers", broker="memory://s", backend="memory://s", accept_content=[serializer])
    done = []
    note = app.task(name="note")(lambda *what: done.append(what))
    add = app.task(name="add", serializer=serializer)(lambda x, y: x + y)
    with Queue(app) as queue:
        callback = note.s("after").set(serializer=serializer)
        callback.link(note.s("last").set(serializer=serializer))
        add.apply_async((1, 2), link=callback)
        queue.drain()
    assert done == [(3, "after"), (None, "last")]
    app.close()


def test_eagerly(shop: Shop) -> None:
    shop.app.conf.task_always_eager = True
    shop.add.apply_async((1, 2), link=[shop.add.s(10), shop.note.si("second")])
    failed = shop.fail.apply_async(link_error=[shop.by_id.s(), shop.by_error.s()])
    assert shop.done == [
        ("add", 1, 2),
        ("add", 3, 10),
        ("note", ("second",), {}),
        ("by_id", failed.id),
        ("by_error", failed.id, "LookupError", "no", "LookupError: no", 0),
    ]


def test_apply_sends_its_callbacks_and_calls_its_errbacks(shop: Shop) -> None:
    with Queue(shop.app) as queue:
        shop.add.apply((1, 2), link=shop.note.s())
        queue.assert_enqueued("note", args=(3,))
        failed = shop.fail.apply(link_error=shop.by_id.s())
        assert shop.done == [("add", 1, 2), ("by_id", failed.id)]
