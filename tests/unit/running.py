"""A worker in a thread of the test, and how long it is waited for."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from celeriac import Celeriac
from celeriac.worker.options import WorkerOptions
from celeriac.worker.solo import SoloWorker


@contextmanager
def working(app: Celeriac, *queues: str) -> Iterator[SoloWorker]:
    """Have a worker for `app` while the block runs."""
    worker = SoloWorker(app, WorkerOptions(queues=queues).resolve(app.conf))
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        assert worker.ready.wait(10)
        yield worker
    finally:
        worker.stop()
        thread.join(20)
        assert not thread.is_alive()


def until(condition: Callable[[], Any], seconds: float = 10.0) -> None:
    """Look until there is something true to see."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)
