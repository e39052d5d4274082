"""What type checkers make of `celeriac.testing`. Never run; read as `typed_tasks` is."""

from datetime import UTC, datetime, timedelta
from typing import Any, assert_type

from celeriac import Celeriac
from celeriac.result import EagerResult
from celeriac.testing import EnqueuedCall, Queue, ThreadWorker, worker

app = Celeriac("typed", broker="memory://")


@app.task
def add(x: int, y: int = 0) -> int:
    return x + y


def good() -> None:
    with Queue(app) as queue:
        assert_type(queue.calls, list[EnqueuedCall])
        assert_type(queue.calls[0].eta, datetime | None)
        queue.assert_enqueued(add, args=(1, 2), kwargs={"y": 3}, queue="x", times=1)
        queue.assert_enqueued("typed.add", countdown=timedelta(days=1), within=5)
        assert_type(queue.assert_enqueued(add, eta=datetime.now(UTC)), list[EnqueuedCall])
        queue.assert_nothing_enqueued()
        assert_type(queue.drain(raise_errors=False, limit=5), list[EagerResult[Any]])
        assert_type(queue.run_due(60), list[EagerResult[Any]])
        queue.run_due(queue.now + timedelta(hours=1))
        queue.clear()
    with worker(app, queues=["a"], timeout=5) as started:
        assert_type(started, ThreadWorker)
        started.reload()


def bad(queue: Queue) -> None:
    queue.assert_enqueued(print)  # type: ignore[arg-type]
    queue.assert_enqueued(add, args=5)  # type: ignore[arg-type]
    queue.assert_enqueued(add, times="2")  # type: ignore[arg-type]
    queue.assert_enqueued(add, [1, 2])  # type: ignore[call-arg]
    queue.run_due("tomorrow")  # type: ignore[arg-type]
    queue.run_due()  # type: ignore[call-arg]
    queue.drain(5)  # type: ignore[call-arg, arg-type]
    Queue("shop")  # type: ignore[arg-type]
