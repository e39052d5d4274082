"""`celeriac.testing.worker`: a real worker in a thread."""

import sys
import threading
from collections.abc import Iterator

import pytest

from celeriac import Celeriac
from celeriac.testing import Queue, ThreadWorker, worker
from tests.unit.running import PATIENCE


@pytest.fixture
def app() -> Iterator[Celeriac]:
    made = Celeriac("threaded", broker="memory://thread-worker", backend="memory://thread-worker")

    @made.task(name="threaded.where", queue="mail")
    def where() -> str:
        return threading.current_thread().name

    @made.task(name="threaded.fail")
    def fail() -> None:
        raise LookupError("gone")

    yield made
    made.close()


def test_it_runs_tasks_in_its_thread(app: Celeriac) -> None:
    interval, threads = sys.getswitchinterval(), set(threading.enumerate())
    with worker(app, timeout=PATIENCE) as started:
        assert isinstance(started, ThreadWorker)
        assert app.tasks["threaded.where"].delay().get(timeout=PATIENCE) == "celeriac-testing-worker"
        failed = app.tasks["threaded.fail"].delay()
        assert isinstance(failed.get(timeout=PATIENCE, propagate=False), LookupError)
    assert sys.getswitchinterval() == interval
    left = set(threading.enumerate()) - threads
    assert {thread.name for thread in left} <= {"celeriac-unread"}, "who waits for long has that looked at"


def test_the_projects_own_broker_is_not_touched() -> None:
    app = Celeriac("away", broker="redis://localhost:1/0", backend="redis://localhost:1/0")

    @app.task(name="away.one")
    def one() -> int:
        return 1

    app.conf.task_always_eager = True
    with worker(app, timeout=PATIENCE):
        assert one.delay().get(timeout=PATIENCE) == 1
    assert app.conf.task_always_eager and app.conf.broker_url == "redis://localhost:1/0"
    app.close()


def test_it_takes_from_all_queues_that_are_named(app: Celeriac) -> None:
    app.conf.task_queues = ["default", "rare"]
    app.conf.task_default_queue = "default"
    app.conf.task_routes = {"threaded.fail": "errors", "other.*": {"queue": "others"}}
    with worker(app, timeout=PATIENCE):
        for queue in ("default", "rare", "errors", "others", "mail"):
            assert app.tasks["threaded.where"].apply_async(queue=queue).get(timeout=PATIENCE)


def test_reload_brings_tasks_that_came_later(app: Celeriac) -> None:
    with worker(app, queues=["new"], timeout=PATIENCE) as started:

        @app.task(name="threaded.new", queue="new")
        def new() -> int:
            return 5

        started.reload()
        assert new.delay().get(timeout=PATIENCE) == 5


def test_with_a_queue_what_is_sent_is_seen_and_runs(app: Celeriac) -> None:
    where = app.tasks["threaded.where"]
    with Queue(app) as queue, worker(app, timeout=PATIENCE):
        assert where.delay().get(timeout=PATIENCE)
        queue.assert_enqueued(where, times=1)


def test_a_task_that_does_not_end_is_told(app: Celeriac) -> None:
    begun, end = threading.Event(), threading.Event()

    @app.task(name="threaded.long")
    def long() -> None:
        begun.set()
        assert end.wait(PATIENCE)

    with (
        pytest.raises(AssertionError, match=r"did not stop within 0\.1 s"),
        worker(app, timeout=PATIENCE) as started,
    ):
        long.delay()
        assert begun.wait(PATIENCE)
        started.timeout = 0.1
    end.set()
    started.timeout = PATIENCE
    started.stop()


def test_what_keeps_it_from_starting_is_raised(app: Celeriac) -> None:
    app.conf.imports = ["no_such_module"]
    with pytest.raises(Exception, match="no_such_module"), worker(app):
        raise AssertionError("it started")
