"""Signatures: what they hold, how they merge and change. Celery 5.7 is asked the same, and both must agree."""

import copy
import json
import pickle
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import celery
import celery.canvas
import pytest

import celeriac
from celeriac.errors import CallError, UnknownOption, WrongOption
from celeriac.message import protocol

Ask = Callable[[Any, Any], Any]


def add(x: int = 0, y: int = 0, z: int = 0) -> int:
    return x + y + z


@pytest.fixture
def ours() -> Iterator[Any]:
    app = celeriac.Celeriac("signatures", broker=f"memory://{uuid4().hex}", backend=f"memory://{uuid4().hex}")
    yield app
    app.close()


@pytest.fixture
def agree(ours: Any) -> Callable[[Ask], Any]:
    """Ask both libraries; they must answer the same."""
    theirs = celery.Celery("signatures", broker="memory://", backend="cache+memory://", set_as_current=False)

    def ask_both(ask: Ask) -> Any:
        answers = []
        for app, options in ((theirs, {"shared": False}), (ours, {})):
            task = app.task(name="add", **options)(add)
            answers.append(json.loads(json.dumps(ask(app, app.tasks[task.name]))))
        assert answers[1] == answers[0]
        return answers[1]

    return ask_both


@pytest.mark.parametrize(
    "ask",
    [
        lambda app, add: add.s(1, y=2),
        lambda app, add: add.si(1, 2),
        lambda app, add: add.signature((1, 2), countdown=3),
        lambda app, add: add.signature((1,), {"y": 2}, immutable=True),
        lambda app, add: add.subtask((1,)),
        lambda app, add: app.signature("elsewhere", args=(1,), queue="q"),
        lambda app, add: app.signature(dict(add.s(1))),
        lambda app, add: add.s(1).set(queue="x", priority=3).set(priority=4),
        lambda app, add: add.s(1).set(immutable=True),
        lambda app, add: add.s(1, y=2).clone((7,), {"y": 3, "z": 4}, queue="q"),
        lambda app, add: add.si(1, y=2).clone((7,), {"y": 3}, queue="q"),
        lambda app, add: add.s(1).clone(),
        lambda app, add: add.s(1).on_error(add.s(2)),
        lambda app, add: [add.s().name, add.s(3).args, add.s(x=3).kwargs, add.si().immutable, add.s().id],
        lambda app, add: [add.s(1, 2)(), add.s(1)(2), add.s(1, z=4)(2, z=5), add.si(1, 2)(9)],
        lambda app, add: [repr(add.s(1, z="a")), repr(add.si())],
    ],
)
def test_what_a_signature_is(agree: Callable[[Ask], Any], ask: Ask) -> None:
    assert agree(ask)


def test_links(agree: Callable[[Ask], Any]) -> None:
    def ask(app: Any, add: Any) -> Any:
        signature, callback = add.s(1), add.s(2)
        returned = [signature.link(callback) is callback, signature.link_error(callback) is callback]
        signature.link(callback)  # a second time changes nothing
        clone = signature.clone()
        clone.link(add.s(3))
        callback.link(add.s(4))
        return [returned, signature, clone]

    returned, signature, clone = agree(ask)
    assert returned == [True, True]
    assert len(signature["options"]["link"]) == 1
    assert len(clone["options"]["link"]) == 2


def test_freezing(agree: Callable[[Ask], Any]) -> None:
    def ask(app: Any, add: Any) -> Any:
        signature = add.s(1)
        first, second = signature.freeze("abc"), signature.freeze("other")
        own = add.s().freeze()
        return [str(first), str(second), signature.id, len(own.id)]

    assert agree(ask) == ["abc", "abc", "abc", 36]


def test_copies(ours: Any) -> None:
    task = ours.task(name="add")(add)
    signature = task.s(1, y=[2]).set(queue="x")
    for copied in (pickle.loads(pickle.dumps(signature)), copy.deepcopy(signature)):
        assert copied == signature
        assert type(copied) is celeriac.Signature
        assert copied.kwargs["y"] is not signature.kwargs["y"]
        assert copied.type is task
    assert celeriac.signature(signature) == signature
    assert celeriac.signature(signature) is not signature


def test_it_is_sent_with_what_is_given_besides(ours: Any) -> None:
    task = ours.task(name="add")(add)
    task.s(2, z=3).set(queue="q").apply_async((1,), {"z": 5}, priority=7)
    task.s().delay(1, 2)
    ours.signature("elsewhere", (1,)).delay(0)
    ours.signature({"task": "elsewhere"}).apply_async(queue="q")
    ours.send_many([task.s(1), ours.signature("elsewhere", (2,))])
    ours.broker.register("me", 60)
    sent = []
    for delivery in ours.broker.claim("me", ["q", "celery"], 10, 1):
        headers = protocol.decode(delivery.payload).headers
        sent.append((headers.task, headers.argsrepr, headers.kwargsrepr, delivery.queue))
    assert sorted(sent) == [
        ("add", "(1, 2)", "{'z': 5}", "q"),
        ("add", "(1, 2)", "{}", "celery"),
        ("add", "(1,)", "{}", "celery"),
        ("elsewhere", "()", "{}", "q"),
        ("elsewhere", "(0, 1)", "{}", "celery"),
        ("elsewhere", "(2,)", "{}", "celery"),
    ]
    assert task.s(1, 2).apply().get() == 3
    assert task.s(1).apply((4,)).get() == 5


def test_errors(ours: Any) -> None:
    task = ours.task(name="add")(add)
    with pytest.raises(CallError, match="chain cannot be sent"):
        ours.signature({"task": "celery.chain", "subtask_type": "chain"})
    with pytest.raises(CallError, match="names its task"):
        celeriac.signature({"args": []})
    with pytest.raises(CallError, match="not known here"):
        ours.signature("elsewhere")()
    with pytest.raises(CallError, match="too many"):
        task.s(1, 2, 3).delay(4)
    with pytest.raises(UnknownOption, match="Did you mean 'queue'"):
        task.s(1).set(que="x").delay()
    for wrong in (task, "add", 7, [task], {"args": []}):
        with pytest.raises(WrongOption, match=r"link must be a signature.*task\.s"):
            task.apply_async(link=wrong)
    with pytest.raises(WrongOption, match="link_error must be a signature"):
        task.apply_async(link_error=[task.s(), None])


def test_secrets_are_not_shown(ours: Any) -> None:
    def log_in(name: str, password: str = "") -> None: ...

    task = ours.task(log_in)
    assert "hunter2" not in repr(task.s("me", password="hunter2"))
    assert "hunter2" not in repr(task.s("me", "hunter2"))
    assert "hunter2" not in repr(ours.signature("elsewhere", kwargs={"password": "hunter2"}))
