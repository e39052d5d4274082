"""Tells that nobody is there to run what is sent or waited for: E101 and E107.

Asked by `App.publish` where the framework is in its debug mode, and by `AsyncResult.get` when it begins to wait for
long. The broker is looked at on a thread of its own, once a minute at most for each queue: nobody is held up, no
transaction of the caller's takes part, and a broker that does not answer is for others to tell of.
"""

import logging
import math
import os
import threading
import time
from collections.abc import Callable, Sequence

from celeriac.broker import Broker, Publication
from celeriac.errors import CeleriacError
from celeriac.hooks import Framework

logger = logging.getLogger("celeriac")

#: Seconds between two looks for a queue, and between two times that no worker at all is told of.
EVERY = 60.0
#: Set by `celeriac dev` for its web server: that its worker is just being started again, it tells itself.
IN_DEV = "CELERIAC_DEV"
_MANY = 1000


class Unread:
    """Looks who reads the queues of one broker. `framework` closes what a look has opened."""

    def __init__(
        self, broker: Broker, framework: Framework | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._broker = broker
        self._framework = framework
        self._clock = clock
        self._looked: dict[str | None, float] = {}
        self._told = -math.inf
        self._telling = threading.Lock()

    def sent(self, publications: Sequence[Publication]) -> None:
        """Have it told if no worker reads the queue of one of `publications`."""
        due = self._clock() - EVERY
        for publication in publications:
            if self._looked.get(publication.queue, -math.inf) <= due:
                self._look(publication.queue, f"{publication.task} is queued (id {publication.id})")

    def awaited(self, task_id: str, queue: str | None) -> None:
        """Have it told if there is no worker for a task that is waited for; None where its queue is not known."""
        if self._looked.get(queue, -math.inf) <= self._clock() - EVERY:
            self._look(queue, f"The task {task_id} is waited for")

    def _look(self, queue: str | None, subject: str) -> None:
        if len(self._looked) > _MANY:
            self._looked.clear()
        self._looked[queue] = self._clock()
        # Not a daemon: a script that sends a task and ends is to hear of it.
        look = threading.Thread(target=self._tell, args=(queue, subject), name="celeriac-unread")
        try:
            look.start()
        except RuntimeError as error:  # the interpreter is ending, or there are too many threads
            logger.debug("Could not look who reads the queues: %s", error)

    def _tell(self, queue: str | None, subject: str) -> None:
        try:
            readers = self._broker.readers()
        except CeleriacError as error:
            logger.debug("Could not look who reads the queues: %s", error)
            return
        finally:
            if self._framework is not None:
                self._framework.leave_thread()
        if readers is None:
            return
        read = {each for queues in readers.values() for each in queues}
        if not read:
            self._tell_of_no_worker(subject)
        elif queue is not None and queue not in read:
            logger.warning("%s", unread(subject, queue, sorted(read)))

    def _tell_of_no_worker(self, subject: str) -> None:
        with self._telling:
            now = self._clock()
            if os.environ.get(IN_DEV) or now - self._told < EVERY:
                return
            self._told = now
        logger.warning("%s", no_worker(subject, in_django=self._framework is not None))


def no_worker(subject: str, *, in_django: bool) -> str:
    """Return E101: what was done to which task, and how to start a worker."""
    dev = "python manage.py celeriac dev   (worker only: celeriac worker)"
    return f"E101: {subject}, but no worker is running. Start one:  {dev if in_django else 'celeriac worker'}"


def unread(subject: str, queue: str, read: Sequence[str]) -> str:
    """Return E107: what was done to which task, and which queues have workers."""
    return (
        f'E107: {subject}, but its queue "{queue}" has no worker. It waits there until one starts:  '
        f"celeriac worker -Q {queue}.  Queues with workers: {', '.join(read)}."
    )
