"""Ends a child for the sake of a task that runs in it: over its hard limit, or terminated.

A child is killed only for a task that is certainly still running: nothing starts in a frozen child, so what stands in a
slot after the freeze was there before it. What becomes of what the child held is told by `recovery`.
"""

import os
import signal
import time
from collections.abc import Callable
from typing import Protocol

from msgspec import Struct

from celeriac.waker import Waker
from celeriac.worker.recorder import FREEZING, FROZEN, THAWED, Recorder

#: By then what the child has written into its slot before it read the freeze is to be seen here.
_WRITTEN = 0.001


class Terminated(Struct, frozen=True):
    """Somebody wanted the task with this id to end, by this signal."""

    id: str
    signum: int


#: Why a run was ended with its process: its hard limit in seconds was over, or it was terminated.
Cause = float | Terminated


class Ends(Protocol):
    """What is to be known of a child. `over` says for which tasks, by tag, it is killed."""

    over: dict[int, Cause]

    @property
    def pid(self) -> int:
        """Its process."""

    @property
    def recorder(self) -> Recorder:
        """Its flight record."""

    @property
    def waker(self) -> Waker:
        """Wakes its fetcher."""


def end(child: Ends, find: Callable[[], dict[int, Cause]]) -> None:
    """Kill a child for what `find()` returns when nothing can start in it any more; if that is nothing, it goes on."""
    recorder = child.recorder
    ours = recorder.freeze == THAWED
    if ours:
        recorder.freeze = FREEZING
        time.sleep(_WRITTEN)
    over = find()
    if over:
        child.over = over
        os.kill(child.pid, signal.SIGKILL)
    elif ours:
        recorder.freeze = FROZEN
        child.waker.poke()
