"""`--autoscale MAX,MIN`: how many child processes a worker has, by what they do.

Asked by the supervisor. What the children do it reads in their flight records: while all of them run tasks there is one
more every half second, and one that has had nothing to do for half a minute ends.
"""

import os
import time
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from celeriac.worker.recorder import Recorder

_LOOK = 0.5  # seconds
#: How long a child may be idle, in seconds; in the environment as in Celery.
KEEPALIVE = "AUTOSCALE_KEEPALIVE"


class Works(Protocol):
    """What is to be known of a child."""

    @property
    def pid(self) -> int:
        """Its process."""

    @property
    def recorder(self) -> Recorder:
        """Its flight record."""


Child = TypeVar("Child", bound=Works)


class Autoscaler:
    """Keeps the number of children between `least` and `most`. `next` is when to ask again."""

    def __init__(self, least: int, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.least = least
        self.most = most
        self.keepalive = float(os.environ.get(KEEPALIVE) or 30)
        self.next = 0.0
        self._clock = clock
        self._was_busy = False
        #: Since when each child has been idle, by its process.
        self._idle: dict[int, float] = {}

    def look(self, children: Sequence[Child], starting: int) -> bool | Child | None:
        """Return True for one more, a child that is to end, or None. `starting` more have no process yet."""
        now = self._clock()
        self.next = now + _LOOK
        busy = 0
        idle = {}
        for child in children:
            if child.recorder.running():
                busy += 1
            elif child.recorder.ready and not child.recorder.last_turn:
                idle[child.pid] = self._idle.get(child.pid, now)
        self._idle = idle
        all_busy = bool(children) and busy == len(children) and not starting
        grows = all_busy and self._was_busy and len(children) < self.most
        self._was_busy = all_busy
        if grows:
            return True
        if len(children) + starting > self.least:
            # The youngest, so that the others keep what they have learned.
            for child in reversed(children):
                if now - idle.get(child.pid, now) >= self.keepalive:
                    return child
        return None
