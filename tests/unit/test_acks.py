"""What becomes of a delivery that does not end well: options and settings count as in Celery, which is asked for it."""

import itertools
from typing import Any

import celery
import pytest

from celeriac import states
from celeriac.acks import Acks, count_loss
from celeriac.config import Settings
from celeriac.errors import TimeLimitExceeded
from celeriac.message.message import Headers, Message, Properties
from celeriac.run import Outcome, Run
from celeriac.task import Task

SAID = (None, True, False)


def nothing() -> None: ...


def given(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


@pytest.mark.parametrize("what", ["failure", "timeout"])
@pytest.mark.parametrize(("own", "alias"), list(itertools.product(SAID, SAID)))
def test_options_and_settings_count_as_in_celery(what: str, own: bool | None, alias: bool | None) -> None:
    for setting, alias_setting in itertools.product(SAID, (True, False)):
        options = given(**{f"acks_on_{what}": own, "acks_on_failure_or_timeout": alias})
        settings = given(
            **{f"task_acks_on_{what}": setting, "task_acks_on_failure_or_timeout": alias_setting}
        )
        app = celery.Celery("acks", set_as_current=False)
        app.conf.update(settings)
        app.task(name="t", shared=False, **options)(nothing)
        expected = getattr(app.tasks["t"], f"acks_on_{what}")
        app.close()
        task = Task()
        for name, value in options.items():
            setattr(task, name, value)
        acks = Acks(Settings(**settings))
        assert getattr(acks, f"on_{what}")(task) is expected, (options, settings)


def test_what_is_said_of_lost_processes() -> None:
    task, acks = Task(), Acks(Settings())
    assert not acks.fails_lost(task)  # unlike in Celery: silence is another run
    assert not acks.retries_lost(task)
    task.reject_on_worker_lost, task.retry_on_worker_lost = False, True
    assert acks.fails_lost(task) and acks.retries_lost(task)
    by_setting = Acks(Settings(task_reject_on_worker_lost=False, task_retry_on_worker_lost=True))
    assert by_setting.fails_lost(Task()) and by_setting.retries_lost(Task())
    task.reject_on_worker_lost, task.retry_on_worker_lost = True, False
    assert not by_setting.fails_lost(task) and not by_setting.retries_lost(task)


def run_of(task: Task, tag: int = 7) -> Run:
    message = Message(Headers("t", "id-1"), Properties(), b"[[],{},{}]")
    return Run(tag, "celery", message, task, hard=5.0)


def test_a_failure_is_done_or_a_dead_letter() -> None:
    task, acks = Task(), Acks(Settings())
    failure = Outcome(states.FAILURE, error=ValueError("no"))
    assert acks.judge(run_of(task), failure).dead is None
    task.acks_on_failure = False
    assert acks.judge(run_of(task), failure).dead == "failed: ValueError: no"
    # At most once: the delivery ended before the function was called.
    assert acks.judge(run_of(task, 0), Outcome(states.FAILURE, error=ValueError("no"))).dead is None


def test_a_hard_limit_is_done_or_goes_back_until_it_is_too_often() -> None:
    task, acks = Task(), Acks(Settings())
    outcome = acks.judge(run_of(task), Outcome(states.FAILURE, error=TimeLimitExceeded(5.0)))
    assert outcome.state == states.FAILURE and outcome.dead is None and not outcome.requeue
    task.acks_on_timeout = False
    run = run_of(task)
    told = []
    for _ in range(3):
        outcome = acks.judge(run, Outcome(states.FAILURE, error=TimeLimitExceeded(5.0)))
        told.append((outcome.requeue, outcome.counted, run.message.properties.celeriac_losses))
    assert told == [(True, True, 1), (True, True, 2), (False, False, 3)]
    assert outcome.dead == "it was over its hard time limit of 5 s, or lost, 3 times"


def test_the_run_before_the_last_loss_is_had_alone() -> None:
    message = Message(Headers("t", "id-1"), Properties(), b"")
    seen = [(count_loss(message, 3), message.properties.celeriac_suspect) for _ in range(3)]
    assert seen == [(True, False), (True, True), (False, False)]
