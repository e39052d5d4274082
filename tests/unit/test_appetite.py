"""How many messages a child asks for, by what came and what runs."""

import time
from pathlib import Path
from typing import Any

import pytest

from celeriac import Celeriac
from celeriac.execute import Executor
from celeriac.message.message import Headers, Message, Properties
from celeriac.run import Run
from celeriac.waker import Waker
from celeriac.worker.appetite import MOST, Appetite
from celeriac.worker.pool import Pool
from celeriac.worker.recorder import Recorder

app = Celeriac("appetite", broker="memory://appetite", set_as_current=False)


@app.task(name="waits")
async def waits() -> None: ...


@app.task(name="plain")
def plain() -> None: ...


@pytest.fixture
def pool(tmp_path: Path) -> Any:
    recorder = Recorder.create(tmp_path / "a.flight", "c", "b", 2 + 500)
    yield Pool(Executor(app, "w@h"), recorder, Waker(), 2, 500)
    recorder.close()


def runs(*tasks: Any) -> list[Run | None]:
    message = Message(Headers("t", "1"), Properties(), b"")
    return [None if task is None else Run(1, "q", message, task) for task in tasks]


def test_coroutine_tasks_are_asked_for_in_growing_numbers(pool: Pool) -> None:
    appetite = Appetite(pool, None)
    asked = []
    for _ in range(10):
        wanted = appetite.wanted()
        asked.append(wanted)
        appetite.had(wanted, runs(*[waits] * wanted))
    assert asked == [2, 4, 8, 16, 32, 64, 128, 256, 500, 500]  # as many as there are slots
    appetite.had(500, runs(waits))
    assert appetite.wanted() == 500  # the queue was empty: the next ones may come as fast
    appetite.had(500, runs())
    assert appetite.wanted() == 2


@pytest.mark.parametrize("other", [plain, None])
def test_as_soon_as_something_else_comes_they_are_not(pool: Pool, other: Any) -> None:
    """A plain task, one that is not known, or a message that cannot be read."""
    appetite = Appetite(pool, None)
    appetite.had(2, runs(waits, waits))
    assert appetite.wanted() == 4
    appetite.had(4, runs(waits, waits, other, waits))
    assert appetite.wanted() == 2


def test_never_more_than_a_claim_should_bring(tmp_path: Path) -> None:
    recorder = Recorder.create(tmp_path / "a.flight", "c", "b", 1 + 50_000)
    appetite = Appetite(Pool(Executor(app, "w@h"), recorder, Waker(), 1, 50_000), None)
    for _ in range(20):
        wanted = appetite.wanted()
        appetite.had(wanted, runs(*[waits] * wanted))
    assert appetite.wanted() == MOST
    recorder.close()


def test_plain_tasks_are_asked_for_by_how_long_they_take(pool: Pool) -> None:
    appetite = Appetite(pool, None)
    assert appetite.wanted() == 2
    pool.count, pool.busy = 100, 0.1
    appetite.measure()
    assert appetite.wanted() == pytest.approx(100, abs=4)  # 50 ms for each of two threads
    pool.since[0] = time.monotonic() - 1
    assert appetite.running_long()
    pool.since[1] = time.monotonic()
    assert appetite.wanted() == 0
    appetite.had(2, runs(waits, waits))
    assert appetite.wanted() == 4  # the event loop is free all the same


def test_a_prefetch_multiplier(pool: Pool) -> None:
    appetite = Appetite(pool, 3)
    assert appetite.wanted() == 6
    pool.inbox.put(Run(1, "q", Message(Headers("t", "1"), Properties(), b""), plain))
    assert appetite.wanted() == 5
