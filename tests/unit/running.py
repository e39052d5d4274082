"""A worker in a thread of the test, and how long it is waited for."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from celeriac import Celeriac
from celeriac.worker.options import WorkerOptions
from celeriac.worker.solo import SoloWorker

#: Seconds for what must come: a busy machine may take long, and who passes does not wait.
PATIENCE = 60.0


@contextmanager
def working(app: Celeriac, *queues: str) -> Iterator[SoloWorker]:
    """Have a worker for `app` while the block runs."""
    worker = SoloWorker(app, WorkerOptions(queues=queues).resolve(app.conf))
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        assert worker.ready.wait(PATIENCE)
        yield worker
    finally:
        worker.stop()
        thread.join(PATIENCE)
        assert not thread.is_alive()


def until(condition: Callable[[], Any], seconds: float = PATIENCE) -> None:
    """Look until there is something true to see."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)
