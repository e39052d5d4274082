"""`celeriac.testing` in Django's test cases: what counts as sent in a transaction, and a worker beside it."""

import unittest
from collections.abc import Iterator

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.db import transaction
from django.test import TestCase, TransactionTestCase, override_settings

from celeriac import current_app, registry, shared_task
from celeriac.errors import WaitInTransaction
from celeriac.testing import Queue, worker

PATIENCE = 60.0


@shared_task(name="tests.django.test_queue.welcome")
def welcome(name: str) -> int:
    return User.objects.filter(username=name).count()


@shared_task(name="tests.django.test_queue.sign_up")
def sign_up(name: str) -> None:
    with transaction.atomic():
        User.objects.create(username=name)
        welcome.delay(name)


@shared_task(name="tests.django.test_queue.count")
async def count(name: str) -> int:
    return await User.objects.filter(username=name).acount()


class Undone(Exception):
    pass


@pytest.fixture(autouse=True)
def no_app_left() -> Iterator[None]:
    yield
    for app in registry.apps():
        app.close()


def run(case: type[unittest.TestCase]) -> None:
    """Run a test case as Django's test runner would, on the database of these tests."""
    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(case).run(result)
    assert result.testsRun and result.wasSuccessful(), [text for _, text in result.errors + result.failures]


class WithQueue(TestCase):
    def setUp(self) -> None:
        self.queue = self.enterContext(Queue())


class InTestCase(WithQueue):
    def test_a_call_counts_when_the_block_has_ended(self) -> None:
        with transaction.atomic():
            sign_up("ada")
            self.queue.assert_nothing_enqueued()
            with pytest.raises(AssertionError, match="still open, and not counted: 1"):
                self.queue.assert_enqueued(welcome)
        self.queue.assert_enqueued(welcome, args=["ada"], times=1)

    def test_what_is_rolled_back_does_not_count(self) -> None:
        with pytest.raises(Undone), transaction.atomic():
            sign_up("ada")
            raise Undone
        self.queue.assert_nothing_enqueued()
        assert self.queue.drain() == []

    def test_without_a_block_it_counts_at_once(self) -> None:
        result = welcome.delay("ada")
        with pytest.raises(WaitInTransaction):
            result.get(timeout=1)
        self.queue.assert_enqueued(welcome)
        self.queue.drain()
        assert result.get(timeout=0) == 0

    def test_tasks_see_the_tests_rows_and_send_others(self) -> None:
        sign_up.delay("ada")
        runs = self.queue.drain()
        assert [run.get() for run in runs] == [None, 1]

    def test_coroutines_see_the_tests_rows(self) -> None:
        User.objects.create(username="ada")
        count.delay("ada")
        assert [run.get() for run in self.queue.drain()] == [1]
        assert count.apply(["ada"]).get() == 1

    async def test_in_an_async_test(self) -> None:
        await User.objects.acreate(username="ada")
        await count.adelay("ada")
        await sync_to_async(self.queue.assert_enqueued)(count)
        assert [run.get() for run in await sync_to_async(self.queue.drain)()] == [1]

    def test_captured_callbacks_count_once(self) -> None:
        with self.captureOnCommitCallbacks(execute=True) as callbacks:
            sign_up("ada")
            self.queue.assert_enqueued(welcome, times=1)
        assert len(callbacks) == 1
        self.queue.assert_enqueued(welcome, times=1)
        with self.captureOnCommitCallbacks(execute=True):
            sign_up("bob")
        self.queue.assert_enqueued(welcome, times=2)

    def test_callbacks_of_ones_own_need_to_be_captured(self) -> None:
        transaction.on_commit(lambda: welcome.delay("ada"))
        with pytest.raises(
            AssertionError, match=r"(?s)have not run: 1.*captureOnCommitCallbacks\(execute=True\)"
        ):
            self.queue.assert_enqueued(welcome)
        with self.captureOnCommitCallbacks(execute=True):
            transaction.on_commit(lambda: welcome.delay("ada"))
        self.queue.assert_enqueued(welcome, times=1)

    def test_delay_on_commit(self) -> None:
        with transaction.atomic():
            welcome.delay_on_commit("ada")
            self.queue.assert_nothing_enqueued()
        self.queue.assert_enqueued(welcome)

    @override_settings(CELERY_TASK_PUBLISH_ON_COMMIT=False)
    def test_where_nothing_waits_for_the_commit(self) -> None:
        with transaction.atomic():
            welcome.delay("ada")
            self.queue.assert_enqueued(welcome)

    def test_settings_that_change_leave_the_queue_in_place(self) -> None:
        with override_settings(CELERY_BROKER_URL="redis://localhost:1/0"):
            welcome.delay("ada")
        self.queue.assert_enqueued(welcome)


@override_settings(CELERY_TASK_ALWAYS_EAGER=True)
class WhereAllIsEager(WithQueue):
    def test_it_is_kept_all_the_same(self) -> None:
        welcome.delay("ada")
        self.queue.assert_enqueued(welcome)
        self.queue.drain()


class InTransactionTestCase(TransactionTestCase):
    available_apps = ()

    def test_real_commits(self) -> None:
        with Queue() as queue:
            with transaction.atomic():
                sign_up("ada")
                queue.assert_nothing_enqueued()
                assert queue.drain() == []
            queue.assert_enqueued(welcome)
            (run,) = queue.drain()
            assert run.get() == 1
        assert current_app().broker.depths() == {}

    def test_a_worker_in_a_thread(self) -> None:
        with worker(timeout=PATIENCE):
            sign_up("ada")
            assert welcome.delay("ada").get(timeout=PATIENCE) == 1

    def tearDown(self) -> None:
        User.objects.all().delete()


@pytest.mark.parametrize("case", [InTestCase, WhereAllIsEager])
def test_in_a_test_case(case: type[unittest.TestCase]) -> None:
    run(case)
    assert current_app().broker.depths() == {}


def test_with_real_commits(monkeypatch: pytest.MonkeyPatch) -> None:
    # The tables are the session's, and flushing them would take our migration's rows along.
    monkeypatch.setattr(InTransactionTestCase, "_fixture_teardown", lambda self: None)
    run(InTransactionTestCase)


# pytest would collect them a second time.
for _case in (WithQueue, InTestCase, WhereAllIsEager, InTransactionTestCase):
    _case.__test__ = False
