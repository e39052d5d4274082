"""E101 and E107: who sends, or waits, hears that nobody is there to run it."""

import asyncio
import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from celeriac import Celeriac, registry
from celeriac.broker import Publication
from celeriac.brokers.memory import MemoryBroker
from celeriac.errors import BrokerDown, TaskTimeout
from celeriac.store import Record
from celeriac.unread import IN_DEV, Unread
from tests.unit.running import PATIENCE

URL = "memory://unread"


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def broker() -> Iterator[MemoryBroker]:
    made = MemoryBroker(URL)
    yield made
    made.clear()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def unread(broker: MemoryBroker, clock: Clock) -> Unread:
    return Unread(broker, None, clock)


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """Return what was told since it was last asked, once all looks are over."""

    def since() -> list[str]:
        for thread in threading.enumerate():
            if thread.name == "celeriac-unread":
                thread.join(PATIENCE)
                assert not thread.is_alive()
        texts = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
        caplog.clear()
        return texts

    return since


class Ending(logging.Handler):
    """Ends a task as soon as it is told that it is waited for in vain: then nobody waits for longer."""

    def __init__(self, app: Celeriac, *task_ids: str) -> None:
        super().__init__(logging.WARNING)
        self.app = app
        self.task_ids = task_ids

    def emit(self, record: logging.LogRecord) -> None:
        assert self.app.store is not None
        self.app.store.store([Record(task_id, "SUCCESS", b"7") for task_id in self.task_ids])

    def __enter__(self) -> None:
        logging.getLogger("celeriac").addHandler(self)

    def __exit__(self, *exc_info: object) -> None:
        logging.getLogger("celeriac").removeHandler(self)


Told = Callable[[], list[str]]


def sent(queue: str = "celery", number: int = 1) -> Publication:
    return Publication(f"id-{number}", "shop.add", queue, b"")


def test_no_worker(unread: Unread, clock: Clock, told: Told) -> None:
    unread.sent([sent()])
    assert told() == [
        "E101: shop.add is queued (id id-1), but no worker is running. Start one:  celeriac worker"
    ]
    clock.now += 59
    unread.sent([sent()])
    unread.sent([sent("other")])
    assert told() == []
    clock.now += 2
    unread.sent([sent(number=2), sent("mails")])
    (text,) = told()
    assert "shop.add is queued (id id-2)" in text or "shop.add is queued (id id-1)" in text


def test_a_queue_without_a_worker(unread: Unread, broker: MemoryBroker, clock: Clock, told: Told) -> None:
    broker.register("one", 1e9, ["reports", "celery"])
    broker.register("other", 1e9, ["celery"])
    unread.sent([sent(), sent("emails", 2), sent("emails", 3), sent("reports")])
    (text,) = told()
    assert text == (
        'E107: shop.add is queued (id id-2), but its queue "emails" has no worker. It waits there until one starts:  '
        "celeriac worker -Q emails.  Queues with workers: celery, reports."
    )
    unread.sent([sent("emails"), sent("others", 4)])
    (text,) = told()
    assert 'its queue "others"' in text
    clock.now += 61
    unread.sent([sent("emails", 5)])
    assert "id-5" in told()[0]


def test_who_waits(unread: Unread, broker: MemoryBroker, told: Told) -> None:
    unread.awaited("an-id", None)
    (text,) = told()
    assert text.startswith("E101: The task an-id is waited for, but no worker is running.")
    broker.register("one", 1e9, ["celery"])
    unread.awaited("another", "emails")
    (text,) = told()
    assert text.startswith('E107: The task another is waited for, but its queue "emails" has no worker.')


def test_silence_where_it_cannot_be_known(told: Told) -> None:
    class CannotTell(MemoryBroker):
        def readers(self) -> Any:
            return None

    class Down(MemoryBroker):
        def readers(self) -> Any:
            raise BrokerDown("down")

    for keeper in (CannotTell, Down):
        Unread(keeper(URL), None).sent([sent()])
        assert told() == []


def test_under_dev_the_worker_is_on_its_way(
    unread: Unread, broker: MemoryBroker, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(IN_DEV, "1")
    unread.sent([sent()])
    assert told() == []
    broker.register("one", 1e9, ["celery"])
    unread.sent([sent("emails")])
    assert "E107" in told()[0]


def test_as_many_queues_as_you_like(unread: Unread, broker: MemoryBroker, told: Told) -> None:
    broker.register("one", 1e9, [f"user-{number}" for number in range(1200)])
    for number in range(1200):
        unread.sent([sent(f"user-{number}")])
    assert told() == []
    assert len(unread._looked) <= 1001


class TestApp:
    @pytest.fixture
    def app(self, broker: MemoryBroker) -> Iterator[Celeriac]:
        made = Celeriac("unread", broker=URL, backend=URL)
        yield made
        made.close()

    def test_who_sends_hears_nothing_outside_debug_mode(self, app: Celeriac, told: Told) -> None:
        assert registry.framework() is None

        @app.task
        def add(x: int) -> int:
            return x

        add.delay(1)
        assert told() == []

    def test_get(self, app: Celeriac, told: Told) -> None:
        @app.task(queue="mails")
        def add(x: int) -> int:
            return x

        result = add.delay(1)
        with pytest.raises(TaskTimeout, match=r'It still waits in its queue, "mails", or runs\.'):
            result.get(timeout=0.1)
        assert told() == []  # so short a wait is none
        with Ending(app, result.id):
            assert result.get(timeout=PATIENCE) == 7
        (text,) = told()
        assert text.startswith(f"E101: The task {result.id} is waited for, but no worker is running.")

    def test_aget(self, app: Celeriac, told: Told) -> None:
        async def wait() -> None:
            with pytest.raises(TaskTimeout, match="E116"):
                await app.AsyncResult("an-id").aget(timeout=0.1)
            with Ending(app, "an-id"):
                assert await app.AsyncResult("an-id").aget(timeout=PATIENCE) == 7

        asyncio.run(wait())
        assert "The task an-id is waited for" in told()[0]

    def test_a_set_of_results(self, app: Celeriac, told: Told) -> None:
        results = app.ResultSet([app.AsyncResult("first"), app.AsyncResult("second")])
        with pytest.raises(TaskTimeout, match="2 of 2 tasks"):
            results.get(timeout=0.1)
        assert told() == []
        with Ending(app, "first", "second"):
            assert results.get(timeout=PATIENCE) == [7, 7]
        assert "The task first is waited for" in told()[0]

    def test_of_an_id_nothing_is_known(self, app: Celeriac) -> None:
        with pytest.raises(TaskTimeout) as caught:
            app.AsyncResult("does-not-exist").get(timeout=0.01)
        assert str(caught.value) == (
            "Task does-not-exist has not ended within 0.01 s. Nothing is stored of it: it was never queued here, still "
            "waits or runs, or its result was deleted (results are kept for 7 days). (celeriac help E116)"
        )

    def test_who_sends_while_the_interpreter_ends_is_not_disturbed(self) -> None:
        script = (
            "import atexit\nfrom celeriac.broker import Publication\nfrom celeriac.brokers.memory import MemoryBroker\n"
            "from celeriac.unread import Unread\nunread = Unread(MemoryBroker(), None)\n"
            "atexit.register(lambda: (unread.sent([Publication('1', 't', 'q', b'')]), print('sent')))\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, timeout=100, check=False
        )
        assert (done.stdout, done.returncode) == ("sent\n", 0), done.stderr

    def test_results_without_a_broker(self, told: Told) -> None:
        app = Celeriac("reader", backend=URL)
        with pytest.raises(TaskTimeout):
            app.AsyncResult("x").get(timeout=0.6)
        assert told() == []
        app.close()
