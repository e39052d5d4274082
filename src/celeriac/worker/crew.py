"""The children as their supervisor sees them, and how many of them there are to be."""

import logging
import time

from msgspec import Struct

from celeriac.worker.autoscale import Autoscaler
from celeriac.worker.child import ChildSetup
from celeriac.worker.death import Death
from celeriac.worker.ending import Cause
from celeriac.worker.recorder import Recorder

logger = logging.getLogger("celeriac.worker")


class Child:
    """A child as its supervisor sees it. `pid` is 0 once it is dead."""

    __slots__ = ("born", "notice", "number", "over", "pid", "recorder", "retired", "tally", "waker")

    def __init__(self, number: int, pid: int, setup: ChildSetup) -> None:
        self.number = number
        self.pid = pid
        self.recorder = setup.recorder
        self.waker = setup.waker
        self.notice = setup.notice
        self.tally = setup.tally
        self.born = time.monotonic()
        #: For which tasks, by tag, it is killed, and why.
        self.over: dict[int, Cause] = {}
        #: Whether it ends as it is not needed, and gets no successor.
        self.retired = False


class Dead(Struct):
    """What a dead child has left. `blame` is false where it was not its tasks' fault."""

    recorder: Recorder
    death: Death
    blame: bool
    over: dict[int, Cause]


class PoolSize:
    """Has children started and ended as is asked for, or as `autoscaler` finds. It shares the supervisor's lists.

    `start_at` says by number when children that do not run are to be started.
    """

    def __init__(
        self, children: list[Child], start_at: dict[int, float], autoscaler: Autoscaler | None
    ) -> None:
        self.children = children
        self.start_at = start_at
        self.autoscaler = autoscaler

    @property
    def next(self) -> float:
        """When to look again."""
        return float("inf") if self.autoscaler is None else self.autoscaler.next

    def look(self, now: float) -> None:
        """Have one child more or less, if that is due."""
        if self.autoscaler is None or now < self.autoscaler.next:
            return
        working = self._working()
        found = self.autoscaler.look(working, len(self.start_at))
        if found is True:
            self._start_one_more()
            logger.info("All %d processes are busy: one more.", len(working))
        elif found:
            self._retire(found)
            logger.info("Process %d has had nothing to do, and ends; %d go on.", found.pid, len(working) - 1)

    def grow(self, count: int) -> None:
        """Have so many children more."""
        if self._may_resize():
            for _ in range(count):
                self._start_one_more()

    def shrink(self, count: int) -> None:
        """Have so many children less, those first that run nothing; one stays."""
        if self._may_resize():
            working = sorted(self._working(), key=lambda child: bool(child.recorder.running()))
            for child in working[: max(0, min(count, len(working) - 1))]:
                self._retire(child)

    def _may_resize(self) -> bool:
        if self.autoscaler is not None:
            logger.warning("The pool is not resized: that is --autoscale's affair.")
        return self.autoscaler is None

    def _working(self) -> list[Child]:
        return [child for child in self.children if not child.retired]

    def _start_one_more(self) -> None:
        used = {child.number for child in self.children} | self.start_at.keys()
        self.start_at[next(number for number in range(len(used) + 1) if number not in used)] = 0.0

    @staticmethod
    def _retire(child: Child) -> None:
        """Have a child end when what it runs is done, without a successor."""
        child.retired = True
        child.recorder.stop()
        child.waker.poke()
