"""Hard time limits: ends the child whose task has had its time.

The supervisor looks into the flight records about once a second, and when a child with a short limit pokes it.
Coroutines are ended by their event loop first, in which case the child lives on.
"""

import time
from collections.abc import Callable, Iterable
from functools import partial

from celeriac.worker.ending import Cause, Ends, end
from celeriac.worker.recorder import Recorder

#: Seconds between two looks at most. A child pokes its supervisor for a limit that is shorter.
LOOK = 1.0
#: What an event loop gets to end a coroutine itself.
GRACE = 0.5


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
            if any(until <= now for _, _, until in times):
                end(child, partial(self._over, child, times, now))
            else:
                self.next = min([self.next, *(until for _, _, until in times)])

    def _times(self, recorder: Recorder) -> set[tuple[int, float, float]]:
        """Return (tag, limit, when the child is to be killed) of what has a limit."""
        return {
            (tag, round(deadline - start, 6), deadline + (GRACE if slot >= self.threads else 0.0))
            for slot, tag, start, deadline in recorder.deadlines()
        }

    def _over(self, child: Ends, times: set[tuple[int, float, float]], now: float) -> dict[int, Cause]:
        # Read twice: a slot may have been in the midst of being written.
        still = times & self._times(child.recorder)
        return {tag: limit for tag, limit, until in still if until <= now}
