"""What a worker is started with; made by the command line."""

import os
import socket

from msgspec import Struct

from celeriac.config import Settings
from celeriac.errors import ImproperlyConfigured
from celeriac.queues import Queues

#: Seconds in which a second signal is the first once more: `timeout` and terminals signal the process and its group.
ONE_STOP = 0.3
POOLS = ("prefork", "threads", "solo")
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


class WorkerOptions(Struct):
    """Options of one worker. None stands for "as the settings say"."""

    hostname: str = ""
    queues: tuple[str, ...] = ()
    concurrency: int | None = None
    pool: str | None = None
    loglevel: str = "INFO"
    exclude: tuple[str, ...] = ()
    #: Most and fewest processes.
    autoscale: tuple[int, int] | None = None

    def resolve(self, conf: Settings) -> "WorkerOptions":
        """Return the options with every gap filled from the settings. `%h` in the name is the host's name.

        Without `queues` they are those of `task_queues`, always without those to `exclude`. Raises
        ImproperlyConfigured for a value that there is not, QueueNotFound for a queue that is to be declared.
        """
        host = socket.gethostname()
        name = self.hostname or "celery@%h"
        for short, value in (("%h", host), ("%n", host.partition(".")[0]), ("%d", host.partition(".")[2])):
            name = name.replace(short, value)
        made = WorkerOptions(
            hostname=name if "@" in name else f"{name}@{host}",
            queues=Queues(conf).to_read(self.queues, self.exclude),
            concurrency=self.concurrency or conf.worker_concurrency or os.cpu_count() or 1,
            pool=self.pool or conf.worker_pool,
            loglevel=self.loglevel.upper(),
            autoscale=self.autoscale,
        )
        made._check()
        return made

    def _check(self) -> None:
        if (self.concurrency or 0) < 1:
            raise ImproperlyConfigured(
                f"concurrency is {self.concurrency}: it is a number of processes or threads, from 1."
            )
        if self.autoscale and self.pool != "prefork":
            raise ImproperlyConfigured(f"autoscale is for the pool prefork; the pool is {self.pool}.")
        if self.pool not in POOLS:
            raise ImproperlyConfigured(f"There is no pool {self.pool!r}. Pools: {', '.join(POOLS)}.")
        if self.loglevel not in LEVELS:
            raise ImproperlyConfigured(
                f"{self.loglevel!r} is not a log level. Levels: {', '.join(LEVELS).lower()}."
            )
