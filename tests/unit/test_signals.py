"""`Signal`: who is called, when, and how receivers come and go."""

import gc
from typing import Any

import pytest

from celeriac import signals
from celeriac.signals import Signal


@pytest.fixture
def signal() -> Signal:
    return Signal("something")


def test_receivers_are_called_by_keyword_in_the_order_of_their_connection(signal: Signal) -> None:
    called: list[Any] = []

    @signal.connect
    def first(task_id: str, sender: Any, **named: Any) -> None:
        called.append(("first", sender, task_id, named))

    @signal.connect(weak=False)
    def second(**named: Any) -> str:
        called.append(("second", named["sender"], named["task_id"]))
        return "answer"

    answers = signal.send("me", task_id="1", extra=2)
    assert called == [("first", "me", "1", {"signal": signal, "extra": 2}), ("second", "me", "1")]
    assert answers == [(first, None), (second, "answer")]


def test_only_for_one_sender(signal: Signal) -> None:
    called: list[Any] = []
    one = object()
    signal.connect(lambda sender, **named: called.append(sender), sender=one, weak=False)
    signal.connect(lambda sender, **named: called.append(sender), sender="a" + "b" * 3, weak=False)
    for sender in (one, object(), "abbb", None):
        signal.send(sender)
    assert called == [one, "abbb"], "texts count by value"


def test_what_a_receiver_raises_is_logged(signal: Signal, caplog: pytest.LogCaptureFixture) -> None:
    def bad(**named: Any) -> None:
        raise ValueError("oh")

    def good(**named: Any) -> int:
        return 1

    signal.connect(bad)
    signal.connect(good)
    (_, error), (_, answer) = signal.send(None)
    assert isinstance(error, ValueError) and answer == 1
    assert "of the signal something failed" in caplog.text


def test_the_same_receiver_counts_once_and_can_be_disconnected(signal: Signal) -> None:
    def receiver(**named: Any) -> None: ...

    signal.connect(receiver)
    signal.connect(receiver)
    assert len(signal.send(None)) == 1
    assert signal.disconnect(receiver)
    assert not signal.disconnect(receiver)
    assert signal.receivers == ()


def test_dispatch_uid_names_a_receiver(signal: Signal) -> None:
    for _ in range(3):
        signal.connect(lambda **named: None, weak=False, dispatch_uid="once")
    assert len(signal.send(None)) == 1
    assert signal.disconnect(dispatch_uid="once")
    assert signal.send(None) == []


class Listener:
    def hear(self, **named: Any) -> str:
        return "heard"


def test_weak_receivers_go_when_nothing_else_holds_them(signal: Signal) -> None:
    listener = Listener()
    signal.connect(listener.hear)
    signal.connect(Listener().hear, weak=False)
    assert len(signal.send(None)) == 2
    del listener
    gc.collect()
    assert len(signal.receivers) == 1
    assert [answer for _, answer in signal.send(None)] == ["heard"]


def test_methods_of_one_object_are_the_same_receiver(signal: Signal) -> None:
    listener = Listener()
    signal.connect(listener.hear)
    signal.connect(listener.hear)
    assert len(signal.receivers) == 1
    assert signal.disconnect(listener.hear)


def test_who_listens_around_tasks_is_known_at_a_glance() -> None:
    def receiver(**named: Any) -> None: ...

    assert signals.task_prerun not in signals.around_tasks
    signals.task_prerun.connect(receiver)
    assert signals.task_prerun in signals.around_tasks
    signals.task_prerun.disconnect(receiver)
    assert signals.task_prerun not in signals.around_tasks
    signals.before_task_publish.connect(receiver)
    assert signals.before_task_publish not in signals.around_tasks
    signals.before_task_publish.disconnect(receiver)


def test_all_of_celery_s_signals_are_there() -> None:
    import celery.signals
    from celery.utils.dispatch import Signal as TheirSignal

    theirs = {name for name, value in vars(celery.signals).items() if isinstance(value, TheirSignal)}
    ours = {name for name, value in vars(signals).items() if isinstance(value, Signal)}
    assert theirs - ours <= {
        "task_sent",
        "eventlet_pool_started",
        "eventlet_pool_preshutdown",
        "eventlet_pool_postshutdown",
        "eventlet_pool_apply",
    }, theirs - ours
    assert all(getattr(signals, name).name == name for name in ours)
