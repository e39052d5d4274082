"""Time limits of a run: which ones hold, and how a soft one strikes in a function on a thread.

`of_call` is asked once for each message that may have one; `Watchdog.call` is what `celeriac.execute` calls such a
task's function through. Coroutines have `celeriac.overtime`; hard limits of functions are the supervisor's.

A soft limit is an exception that another thread raises in the one that runs the function. The interpreter delivers it
at some later bytecode of that thread, whatever it executes by then. So that none is delivered when the function is
over, three things hold: at most one is raised for each call; either the function's thread or the watchdog takes the
call out of what is armed; and if that was the watchdog, the thread waits until it has raised, and lets strike there
what was not delivered. What is delivered between two steps of our own is told from the function's own end, as the
function is called and its value kept in one step.
"""

import signal
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Any, Protocol

from celeriac.config import Settings
from celeriac.errors import SoftTimeLimitExceeded
from celeriac.waker import Waker

#: Hard and soft limit in seconds, as messages have them.
Pair = tuple[float | None, float | None]
NO_LIMITS: Pair = (None, None)

_FIRST_NUDGE, _LAST_NUDGE = 0.02, 0.5  # seconds between two, which doubles
_NEVER = float("inf")
_NUDGE = signal.SIGURG  # one that is ignored wherever it is not asked for


class Limited(Protocol):
    """What is to be known of a task."""

    @property
    def time_limit(self) -> float | None:
        """The hard limit."""

    @property
    def soft_time_limit(self) -> float | None:
        """The soft limit."""


def of_task(task: Limited, conf: Settings) -> Pair:
    """Return the limits of a task where a call names none; 0 is none, as in Celery."""
    return (
        task.time_limit or conf.task_time_limit or None,
        task.soft_time_limit or conf.task_soft_time_limit or None,
    )


def of_tasks(tasks: Mapping[str, Limited], conf: Settings) -> dict[str, Pair]:
    """Return the limits of those tasks that have some."""
    found = ((name, of_task(task, conf)) for name, task in tasks.items())
    return {name: pair for name, pair in found if pair != NO_LIMITS}


def of_call(header: Pair | None, own: Pair) -> Pair:
    """Return the limits of a call: each is the message's, if it has one, else the task's."""
    hard, soft = header or NO_LIMITS
    return (hard if hard and hard > 0 else own[0], soft if soft and soft > 0 else own[1])


class _Watch:
    """A call whose limit runs. `struck` is set by the watchdog once it has raised the exception."""

    __slots__ = ("due", "main", "pause", "struck", "thread")

    def __init__(self, due: float, main: bool) -> None:
        self.thread = threading.get_ident()
        self.due = due
        self.main = main
        self.struck = False
        self.pause = _FIRST_NUDGE


#: The calls that have a soft limit, by thread; empty where there are none, so that nobody else has to ask.
running: dict[int, tuple["Watchdog", _Watch]] = {}


@contextmanager
def held_off() -> Iterator[None]:
    """Have the limit of the call on this thread not strike within the block, but after it.

    For what must not be torn apart, and is sure to end.
    """
    watchdog, watch = running.get(threading.get_ident(), (None, None))
    if watchdog is None or watch is None or not watchdog.hold(watch):
        yield
        return
    try:
        yield
    finally:
        watchdog.resume(watch)


class Watchdog:
    """Raises SoftTimeLimitExceeded in functions that take too long; one for a process, its thread starts when needed.

    No locks where it may strike: one that was just taken when the exception strikes would never be let go. Who takes a
    call out of `_armed`, which is one step, decides about its end: the function's thread, or the watchdog, which then
    raises.
    """

    def __init__(self) -> None:
        # By call, not by thread, which may have gone on to the next by the time that it is looked up.
        self._armed: dict[_Watch, bool] = {}
        self._nudging: dict[_Watch, bool] = {}
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()  # nothing strikes then
        self._waker: Any = None
        self._wakes_at = _NEVER
        self._raise: Any = None

    def call(
        self,
        seconds: float,
        function: Callable[..., Any],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        struck: Callable[[], None] | None = None,
    ) -> Any:
        """Call a function and return what it returns; after `seconds` it gets SoftTimeLimitExceeded.

        Whatever it makes of that, `struck` is called afterwards.
        """
        # A missing key is made by calling what the dictionary was given, and stored, with no bytecode in between.
        returned: defaultdict[int, Any] = defaultdict(partial(function, *args, **kwargs))
        raised: BaseException | None = None
        if self._thread is None:
            self._start()  # which may take longer than the function has, on a busy machine
        watch = _Watch(time.monotonic() + seconds, self._can_nudge())
        running[watch.thread] = self, watch
        try:
            self.resume(watch)
            try:
                returned[0]
            except BaseException as error:
                raised = error
            self._disarm(watch)
        except SoftTimeLimitExceeded as stray:
            self._disarm(watch)  # there is only one, so this goes through
            if not returned and raised is None:
                raised = stray
        del running[watch.thread]
        if watch.struck and struck is not None:
            struck()
        if raised is None:
            return returned[0]
        if type(raised) is SoftTimeLimitExceeded and not raised.args:
            raised.args = (seconds,)
        try:
            raise raised
        finally:
            del raised  # or it would hold itself through its traceback

    # -- on the thread that runs the function

    def resume(self, watch: _Watch) -> None:
        """Let it strike, from now on, when it is due; if it is already, it strikes here.

        Where one block that is held off follows another, the watchdog may get to run in these alone, again and again.
        """
        if time.monotonic() >= watch.due:
            watch.struck = True
            raise SoftTimeLimitExceeded
        self._armed[watch] = True
        if watch.due < self._wakes_at:
            self._waker.poke()

    def hold(self, watch: _Watch) -> bool:
        """Have it not strike until `resume`; False where it has. If it is just about to, it strikes here."""
        if self._armed.pop(watch, False):
            return True
        while not watch.struck:
            time.sleep(0)
        for _ in range(2):
            pass  # what has been raised strikes at the end of a loop at the latest
        return False

    def _start(self) -> None:
        with self._starting:
            if self._thread is None:
                import ctypes  # noqa: PLC0415 - only workers need it

                # With a prototype of this module's own: others may have declared another.
                raises = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_ulong, ctypes.py_object)
                self._raise = raises(("PyThreadState_SetAsyncExc", ctypes.pythonapi))
                self._waker = Waker()
                thread = threading.Thread(target=self._watch, name="celeriac-watchdog", daemon=True)
                thread.start()
                self._thread = thread

    def _disarm(self, watch: _Watch) -> None:
        if self._armed.pop(watch, False):
            return
        while not watch.struck:
            time.sleep(0)  # the watchdog is about to
        self._nudging.pop(watch, None)
        # Not taken back with NULL, for then CPython 3.11 and 3.12 would look for it at each step, for ever.
        for _ in range(2):
            pass  # what has been raised strikes at the end of a loop at the latest

    def _can_nudge(self) -> bool:
        """Whether this is the main thread, and the signal that interrupts its calls into the system is ours."""
        if threading.current_thread() is not threading.main_thread():
            return False
        handler = signal.getsignal(_NUDGE)
        if handler == self._nudged:
            return True
        ours = getattr(handler, "__func__", None) is Watchdog._nudged  # of a worker that has ended, in a test
        if ours or handler in (signal.SIG_DFL, signal.SIG_IGN):
            signal.signal(_NUDGE, self._nudged)
            return True
        return False

    def _nudged(self, _number: int, _frame: FrameType | None) -> None:
        # The exception strikes as this begins. If it gets here, it has struck before.
        self._nudging.clear()

    # -- on the watchdog's own

    def _watch(self) -> None:
        while True:
            self._waker.clear()
            self._wakes_at = _NEVER  # who arms from now on pokes
            now = time.monotonic()
            for watch in list(self._armed):
                if watch.due <= now and self._armed.pop(watch, False):
                    self._strike(watch)
            for watch in list(self._nudging):
                if watch.due <= now:
                    self._nudge(watch, now)
            waiting = [*self._armed, *self._nudging]
            self._wakes_at = wakes_at = min((watch.due for watch in waiting), default=_NEVER)
            self._waker.wait(None if wakes_at == _NEVER else max(0.0, wakes_at - time.monotonic()))

    def _strike(self, watch: _Watch) -> None:
        if watch.main:
            self._nudging[watch] = True
        self._raise(watch.thread, SoftTimeLimitExceeded)
        watch.struck = True

    def _nudge(self, watch: _Watch, now: float) -> None:
        """Interrupt a call into the system, where the exception would wait for its end.

        More than once, for it may only be about to begin.
        """
        signal.pthread_kill(watch.thread, _NUDGE)
        watch.due = now + watch.pause
        watch.pause = min(2 * watch.pause, _LAST_NUDGE)
