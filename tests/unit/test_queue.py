"""`celeriac.testing.Queue`: what was sent, and its running in the time that the test says."""

import asyncio
import enum
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from unittest import mock

import pytest

from celeriac import AsyncResult, Celeriac, Task
from celeriac.errors import NotRegistered, Reject, Retry, TaskTimeout
from celeriac.testing import Queue


class Colour(enum.Enum):
    RED = "red"


class Shop:
    """An app with a few tasks, and what they did."""

    def __init__(self) -> None:
        self.app = Celeriac("shop", broker="memory://not-for-tests", backend="memory://not-for-tests")
        self.done: list[object] = []
        task = self.app.task

        @task(name="shop.add")
        def add(a: int, b: int) -> int:
            return a + b

        @task(name="shop.note")
        def note(what: object, *, mark: str = "") -> None:
            self.done.append(what)

        @task(name="shop.fail")
        def fail() -> None:
            raise LookupError("no such order")

        @task(name="shop.twice", bind=True, max_retries=1, default_retry_delay=60)
        def twice(task: Task, wait: float | None = None) -> str:
            self.done.append((task.request.retries, task.request.is_eager))
            if not task.request.retries:
                raise task.retry(countdown=wait)
            return "done"

        @task(name="shop.again")
        def again() -> None:
            again.delay()

        @task(name="shop.later")
        def later() -> None:
            note.apply_async(["later"], countdown=3600, expires=7200)

        @task(name="shop.coroutine")
        async def coroutine() -> int:
            return 3

        @task(name="shop.reject")
        def reject() -> None:
            raise Reject("not ours")

        self.add, self.note, self.fail, self.twice, self.again = add, note, fail, twice, again
        self.later, self.coroutine, self.reject = later, coroutine, reject


@pytest.fixture
def shop() -> Iterator[Shop]:
    made = Shop()
    yield made
    assert made.app.broker.depths() == {}, "what a test sent reached the project's broker"
    made.app.close()


@pytest.fixture
def kept(shop: Shop) -> Iterator[Queue]:
    with Queue(shop.app) as queue:
        yield queue


# -- what was sent


def test_a_call_is_there_with_all_that_it_says(shop: Shop, kept: Queue) -> None:
    before = datetime.now(UTC)
    sent = shop.note.apply_async(
        [(1, 2)], {"mark": "x"}, queue="mail", priority=3, countdown=60, expires=600, headers={"who": "me"}
    )
    (call,) = kept.calls
    assert (call.id, call.task, call.args, call.kwargs) == (sent.id, "shop.note", ([1, 2],), {"mark": "x"})
    assert (call.queue, call.priority, call.headers) == ("mail", 3, {"who": "me"})
    assert before <= call.sent <= datetime.now(UTC)
    assert call.countdown == pytest.approx(60, abs=1e-4)
    assert call.expires is not None and call.expires - call.sent == pytest.approx(
        timedelta(seconds=600), abs=timedelta(milliseconds=1)
    )
    assert kept.assert_enqueued(shop.note) == [call]
    assert kept.assert_enqueued("shop.note", args=[(1, 2)], kwargs={"mark": "x"}, queue="mail", times=1)


def test_what_is_asked_for_is_looked_at_and_nothing_else(shop: Shop, kept: Queue) -> None:
    shop.add.delay(1, 2)
    shop.add.delay(1, b=2)
    shop.note.delay({"colour": Colour.RED})
    assert len(kept.assert_enqueued(shop.add)) == 2
    kept.assert_enqueued(shop.add, times=2)
    kept.assert_enqueued(shop.add, args=(1, 2), kwargs={}, times=1)
    kept.assert_enqueued(shop.add, args=[1, mock.ANY], times=1)
    kept.assert_enqueued(shop.note, args=[{"colour": Colour.RED}], queue="celery")
    kept.assert_enqueued(shop.fail, times=0)
    for wrong in ({"args": [2, 1]}, {"args": [5]}, {"queue": "mail"}, {"times": 1}, {"kwargs": {"b": 3}}):
        with pytest.raises(AssertionError):
            kept.assert_enqueued(shop.add, **wrong)  # type: ignore[arg-type]


def test_times_to_come(shop: Shop, kept: Queue) -> None:
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    shop.add.apply_async([1, 2], eta=tomorrow)
    shop.add.apply_async([3, 4])
    kept.assert_enqueued(shop.add, eta=tomorrow, times=1)
    kept.assert_enqueued(shop.add, eta=tomorrow.replace(tzinfo=None), times=1)  # the project's zone is UTC
    kept.assert_enqueued(shop.add, countdown=timedelta(days=1), within=60, times=1)
    kept.assert_enqueued(shop.add, countdown=0, args=[3, 4], times=1)
    kept.assert_enqueued(shop.add, countdown=86000, within=timedelta(hours=1), times=1)
    with pytest.raises(AssertionError, match="countdown=86000"):
        kept.assert_enqueued(shop.add, countdown=86000)


def test_a_failure_lists_what_was_sent(shop: Shop, kept: Queue) -> None:
    with pytest.raises(AssertionError, match=r"^shop.add was not enqueued.\nNothing was enqueued.$"):
        kept.assert_enqueued(shop.add)
    shop.add.delay(1, b=2)
    shop.note.apply_async(["x"], queue="mail", countdown=60)
    with pytest.raises(AssertionError) as caught:
        kept.assert_enqueued(shop.add, args=[5, 6], times=2)
    head, title, first, second = str(caught.value).splitlines()
    assert head == "shop.add with args=[5, 6] was not enqueued 2 times, but 0 times."
    assert (title, first) == ("Enqueued:", "  shop.add(1, b=2) on queue 'celery'")
    assert second.startswith("  shop.note('x') on queue 'mail', in 60 s (20")
    with pytest.raises(
        AssertionError, match=r"Nothing should have been enqueued.\nEnqueued:\n  shop.add\(1, b=2\)"
    ):
        kept.assert_nothing_enqueued()


def test_outside_of_its_block_it_says_so(shop: Shop) -> None:
    queue = Queue(shop.app)
    with pytest.raises(RuntimeError, match=r"with Queue\(\) as queue"):
        queue.assert_nothing_enqueued()
    with queue:
        shop.note.delay(1)
    with pytest.raises(RuntimeError), queue:
        raise RuntimeError
    with pytest.raises(RuntimeError, match="enterContext"):
        queue.drain()


def test_nothing_and_clear(shop: Shop, kept: Queue) -> None:
    kept.assert_nothing_enqueued()
    result = shop.add.delay(1, 2)
    kept.drain()
    shop.note.delay(1)
    kept.clear()
    kept.assert_nothing_enqueued()
    assert kept.drain() == []
    assert AsyncResult(result.id, shop.app).state == "PENDING"
    shop.note.delay(2)
    kept.drain()
    assert shop.done == [2]


def test_batches_names_and_compressed_calls_are_seen(shop: Shop, kept: Queue) -> None:
    with shop.app.batch():
        shop.add.delay(1, 2)
        kept.assert_nothing_enqueued()
    shop.app.send_task("elsewhere.resize", ["a.png"])
    shop.note.apply_async(["x" * 1000], compression="gzip")
    kept.assert_enqueued(shop.add, times=1)
    kept.assert_enqueued("elsewhere.resize", args=["a.png"])
    kept.assert_enqueued(shop.note, args=["x" * 1000])


def test_it_records_where_tasks_are_always_eager_and_puts_all_back(shop: Shop) -> None:
    shop.app.conf.task_always_eager = True
    broker = shop.app.broker
    with Queue(shop.app) as queue:
        shop.note.delay(1)
        queue.assert_enqueued(shop.note)
        with Queue(shop.app) as inner:
            inner.assert_nothing_enqueued()
            shop.note.delay(2)
        queue.assert_enqueued(shop.note, times=1)
    assert shop.done == []
    shop.note.delay(3)
    assert shop.done == [3]
    assert shop.app.broker is broker and shop.app.conf.broker_url == "memory://not-for-tests"


# -- running it


def test_drain_runs_what_is_due_and_what_that_sends(shop: Shop, kept: Queue) -> None:
    sum_ = shop.add.delay(1, 2)
    shop.note.apply_async(["mail"], queue="mail")
    shop.coroutine.delay()
    shop.note.apply_async(["later"], countdown=60)
    results = kept.drain()
    assert sorted((r.record.name, r.state) for r in results if r.record) == [
        ("shop.add", "SUCCESS"),
        ("shop.coroutine", "SUCCESS"),
        ("shop.note", "SUCCESS"),
    ]
    assert shop.done == ["mail"]
    assert sum_.get(timeout=0) == 3 and {r.id: r.get() for r in results}[sum_.id] == 3
    assert kept.drain() == []
    kept.assert_enqueued(shop.note, times=2)


def test_drain_raises_the_first_error_and_keeps_the_rest(shop: Shop, kept: Queue) -> None:
    failed = shop.fail.delay()
    shop.note.delay("rest")
    with pytest.raises(LookupError, match="no such order") as caught:
        kept.drain()
    assert caught.traceback[-1].name == "fail"
    assert failed.state == "FAILURE" and shop.done == []
    shop.fail.delay()
    first, second = kept.drain(raise_errors=False)
    assert isinstance(second.result, LookupError) and first.successful()
    assert shop.done == ["rest"]


def test_what_becomes_a_dead_letter_is_an_error(shop: Shop, kept: Queue) -> None:
    shop.app.send_task("nobody.knows", [])
    with pytest.raises(NotRegistered, match=r"nobody\.knows"):
        kept.drain()
    shop.reject.delay()
    with pytest.raises(Reject):
        kept.drain()
    assert shop.app.broker.count_dead_letters() == 2


def test_a_loop_without_end_is_told(shop: Shop, kept: Queue) -> None:
    shop.again.delay()
    with pytest.raises(AssertionError, match=r"20 tasks have run and there is no end: shop.again 20 times"):
        kept.drain(limit=20)
    with pytest.raises(AssertionError, match="1,000 tasks"):
        kept.run_due(60)


def test_retries_wait_until_they_are_due(shop: Shop, kept: Queue) -> None:
    start = kept.now
    result = shop.twice.delay()
    assert [run.state for run in kept.drain()] == ["RETRY"]
    assert result.state == "RETRY"
    kept.assert_enqueued(shop.twice, times=1)  # a retry is no new call
    assert kept.run_due(start + timedelta(seconds=59.9)) == []
    with pytest.raises(TaskTimeout):
        result.get(timeout=0)
    assert [run.get() for run in kept.run_due(60)] == ["done"]
    assert result.get(timeout=0) == "done"
    assert shop.done == [(0, False), (1, False)]


def test_a_retry_that_is_due_at_once_is_drained(shop: Shop, kept: Queue) -> None:
    shop.twice.delay(0)
    assert [run.state for run in kept.drain()] == ["RETRY", "SUCCESS"]


def test_time_goes_ahead_without_sleeping(shop: Shop, kept: Queue) -> None:
    began, start = time.monotonic(), kept.now
    shop.note.apply_async(["third"], countdown=300)
    shop.note.apply_async(["first"], countdown=100)
    shop.note.apply_async(["second"], eta=datetime.now(UTC) + timedelta(seconds=200))
    shop.note.apply_async(["too late"], countdown=250, expires=240)
    runs = kept.run_due(timedelta(seconds=260))
    assert shop.done == ["first", "second"]
    assert [run.state for run in runs] == ["SUCCESS", "SUCCESS", "REVOKED"]
    assert timedelta(seconds=260) <= kept.now - start < timedelta(seconds=290)
    kept.run_due(start + timedelta(hours=1))
    assert shop.done[-1] == "third"
    assert time.monotonic() - began < 240
    with pytest.raises(ValueError, match="only goes ahead"):
        kept.run_due(start)


def test_what_is_sent_on_the_way_counts_from_there(shop: Shop, kept: Queue) -> None:
    shop.later.apply_async(countdown=3600)
    kept.run_due(timedelta(hours=1, minutes=59))
    assert shop.done == []
    kept.assert_enqueued(shop.note, countdown=3600, within=0.01)
    kept.run_due(timedelta(minutes=2))
    assert shop.done == ["later"]


def test_the_clock_goes_on_after_an_error(shop: Shop, kept: Queue) -> None:
    start = kept.now
    shop.fail.apply_async(countdown=1000)
    shop.note.apply_async([1], countdown=1500)
    with pytest.raises(LookupError):
        kept.run_due(2000)
    assert timedelta(seconds=1000) <= kept.now - start < timedelta(seconds=1060)
    kept.run_due(600)
    assert shop.done == [1]


def test_without_results_there_are_none(shop: Shop) -> None:
    app = Celeriac("bare", broker="memory://not-for-tests", set_as_current=False)

    @app.task(name="bare.one")
    def one() -> int:
        return 1

    with Queue(app) as queue:
        one.delay()
        (run,) = queue.drain()
        assert run.get() == 1 and app.store is None


# -- eager mode, which runs the same way


def test_eager_calls_do_not_wait_and_are_never_too_late(shop: Shop) -> None:
    shop.app.conf.task_always_eager = True
    result = shop.note.apply_async(
        [1], countdown=3600, queue="mail", expires=datetime(2020, 1, 1, tzinfo=UTC)
    )
    assert result.state == "SUCCESS" and shop.done == [1]
    assert shop.twice.delay().get() == "done"
    assert shop.done[1:] == [(0, True), (1, True)]


def test_eager_errors_are_in_the_result_or_raised(shop: Shop) -> None:
    result = shop.fail.apply()
    assert isinstance(result.result, LookupError) and result.info is result.result
    assert result.failed() and "no such order" in str(result.traceback)
    with pytest.raises(LookupError):
        result.get()
    with pytest.raises(LookupError):
        shop.fail.apply(throw=True)
    shop.app.conf.task_always_eager = shop.app.conf.task_eager_propagates = True
    with pytest.raises(LookupError):
        shop.fail.delay()


def test_retry_as_it_is_raised_is_not_the_tests(shop: Shop) -> None:
    with pytest.raises(Retry):
        shop.twice()


def test_a_run_may_be_taken_for_a_retry(shop: Shop) -> None:
    assert shop.twice.apply(retries=1).get() == "done"
    assert shop.done == [(1, True)]


def test_coroutine_tasks_run_from_coroutines_too(shop: Shop, kept: Queue) -> None:
    async def test() -> None:
        assert shop.coroutine.apply().get() == 3
        shop.coroutine.delay()
        assert [run.get() for run in kept.drain()] == [3]

    asyncio.run(test())


def test_what_moves_the_clock_of_python_moves_the_queues(
    shop: Shop, kept: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.note.apply_async([1], countdown=3600)
    later = time.time() + 3601
    monkeypatch.setattr(
        time, "time", lambda: later
    )  # what libraries that freeze the time do, among other things
    kept.drain()
    assert shop.done == [1]
