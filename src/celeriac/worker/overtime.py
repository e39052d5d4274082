"""Hard time limits: ends the child whose task has had its time.

The supervisor looks into the flight records about once a second, and when a child with a short limit pokes it. A child
is killed only for a task that is certainly still running: nothing starts in a frozen child, so what stands in a slot
after the freeze was there before it. What becomes of what the child held is told by `recovery`. Coroutines are ended by
their event loop first, in which case the child lives on.
"""

import logging
import os
import signal
import time
from collections.abc import Callable, Iterable
from typing import Protocol

from celeriac.waker import Waker
from celeriac.worker.recorder import FREEZING, FROZEN, THAWED, Recorder

logger = logging.getLogger("celeriac.worker")

#: Seconds between two looks at most. A child pokes its supervisor for a limit that is shorter.
LOOK = 1.0
#: What an event loop gets to end a coroutine itself.
GRACE = 0.5
#: By then what the child has written into its slot before it read the freeze is to be seen here.
_WRITTEN = 0.001


class Ends(Protocol):
    """What is to be known of a child."""

    over: dict[int, float]

    @property
    def pid(self) -> int:
        """Its process."""

    @property
    def recorder(self) -> Recorder:
        """Its flight record."""

    @property
    def waker(self) -> Waker:
        """Wakes its fetcher."""


class HardLimits:
    """Kills children with overdue tasks. `next` is when to look again; the first `threads` slots are no coroutines'."""

    def __init__(self, threads: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.threads = threads
        self._clock = clock
        self.next = 0.0

    def look(self, children: Iterable[Ends]) -> None:
        """Kill those of `children` that have overdue tasks, and note in their `over` which."""
        now = self._clock()
        self.next = now + LOOK
        for child in children:
            if child.over:
                continue  # it is dying
            times = self._times(child.recorder)
            if any(end <= now for _, _, end in times):
                self._end(child, times, now)
            else:
                self.next = min([self.next, *(end for _, _, end in times)])

    def _times(self, recorder: Recorder) -> set[tuple[int, float, float]]:
        """Return (tag, limit, when the child is to be killed) of what has a limit."""
        return {
            (tag, round(deadline - start, 6), deadline + (GRACE if slot >= self.threads else 0.0))
            for slot, tag, start, deadline in recorder.deadlines()
        }

    def _end(self, child: Ends, times: set[tuple[int, float, float]], now: float) -> None:
        recorder = child.recorder
        ours = recorder.freeze == THAWED
        if ours:
            recorder.freeze = FREEZING
            time.sleep(_WRITTEN)
        # Read twice: a slot may have been in the midst of being written.
        over = {tag: limit for tag, limit, end in times & self._times(recorder) if end <= now}
        if not over:
            if ours:
                recorder.freeze = FROZEN
                child.waker.poke()
            return
        child.over = over
        os.kill(child.pid, signal.SIGKILL)
