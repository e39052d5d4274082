"""The backend for Django's own tasks, by the contract that Django's documentation and its base class state."""

import asyncio
import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import django
import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.test import override_settings
from django.utils import timezone

from celeriac import errors, registry
from celeriac.app import Celeriac
from celeriac.django import framework
from celeriac.django.broker import DatabaseBroker
from celeriac.django.tasks_backend import CeleriacBackend, api, functions
from celeriac.django.tasks_backend.backend import priority
from celeriac.testing.queue import Queue
from tests.django import django_tasks as defined

BACKEND = "celeriac.django.tasks_backend.CeleriacBackend"
IMMEDIATE = f"{api._PACKAGE}.backends.immediate.ImmediateBackend"
READY, FAILED, SUCCESSFUL = (api.TaskResultStatus(name) for name in ("READY", "FAILED", "SUCCESSFUL"))


#: Only these tests are to have them, not every app of this process.
_TASKS = {
    name: registry.shared_tasks.pop(name)
    for name in list(registry.shared_tasks)
    if name.startswith(f"{defined.__name__}.")
}


@pytest.fixture(scope="module", autouse=True)
def only_here() -> Iterator[None]:
    before = dict(registry.shared_tasks)
    registry.shared_tasks.update(_TASKS)
    yield
    registry.shared_tasks.clear()
    registry.shared_tasks.update(before)


@pytest.fixture
def app() -> Iterator[Celeriac]:
    app = framework.make_default_app()
    yield app
    app.close()


@pytest.fixture
def queue(app: Celeriac) -> Iterator[Queue]:
    with Queue(app) as queue:
        yield queue


def ended(task: Any, *args: Any, queue: Queue, **kwargs: Any) -> Any:
    """Enqueue a call, have it run, and return what is known of it then."""
    result = task.enqueue(*args, **kwargs)
    queue.drain(raise_errors=False)
    result.refresh()
    return result


@pytest.fixture
def told() -> Iterator[list[tuple[str, Any, Any]]]:
    lines: list[tuple[str, Any, Any]] = []

    def listen(name: str) -> Any:
        def receive(sender: type, task_result: Any, **_more: Any) -> None:
            lines.append((f"{name} {task_result.status}", sender, task_result))

        return receive

    pairs = [
        (getattr(api, name), listen(name)) for name in ("task_enqueued", "task_started", "task_finished")
    ]
    for signal, receiver in pairs:
        signal.connect(receiver)
    yield lines
    for signal, receiver in pairs:
        signal.disconnect(receiver)


class TestEnqueue:
    def test_what_it_returns(self, queue: Queue) -> None:
        before = timezone.now()
        result = defined.add.enqueue(1, other=2)
        assert (result.status, result.args, result.kwargs) == (READY, [1], {"other": 2})
        assert (result.task, result.backend, result.attempts) == (defined.add, "default", 0)
        assert before <= result.enqueued_at <= timezone.now()
        assert (result.started_at, result.finished_at, result.last_attempted_at) == (None, None, None)
        assert (result.errors, result.worker_ids, result.is_finished) == ([], [], False)
        with pytest.raises(ValueError, match="has not finished yet"):
            result.return_value  # noqa: B018

    def test_it_is_found_again_while_it_waits(self, queue: Queue) -> None:
        result = defined.letter.using(priority=-3, run_after=timezone.now() + timedelta(days=1)).enqueue()
        assert result.task.get_result(result.id) == result
        assert asyncio.run(result.task.aget_result(result.id)) == result

    def test_from_a_coroutine(self, queue: Queue) -> None:
        async def there_and_back() -> Any:
            result = await defined.add.aenqueue(1)
            await result.arefresh()
            return result

        result = asyncio.run(there_and_back())
        queue.drain()
        asyncio.run(result.arefresh())
        assert result.return_value == 2

    @pytest.mark.parametrize("value", [{1}, datetime(2026, 1, 1, tzinfo=UTC), object(), 1j])
    def test_arguments_that_json_does_not_have(self, queue: Queue, value: Any) -> None:
        with pytest.raises(TypeError, match="Unsupported type"):
            defined.give_back.enqueue(value)
        with pytest.raises(ValueError, match="Unsupported value"):
            defined.give_back.enqueue(b"\xff")
        queue.assert_nothing_enqueued()

    def test_arguments_become_json(self, queue: Queue) -> None:
        result = ended(defined.give_back, ("a", b"b", {"c": (1,)}), queue=queue)
        assert result.args == [["a", "b", {"c": [1]}]]
        assert result.return_value == ["a", "b", {"c": [1]}]

    def test_arguments_that_do_not_fit(self, queue: Queue) -> None:
        with pytest.raises(errors.CallError, match=r"django_tasks\.add.* was called with \(1, 2, 3\)"):
            defined.add.enqueue(1, 2, 3)
        with pytest.raises(errors.CallError):
            defined.in_context.enqueue()
        queue.assert_nothing_enqueued()

    def test_queue_priority_and_time(self, queue: Queue) -> None:
        due = timezone.now() + timedelta(minutes=5)
        defined.letter.enqueue()
        defined.add.using(run_after=due).enqueue(1)
        letter, later = queue.calls
        assert (letter.task, letter.queue) == ("tests.django.django_tasks.letter", "letters")
        assert later.queue == "celery"
        assert later.eta == due
        assert len(queue.drain()) == 1
        (result,) = queue.run_due(timedelta(minutes=6))
        assert result.get() == 2

    @override_settings(USE_TZ=False)
    def test_times_without_a_zone(self, queue: Queue) -> None:
        due = datetime(2099, 7, 1, 12)  # noqa: DTZ001
        result = defined.add.using(run_after=due).enqueue(1)
        assert result.enqueued_at.tzinfo is None
        assert abs(datetime.now() - result.enqueued_at) < timedelta(minutes=1)  # noqa: DTZ005
        result.refresh()
        assert result.task.get_result(result.id).task.run_after == due
        (call,) = queue.calls
        assert call.eta == timezone.make_aware(due)

    def test_priorities_keep_their_order(self) -> None:
        ours = [priority(given) for given in range(-100, 101)]
        assert ours == sorted(ours)
        assert (ours[0], ours[99], ours[100], ours[101], ours[200]) == (0, 2, 4, 6, 9)
        assert set(ours) == {0, 1, 2, 4, 6, 7, 8, 9}
        assert all(type(each) is int for each in ours) and priority(100.0) == 9  # type: ignore[arg-type]

    def test_higher_priorities_run_first(self, queue: Queue) -> None:
        for given in (-50, 0, 50):
            defined.add.using(priority=given).enqueue(given)
        assert [result.get() for result in queue.drain()] == [51, 1, -49]

    def test_a_receiver_is_told(self, queue: Queue, told: list[Any]) -> None:
        result = defined.add.enqueue(1)
        assert told == [("task_enqueued READY", CeleriacBackend, result)]


class TestTransactions:
    def test_it_is_part_of_the_open_one(self, app: Celeriac, broker: DatabaseBroker) -> None:
        with pytest.raises(LookupError), transaction.atomic():
            lost = defined.add.enqueue(1)
            assert lost.task.get_result(lost.id) == lost
            raise LookupError
        assert broker.depths() == {}
        with pytest.raises(api.TaskResultDoesNotExist):
            lost.refresh()
        with transaction.atomic():
            defined.add.enqueue(1)
        assert broker.depths()["celery"].ready == 1

    def test_after_the_commit_on_another_broker(self, queue: Queue) -> None:
        with transaction.atomic():
            defined.add.enqueue(1)
            queue.assert_nothing_enqueued()
        queue.assert_enqueued(defined.add, args=[1], times=1)


class TestRuns:
    @pytest.mark.parametrize("task", [defined.add, defined.add_async])
    def test_success(self, queue: Queue, task: Any) -> None:
        result = ended(task, 1, other=4, queue=queue)
        assert (result.status, result.return_value, result.is_finished) == (SUCCESSFUL, 5, True)
        assert (result.attempts, result.errors) == (1, [])
        assert result.enqueued_at <= result.started_at == result.last_attempted_at <= result.finished_at
        assert result.task.get_result(result.id) == result

    def test_the_context(self, queue: Queue) -> None:
        result = ended(defined.in_context, "hello", queue=queue)
        assert result.return_value == {
            "word": "hello",
            "attempt": 1,
            "id": result.id,
            "status": "RUNNING",
            "args": ["hello"],
            "workers": result.worker_ids,
            "started": True,
        }
        assert ended(defined.in_context_async, queue=queue).return_value == 1

    @pytest.mark.parametrize(
        ("task", "cls", "path"),
        [
            (defined.fail, defined.Busy, "tests.django.django_tasks.Busy"),
            (defined.fail_async, ValueError, "builtins.ValueError"),
        ],
    )
    def test_failure(self, queue: Queue, task: Any, cls: type, path: str) -> None:
        result = ended(task, queue=queue)
        (error,) = result.errors
        assert (error.exception_class_path, error.exception_class) == (path, cls)
        assert "django_tasks.py" in error.traceback
        assert "tasks_backend" not in error.traceback
        assert (result.status, result.attempts, result.is_finished) == (FAILED, 1, True)
        with pytest.raises(ValueError, match="failed"):
            result.return_value  # noqa: B018

    def test_values_are_json(self, queue: Queue) -> None:
        assert ended(defined.give_tuple, queue=queue).return_value == [1, "two", {"three": [4]}]
        result = ended(defined.give_set, queue=queue)
        assert result.status == FAILED
        assert result.errors[0].exception_class is TypeError

    def test_receivers_are_told(self, queue: Queue, told: list[Any]) -> None:
        ended(defined.add, 1, queue=queue)
        ended(defined.fail_async, queue=queue)
        assert [what for what, *_ in told] == [
            "task_enqueued READY",
            "task_started RUNNING",
            "task_finished SUCCESSFUL",
            "task_enqueued READY",
            "task_started RUNNING",
            "task_finished FAILED",
        ]
        assert {sender for _, sender, _ in told} == {CeleriacBackend}
        assert told[2][2].return_value == 2
        assert told[5][2].errors[0].exception_class is ValueError

    def test_a_receiver_that_fails_does_not_fail_the_task(self, queue: Queue) -> None:
        def receive(**_facts: Any) -> None:
            raise LookupError

        for signal in (api.task_started, api.task_finished):
            signal.connect(receive)
        try:
            assert ended(defined.add, 1, queue=queue).status == SUCCESSFUL
        finally:
            for signal in (api.task_started, api.task_finished):
                signal.disconnect(receive)

    def test_the_end_is_logged_with_the_exception(
        self, queue: Queue, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.INFO, api._PACKAGE.partition(".")[0]):
            ended(defined.fail, queue=queue)
        record = next(r for r in caplog.records if r.name == api._PACKAGE and r.levelno == logging.ERROR)
        assert record.exc_info and record.exc_info[0] is defined.Busy

    def test_secrets_are_not_kept(self, queue: Queue) -> None:
        result = ended(defined.log_in, "ada", "lovelace", queue=queue)
        assert result.return_value == "ada"
        assert result.args == ["ada", "lovelace"]
        assert result.task.get_result(result.id).args == ["ada", "********"]

    def test_one_that_was_sent_by_its_name(self, queue: Queue, app: Celeriac) -> None:
        handle = app.send_task("tests.django.django_tasks.in_context", ["hello"])
        queue.drain()
        result = defined.in_context.get_result(handle.id)
        assert (result.args, result.return_value["attempt"], result.attempts) == (["hello"], 1, 1)
        assert result.enqueued_at <= result.started_at

    def test_one_that_was_revoked(self, queue: Queue, app: Celeriac) -> None:
        result = defined.add.enqueue(1)
        app.control.revoke(result.id)
        queue.drain(raise_errors=False)
        result.refresh()
        assert (result.status, result.attempts) == (FAILED, 0)
        assert result.errors[0].exception_class is errors.TaskRevokedError

    def test_eagerly(self, app: Celeriac, told: list[Any]) -> None:
        with override_settings(CELERY_TASK_ALWAYS_EAGER=True):
            result = defined.add.enqueue(1)
            assert result.return_value == 2
            assert defined.add.get_result(result.id) == result
            assert defined.fail.enqueue().status == FAILED
        assert len(told) == 6

    def test_where_others_keep_no_results(self, app: Celeriac) -> None:
        with override_settings(CELERY_TASK_IGNORE_RESULT=True), Queue(app) as queue:
            assert ended(defined.add, 1, queue=queue).return_value == 2


@pytest.mark.skipif((6, 0) <= django.VERSION < (6, 1), reason="@task takes no options of a backend")
class TestRetries:
    def test_until_it_works(self, queue: Queue, told: list[Any]) -> None:
        result = ended(defined.try_again, 3, queue=queue)
        assert (result.return_value, result.attempts, len(result.worker_ids)) == (3, 3, 3)
        assert [error.exception_class for error in result.errors] == [defined.Busy, defined.Busy]
        assert "attempt 1" in result.errors[0].traceback and "attempt 2" in result.errors[1].traceback
        assert result.started_at < result.last_attempted_at
        started = ["task_started RUNNING"] * 3
        assert [what for what, *_ in told] == ["task_enqueued READY", *started, "task_finished SUCCESSFUL"]
        assert told[-1][2].attempts == 3

    def test_until_there_are_no_more(self, queue: Queue) -> None:
        result = ended(defined.try_again, 9, queue=queue)
        assert (result.status, result.attempts, len(result.errors)) == (FAILED, 3, 3)

    def test_between_two_attempts(self, queue: Queue) -> None:
        functions.register(defined.try_again).default_retry_delay = 600
        try:
            result = ended(defined.try_again, 2, queue=queue)
            assert (result.status, result.attempts, len(result.errors)) == (READY, 1, 1)
            queue.run_due(timedelta(minutes=11))
            result.refresh()
            assert (result.status, result.attempts, len(result.errors)) == (SUCCESSFUL, 2, 1)
        finally:
            functions.register(defined.try_again).default_retry_delay = 0

    def test_options_of_a_task(self) -> None:
        made = functions.register(defined.try_again)
        assert (made.max_retries, made.time_limit, made.autoretry_for) == (2, 60, (defined.Busy,))

    def test_what_is_no_option(self) -> None:
        with pytest.raises(TypeError, match="max_retrys"):
            defined.task(max_retrys=1)(plain)


def plain() -> None: ...


def of_another_backend() -> None: ...


class TestSettings:
    def test_options_of_a_backend(self) -> None:
        given = {"autoretry_for": ["tests.django.django_tasks.Busy", "OSError"], "max_retries": 7}
        with tasks(default={"OPTIONS": given}):
            made = functions.register(defined.task(plain))
        try:
            assert (made.autoretry_for, made.max_retries) == ((defined.Busy, OSError), 7)
        finally:
            del registry.shared_tasks[made.name]

    @pytest.mark.parametrize(
        ("given", "text"),
        [
            (
                {"max_retry": 3},
                r"TASKS\['default'\].*'max_retry', which is no option. Did you mean 'max_retries'",
            ),
            ({"zzz": 3}, "There are: acks_late"),
            (["max_retries"], "must be a dict"),
        ],
    )
    def test_wrong_options(self, given: Any, text: str) -> None:
        with tasks(default={"OPTIONS": given}), pytest.raises(ImproperlyConfigured, match=text):
            api.task_backends["default"]

    @pytest.mark.parametrize("given", ["shop.nothing.Busy", "nothing", "builtins.int"])
    def test_wrong_exceptions(self, given: str) -> None:
        with (
            tasks(default={"OPTIONS": {"autoretry_for": [given]}}),
            pytest.raises(ImproperlyConfigured, match="autoretry_for"),
        ):
            defined.task(plain)

    def test_queues_that_are_not_listed_are_refused(self) -> None:
        with tasks(default={"QUEUES": ["default"]}), pytest.raises(api.InvalidTask, match="letters"):
            defined.add.using(queue_name="letters")

    def test_what_django_refuses(self) -> None:
        def local() -> None: ...

        for refused in (
            lambda: defined.task(local),
            lambda: defined.task(takes_context=True)(plain),
            lambda: defined.add.using(priority=101),
            lambda: defined.add.using(priority=1.5),
            lambda: defined.add.using(run_after=datetime(2026, 1, 1)),  # noqa: DTZ001
            lambda: defined.task(generator),
        ):
            with pytest.raises(api.InvalidTask):
                refused()

    def test_a_function_is_one_task(self, app: Celeriac) -> None:
        app.task(name="x")(plain)
        registry.shared_tasks["tests.django.test_tasks_backend.plain"] = app.tasks["x"]
        try:
            with pytest.raises(api.InvalidTask, match="@shared_task already"):
                defined.task(plain)
        finally:
            del registry.shared_tasks["tests.django.test_tasks_backend.plain"]

    def test_all_is_supported(self) -> None:
        backend = api.task_backends["default"]
        assert backend.supports_defer and backend.supports_async_task
        assert backend.supports_get_result and backend.supports_priority

    def test_the_immediate_backend_in_its_place(self, queue: Queue) -> None:
        with override_settings(TASKS={"default": {"BACKEND": IMMEDIATE, "QUEUES": []}}):
            assert defined.add.enqueue(1).return_value == 2
        queue.assert_nothing_enqueued()

    def test_one_backend_for_some(self, queue: Queue) -> None:
        with tasks(other={}):
            result = defined.add.using(backend="other").enqueue(1)
            queue.drain()
            result.refresh()
            assert (result.backend, result.task.backend, result.return_value) == ("other", "other", 2)


def generator() -> Iterator[int]:
    yield 1


def tasks(**backends: dict[str, Any]) -> Any:
    """Have TASKS name these backends of ours."""
    every = {"default": {}} | backends
    return override_settings(
        TASKS={alias: {"BACKEND": BACKEND, "QUEUES": []} | facts for alias, facts in every.items()}
    )


class TestResults:
    def test_an_unknown_id(self, queue: Queue) -> None:
        with pytest.raises(api.TaskResultDoesNotExist):
            defined.add.get_result("123")
        with pytest.raises(api.TaskResultDoesNotExist):
            asyncio.run(api.task_backends["default"].aget_result("123"))

    def test_of_another_function(self, queue: Queue) -> None:
        result = defined.add.enqueue(1)
        mismatch = api._exceptions.TaskResultMismatch
        with pytest.raises(mismatch):
            defined.letter.get_result(result.id)
        with pytest.raises(mismatch):
            asyncio.run(defined.letter.aget_result(result.id))

    def test_of_a_task_that_is_not_djangos(self, queue: Queue, app: Celeriac) -> None:
        @app.task(name="shop.pay")
        def pay() -> None: ...

        handle = pay.delay()
        queue.drain()
        with pytest.raises(api.TaskResultDoesNotExist):
            defined.add.get_result(handle.id)

    def test_where_results_are_off(self, app: Celeriac) -> None:
        with override_settings(CELERY_RESULT_BACKEND="disabled"):
            result = defined.add.enqueue(1)
            with pytest.raises(NotImplementedError, match="CELERY_RESULT_BACKEND"):
                result.refresh()

    def test_what_is_not_sent_is_not_on_record(self, app: Celeriac) -> None:
        with override_settings(CELERY_WORKER_MAX_MESSAGE_BYTES=2000), pytest.raises(errors.EncodeError):
            defined.give_back.enqueue("x" * 3000)
        from celeriac.django.models import TaskResult

        assert not TaskResult.objects.exists()


class TestFinding:
    NAME = "tests.django.django_tasks.add"

    def test_by_its_path(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delitem(registry.shared_tasks, self.NAME)
        found = framework.DjangoFramework().find_task(self.NAME)
        assert found is registry.shared_tasks[self.NAME]
        assert found.definition is defined.add

    @pytest.mark.parametrize(
        "name",
        [
            "os.system",
            "antigravity.fly",
            "this.s",
            "celeriac.django.tasks_backend.functions.find",
            "tests.django.django_tasks.Busy",
            "tests.django.django_tasks.asyncio",
            "tests.django.django_tasks.nothing",
            "tests.django.nothing.add",
            "tests.django.test_tasks_backend.defined.add",
            "add",
            "",
            "..",
            "tests.django.django_tasks.add.func",
        ],
    )
    def test_nothing_else_is_found_or_imported(self, name: str, caplog: pytest.LogCaptureFixture) -> None:
        import sys

        assert framework.DjangoFramework().find_task(name) is None
        assert "antigravity" not in sys.modules and "this" not in sys.modules

    def test_a_module_that_does_not_import(
        self, tmp_path: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(functions, "_may_import", lambda module: True)
        monkeypatch.syspath_prepend(tmp_path)
        (tmp_path / "broken_tasks.py").write_text("1 / 0")
        assert functions.find("broken_tasks.add") is None
        assert "broken_tasks.add cannot be imported" in caplog.text

    def test_only_where_tasks_are_ours(self) -> None:
        here = framework.DjangoFramework()
        assert here.finds_tasks()
        with override_settings(TASKS={"default": {"BACKEND": IMMEDIATE}}):
            assert not here.finds_tasks()
            assert here.find_task(self.NAME) is None

    def test_wrong_settings_do_not_stop_a_worker(self, caplog: pytest.LogCaptureFixture) -> None:
        with tasks(default={"OPTIONS": {"x": 1}}):
            assert framework.DjangoFramework().find_task("shop.tasks.pay") is None
        assert "TASKS cannot be read" in caplog.text
