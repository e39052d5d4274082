"""A real worker in a thread of the test's process, on the memory broker.

`worker` is what users and the pytest plugin take. The worker is `celeriac.worker.solo.SoloWorker`, as it is.
"""

import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress

from celeriac import registry
from celeriac.app import Celeriac
from celeriac.brokers.memory import MemoryBroker
from celeriac.errors import QueueNotFound
from celeriac.queues import Queues
from celeriac.testing.keepers import memory_keepers


class ThreadWorker:
    """A worker that runs in a thread. `timeout` bounds, in seconds, how long it may take to start and to stop."""

    def __init__(self, app: Celeriac, queues: Sequence[str] = (), *, timeout: float = 60.0) -> None:
        self.app = app
        self.timeout = timeout
        self._queues = tuple(queues)
        self._error: BaseException | None = None

    def start(self) -> None:
        """Start the thread and wait until the worker is ready; raises what keeps it from starting."""
        from celeriac.worker.options import WorkerOptions  # noqa: PLC0415 - most tests need no worker, and
        from celeriac.worker.solo import SoloWorker  # noqa: PLC0415 - pytest loads this module always

        self.app.load_tasks()
        options = WorkerOptions(
            hostname="celeriac-testing@%h",
            queues=self._queues or _queues_of(self.app),
            concurrency=1,
            pool="solo",
        )
        self._worker = SoloWorker(self.app, options.resolve(self.app.conf))
        self._thread = threading.Thread(target=self._run, name="celeriac-testing-worker", daemon=True)
        self._thread.start()
        if not self._worker.ready.wait(self.timeout):
            raise AssertionError(f"The worker was not ready within {self.timeout:g} s.")
        self._raise()

    def stop(self) -> None:
        """Let the running task end and stop; raises AssertionError where it does not end in time."""
        self._worker.stop()
        self._thread.join(self.timeout)
        if self._thread.is_alive():
            raise AssertionError(
                f"The worker did not stop within {self.timeout:g} s: a task still runs. Have it end, or pass timeout=."
            )
        self._raise()

    def reload(self) -> None:
        """Start anew, with the tasks that were defined since."""
        self.stop()
        self.start()

    def _raise(self) -> None:
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def _run(self) -> None:
        hooks, interval = self.app.hooks, sys.getswitchinterval()
        before = hooks.before_task, hooks.after_task
        try:
            self._worker.run()
        except BaseException as error:
            self._error = error
        finally:
            # A worker has the process to itself, and leaves all this as it is.
            hooks.before_task, hooks.after_task = before
            sys.setswitchinterval(interval)
            if self.app.framework is not None:
                self.app.framework.leave_thread()
            self._worker.ready.set()  # where it ended before it was


def _queues_of(app: Celeriac) -> tuple[str, ...]:
    """The queues that the settings declare, and those that routes by name and the tasks name."""
    queues = Queues(app.conf)
    found = dict.fromkeys(queues.declared)
    routes = app.conf.task_routes if isinstance(app.conf.task_routes, Mapping) else {}
    for named in (
        app.conf.task_default_queue,
        *routes.values(),
        *(task.queue for task in app.tasks.values()),
    ):
        queue = named.get("queue") if isinstance(named, Mapping) else named
        if queue is not None:
            with suppress(QueueNotFound):  # told to who sends to it
                found[queues.name(queue)] = None
    return tuple(found)


@contextmanager
def worker(
    app: Celeriac | None = None, *, queues: Sequence[str] = (), timeout: float = 60.0
) -> Iterator[ThreadWorker]:
    """Run a worker for `app` (the current one without it) in a thread, on a memory broker, while the block runs.

    It takes from `queues`, or without them from all that the app's tasks name. An app on a memory broker, as inside a
    `Queue`, keeps its own. At the end what runs may end; what waits is forgotten. `timeout` bounds start and stop.
    """
    served: Celeriac = registry.current_app() if app is None else app
    with ExitStack() as inside:
        if not isinstance(served.broker, MemoryBroker):
            inside.enter_context(memory_keepers(served, time.time))
        started = ThreadWorker(served, queues, timeout=timeout)
        started.start()
        try:
            yield started
        finally:
            started.stop()
