"""The supervisor: starts the children, keeps their leases, makes good what a dead one leaves, stops them in order.

One thread and one loop over signals, pokes and times. It loads the app once, freezes it and forks, so that memory is
shared. It never runs a task; of the broker it only needs what `recovery` and `caretaker` do.
"""

import logging
import os
import select
import signal
import time
import uuid
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from celeriac import signals
from celeriac.app import Celeriac
from celeriac.errors import BrokerError, CeleriacError
from celeriac.waker import Waker
from celeriac.worker import death, orphans
from celeriac.worker.aftermath import Aftermath
from celeriac.worker.autoscale import Autoscaler
from celeriac.worker.broker_clock import BrokerClock
from celeriac.worker.caretaker import Caretaker
from celeriac.worker.child import ChildSetup, end_as, flush, make_executor, run_child
from celeriac.worker.companions import Companions, Work
from celeriac.worker.crew import Child, Dead, PoolSize
from celeriac.worker.health import Health, unready
from celeriac.worker.lookout import Lookout
from celeriac.worker.losses import NotYet
from celeriac.worker.options import ONE_STOP, WorkerOptions
from celeriac.worker.outage import Notice, Outage
from celeriac.worker.overtime import HardLimits
from celeriac.worker.recorder import Recorder
from celeriac.worker.recovery import Recovery, broker_id, state_dir
from celeriac.worker.relaying import Relaying
from celeriac.worker.revival import Revival
from celeriac.worker.sharing import settle_memory
from celeriac.worker.stale import StaleCode
from celeriac.worker.steering import Steering
from celeriac.worker.stuck import StuckChildren
from celeriac.worker.telling import tell
from celeriac.worker.terminating import Terminations

logger = logging.getLogger("celeriac.worker")

_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
_QUICK_DEATH = 1.0  # seconds; a child that dies sooner is replaced with growing pauses
_LONGEST_PAUSE = 30.0


class Supervisor:
    """Runs a worker of `processes` children with `threads` task threads each."""

    def __init__(
        self,
        app: Celeriac,
        options: WorkerOptions,
        processes: int,
        threads: int,
        companions: Mapping[str, Work] | None = None,
    ) -> None:
        self.app = app
        self.options = options
        self.hostname = options.hostname
        self.processes = processes
        self.threads = threads
        self.lease = app.conf.worker_lease
        self.directory: Path = state_dir(app.conf.worker_state_dir)
        self.broker = app.broker
        self.broker_id = broker_id(app.conf.broker_url or "")
        self.executor = make_executor(app, options.hostname)
        self.clock = self.executor.clock = BrokerClock(app.broker)
        self.recovery = Recovery(
            app.broker,
            app.store,
            options.hostname,
            app.conf.task_max_deliveries,
            app.codec,
            self.executor,
        )
        self.own = f"{options.hostname}/supervisor-{uuid.uuid4().hex[:12]}"
        records = self.directory, self.broker_id
        self.caretaker = Caretaker(
            app.broker, app.store, self.recovery, records, self.own, self.lease, self._consumers
        )
        self.caretaker.keep_letters = app.conf.task_dead_letter_expires
        self.relaying = Relaying(app.outbox)
        self.caretaker.revival = Revival(app.broker, app.tasks, options.queues, app.codec)
        self.stuck = StuckChildren(app.broker)
        self.stale = StaleCode(app.tasks.values())
        self.limits = HardLimits(threads)
        self.terminations = Terminations(threads)
        methods = {"revoke": self._terminate, "pool_grow": self._grow, "pool_shrink": self._shrink}
        self.steering = Steering(app.broker, options.hostname, methods, signer=app.signer)
        self.aftermath = Aftermath(app, options.hostname)
        self.companions = Companions(app, options.hostname, companions or {})
        self.health = Health(app, options, records, threads)
        self.recovery.tell = self.health.counting(self.aftermath.begin)
        self.recovery.losses.followers = self.aftermath.followers
        self.outage = Outage()
        most, least = options.autoscale or (processes, processes)
        self.lookout = Lookout() if most > 1 else None
        self.children: list[Child] = []
        self.dead: list[Dead] = []
        self.waker = Waker()
        #: Signals, and when each came: two may be seen to one long after the other.
        self.caught: list[tuple[int, float]] = []
        self.stopping = False
        self.stopping_since = 0.0
        self.forced = False
        self.announced = False
        self.kill_at: float | None = None
        self.pauses: dict[int, float] = {}
        self.start_at: dict[int, float] = {}
        autoscaler = Autoscaler(least, most) if options.autoscale else None
        self.size = PoolSize(self.children, self.start_at, autoscaler)

    # -- life

    def run(self) -> int:
        """Work until told to stop; return the exit status: 0 after a warm stop, 1 after a forced one."""
        self.health.open()
        try:
            return self._run()
        finally:
            self.health.close()

    def _run(self) -> int:
        self._catch_signals()
        if not self.caretaker.arrive(self._keep_waiting):
            return 0
        self.caretaker.turn()
        for number in range(self.processes):
            self.start_at[number] = 0.0
        while not (self.stopping and not (self.children or self.aftermath.busy or self.companions.processes)):
            self._start_children()
            self._sleep()
            self._handle_signals()
            self._bury()
            self._tend()
            self.health.turn(unready(self, time.monotonic()), [child.recorder for child in self.children])
        if self.dead:
            logger.warning(
                "%d flight records are left for the next start: %s", len(self.dead), self.caretaker.trouble
            )
        try:
            self.broker.unregister(self.own)
        except BrokerError as error:
            logger.debug("Could not say good-bye to the broker: %s", error)
        tell(signals.worker_shutdown, self)
        logger.info("%s has stopped%s.", self.options.hostname, " by force" if self.forced else "")
        return 1 if self.forced else 0

    def _keep_waiting(self, seconds: float) -> bool:
        self.health.turn(self.caretaker.trouble)
        self.waker.wait(seconds)
        self.waker.clear()
        self._handle_signals()
        return not self.stopping

    def _consumers(self) -> list[str]:
        return [child.recorder.consumer for child in self.children] + [
            dead.recorder.consumer for dead in self.dead
        ]

    # -- children

    def _start_children(self) -> None:
        if self.stopping:
            return
        now = time.monotonic()
        setups: dict[int, ChildSetup] = {}
        for number, when in list(self.start_at.items()):
            if when <= now:
                try:
                    setups[number] = self._prepare(number)
                except BrokerError as error:
                    self.caretaker.met(error)
                    self.start_at[number] = now + 0.5
                    break
                del self.start_at[number]
        if setups:
            self._fork(setups)

    def _prepare(self, number: int) -> ChildSetup:
        tell(signals.worker_before_create_process, self)
        consumer = f"{self.options.hostname}/{number}-{uuid.uuid4().hex[:12]}"
        self.broker.register(consumer, self.lease, self.options.queues)
        conf = self.app.conf
        path = self.directory / f"{uuid.uuid4().hex}.flight"
        slots = self.threads + conf.worker_async_concurrency
        recorder = Recorder.create(path, consumer, self.broker_id, slots)
        return ChildSetup(
            self.options, self.executor, recorder,
            Waker(), self.waker, Notice(), self.threads, self.lookout, self.health.tally(),
        )  # fmt: skip

    def _fork(self, setups: Mapping[int, ChildSetup]) -> None:
        """Fork the children all at once: what the supervisor does between two forks, the one before does not share."""
        if self.app.framework is not None:
            self.app.framework.before_fork()
        flush()
        if not self.announced:
            settle_memory()
        supervisor = os.getpid()
        for number, setup in setups.items():
            pid = os.fork()
            if pid == 0:
                end_as(partial(run_child, self.app, setup, supervisor), "A child could not work.")
            self.children.append(Child(number, pid, setup))

    def _bury(self) -> None:
        """Collect dead children, note what they left, have them replaced."""
        for child in list(self.children):
            pid, status, usage = os.wait4(child.pid, os.WNOHANG)
            if not pid:
                continue
            self.children.remove(child)
            self.stuck.forget(child.recorder)
            if self.lookout is not None:
                self.lookout.pass_on()  # perhaps it was on lookout
            child.waker.close()
            child.notice.close()
            self.health.retire(child.tally)
            how = death.of_child(status, usage, time.monotonic(), child.recorder.trace_path)
            clean = os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0
            self.dead.append(Dead(child.recorder, how, not self.forced, child.over))
            if child.over:
                logger.info("Child process %d was ended, and another takes its place.", pid)
            elif not clean and not self.forced:
                trace = f"\n{how.trace.rstrip()}" if how.trace else ""
                logger.error("Child process %d died: %s. Another takes its place.%s", pid, how.cause, trace)
            if not (self.stopping or child.retired):
                self._plan_successor(child, clean)
        self.aftermath.look()
        self.companions.look()
        self._settle_the_dead()
        ours = self.aftermath.processes | self.companions.processes
        orphans.bury(ours | {child.pid for child in self.children})

    def _plan_successor(self, child: Child, clean: bool) -> None:
        now = time.monotonic()
        pause = 0.0
        # One that a task has killed was fit for work: a row of such tasks must not hold up the good ones.
        worked = child.recorder.done or child.recorder.running()
        if not clean and now - child.born < _QUICK_DEATH and not worked:
            pause = min(max(0.1, 2 * self.pauses.get(child.number, 0.0)), _LONGEST_PAUSE)
        self.pauses[child.number] = pause
        self.start_at[child.number] = now + pause

    def _settle_the_dead(self) -> None:
        for dead in list(self.dead):
            try:
                self.recovery.child(dead.recorder, dead.death, blame=dead.blame, over=dead.over)
            except NotYet:
                continue  # the end of a process wakes us
            except CeleriacError as error:
                self.caretaker.met(error)
                return
            self.dead.remove(dead)

    # -- what is asked of it from afar

    def _steer(self, now: float) -> None:
        if now >= self.steering.next and not self.caretaker.trouble:
            try:
                self.steering.look()
                if now >= self.clock.next:
                    self.clock.measure(now)
            except BrokerError as error:
                self.caretaker.met(error)
        self.terminations.look(self.children)

    def _terminate(self, arguments: Mapping[str, Any]) -> None:
        ids = arguments["task_id"]
        for task_id in [ids] if isinstance(ids, str) else ids:
            self.terminations.add(str(task_id), int(arguments.get("signal", signal.SIGTERM)))

    def _grow(self, arguments: Mapping[str, Any]) -> None:
        self.lookout = self.lookout or Lookout()
        if not self.stopping:
            self.size.grow(int(arguments["n"]))

    def _shrink(self, arguments: Mapping[str, Any]) -> None:
        if not self.stopping:
            self.size.shrink(int(arguments["n"]))

    # -- times and signals

    def _tend(self) -> None:
        now = time.monotonic()
        if now >= self.caretaker.next:
            lost = self.caretaker.turn()
            for child in self.children:
                if child.recorder.consumer in lost:
                    child.waker.poke()
        if now >= self.relaying.next:
            self.relaying.look()
        self.limits.look(self.children)
        self._steer(now)
        if now >= self.stuck.next and not self.caretaker.trouble:
            try:
                self.stuck.look(self.children)
                if self.lookout is not None and any(child.recorder.freeze for child in self.children):
                    self.lookout.pass_on()  # perhaps one of these was just about to
            except BrokerError as error:
                self.caretaker.met(error)
        if not self.stopping:
            self.size.look(now)
        self.stale.look()
        self.outage.look([self.caretaker.trouble, *(child.notice.read() for child in self.children)])
        if not self.announced and not self.start_at and all(child.recorder.ready for child in self.children):
            self.announced = True
            tell(signals.worker_ready, self)
            logger.info("%s ready.", self.options.hostname)
        if self.kill_at is not None and now >= self.kill_at:
            self._kill()

    def _sleep(self) -> None:
        times = [self.caretaker.next, self.relaying.next, *self.start_at.values()]
        if self.children:
            times += [self.limits.next, self.terminations.next]
            if not self.caretaker.trouble:
                times += [self.stuck.next, self.steering.next]
        times += [self.aftermath.next, self.companions.next, self.size.next]
        times += [moment for moment in (self.kill_at, self.outage.next) if moment is not None]
        if self.dead:
            times.append(time.monotonic() + 0.5)
        seconds = max(0.0, min(times) - time.monotonic())
        select.select([self.waker], [], [], seconds)
        self.waker.clear()

    def _catch_signals(self) -> None:
        def note(number: int, _frame: FrameType | None) -> None:
            self.caught.append((number, time.monotonic()))
            self.waker.poke()

        for number in (*_STOP_SIGNALS, signal.SIGCHLD):
            signal.signal(number, note)

    def _handle_signals(self) -> None:
        while self.caught:
            number, moment = self.caught.pop(0)
            if number == signal.SIGCHLD:
                continue
            if number != signal.SIGQUIT and not self.stopping:
                self._stop(number, moment)
            elif number == signal.SIGQUIT or moment - self.stopping_since > ONE_STOP:
                self.stopping, known = True, self.forced
                self._kill()
                if not known:
                    self._tell_of_end(number, "Cold", 1)

    def _stop(self, number: int, moment: float) -> None:
        """Warm: what runs is finished, what has not started goes back. `moment` is when the signal came."""
        self.stopping = True
        self.stopping_since = moment
        grace = self.app.conf.worker_soft_shutdown_timeout
        logger.info(
            "%s: finishing what runs%s. Once more to interrupt it.",
            signal.Signals(number).name, f", {grace:g} s at most" if grace else "",
        )  # fmt: skip
        if grace:
            self.kill_at = time.monotonic() + grace
        for child in self.children:
            child.recorder.stop()
            child.waker.poke()
        self.companions.stop()
        self._tell_of_end(number, "Warm", 0)

    def _tell_of_end(self, number: int, how: str, status: int) -> None:
        tell(
            signals.worker_shutting_down,
            self.hostname,
            sig=signal.Signals(number).name,
            how=how,
            exitcode=status,
        )

    def _kill(self) -> None:
        """Cold: what runs is interrupted and goes back, counted against nobody."""
        self.forced = True
        self.kill_at = None
        for child in self.children:
            os.kill(child.pid, signal.SIGKILL)
        self.companions.stop()
        self.companions.end(signal.SIGKILL)
        self.aftermath.end()
