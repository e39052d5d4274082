"""For tests: what was sent, run by the worker's own path in the time that you say, a worker in a thread; the exams.

    with celeriac.testing.Queue() as queue:
        place_order()
        queue.assert_enqueued(send_receipt, args=[4711])
        queue.drain()

With pytest the fixtures `queue` and `celeriac_worker` are there without an import (`celeriac.testing.plugin`).
"""

from celeriac.testing.calls import EnqueuedCall
from celeriac.testing.queue import Queue
from celeriac.testing.worker import ThreadWorker, worker

__all__ = ["EnqueuedCall", "Queue", "ThreadWorker", "worker"]
