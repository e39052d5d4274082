"""The worker in one process: for debugging, and for brokers that only this process can reach.

The main thread runs the tasks; there is no supervisor, so nobody can end a task that hangs. A thread keeps the lease.
"""

import logging
import signal
import threading
import time
import uuid
from types import FrameType

from celeriac.app import Celeriac
from celeriac.errors import CeleriacError
from celeriac.waker import Waker
from celeriac.worker.caretaker import Caretaker
from celeriac.worker.child import ChildSetup, serve
from celeriac.worker.options import WorkerOptions
from celeriac.worker.recorder import Recorder
from celeriac.worker.recovery import Recovery, broker_id, stale_records, state_dir

logger = logging.getLogger("celeriac.worker")


class SoloWorker:
    """A worker in the calling process. `run` blocks until `stop` is called from another thread or a signal."""

    def __init__(self, app: Celeriac, options: WorkerOptions) -> None:
        self.app = app
        self.options = options
        self.waker = Waker()
        conf = app.conf
        consumer = f"{options.hostname}/solo-{uuid.uuid4().hex[:12]}"
        self.broker_id = broker_id(conf.broker_url or "")
        self.directory = state_dir(conf.worker_state_dir)
        self.recorder = Recorder.create(
            self.directory / f"{uuid.uuid4().hex}.flight",
            consumer,
            self.broker_id,
            1 + conf.worker_async_concurrency,
        )
        self.recovery = Recovery(app.broker, app.store, options.hostname, conf.task_max_deliveries)
        self.own = f"{options.hostname}/caretaker-{uuid.uuid4().hex[:12]}"
        self.ready = threading.Event()
        self._stopped = threading.Event()

    def run(self) -> int:
        """Work until stopped; return the exit status."""
        broker, lease = self.app.broker, self.app.conf.worker_lease
        broker.register(self.own, lease)
        broker.register(self.recorder.consumer, lease)
        if broker.shared:
            for recorder in stale_records(self.directory, self.broker_id):
                self.recovery.child(recorder, "the whole worker was killed")
        keeper = threading.Thread(target=self._keep_lease, name="celeriac-caretaker", daemon=True)
        keeper.start()
        self.ready.set()
        logger.info("%s ready.", self.options.hostname)
        try:
            serve(self.app, ChildSetup(self.options, self.recorder, self.waker, Waker(), 1))
        finally:
            self._stopped.set()
            keeper.join()
        self.recorder.remove()
        broker.unregister(self.own)
        logger.info("%s has stopped.", self.options.hostname)
        return 0

    def stop(self) -> None:
        """Finish what runs, give back the rest, and return from `run`. May be called from any thread, twice too."""
        self.recorder.stop()
        self.waker.poke()

    def stop_on_signals(self) -> None:
        """Stop on SIGTERM and SIGINT; the second one ends the process at once."""

        def handle(number: int, _frame: FrameType | None) -> None:
            for again in (signal.SIGTERM, signal.SIGINT):
                signal.signal(again, signal.SIG_DFL)
            logger.info("%s: finishing what runs. Once more to end at once.", signal.Signals(number).name)
            self.stop()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, handle)

    def _keep_lease(self) -> None:
        caretaker = Caretaker(
            self.app.broker, self.app.store, self.recovery, self.own, self.app.conf.worker_lease,
            lambda: [self.recorder.consumer],
        )  # fmt: skip
        while not self._stopped.wait(max(0.0, caretaker.next - time.monotonic())):
            try:
                caretaker.turn()
            except CeleriacError as error:
                logger.error("%s", error)
