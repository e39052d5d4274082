"""`/metrics`: what a worker counts, in Prometheus' text format.

Made by `health` where a port is set; needs prometheus-client, and raises ModuleNotFoundError without it. The worker's
loop looks at slots and queues (`look`), the server's thread writes the page of what was seen (`text`).
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from celeriac import states
from celeriac.broker import Broker
from celeriac.errors import TaskRevokedError
from celeriac.hooks import Outbox
from celeriac.store import ResultStore
from celeriac.worker import flower
from celeriac.worker.backlog import Backlog, Gauge, Values
from celeriac.worker.losses import Ended
from celeriac.worker.recorder import Recorder
from celeriac.worker.tally import BOUNDS, ENTRY, NOT_SENT, UNKNOWN, Counts, Key, Tallies

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_EVERY = 5.0  # seconds between two looks at the queues
_SHARE = 20  # of the worker's time at most one in so many goes into that
_WANTED = 90.0  # seconds after the last visit in which somebody is expected to come again
_FRESH = 1.0  # seconds in which the page stays as it is
_SLOTS_EVERY = 0.2


class Metrics:
    """What the worker `name` counts. `threads` is how many tasks a child runs at a time, coroutines left out.

    With `flowers` Flower's names are there too.
    """

    def __init__(
        self,
        name: str,
        broker: Broker,
        queues: Sequence[str],
        threads: int,
        clock: Callable[[], float] = time.monotonic,
        outbox: Outbox | None = None,
        store: ResultStore | None = None,
        flowers: bool = False,
    ) -> None:
        import prometheus_client.core  # noqa: PLC0415 - only who wants metrics need have it
        import prometheus_client.exposition  # noqa: PLC0415 - and here, not in a thread beside which it is forked

        self._families: Any = prometheus_client.core
        self._encode = prometheus_client.exposition.generate_latest
        self.name = name
        self.backlog = Backlog(broker, queues, outbox, store, clock)
        self.queues = queues
        self.threads = threads
        self.flowers = flowers
        self.tallies = Tallies()
        self._own = self.tallies.open()
        self._clock = clock
        self._slots: dict[str, int] = {}
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
            self.backlog.forget()
        elif now >= self._queues_next and now - self._visited < _WANTED:
            self.backlog.look()
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
        every = self.tallies.read()
        runs = {key: counts for key, counts in every.items() if key[2] not in (NOT_SENT, ENTRY)}
        yield from map(self._gauge, (*self._of_worker(runs), *self.backlog.gauges()))
        yield from self._of_runs(runs)
        not_sent: Values = {key[:2]: counts.count for key, counts in every.items() if key[2] == NOT_SENT}
        text = "Tasks that this worker's own tasks could not send."
        yield self._counter("celeriac_enqueue_errors", text, ("task", "queue"), not_sent)
        ends: Values = {(key[0],): counts.when for key, counts in every.items() if key[2] == ENTRY}
        if ends:
            text = "When a task of this entry of the schedule succeeded last, in unix seconds."
            yield self._gauge(
                Gauge("celeriac_schedule_last_success_timestamp_seconds", text, ("schedule",), ends)
            )
        if self.flowers:
            yield from self._of_flower(runs)

    def _of_worker(self, runs: Mapping[Key, Counts]) -> Iterator[Gauge]:
        yield Gauge("celeriac_worker_up", "1 for a worker that answers.", ("worker",), {(self.name,): 1})
        text = "Places for tasks that run or are free, and coroutines that run."
        slots: Values = {(state,): count for state, count in self._slots.items()}
        yield Gauge("celeriac_slots", text, ("state",), slots)
        unknown: Counter[tuple[str, ...]] = Counter(dict.fromkeys(((queue,) for queue in self.queues), 0))
        for (task, queue, _), counts in runs.items():
            if task == UNKNOWN:
                unknown[queue,] += counts.count
        text = "Tasks that this worker did not know, since its start. They are dead letters."
        yield Gauge("celeriac_unknown_tasks", text, ("queue",), unknown)

    def _of_runs(self, runs: Mapping[Key, Counts]) -> Iterator[Any]:
        text = "Runs that ended, by what came of them."
        ended: Values = {key: counts.count for key, counts in runs.items()}
        yield self._counter("celeriac_tasks", text, ("task", "queue", "state"), ended)
        by_task: dict[tuple[str, ...], Counts] = {}
        for (task, queue, _), counts in sorted(runs.items()):
            known = by_task.get((task, queue))
            by_task[task, queue] = counts if known is None else known.plus(counts)
        labels = ("task", "queue")
        ran = {key: (counts.runs, counts.ran) for key, counts in by_task.items()}
        yield self._histogram("celeriac_task_run_seconds", "How long runs took.", labels, ran)
        waited = {key: (counts.waits, counts.waited) for key, counts in by_task.items()}
        text = "How long tasks waited from when they could start."
        yield self._histogram("celeriac_task_wait_seconds", text, labels, waited)

    def _of_flower(self, runs: Mapping[Key, Counts]) -> Iterator[Any]:
        mine = (self.name,)
        text = "Runs that ended, by what Celery's events would have told of them."
        yield self._counter("flower_events", text, ("task", "type", "worker"), flower.events(self.name, runs))
        text = "How long runs took that succeeded."
        times = flower.runtimes(self.name, runs)
        yield self._histogram("flower_task_runtime_seconds", text, ("task", "worker"), times)
        yield self._gauge(
            Gauge("flower_worker_online", "1 for a worker that answers.", ("worker",), {mine: 1})
        )
        running = self._slots.get("running", 0) + self._slots.get("coroutine", 0)
        name = "flower_worker_number_of_currently_executing_tasks"
        yield self._gauge(Gauge(name, "Tasks that run.", ("worker",), {mine: running}))

    def _gauge(self, gauge: Gauge) -> Any:
        family = self._families.GaugeMetricFamily(gauge.name, gauge.help, labels=gauge.labels)
        for key, value in sorted(gauge.values.items()):
            family.add_metric(key, value)
        return family

    def _counter(self, name: str, text: str, labels: Sequence[str], values: Values) -> Any:
        family = self._families.CounterMetricFamily(name, text, labels=labels)
        for key, value in sorted(values.items()):
            family.add_metric(key, value)
        return family

    def _histogram(
        self,
        name: str,
        text: str,
        labels: Sequence[str],
        values: Mapping[tuple[str, ...], tuple[list[int], float]],
    ) -> Any:
        family = self._families.HistogramMetricFamily(name, text, labels=labels)
        for key, (counts, seconds) in values.items():
            total, buckets = 0, []
            for bound, count in zip((*BOUNDS, float("inf")), counts, strict=True):
                total += count
                buckets.append(("+Inf" if bound == float("inf") else str(bound), total))
            family.add_metric(key, buckets, seconds)
        return family
