"""`/metrics`: what a worker counts, in Prometheus' text format.

Made by `health` where a port is set; needs prometheus-client, and raises ModuleNotFoundError without it. The worker's
loop looks at slots and queues (`look`), the server's thread writes the page of what was seen (`text`).
"""

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from celeriac import states
from celeriac.broker import Broker
from celeriac.errors import CeleriacError, TaskRevokedError
from celeriac.hooks import Outbox
from celeriac.queue_age import ages
from celeriac.worker.losses import Ended
from celeriac.worker.recorder import Recorder
from celeriac.worker.tally import BOUNDS, Counts, Tallies

logger = logging.getLogger("celeriac.worker")

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_EVERY = 5.0  # seconds between two looks at the queues
_SHARE = 20  # of the worker's time at most one in so many goes into that
_WANTED = 90.0  # seconds after the last visit in which somebody is expected to come again
_FRESH = 1.0  # seconds in which the page stays as it is
_SLOTS_EVERY = 0.2


class Metrics:
    """What the worker `name` counts. `threads` is how many tasks a child runs at a time, coroutines left out."""

    def __init__(
        self,
        name: str,
        broker: Broker,
        queues: Sequence[str],
        threads: int,
        clock: Callable[[], float] = time.monotonic,
        outbox: Outbox | None = None,
    ) -> None:
        import prometheus_client.core  # noqa: PLC0415 - only who wants metrics need have it
        import prometheus_client.exposition  # noqa: PLC0415 - and here, not in a thread beside which it is forked

        self._families: Any = prometheus_client.core
        self._encode = prometheus_client.exposition.generate_latest
        self.name = name
        self.broker = broker
        self.outbox = outbox
        self.queues = queues
        self.threads = threads
        self.tallies = Tallies()
        self._own = self.tallies.open()
        self._clock = clock
        self._slots: dict[str, int] = {}
        self._waiting: dict[str, int] = {}
        self._oldest: dict[str, float] = {}
        self._outbox: int | None = None
        self._readers: dict[str, int] | None = None
        self._slots_next = self._queues_next = clock()
        self._visited = -_WANTED
        self._page = b""
        self._page_until = clock()

    # -- the worker's loop

    def look(self, recorders: Iterable[Recorder], reachable: bool) -> None:
        """See what runs, and now and then, where the broker is `reachable`, what waits."""
        now = self._clock()
        if now >= self._slots_next:
            self._slots_next = now + _SLOTS_EVERY
            self._look_at_slots(recorders)
        if not reachable:
            self._forget_queues()
        elif now >= self._queues_next and now - self._visited < _WANTED:
            self._look_at_queues()
            over = self._clock()
            self._queues_next = over + max(_EVERY, _SHARE * (over - now))

    def _look_at_slots(self, recorders: Iterable[Recorder]) -> None:
        slots = {"running": 0, "free": 0, "coroutine": 0}
        for recorder in recorders:
            busy = recorder.busy()
            running = sum(1 for slot in busy if slot < self.threads)
            slots["running"] += running
            slots["free"] += self.threads - running if recorder.ready else 0
            slots["coroutine"] += len(busy) - running
        self._slots = slots

    def _look_at_queues(self) -> None:
        try:
            depths = self.broker.depths()
            oldest = ages(self.broker)
            readers = self.broker.readers()
            self._outbox = None if self.outbox is None else self.outbox.waiting()
        except CeleriacError as error:
            logger.debug("Metrics without queues: %s", error)
            self._forget_queues()
            return
        self._waiting = dict.fromkeys(self.queues, 0)
        self._waiting |= {queue: depth.ready for queue, depth in depths.items()}
        self._oldest = dict.fromkeys(self._waiting, 0.0) | oldest
        if readers is None:
            self._readers = None
            return
        workers = {
            (consumer.rpartition("/")[0], queue) for consumer, queues in readers.items() for queue in queues
        }
        self._readers = dict.fromkeys(self.queues, 0) | Counter(queue for _, queue in workers)

    def _forget_queues(self) -> None:
        """Rather nothing than what may be long past."""
        self._waiting, self._oldest, self._readers, self._outbox = {}, {}, None, None

    def ended(self, ended: Iterable[Ended]) -> None:
        """Count the tasks that have ended with their process."""
        for each in ended:
            if each.retry is not None:
                state = states.RETRY
            else:
                state = states.REVOKED if isinstance(each.error, TaskRevokedError) else states.FAILURE
            self._own.add(each.run.message.headers.task, each.run.queue, state)

    # -- the server's thread

    def text(self) -> bytes:
        """Return the page."""
        now = self._clock()
        self._visited = now
        if now >= self._page_until:
            self._page = self._encode(self)
            self._page_until = now + _FRESH
        return self._page

    def collect(self) -> Iterator[Any]:
        """Yield all metrics, as prometheus-client wants them."""
        yield self._gauge(
            "celeriac_worker_up", "1 for a worker that answers.", ("worker",), {(self.name,): 1}
        )
        yield self._gauge(
            "celeriac_slots",
            "Places for tasks that run or are free, and coroutines that run.",
            ("state",),
            {(state,): count for state, count in self._slots.items()},
        )
        yield self._gauge(
            "celeriac_queue_waiting",
            "Tasks that could start now.",
            ("queue",),
            {(queue,): count for queue, count in self._waiting.items()},
        )
        yield self._gauge(
            "celeriac_queue_oldest_seconds",
            "For how long the task that has waited longest could have started.",
            ("queue",),
            {(queue,): seconds for queue, seconds in self._oldest.items()},
        )
        if self._readers is not None:
            yield self._gauge(
                "celeriac_queue_workers",
                "Workers that read the queue.",
                ("queue",),
                {(queue,): count for queue, count in self._readers.items()},
            )
        if self._outbox is not None:
            text = "Tasks in the outbox, which the broker does not have yet."
            yield self._gauge("celeriac_outbox_waiting", text, (), {(): self._outbox})
        yield from self._of_tasks()

    def _gauge(
        self, name: str, text: str, labels: Sequence[str], values: Mapping[tuple[str, ...], float]
    ) -> Any:
        family = self._families.GaugeMetricFamily(name, text, labels=labels)
        for key, value in sorted(values.items()):
            family.add_metric(key, value)
        return family

    def _of_tasks(self) -> Iterator[Any]:
        runs = self._families.CounterMetricFamily(
            "celeriac_tasks", "Runs that ended, by what came of them.", labels=("task", "queue", "state")
        )
        by_task: dict[tuple[str, str], Counts] = {}
        for (task, queue, state), counts in sorted(self.tallies.read().items()):
            runs.add_metric((task, queue, state), counts.count)
            known = by_task.get((task, queue))
            by_task[task, queue] = counts if known is None else known.plus(counts)
        yield runs
        ran = {key: (counts.runs, counts.ran) for key, counts in by_task.items()}
        yield self._histogram("celeriac_task_run_seconds", "How long runs took.", ran)
        waited = {key: (counts.waits, counts.waited) for key, counts in by_task.items()}
        yield self._histogram(
            "celeriac_task_wait_seconds", "How long tasks waited from when they could start.", waited
        )

    def _histogram(self, name: str, text: str, values: dict[tuple[str, str], tuple[list[int], float]]) -> Any:
        family = self._families.HistogramMetricFamily(name, text, labels=("task", "queue"))
        for key, (counts, seconds) in values.items():
            total, buckets = 0, []
            for bound, count in zip((*BOUNDS, float("inf")), counts, strict=True):
                total += count
                buckets.append(("+Inf" if bound == float("inf") else str(bound), total))
            family.add_metric(key, buckets, seconds)
        return family
