"""Where a call goes: routes in all their forms, declared queues, and what counts before what.

Wherever Celery 5.7 can be asked, its router is, with the same settings and the same call.
"""

import re
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import celery
import pytest
from kombu import Exchange, Queue

from celeriac import Celeriac
from celeriac.broker import Settlement
from celeriac.errors import CallError, ImproperlyConfigured, QueueNotFound, UnknownOption
from celeriac.worker.options import WorkerOptions

# Celery's word on attributes, which ours are not told of.
pytestmark = pytest.mark.filterwarnings("ignore:(?s).*task attribute is deprecated")
made: list[Celeriac] = []


@pytest.fixture(autouse=True)
def close_apps() -> Iterator[None]:
    yield
    while made:
        made.pop().close()


def ours(**settings: Any) -> Celeriac:
    app = Celeriac("routes", broker=f"memory://{uuid4().hex}", backend="disabled", **settings)
    made.append(app)
    return app


def theirs(**settings: Any) -> celery.Celery:
    app = celery.Celery("routes", broker="memory://", set_as_current=False)
    app.conf.update(settings)
    return app


def sent_to(app: Celeriac, task: Any, args: Any = (), kwargs: Any = None, **options: Any) -> tuple[str, int]:
    """Return the queue and priority with which a call is published."""
    task.apply_async(args, kwargs, **options)
    (queue,) = app.broker.depths()
    consumer = uuid4().hex
    app.broker.register(consumer, 60)
    (delivery,) = app.broker.claim(consumer, [queue], 1, 1)
    app.broker.settle(consumer, [Settlement(delivery.tag)])
    app.broker.unregister(consumer)
    found = re.search(rb'"priority":(\d)', delivery.payload)
    return queue, int(found[1]) if found else 0


def work(*args: Any, **kwargs: Any) -> None:
    """The function of every task here."""


def celery_sends_to(
    app: celery.Celery, task: Any, args: Any = (), kwargs: Any = None, **options: Any
) -> tuple[str, int]:
    """Return what Celery makes of the same: its router's queue and priority."""
    options = {**task._get_exec_options(), **options}
    route = app.amqp.router.route(options, task.name, args, kwargs or {}, task)
    return route["queue"].name if "queue" in route else app.conf.task_default_queue, route.get(
        "priority"
    ) or 0


def both(
    settings: dict[str, Any], args: Any = (), options: Any = (), task: Any = (), name: str = "shop.mail"
) -> tuple[str, int]:
    """Return where a call goes, on which both must agree."""
    found = []
    for make, ask in ((theirs, celery_sends_to), (ours, sent_to)):
        app: Any = make(**settings)
        kept = {"shared": False} if make is theirs else {}
        made_task = app.task(name=name, **dict(task), **kept)(work)
        found.append(ask(app, made_task, args, **dict(options)))
    assert found[0] == found[1]
    return found[1]


def by_argument(name: str, args: Any, kwargs: Any, options: Any, task: Any = None, **kw: Any) -> Any:
    assert task.name == name
    return {"queue": f"tenant-{args[0]}", "priority": 7} if args else None


def refuses(name: str, args: Any, kwargs: Any, options: Any, task: Any = None, **kw: Any) -> Any:
    return None


class Legacy:
    def route_for_task(self, task: str, args: Any = None, kwargs: Any = None) -> Any:
        return {"queue": "legacy"} if task.startswith("shop.") else None


@pytest.mark.parametrize(
    ("routes", "queue"),
    [
        (None, "celery"),
        ({}, "celery"),
        ({"shop.mail": "mails"}, "mails"),
        ({"shop.mail": {"queue": "mails"}}, "mails"),
        ({"shop.*": "shop"}, "shop"),
        ({"*": "any", "shop.mail": "mails"}, "mails"),
        ({"shop.m*": "first", "shop.*": "second"}, "first"),
        ({"other.*": "other"}, "celery"),
        ({"shop.mai": "no"}, "celery"),
        ({"shop.mai?": "no"}, "celery"),
        ({re.compile(r"shop\.(mail|sms)"): "messages"}, "messages"),
        ({re.compile(r"shop"): "begins"}, "begins"),
        ({re.compile(r"mail"): "no"}, "celery"),
        (([("shop.s*", "no"), (re.compile("shop"), {"queue": "pairs"})],), "pairs"),
        ([{"other": "no"}, {"shop.*": "second map"}], "second map"),
        ([{"shop.*": {}}, {"shop.*": "second map"}], "celery"),
        (by_argument, "tenant-9"),
        ([refuses, by_argument, {"shop.*": "no"}], "tenant-9"),
        ([refuses, {"shop.*": "map"}], "map"),
        ("tests.unit.test_routing.by_argument", "tenant-9"),
        ("tests.unit.test_routing:by_argument", "tenant-9"),
        ("tests.unit.test_routing.Legacy", "legacy"),
        ([Legacy()], "legacy"),
        (lambda name, *a, **k: "just a name" if a[0] else None, "just a name"),
        (lambda name, *a, **k: {}, "celery"),
    ],
)
def test_routes_in_all_forms(routes: Any, queue: str) -> None:
    assert both({"task_routes": routes}, (9,))[0] == queue


def test_a_list_of_pairs_need_not_be_wrapped() -> None:
    """Celery takes it for a list of routers, and fails at the first send."""
    app = ours(task_routes=[("shop.*", "shop"), (re.compile("x"), {"queue": "x"})])
    assert sent_to(app, app.task(name="shop.a")(work))[0] == "shop"
    assert sent_to(app, app.task(name="xyz")(work))[0] == "x"


ROUTE = {"shop.*": {"queue": "routed", "priority": 3}}


@pytest.mark.parametrize(
    ("settings", "task", "options", "expected"),
    [
        ({}, {}, {}, ("routed", 3)),
        ({}, {"queue": "own"}, {}, ("own", 3)),
        ({}, {"priority": 5}, {}, ("routed", 5)),
        ({}, {"priority": 0}, {}, ("routed", 0)),
        ({}, {"queue": "own", "priority": 5}, {"queue": "call"}, ("call", 5)),
        ({}, {}, {"queue": None, "priority": None}, ("routed", 3)),
        ({}, {}, {"queue": "call", "priority": 9}, ("call", 9)),
        ({}, {}, {"queue": Queue("object")}, ("object", 3)),
        ({}, {"queue": Queue("object")}, {}, ("object", 3)),
        ({"task_routes": {"shop.*": {"queue": Queue("object")}}}, {}, {}, ("object", 0)),
        ({"task_routes": {"shop.*": {"priority": 4}}}, {}, {}, ("celery", 4)),
        ({"task_routes": {"shop.*": {"priority": 4}}, "task_default_queue": "main"}, {}, {}, ("main", 4)),
        ({"task_routes": None, "task_default_priority": 6}, {}, {}, ("celery", 6)),
        ({"task_queues": [Queue("a", alias="the-a")]}, {}, {"queue": "the-a"}, ("a", 3)),
    ],
)
def test_what_counts_before_what(settings: Any, task: Any, options: Any, expected: tuple[str, int]) -> None:
    assert both({"task_routes": ROUTE, **settings}, (), options, task) == expected


def test_a_route_counts_before_the_default_priority() -> None:
    """In Celery task_default_priority becomes the task's own, and no route has a say any more."""
    app = ours(task_routes=ROUTE, task_default_priority=8)
    assert sent_to(app, app.task(name="shop.mail")(work)) == ("routed", 3)
    app = theirs(task_routes=ROUTE, task_default_priority=8)
    task = app.task(name="shop.mail", shared=False)(work)
    assert celery_sends_to(app, task) == ("routed", 8)


def test_none_in_a_call_says_nothing() -> None:
    """In Celery it takes away what the task itself says."""
    task, nothing = {"queue": "own", "priority": 5}, {"queue": None, "priority": None}
    app = ours(task_routes=ROUTE)
    assert sent_to(app, app.task(name="shop.mail", **task)(work), **nothing) == ("own", 5)
    other = theirs(task_routes=ROUTE)
    same = other.task(name="shop.mail", shared=False, **task)(work)
    assert celery_sends_to(other, same, **nothing) == ("routed", 3)


def test_a_router_sees_the_options_of_call_and_task() -> None:
    seen = []

    def look(name: str, args: Any, kwargs: Any, options: Any, task: Any = None) -> str:
        seen.append((args, kwargs, options.get("queue"), options.get("priority"), task.name))
        return "looked"

    def run(app: Any, ask: Any, **kept: Any) -> None:
        task = app.task(name="t", priority=2, **kept)(work)
        assert ask(app, task, (1,), {"k": 2}, priority=4)[0] == "looked"
        assert ask(app, task, (1,), {"k": 2})[0] == "looked"

    run(theirs(task_routes=look), celery_sends_to, shared=False)
    run(ours(task_routes=look), sent_to)
    assert seen[:2] == seen[2:] == [((1,), {"k": 2}, None, 4, "t"), ((1,), {"k": 2}, None, 2, "t")]


def test_only_static_routes_are_kept() -> None:
    asked = []

    def count(name: str, *rest: Any, **more: Any) -> None:
        asked.append(name)

    app = ours(task_routes=[{"static": "s"}, count, {"*": "end"}])
    static, dynamic = (app.task(name=name)(work) for name in ("static", "dynamic"))
    for _ in range(3):
        assert sent_to(app, static)[0] == "s"
        assert sent_to(app, dynamic)[0] == "end"
    assert asked == ["dynamic"] * 3


def test_settings_that_change_are_heeded() -> None:
    app = ours()
    before, after = (app.task(name=name, queue="other")(work) for name in ("before", "after"))
    assert sent_to(app, before)[0] == "other"
    app.conf.task_create_missing_queues = False
    for task in (after, before):
        with pytest.raises(QueueNotFound):
            task.delay()


def test_a_route_has_other_options_too() -> None:
    app = ours(task_routes={"t": {"compression": "zstd", "headers": {"x": 1}, "serializer": "json"}})
    task = app.task(name="t")(work)
    sender = app._make_sender()
    publication = sender.publication(task, (), {}, {})
    assert b'"compression":"application/zstd"' in publication.payload
    assert b'"x":1' in publication.payload
    plain = sender.publication(task, (), {}, {"compression": "", "headers": None})
    assert b"zstd" not in plain.payload
    own = app.task(name="own", compression="gzip")(work)
    app.conf.task_routes = {"own": {"compression": "zstd"}}
    assert b"gzip" in sender.publication(own, (), {}, {}).payload


@pytest.mark.parametrize(
    ("routes", "error", "text"),
    [
        ({"a": {"qeue": "b"}}, UnknownOption, "Did you mean 'queue'"),
        ({"a": {"countdown": 5}}, UnknownOption, "countdown"),
        ({"a": 5}, ImproperlyConfigured, "'a': 5 is neither a queue nor a dict"),
        (5, ImproperlyConfigured, "5 is no router"),
        ([5], ImproperlyConfigured, "5 is no router"),
        ("no.such.router", ImproperlyConfigured, "'no.such.router', which cannot be imported"),
        ("router", ImproperlyConfigured, "'router', which cannot be imported"),
        (lambda *a, **k: 7, ImproperlyConfigured, "7 is neither"),
    ],
)
def test_what_is_no_route(routes: Any, error: type[Exception], text: str) -> None:
    app = ours(task_routes=routes)
    task = app.task(name="t")(work)
    with pytest.raises(error, match=re.escape(text)):
        task.delay()


class TestQueues:
    QUEUES = (
        Queue("mails", Exchange("shop"), routing_key="shop.mail"),
        Queue("reports", Exchange("reports", type="topic"), routing_key="report.#"),
        Queue("plain"),
    )

    @pytest.mark.parametrize(
        "queues",
        [
            QUEUES,
            list(QUEUES),
            {queue.name: queue for queue in QUEUES},
            {
                "mails": {"exchange": "shop", "routing_key": "shop.mail"},
                "reports": {"exchange": "reports", "exchange_type": "topic", "binding_key": "report.#"},
                "plain": {},
            },
        ],
    )
    def test_forms_and_what_a_worker_reads(self, queues: Any) -> None:
        real, app = theirs(task_queues=queues), ours(task_queues=queues)
        assert list(WorkerOptions().resolve(app.conf).queues) == list(real.amqp.queues.consume_from)
        for selected, excluded in (
            ("mails", ""),
            ("mails,new", ""),
            ("", "mails"),
            ("mails,plain", "mails,no"),
        ):
            real = theirs(task_queues=queues)
            real.amqp.queues.select([name for name in selected.split(",") if name])
            real.amqp.queues.deselect([name for name in excluded.split(",") if name])
            options = WorkerOptions(
                queues=tuple(name for name in selected.split(",") if name),
                exclude=tuple(name for name in excluded.split(",") if name),
            )
            assert list(options.resolve(app.conf).queues) == list(real.amqp.queues.consume_from)

    def test_names_are_enough(self) -> None:
        assert WorkerOptions().resolve(ours(task_queues=["a", "b"]).conf).queues == ("a", "b")

    def test_without_any_it_is_the_default_queue(self) -> None:
        assert WorkerOptions().resolve(ours(task_default_queue="main").conf).queues == ("main",)

    def test_none_is_left(self) -> None:
        with pytest.raises(ImproperlyConfigured, match=r"-X celery leaves no queue to read; .* celery"):
            WorkerOptions(exclude=("celery",)).resolve(ours().conf)

    @pytest.mark.parametrize(
        ("exchange", "key", "queue"),
        [
            ("shop", "shop.mail", "mails"),
            (Exchange("shop"), "shop.mail", "mails"),
            ("reports", "report.daily.sales", "reports"),
            ("reports", "report", "reports"),
        ],
    )
    def test_exchange_and_routing_key_lead_to_a_queue(self, exchange: Any, key: str, queue: str) -> None:
        app = ours(task_queues=self.QUEUES)
        task = app.task(name="t")(work)
        assert sent_to(app, task, exchange=exchange, routing_key=key)[0] == queue
        own = app.task(name="own", exchange=exchange, routing_key=key)(work)
        assert sent_to(app, own)[0] == queue
        assert sent_to(app, own, queue="named")[0] == "named"
        app.conf.task_routes = {"routed": {"exchange": exchange, "routing_key": key}}
        routed = app.task(name="routed")(work)
        assert sent_to(app, routed)[0] == queue

    def test_the_defaults(self) -> None:
        app = ours(
            task_queues=[Queue("a", routing_key="a.#"), Queue("b", routing_key="b.#")],
            task_default_exchange="tasks",
            task_default_exchange_type="topic",
            task_default_routing_key="a.default",
            task_default_queue="a",
        )
        task = app.task(name="t")(work)
        assert sent_to(app, task, routing_key="b.x")[0] == "b"
        assert sent_to(app, task, exchange="tasks")[0] == "a"

    def test_what_leads_nowhere_is_an_error_and_not_lost(self) -> None:
        app = ours(task_queues=self.QUEUES)
        task = app.task(name="t")(work)
        with pytest.raises(QueueNotFound, match=r"No queue .* is bound to exchange 'shop', routing key 'no'"):
            task.apply_async(exchange="shop", routing_key="no")
        app = ours(task_queues=[Queue(name, Exchange("all", type="fanout")) for name in "ab"])
        task = app.task(name="t")(work)
        with pytest.raises(QueueNotFound, match="leads to several queues: a, b"):
            task.apply_async(exchange="all")

    def test_missing_queues_are_not_created(self) -> None:
        settings = {"task_queues": [Queue("celery"), Queue("mails")], "task_create_missing_queues": False}
        assert both(settings, options={"queue": "mails"})[0] == "mails"
        real, app = theirs(**settings), ours(**settings)
        task = app.task(name="t", queue="mials")(work)
        same = real.task(name="t", queue="mials", shared=False)(work)
        for call in (lambda: celery_sends_to(real, same), task.delay):
            with pytest.raises(KeyError, match="mials"):
                call()
        with pytest.raises(
            QueueNotFound, match=r"'mials' is not in task_queues.*Did you mean 'mails'\?.* At tests"
        ) as caught:
            task.delay()
        assert not str(caught.value).startswith('"')
        assert sent_to(app, task, queue="mails")[0] == "mails"
        assert sent_to(app, task, queue=Queue("other"))[0] == "other"
        with pytest.raises(QueueNotFound, match="There are: celery, mails"):
            WorkerOptions(queues=("xyz",)).resolve(app.conf)

    def test_only_the_default_queue_where_none_is_declared(self) -> None:
        settings = {"task_create_missing_queues": False}
        assert both(settings)[0] == "celery"
        with pytest.raises(QueueNotFound):
            ours(**settings).send_task("t", queue="other")

    @pytest.mark.parametrize("queues", [5, [5], [{"name": "a"}]])
    def test_what_declares_no_queue(self, queues: Any) -> None:
        with pytest.raises(ImproperlyConfigured, match="task_queues"):
            WorkerOptions().resolve(ours(task_queues=queues).conf)

    def test_what_is_no_queue(self) -> None:
        app = ours()
        with pytest.raises(CallError, match="queue must be a name"):
            app.send_task("t", queue=5)
