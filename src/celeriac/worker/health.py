"""What a worker tells of itself: a heartbeat always, `/live`, `/ready`, `/metrics` where there is `worker_health_port`.

Kept by whoever has the worker's loop, the supervisor or the solo worker, which calls `turn` each time round. The
server's thread only reads what `turn` has noted and what the children count in memory. Without a port there is
neither server nor thread, and nothing is counted.
"""

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from celeriac.app import Celeriac
from celeriac.worker.caretaker import Caretaker
from celeriac.worker.health_server import Answer, HealthServer
from celeriac.worker.heartbeat import HeartbeatFile
from celeriac.worker.losses import Ended
from celeriac.worker.metrics import CONTENT_TYPE, Metrics
from celeriac.worker.options import WorkerOptions
from celeriac.worker.outage import Notice
from celeriac.worker.recorder import Recorder
from celeriac.worker.tally import Tally
from celeriac_health import MAX_AGE

logger = logging.getLogger("celeriac.worker")

STARTING = "It is starting."
STOPPING = "It is stopping."
_NO_METRICS = "There are no metrics without prometheus-client: pip install 'celeriac[prometheus]'"


class Health:
    """Tells of one worker. `records` are the directory of its state and the name of its broker."""

    def __init__(
        self,
        app: Celeriac,
        options: WorkerOptions,
        records: tuple[Path, str],
        threads: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        conf = app.conf
        self.name = options.hostname
        self.metrics: Metrics | None = None
        self._clock = clock
        self._turned = clock()
        self._trouble = STARTING
        self._heartbeat = HeartbeatFile(*records, self.name, clock)
        self._server: HealthServer | None = None
        if conf.worker_health_port:
            self._server = HealthServer(conf.worker_health_host, conf.worker_health_port, self.answer)
            self.metrics = _metrics(app, options, threads)

    # -- the worker's loop

    def open(self) -> None:
        """Begin to tell; raises ImproperlyConfigured where the port cannot be had."""
        if self._server is not None:
            self._server.open()
            logger.info("Health is told on %s.", self._server.url)
            if self.metrics is None:
                logger.warning("%s", _NO_METRICS)
        self._heartbeat.beat(self._trouble)

    @property
    def next(self) -> float:
        """When `turn` is to be called again at the latest."""
        return self._heartbeat.next

    def turn(self, trouble: str, recorders: Sequence[Recorder] = ()) -> None:
        """Take note that the loop turns; `trouble` is why the worker is not ready, "" if it is."""
        self._trouble = trouble
        self._turned = self._clock()
        self._heartbeat.beat(trouble)
        if self.metrics is not None:
            self.metrics.look(recorders, reachable=trouble in ("", STOPPING))

    def close(self) -> None:
        """Tell no more. May be called twice."""
        if self._server is not None:
            self._server.close()
        self._heartbeat.end()

    # -- what is counted

    def tally(self) -> Tally | None:
        """Return what a new child is to count in, None where nothing is counted."""
        return None if self.metrics is None else self.metrics.tallies.open()

    def retire(self, tally: Tally | None) -> None:
        """Keep what a dead child has counted."""
        if self.metrics is not None and tally is not None:
            self.metrics.tallies.retire(tally)

    def counting(self, tell: Callable[[Sequence[Ended]], None]) -> Callable[[Sequence[Ended]], None]:
        """Return `tell`, with what it is told of counted first."""
        metrics = self.metrics
        if metrics is None:
            return tell

        def count_and_tell(ended: Sequence[Ended]) -> None:
            metrics.ended(ended)
            tell(ended)

        return count_and_tell

    # -- the server's thread

    def answer(self, path: str) -> Answer:
        """Return what there is to say at a path."""
        if path == "/live":
            return _yes_or_no(self._late())
        if path == "/ready":
            return _yes_or_no(self._trouble or self._late())
        if path == "/metrics":
            if self.metrics is None:
                return Answer(501, f"{_NO_METRICS}\n".encode())
            return Answer(200, self.metrics.text(), CONTENT_TYPE)
        return Answer(404, b"There is /live, /ready and /metrics.\n")

    def _late(self) -> str:
        late = self._clock() - self._turned
        return f"It has not moved for {late:.0f} s." if late > MAX_AGE else ""


def _yes_or_no(trouble: str) -> Answer:
    return Answer(503, f"{trouble}\n".encode(errors="replace")) if trouble else Answer(200, b"ok\n")


def _metrics(app: Celeriac, options: WorkerOptions, threads: int) -> Metrics | None:
    try:
        return Metrics(
            options.hostname,
            app.broker,
            options.queues,
            threads,
            outbox=app.outbox,
            store=app.store,
            flowers=app.conf.worker_flower_metrics,
        )
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "prometheus_client":
            raise
        return None


# -- what the supervisor has to say


class Child(Protocol):
    """What is to be known of a child."""

    @property
    def recorder(self) -> Recorder:
        """Its flight record."""

    @property
    def notice(self) -> Notice:
        """What it has to say of an outage."""


class Tended(Protocol):
    """What is to be known of a supervisor. `start_at` says when children are to be started, by their numbers."""

    caretaker: Caretaker
    start_at: dict[int, float]
    stopping: bool
    announced: bool

    @property
    def children(self) -> Sequence[Child]:
        """Those that live."""


def unready(worker: Tended, now: float) -> str:
    """Return why a worker is not ready, "" if it is. One whose children are replaced now and then is."""
    if worker.stopping:
        return STOPPING
    notices = (child.notice.read() for child in worker.children)
    trouble = worker.caretaker.trouble or next(filter(None, notices), "")
    if trouble:
        return trouble
    if not worker.announced:
        ready = sum(1 for child in worker.children if child.recorder.ready)
        return f"{STARTING} Of {len(worker.children) + len(worker.start_at)} processes {ready} are ready."
    again = min((when for when in worker.start_at.values() if when > now), default=None)
    return "" if again is None else f"A process died as it started; it is tried again in {again - now:.1f} s."
