"""The worker in one process: for debugging, and for brokers that only this process can reach.

The main thread runs the tasks; there is no supervisor, so nobody can end a task that hangs. A thread keeps the lease.
"""

import logging
import os
import signal
import threading
import time
import uuid
from types import FrameType

from celeriac import signals
from celeriac.app import Celeriac
from celeriac.errors import BrokerError, CeleriacError
from celeriac.execute import Executor
from celeriac.limits import of_tasks
from celeriac.waker import Waker
from celeriac.worker.caretaker import Caretaker
from celeriac.worker.child import ChildSetup, make_executor, serve
from celeriac.worker.death import Death
from celeriac.worker.health import STARTING, STOPPING, Health
from celeriac.worker.options import ONE_STOP, WorkerOptions
from celeriac.worker.outage import Notice, Outage
from celeriac.worker.recorder import STOP, Recorder
from celeriac.worker.recovery import Recovery, broker_id, state_dir
from celeriac.worker.relaying import Relaying
from celeriac.worker.revival import Revival
from celeriac.worker.telling import tell

logger = logging.getLogger("celeriac.worker")

_NAMED = 3  # tasks to name where there are many


class SoloWorker:
    """A worker in the calling process. `run` blocks until `stop` is called from another thread or a signal."""

    def __init__(self, app: Celeriac, options: WorkerOptions) -> None:
        self.app = app
        self.options = options
        self.hostname = options.hostname
        self.waker = Waker()
        conf = app.conf
        consumer = f"{options.hostname}/solo-{uuid.uuid4().hex[:12]}"
        directory, broker = state_dir(conf.worker_state_dir), broker_id(conf.broker_url or "")
        self.recorder = Recorder.create(
            directory / f"{uuid.uuid4().hex}.flight", consumer, broker, 1 + conf.worker_async_concurrency
        )
        self.recovery = Recovery(
            app.broker,
            app.store,
            options.hostname,
            conf.task_max_deliveries,
            app.codec,
            Executor(app, options.hostname),
        )
        self.own = f"{options.hostname}/caretaker-{uuid.uuid4().hex[:12]}"
        self.caretaker = Caretaker(
            app.broker,
            app.store,
            self.recovery,
            (directory, broker),
            self.own,
            conf.worker_lease,
            lambda: [consumer],
        )
        self.caretaker.keep_letters = app.conf.task_dead_letter_expires
        self.relaying = Relaying(app.outbox)
        self.caretaker.revival = Revival(app.broker, app.tasks, options.queues, app.codec)
        self.health = Health(app, options, (directory, broker), 1)
        self.notice = Notice()
        self.alarm = Waker()
        self.ready = threading.Event()
        self._stopped = False

    def run(self) -> int:
        """Work until stopped; return the exit status."""
        self.health.open()
        try:
            if self.caretaker.arrive(self._keep_waiting):
                self._work()
        finally:
            self.health.close()
        self.recorder.remove()
        tell(signals.worker_shutdown, self)
        logger.info("%s has stopped.", self.options.hostname)
        return 0

    def _work(self) -> None:
        broker = self.app.broker
        broker.register(self.recorder.consumer, self.app.conf.worker_lease, self.options.queues)
        self.caretaker.turn()
        keeper = threading.Thread(target=self._keep_lease, name="celeriac-caretaker", daemon=True)
        keeper.start()
        tell(signals.worker_process_init, self.hostname)
        tell(signals.worker_ready, self)
        self.ready.set()
        logger.info("%s ready.", self.options.hostname)
        self._tell_of_limits()
        try:
            executor = make_executor(self.app, self.hostname)
            setup = ChildSetup(
                self.options,
                executor,
                self.recorder,
                self.waker,
                self.alarm,
                self.notice,
                1,
                tally=self.health.tally(),
            )
            serve(self.app, setup)
        finally:
            self._stopped = True
            self.alarm.poke()
            keeper.join()
        try:
            broker.unregister(self.own)
        except BrokerError as error:
            logger.debug("Could not say good-bye to the broker: %s", error)

    def _tell_of_limits(self) -> None:
        app = self.app
        limited = [name for name, (hard, _) in of_tasks(app.tasks, app.conf).items() if hard]
        if limited:
            shown = f"{', '.join(limited[:_NAMED])}{', ...' if len(limited) > _NAMED else ''}"
            logger.warning(
                "The solo pool has no process to end: the hard time limits of %s hold for coroutines alone.",
                shown,
            )

    def _keep_waiting(self, seconds: float) -> bool:
        self.health.turn(self.caretaker.trouble)
        self.waker.wait(seconds)
        return self.recorder.control != STOP

    def stop(self) -> None:
        """Finish what runs, give back the rest, and return from `run`. May be called from any thread, twice too."""
        self.recorder.stop()
        self.waker.poke()

    def stop_on_signals(self) -> None:
        """Stop on SIGTERM and SIGINT; the second one interrupts what runs."""

        begun = float("inf")

        def handle(number: int, _frame: FrameType | None) -> None:
            nonlocal begun
            for again in (signal.SIGTERM, signal.SIGINT):
                signal.signal(again, interrupt)
            logger.info("%s: finishing what runs. Once more to interrupt it.", signal.Signals(number).name)
            self.stop()
            name = signal.Signals(number).name
            tell(signals.worker_shutting_down, self.hostname, sig=name, how="Warm", exitcode=0)
            begun = time.monotonic()  # what comes while all this is done is the same stop

        def interrupt(_number: int, _frame: FrameType | None) -> None:
            if time.monotonic() - begun < ONE_STOP:
                return
            # In a thread of its own, for the task may have a transaction open on this one's connection.
            threading.Thread(target=self._interrupt, name="celeriac-interrupt", daemon=True).start()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, handle)

    def _interrupt(self) -> None:
        """Put back what runs, counted against nobody, and end the process."""
        try:
            self.recovery.child(self.recorder, Death("interrupted"), blame=False)
        except CeleriacError as error:
            logger.warning("The flight record is left for the next start: %s", error)
        logger.info("%s has stopped by force.", self.options.hostname)
        os._exit(1)

    def _unready(self) -> str:
        if self.recorder.control == STOP:
            return STOPPING
        return self.caretaker.trouble or self.notice.read() or ("" if self.ready.is_set() else STARTING)

    def _keep_lease(self) -> None:
        caretaker, outage = self.caretaker, Outage()
        while not self._stopped:
            if time.monotonic() >= caretaker.next:
                caretaker.turn()
            if time.monotonic() >= self.relaying.next:
                self.relaying.look()
            outage.look([caretaker.trouble, self.notice.read()])
            self.health.turn(self._unready(), [self.recorder])
            times = (caretaker.next, self.relaying.next, outage.next, self.health.next)
            due = min(moment for moment in times if moment is not None)
            self.alarm.wait(max(0.0, due - time.monotonic()))
            self.alarm.clear()
        if self.app.framework is not None:
            self.app.framework.leave_thread()
