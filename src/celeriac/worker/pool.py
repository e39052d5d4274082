"""The threads of a child that run tasks, and the two queues between them and the fetcher.

`inbox` brings runs to the threads that call `work`; coroutine tasks go to one event loop. What came of a run is noted
in the flight record and put into `outbox`, in the same order, for the fetcher to settle. Nothing here talks
to a broker.
"""

import asyncio
import contextlib
import contextvars
import logging
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import TypeVar

from msgspec import Struct

from celeriac import states
from celeriac.broker import Action, Publication, Settlement
from celeriac.execute import Executor
from celeriac.limits import Watchdog
from celeriac.message.serializers import json_dumps
from celeriac.run import Outcome, Run
from celeriac.store import Record
from celeriac.waker import Waker
from celeriac.worker.overtime import LOOK
from celeriac.worker.recorder import THAWED, Recorder
from celeriac.worker.recycling import Recycling
from celeriac.worker.report import report, task_logger
from celeriac.worker.tally import Tally

logger = logging.getLogger("celeriac.worker")

_LEFT = 0.005  # seconds
_THAW_LOOK = 1.0  # seconds between two pokes of the fetcher while it has not thawed
_LOOP_PATIENCE = 5.0  # seconds that an event loop with nothing to do may take to end


class Finished(Struct):
    """A settlement on its way to the broker. `position` is the flight record's after it; 0: it did not fit.

    `accepted` is set once the broker has it, where somebody waits for that: a thread, or a coroutine.
    """

    settlement: Settlement
    position: int = 0
    accepted: "threading.Event | LoopEvent | None" = None


class LoopEvent:
    """An event that one coroutine waits for, and any thread may set. (Thousands may wait, without a thread each.)"""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._event = asyncio.Event()
        self.wait = self._event.wait

    def set(self) -> None:
        """Let the coroutine go on."""
        self._loop.call_soon_threadsafe(self._event.set)


E = TypeVar("E", threading.Event, LoopEvent)


class Pool:
    """Runs tasks on `threads` threads and up to `coroutines` coroutines at a time."""

    #: With so many outcomes at hand the fetcher is woken although it lingers.
    POKE_AT = 200

    def __init__(
        self, executor: Executor, recorder: Recorder, waker: Waker, threads: int, coroutines: int
    ) -> None:
        self.executor = executor
        self.recorder = recorder
        self.waker = waker
        self.threads = threads
        self.inbox: SimpleQueue[Run | None] = SimpleQueue()
        self.outbox: deque[Finished] = deque()
        #: How the fetcher sleeps: 0 not at all, 1 wake it for any outcome, 2 only for many (it lingers).
        self.fetcher_sleeps = 0
        #: When each thread began what it runs, on the monotonic clock; 0.0: it is free.
        self.since = [0.0] * threads
        self.busy = 0.0
        self.count = 0
        self._lock = threading.Lock()
        self._thaw = threading.Condition()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._loop_thread: threading.Thread | None = None
        self._free_slots = deque(range(threads, threads + coroutines))
        self._waiting: deque[Run] = deque()
        self._starting = False
        self._coroutines: dict[asyncio.Task[None], Run] = {}
        self._talks = task_logger.isEnabledFor(logging.INFO)
        self._at_most_once = executor.acks_early
        #: Poked for what has a hard limit that whoever enforces it might see too late.
        self.overseer: Waker | None = None
        #: Set where what has run is counted.
        self.tally: Tally | None = None
        #: Set where the child is to be replaced some time.
        self.recycling: Recycling | None = None
        executor.note = self._note
        executor.watchdog = Watchdog()

    # -- sync tasks

    def work(self, number: int) -> None:
        """Run what comes through the inbox on this thread, until a None comes."""
        get = self.inbox.get
        while True:
            run = get()
            if run is None:
                return
            if self.recycling is not None and self.recycling.worn_out:
                self._leave_it(run)
            elif not run.void:
                self.run(run, number)

    def _leave_it(self, run: Run) -> None:
        """Let the fetcher give back what this process is not to start any more."""
        self.inbox.put(run)
        self.waker.poke()
        time.sleep(_LEFT)  # in which it takes it; else this goes round

    def run(self, run: Run, number: int) -> None:
        """Run one delivery from begin to outbox."""
        now = time.monotonic()
        self.since[number] = now
        key = hash(run.message.headers.id)
        if (self.recorder.begin(number, run.tag, now, key) or run.void) and not self._await_thaw(run, number):
            self.since[number] = 0.0
            return
        if run.task is not None and (self._at_most_once or run.task.acks_late is False):
            self._settle_early(run)
            if run.void:
                self.recorder.clear(number)
                self.since[number] = 0.0
                return
        if run.task is not None and (run.task.track_started or self.executor.track_started):
            self._note_started(run)
        if run.hard is not None:
            self._limit(number, run.hard)
        outcome = self.executor.execute(run)
        if self.recycling is not None:
            self.recycling.weigh()
        accepted = self.finish(run, outcome, number, threading.Event)
        if accepted is not None:
            accepted.wait()
            self.recorder.clear(number)
        self.since[number] = 0.0
        if self._talks or outcome.state != states.SUCCESS:
            report(run, outcome)

    def finish(self, run: Run, outcome: Outcome, slot: int, make_event: Callable[[], E]) -> E | None:
        """Note the outcome in the flight record and hand it to the fetcher.

        An event is returned where the record could not take it: then it counts as done only once the broker has it,
        and the slot is to be kept until the event is set.
        """
        settlement = self.executor.settling.settlement(run, outcome)
        if run.hard is not None:
            self.recorder.unlimit(slot)
        with self._lock:
            try:
                position = self.recorder.finish(slot, settlement)
            except Exception as error:
                logger.exception("The outcome of %s cannot be kept.", run.message.headers.id)
                reason = f"its outcome cannot be kept: {error!r}"
                settlement = Settlement(run.tag, Action.DEAD, reason=reason, frees=settlement.frees)
                position = self.recorder.finish(slot, settlement)
            accepted = None if position else make_event()
            self.outbox.append(Finished(settlement, position, accepted))
            if self.tally is not None:
                self.tally.count(run, outcome)
            if slot < self.threads:
                self.count += 1
                self.busy += outcome.finished - run.started
        sleeps = self.fetcher_sleeps
        if accepted or sleeps == 1 or (sleeps and (len(self.outbox) >= self.POKE_AT or self.inbox.empty())):
            self.waker.poke()
        return accepted

    def not_sent(self, publications: Sequence[Publication]) -> None:
        """Count what a task could not send, where anything is counted. Called by the app, on any thread."""
        if self.tally is not None:
            with self._lock:
                self.tally.not_sent(publications)

    # -- frozen by the supervisor: see worker.stuck

    def _await_thaw(self, run: Run, slot: int) -> bool:
        """Wait, out of the slot, until the fetcher has thawed; return whether `run` is still ours and begun."""
        recorder = self.recorder
        while True:
            recorder.clear(slot)
            with self._thaw:
                while recorder.freeze:
                    self.waker.poke()
                    self._thaw.wait(_THAW_LOOK)
            if run.void:
                return False
            key = hash(run.message.headers.id)
            if not recorder.begin(slot, run.tag, time.monotonic(), key) and not run.void:
                return True

    def thaw(self) -> None:
        """Let tasks start again. What is not ours any more has been made void."""
        with self._thaw:
            self.recorder.freeze = THAWED
            self._thaw.notify_all()

    def _limit(self, slot: int, seconds: float) -> None:
        """Have what is in `slot` ended after that many seconds."""
        self.recorder.limit(slot, time.monotonic(), seconds)
        if seconds < LOOK and self.overseer is not None:
            self.overseer.poke()

    # -- at most once, and STARTED

    def _settle_early(self, run: Run) -> None:
        """At most once: the delivery ends before the function is called; void if it was not ours any more."""
        accepted = threading.Event()
        self._end_early(run, accepted)
        accepted.wait()
        run.tag = 0

    def _end_early(self, run: Run, accepted: threading.Event | LoopEvent) -> None:
        self.outbox.append(Finished(Settlement(run.tag), 0, accepted))
        self.waker.poke()

    def _note_started(self, run: Run) -> None:
        run.started = time.time()
        if self.executor.settling.stores(run, states.STARTED):
            meta = json_dumps({"pid": os.getpid(), "hostname": self.executor.hostname})
            record = self.executor.settling.record(run, Outcome(states.STARTED, meta, finished=0.0))
            record.finished = None
            self._note(record)

    def _note(self, record: Record) -> None:
        """Have the fetcher store a record that is not the last of its task; the last one comes after it."""
        self.outbox.append(Finished(Settlement(0, record=record)))
        self.waker.poke()

    # -- coroutine tasks

    def submit(self, run: Run) -> None:
        """Take over a delivery from the fetcher; void it to take it back as long as it has not started."""
        if run.task is not None and run.task.is_async:
            self._waiting.append(run)
            loop = self._loop or self._start_loop()
            if not self._starting:
                self._starting = True
                loop.call_soon_threadsafe(self._start_waiting)
        else:
            self.inbox.put(run)

    @property
    def at_rest(self) -> bool:
        """Whether nothing is at hand that has not started."""
        return self.inbox.empty() and not self._waiting

    @property
    def free_slots(self) -> int:
        """How many coroutine tasks could start beside those at hand."""
        return len(self._free_slots) - len(self._waiting)

    @property
    def coroutines_wait(self) -> bool:
        """Whether coroutine tasks are at hand that cannot start as all slots are taken."""
        return bool(self._waiting) and not self._free_slots

    @property
    def idle(self) -> bool:
        """Whether nothing runs and nothing waits for its outcome to be settled."""
        return not (any(self.since) or self._coroutines or self.outbox)

    def take_back(self) -> list[Run]:
        """Return what has not started; none of it will. Others take from both queues meanwhile."""
        runs: list[Run] = []
        with contextlib.suppress(Empty):
            while True:
                run = self.inbox.get_nowait()
                if run is not None:
                    runs.append(run)
        with contextlib.suppress(IndexError):
            while True:
                runs.append(self._waiting.popleft())
        return [run for run in runs if not run.void]

    def _start_loop(self) -> asyncio.AbstractEventLoop:
        loop = self._loop = asyncio.new_event_loop()
        self._context = contextvars.copy_context()
        self._loop_thread = threading.Thread(target=loop.run_forever, name="celeriac-event-loop", daemon=True)
        self._loop_thread.start()
        return loop

    def end_loop(self) -> None:
        """End the event loop, and what was opened for it. Nothing runs any more, and nothing is to start after this."""
        loop, thread = self._loop, self._loop_thread
        if loop is None or thread is None:
            return
        loop.call_soon_threadsafe(loop.stop)
        thread.join(_LOOP_PATIENCE)
        if not thread.is_alive():
            loop.close()
            for hook in self.executor.app.hooks.after_loop:
                hook()

    def _start_waiting(self) -> None:
        self._starting = False  # first: what is submitted from here on has this called again
        self._start_coroutines()

    def _start_coroutines(self) -> None:
        while self._waiting and self._free_slots:
            try:
                run = self._waiting.popleft()
            except IndexError:
                return
            if run.void:
                continue
            # Not in the context that is here: it may be that of a task that has ended and left something in it.
            task = asyncio.get_running_loop().create_task(
                self._run_coroutine(run, self._free_slots.popleft()), context=self._context.copy()
            )
            self._coroutines[task] = run
            task.add_done_callback(self._coroutines.pop)

    async def _run_coroutine(self, run: Run, slot: int) -> None:
        key = hash(run.message.headers.id)
        ours = not (self.recorder.begin(slot, run.tag, time.monotonic(), key) or run.void)
        if not ours and not await asyncio.to_thread(self._await_thaw, run, slot):
            self._free_slots.append(slot)
            self._start_coroutines()
            return
        if self._at_most_once or (run.task is not None and run.task.acks_late is False):
            accepted = LoopEvent()
            self._end_early(run, accepted)
            await accepted.wait()
            run.tag = 0
        if run.void:
            self.recorder.clear(slot)
        else:
            await self._conclude_coroutine(run, slot)
        self._free_slots.append(slot)
        self._start_coroutines()

    def cancel(self, key: int) -> None:
        """Cancel the coroutine task with this key, if its function is being run."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._cancel, key)

    def _cancel(self, key: int) -> None:
        for task, run in self._coroutines.items():
            # Else it has come to its end, and what it came to is to be kept.
            if hash(run.message.headers.id) == key and run.calling:
                run.terminated = signal.SIGTERM
                task.cancel()

    async def _conclude_coroutine(self, run: Run, slot: int) -> None:
        if run.hard is not None:
            self._limit(slot, run.hard)
        outcome = await self.executor.aexecute(run)
        accepted = self.finish(run, outcome, slot, LoopEvent)
        if accepted is not None:
            await accepted.wait()
            self.recorder.clear(slot)
        if self._talks or outcome.state != states.SUCCESS:
            report(run, outcome)
