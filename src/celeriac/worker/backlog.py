"""What brokers, outbox and result store tell for `/metrics`: the same for every worker that asks.

Looked at in the worker's loop while somebody asks for the page, `metrics` says when. Rather nothing is shown than what
may be long past.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

from msgspec import Struct

from celeriac import pulse
from celeriac.broker import Broker
from celeriac.errors import CeleriacError
from celeriac.hooks import Outbox
from celeriac.queue_age import ages
from celeriac.store import ResultStore

logger = logging.getLogger("celeriac.worker")

_ROWS_EVERY = 60.0  # seconds between two looks at how many results there are
#: Seconds after which nobody misses a beat any more: the project has none now.
_FORGOTTEN = 7 * 86400.0


#: What a metric is at, by the values of its labels.
Values = Mapping[tuple[str, ...], float]


class Gauge(Struct):
    """A metric that goes up and down: its values by its labels'."""

    name: str
    help: str
    labels: tuple[str, ...]
    values: Values


class Backlog:
    """What waits at a broker, and who sees to it. `queues` are those that this worker reads."""

    def __init__(
        self,
        broker: Broker,
        queues: Sequence[str],
        outbox: Outbox | None = None,
        store: ResultStore | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.broker = broker
        self.queues = queues
        self.outbox = outbox
        self.store = store
        self._clock = clock
        self._gauges: list[Gauge] = []
        self._rows: int | None = None
        self._rows_next = clock()

    def look(self) -> None:
        """See how it is now."""
        try:
            gauges = [*self._of_queues(), *self._of_senders()]
        except CeleriacError as error:
            logger.debug("Metrics without queues: %s", error)
            gauges = []
        self._gauges = [*gauges, *self._of_store()]

    def forget(self) -> None:
        """Forget what was seen: the broker cannot be reached."""
        self._gauges = []

    def gauges(self) -> list[Gauge]:
        """Return what was seen last."""
        return self._gauges

    def _of_queues(self) -> Iterator[Gauge]:
        depths = self.broker.depths()
        oldest = ages(self.broker)
        readers = self.broker.readers()
        waiting = dict.fromkeys(self.queues, 0) | {queue: depth.ready for queue, depth in depths.items()}
        yield Gauge("celeriac_queue_waiting", "Tasks that could start now.", ("queue",), _keyed(waiting))
        yield Gauge(
            "celeriac_queue_oldest_seconds",
            "For how long the task that has waited longest could have started.",
            ("queue",),
            _keyed(dict.fromkeys(waiting, 0.0) | oldest),
        )
        if readers is not None:
            pairs = {
                (consumer.rpartition("/")[0], queue)
                for consumer, queues in readers.items()
                for queue in queues
            }
            counts = dict.fromkeys(self.queues, 0) | Counter(queue for _, queue in pairs)
            yield Gauge("celeriac_queue_workers", "Workers that read the queue.", ("queue",), _keyed(counts))

    def _of_senders(self) -> Iterator[Gauge]:
        if self.outbox is not None:
            text = "Tasks in the outbox, which the broker does not have yet."
            yield Gauge("celeriac_outbox_waiting", text, (), {(): self.outbox.waiting()})
        late = pulse.lateness(self.broker)
        if late is not None and late < _FORGOTTEN:
            text = "How late the schedule is: the entry that is due longest, or since when no beat is there."
            yield Gauge("celeriac_scheduler_lag_seconds", text, (), {(): late})

    def _of_store(self) -> Iterator[Gauge]:
        if self.store is not None and self._clock() >= self._rows_next:
            self._rows_next = self._clock() + _ROWS_EVERY
            try:
                self._rows = self.store.count()
            except CeleriacError as error:
                logger.debug("Metrics without results: %s", error)
                self._rows = None
        if self._rows is not None:
            text = "About how many results of tasks are kept."
            yield Gauge("celeriac_rows", text, ("table",), {("results",): self._rows})


def _keyed(values: Mapping[str, float]) -> Values:
    return {(key,): value for key, value in values.items()}
