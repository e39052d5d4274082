"""Thousands of coroutine tasks in one process, on Redis: all at once, each once, whatever their outcomes."""

import asyncio
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from celeriac import Celeriac, ResultSet
from celeriac.testing import ThreadWorker
from tests.servers import RedisServer

pytestmark = [pytest.mark.redis, pytest.mark.timeout(600)]

MANY = 10_000
#: Seconds.
PATIENCE = 200.0


@pytest.fixture
def app(redis_server: RedisServer, tmp_path: Path) -> Iterator[Celeriac]:
    redis_server.flush()
    app = Celeriac(
        "many",
        broker=redis_server.url,
        backend=redis_server.url,
        worker_async_concurrency=MANY,
        worker_state_dir=str(tmp_path),
    )
    yield app
    app.close()


class Crowd:
    """Coroutines that go on only when so many of them are there."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.started: Counter[int] = Counter()
        self.complete: asyncio.Event | None = None

    async def join(self, number: int) -> None:
        if self.complete is None:
            self.complete = asyncio.Event()
        self.started[number] += 1
        if len(self.started) >= self.size:
            self.complete.set()
        await asyncio.wait_for(self.complete.wait(), PATIENCE)


def test_ten_thousand_wait_at_the_same_time(app: Celeriac) -> None:
    crowd = Crowd(MANY)

    @app.task
    async def wait_for_all(number: int) -> int:
        await crowd.join(number)
        return number

    results = ResultSet(app.send_many(wait_for_all.s(number) for number in range(MANY)))
    worker = ThreadWorker(app, timeout=PATIENCE)
    worker.start()
    assert results.get(timeout=PATIENCE) == list(range(MANY))
    worker.stop()
    assert crowd.started == Counter(range(MANY))
    assert all(depth.ready == depth.in_flight == 0 for depth in app.broker.depths().values())


@pytest.mark.parametrize("options", [{}, {"acks_late": False}], ids=["at least once", "at most once"])
def test_outcomes_larger_than_the_flight_record(app: Celeriac, options: Any) -> None:
    """All end in the same moment, and what they return is more than is kept for a child that dies."""
    count, crowd = 400, Crowd(400)

    @app.task(**options)
    async def write(number: int) -> str:
        await crowd.join(number)
        return f"{number:05}" * 1000

    results = ResultSet(app.send_many(write.s(number) for number in range(count)))
    worker = ThreadWorker(app, timeout=PATIENCE)
    worker.start()
    assert [text[:5] for text in results.get(timeout=PATIENCE)] == [f"{number:05}" for number in range(count)]
    worker.stop()
    assert crowd.started == Counter(range(count))


def test_plain_tasks_between_them(app: Celeriac) -> None:
    """Plain tasks are not kept waiting in a child that has taken coroutine tasks by the hundred."""
    crowd, ran = Crowd(300), Counter[int]()
    all_plain = threading.Event()

    @app.task
    async def wait_for_all(number: int) -> None:
        await crowd.join(number)

    @app.task
    def plain(number: int) -> int:
        ran[number] += 1
        if len(ran) == 300:
            all_plain.set()
        return number

    calls = [task.s(number) for number in range(300) for task in (wait_for_all, plain)]
    results = ResultSet(app.send_many(calls))
    worker = ThreadWorker(app, timeout=PATIENCE)
    worker.start()
    assert all_plain.wait(PATIENCE)
    assert len(results.get(timeout=PATIENCE)) == 600
    worker.stop()
    assert ran == crowd.started == Counter(range(300))
