"""Ends tasks that run and were revoked with `terminate=True`.

The supervisor finds them by their keys in the flight records. A coroutine is cancelled by its own process, and that is
only killed if it does not end for it; for a function the process is killed, and another takes its place.
"""

import logging
import time
from collections.abc import Callable, Iterable

from msgspec import Struct

from celeriac.worker.ending import Cause, Ends, Terminated, end

logger = logging.getLogger("celeriac.worker")

#: Seconds for which a task that was claimed before it was revoked is looked for: it may be about to start.
_LOOKED_FOR = 5.0
#: Seconds between two looks.
_LOOK = 0.1
#: Seconds that a coroutine has to end when it is cancelled.
_PATIENCE = 5.0
_NEVER = float("inf")


class _Wanted(Struct):
    cause: Terminated
    until: float
    #: When it was cancelled, by its child's consumer; it is looked for as long as it runs there.
    cancelled: dict[str, float]


class Terminations:
    """Finds and ends tasks. The first `threads` slots of a record are no coroutines'; `next` is when to look again."""

    def __init__(self, threads: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.threads = threads
        self._clock = clock
        self._wanted: dict[int, _Wanted] = {}
        self.next = _NEVER

    def add(self, id: str, signum: int) -> None:
        """Have the task with this id ended, if it runs here or is just about to."""
        now = self._clock()
        # Children hash alike: they were forked from here.
        self._wanted[hash(id)] = _Wanted(Terminated(id, signum), now + _LOOKED_FOR, {})
        self.next = now

    def look(self, children: Iterable[Ends]) -> None:
        """End what runs in `children` and is to be ended."""
        now = self._clock()
        if now < self.next:
            return
        for child in children:
            if not child.over:
                self._look_at(child, now)
        for key, wanted in list(self._wanted.items()):
            if now >= wanted.until:
                del self._wanted[key]
        self.next = now + _LOOK if self._wanted else _NEVER

    def _look_at(self, child: Ends, now: float) -> None:
        if self._to_be_killed(child, now):
            end(child, lambda: self._to_be_killed(child, now))
            for cause in child.over.values():
                if isinstance(cause, Terminated):
                    logger.warning("Task %s is terminated.", cause.id)

    def _to_be_killed(self, child: Ends, now: float) -> dict[int, Cause]:
        """Return by tag what runs in a child and is to be ended with it; coroutines are cancelled first."""
        found: dict[int, Cause] = {}
        for slot, tag, key in child.recorder.running_keys():
            wanted = self._wanted.get(key)
            if wanted is not None and (
                slot < self.threads or self._cancelled_in_vain(child, key, wanted, now)
            ):
                found[tag] = wanted.cause
        return found

    @staticmethod
    def _cancelled_in_vain(child: Ends, key: int, wanted: _Wanted, now: float) -> bool:
        recorder = child.recorder
        since = wanted.cancelled.get(recorder.consumer)
        if since is not None:
            return now - since >= _PATIENCE
        if recorder.cancel == 0:
            recorder.cancel = key
            child.waker.poke()
            wanted.cancelled[recorder.consumer] = now
            wanted.until = now + _PATIENCE + 1
        return False
